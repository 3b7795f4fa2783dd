"""Vectors, rankings and images."""

import base64
import math
import struct
import zlib

from modelbay_openai.simulator.errors import ApiError, Json
from modelbay_openai.simulator.listing import CREATED
from modelbay_openai.simulator.model import SimulatedModel, count
from modelbay_openai.simulator.personalities import Personality

_LENGTH = 16


def embeddings(model: SimulatedModel, body: Json) -> Json:
    """``POST /embeddings``.

    Raises:
        ApiError: The model makes no vectors, or there is no text.
    """
    if not model.embeddings:
        raise ApiError(400, f"The model {model.id} does not support Embeddings API")
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(t, str) for t in texts):
        raise ApiError(400, "input must be a text or a list of texts")
    length = body.get("dimensions")
    length = length if isinstance(length, int) else _LENGTH
    data = []
    for index, text in enumerate(texts):
        numbers = vector(text, length)
        shown: object = numbers
        if body.get("encoding_format") == "base64":
            shown = base64.b64encode(struct.pack(f"<{length}f", *numbers)).decode()
        data.append({"object": "embedding", "index": index, "embedding": shown})
    tokens = sum(count(text) for text in texts)
    return {
        "object": "list",
        "data": data,
        "model": model.id,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def vector(text: str, length: int) -> list[float]:
    """A unit vector of a text; texts with the same words are alike."""
    sums = [0.0] * length
    for word in text.split() or [""]:
        seed = zlib.crc32(word.encode())
        for at in range(length):
            sums[at] += math.sin(seed * (at + 1) % 6283 / 1000)
    norm = math.sqrt(sum(x * x for x in sums)) or 1.0
    return [x / norm for x in sums]


def ranking(personality: Personality, model: SimulatedModel, body: Json) -> object:
    """``POST /rerank``; SGLang answers a bare list.

    Raises:
        ApiError: The model ranks nothing, or something is missing.
    """
    if not model.rerank:
        raise ApiError(400, f"The model {model.id} does not support Rerank API")
    query, documents = body.get("query"), body.get("documents")
    if not isinstance(query, str) or not isinstance(documents, list) or not documents:
        raise ApiError(400, "query and documents are required")
    scores = [_alike(query, str(document)) for document in documents]
    order = sorted(range(len(scores)), key=lambda at: -scores[at])
    top = body.get("top_n")
    order = order[:top] if isinstance(top, int) else order
    if personality.name == "sglang":
        return [{"score": scores[at], "document": documents[at], "index": at} for at in order]
    return {
        "id": "rerank-simulated",
        "model": model.id,
        "usage": {"total_tokens": count(query)},
        "results": [{"index": at, "relevance_score": scores[at]} for at in order],
    }


def _alike(query: str, document: str) -> float:
    one, other = set(query.split()), set(document.split())
    return len(one & other) / (len(one | other) or 1)


def images(model: SimulatedModel, body: Json) -> Json:
    """``POST /images/generations``, and ``/images/edits`` with the fields of its form.

    Raises:
        ApiError: The model makes no images, or it is asked in a way it does not know.
    """
    if not model.images:
        raise ApiError(400, f"The model {model.id} does not support Images API")
    if model.id.startswith("gpt-image") and "response_format" in body:
        raise ApiError(400, "Unknown parameter: 'response_format'.", "unknown_parameter")
    if not body.get("prompt"):
        raise ApiError(400, "prompt is required")
    n = body.get("n", 1)
    shown = base64.b64encode(PNG).decode()
    return {"created": CREATED, "data": [{"b64_json": shown}] * (n if isinstance(n, int) else 1)}


def _png() -> bytes:
    """One black pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixel = zlib.compress(b"\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", head), chunk(b"IDAT", pixel), chunk(b"IEND", b""))
    )


PNG = _png()
