"""Embeddings and rerank of a child."""

import base64
import math
import struct
import zlib
from collections.abc import Mapping, Sequence

from modelbay_llamaswap.simulator.upstream.engine import Engine
from modelbay_llamaswap.simulator.upstream.reply import Reply
from modelbay_llamaswap.simulator.upstream.request import (
    UpstreamError,
    UpstreamRequest,
    items_of,
    text_of,
)
from modelbay_llamaswap.simulator.upstream.tokens import tokenize


async def embeddings(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``POST /v1/embeddings``; the name in the answer is the caller's, unchecked."""
    if engine.model.role != "embedding":
        raise UpstreamError(
            501, "This server does not support embeddings. Start it with `--embeddings`"
        )
    body = request.json()
    tokens = [tokenize(text) for text in _inputs(body)]
    for prompt in tokens:
        engine.remember(prompt)
    packed = body.get("encoding_format") == "base64"
    data = []
    for index, ids in enumerate(tokens):
        vector = _vector(engine, ids)
        one: dict[str, object] = {"embedding": vector, "index": index, "object": "embedding"}
        if packed:
            raw = struct.pack(f"<{len(vector)}f", *vector)
            one |= {"embedding": base64.b64encode(raw).decode(), "encoding_format": "base64"}
        data.append(one)
    await reply.json(
        {
            "model": text_of(body, "model") or engine.model.model_file,
            "object": "list",
            "usage": _usage(tokens),
            "data": data,
        }
    )


async def rerank(engine: Engine, request: UpstreamRequest, reply: Reply) -> None:
    """``POST /v1/rerank``, the form with `documents`."""
    if engine.model.role != "rerank":
        raise UpstreamError(
            501, "This server does not support reranking. Start it with `--reranking`"
        )
    body = request.json()
    query, documents = text_of(body, "query"), [str(d) for d in items_of(body, "documents")]
    if not query:
        raise UpstreamError(400, '"query" must be provided')
    if not documents:
        raise UpstreamError(400, '"documents" must be a non-empty string array')
    scores = [(score(query, text), index) for index, text in enumerate(documents)]
    ranked = sorted(scores, key=lambda pair: -pair[0])
    top = body.get("top_n")
    tokens = [[*tokenize(query), *tokenize(text, bos=False)] for text in documents]
    await reply.json(
        {
            "model": text_of(body, "model") or engine.model.model_file,
            "object": "list",
            "usage": _usage(tokens),
            "results": [
                {"index": index, "relevance_score": value}
                for value, index in ranked[: top if isinstance(top, int) else len(ranked)]
            ],
        }
    )


def score(query: str, text: str) -> float:
    """How well a text fits: the share of the query's words in it, nearly; the same every time."""
    words = set(query.lower().split())
    found = words & set(text.lower().split())
    noise = zlib.crc32(f"{query}\0{text}".encode()) / 2**32
    return round(4.0 * len(found) / max(1, len(words)) - 2.0 + 0.5 * noise, 6)


def _inputs(body: Mapping[str, object]) -> list[str]:
    given = body.get("input")
    if given is None:
        raise UpstreamError(400, '"input" or "content" must be provided')
    return [str(item) for item in (given if isinstance(given, list) else [given])]


def _vector(engine: Engine, ids: Sequence[int]) -> list[float]:
    """Unit length; equal texts are equal, similar texts are near."""
    total = [0.0] * engine.model.n_embd
    for token in ids:
        for at in range(len(total)):
            seed = f"{engine.model.id}/{token}/{at}"
            total[at] += zlib.crc32(seed.encode()) / 2**31 - 1.0
    size = math.sqrt(math.fsum(x * x for x in total))
    return [x / size for x in total]


def _usage(tokens: Sequence[Sequence[int]]) -> dict[str, int]:
    total = sum(map(len, tokens))
    return {"prompt_tokens": total, "total_tokens": total}
