"""The other OpenAI-style endpoints: model list, embeddings, rerank, images, text completion."""

import base64
import struct

import msgspec

from modelbay.errors import ProtocolError
from modelbay.models.events import Usage
from modelbay.models.frozen import JsonObject
from modelbay.models.media import (
    CompleteRequest,
    EmbedRequest,
    EmbedResult,
    RankedDocument,
    RerankRequest,
    RerankResult,
)


class ListEntry(msgspec.Struct):
    """One entry of ``data`` in ``GET /v1/models``; servers add fields of their own."""

    id: str
    owned_by: str | None = None


class ModelListBody(msgspec.Struct):
    data: list[ListEntry]


class _Vector(msgspec.Struct):
    embedding: list[float] | str
    index: int | None = None


class _Tokens(msgspec.Struct):
    prompt_tokens: int | float | None = None


class EmbeddingsBody(msgspec.Struct):
    data: list[_Vector]
    model: str | None = None
    usage: _Tokens | None = None


class _Ranked(msgspec.Struct):
    index: int
    relevance_score: float


class RerankBody(msgspec.Struct):
    results: list[_Ranked]
    model: str | None = None
    usage: _Tokens | None = None


def encode_embed(request: EmbedRequest, wire_id: str) -> JsonObject:
    """The body of ``POST .../embeddings``."""
    body: JsonObject = {"model": wire_id, "input": list(request.input), **request.extra}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return body


def decode_embed(body: EmbeddingsBody, inputs: int) -> EmbedResult:
    """Vectors in the order of the inputs, whatever order they came in.

    Where none says which text it is for, they stand in the order of the texts.

    Raises:
        ProtocolError: There is not one vector for each input.
    """
    numbers = [item.index for item in body.data if item.index is not None] or range(len(body.data))
    found = dict(zip(numbers, (item.embedding for item in body.data), strict=False))
    if len(body.data) != inputs or found.keys() != set(range(inputs)):
        raise ProtocolError(
            f"{inputs} texts were sent and {len(body.data)} vectors came back, for the texts"
            f" {sorted(found)}",
            stage="decode",
        )
    vectors = [_floats(found[index]) for index in range(inputs)]
    usage = _usage(body.usage)
    return EmbedResult(vectors=vectors, model=body.model, usage=usage)


def _usage(tokens: _Tokens | None) -> Usage | None:
    count = None if tokens is None else tokens.prompt_tokens
    return None if count is None or count < 0 else Usage(int(count), 0)


def _floats(value: list[float] | str) -> list[float]:
    if not isinstance(value, str):
        return value
    try:
        raw = base64.b64decode(value, validate=True)
        return [number for (number,) in struct.iter_unpack("<f", raw)]  # little-endian float32
    except (ValueError, struct.error) as exc:
        raise ProtocolError(f"a vector is no base64 of numbers: {exc}", stage="decode") from exc


def encode_rerank(request: RerankRequest, wire_id: str) -> JsonObject:
    """The body of ``POST .../rerank``."""
    body: JsonObject = {
        "model": wire_id,
        "query": request.query,
        "documents": list(request.documents),
        **request.extra,
    }
    if request.top_n is not None:
        body["top_n"] = request.top_n
    return body


def decode_rerank(body: RerankBody) -> RerankResult:
    """Documents by falling score."""
    ranked = sorted(body.results, key=lambda item: -item.relevance_score)
    usage = _usage(body.usage)
    return RerankResult(
        results=[RankedDocument(index=r.index, score=r.relevance_score) for r in ranked],
        model=body.model,
        usage=usage,
    )


def encode_complete(request: CompleteRequest, wire_id: str) -> JsonObject:
    """The body of ``POST .../completions``; its chunks are read by `ChatDecoder`."""
    body: JsonObject = {
        "model": wire_id,
        "prompt": request.prompt,
        "stream": request.stream,
        **request.extra,
    }
    if request.stream:
        body["stream_options"] = {"include_usage": True}
    if request.suffix is not None:
        body["suffix"] = request.suffix
    if request.max_tokens is not None:
        body["max_tokens"] = request.max_tokens
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.stop:
        body["stop"] = list(request.stop)
    return body
