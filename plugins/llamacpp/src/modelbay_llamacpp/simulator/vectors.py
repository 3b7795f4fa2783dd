"""Embeddings and rerank."""

import base64
import math
import struct
import zlib
from collections.abc import Sequence

from modelbay_llamacpp.simulator.answer import ApiError, Call, flag_of, items_of, text_of
from modelbay_llamacpp.simulator.engine import Engine
from modelbay_llamacpp.simulator.model import tokenize
from modelbay_llamacpp.simulator.native import prompt_tokens

Vector = list[float]


async def openai_embeddings(engine: Engine, call: Call) -> None:
    """``POST /v1/embeddings``; `content` instead of `input` switches to the native answer."""
    _need_embeddings(engine)
    if "input" not in call.body and "content" in call.body:
        await native_embeddings(engine, call)
        return
    if engine.model.pooling == "none":
        raise ApiError(
            400,
            "Pooling type 'none' is not OAI compatible. Please use a different pooling type",
        )
    inputs = _inputs(call)
    form = call.body.get("encoding_format", "float")
    if form not in ("float", "base64"):
        raise ApiError(400, "The format to return the embeddings in. Can be either float or base64")
    tokens = [_checked(engine, one) for one in inputs]
    data = []
    for index, ids in enumerate(tokens):
        vector = _normalised(_pooled(engine, ids), call.body.get("embd_normalize"))
        one: dict[str, object] = {"embedding": vector, "index": index, "object": "embedding"}
        if form == "base64":
            packed = struct.pack(f"<{len(vector)}f", *vector)
            one |= {"embedding": base64.b64encode(packed).decode(), "encoding_format": "base64"}
        data.append(one)
    await call.json(
        {
            "model": text_of(call.body, "model") or engine.model.id,  # echoed unchecked
            "object": "list",
            "usage": _usage(tokens),
            "data": data,
        }
    )


async def native_embeddings(engine: Engine, call: Call) -> None:
    """``POST /embeddings``: a list of vectors for each input, one per token with pooling none."""
    _need_embeddings(engine)
    answers = []
    for index, one in enumerate(_inputs(call)):
        ids = _checked(engine, one)
        if engine.model.pooling == "none":
            vectors = [_token_vector(engine, token) for token in ids]
        else:
            vectors = [_normalised(_pooled(engine, ids), call.body.get("embd_normalize"))]
        answers.append({"index": index, "embedding": vectors})
    await call.json(answers)


async def rerank(engine: Engine, call: Call) -> None:
    """``POST /v1/rerank``: `documents` for the Jina form, `texts` for the TEI form."""
    if not engine.model.rerank:
        raise ApiError(501, "This server does not support reranking. Start it with `--reranking`")
    query = call.body.get("query")
    if not isinstance(query, str):
        raise ApiError(400, '"query" must be provided')
    tei = "texts" in call.body
    documents = [d for d in items_of(call.body, "texts" if tei else "documents")]
    if not documents:
        raise ApiError(400, '"documents" must be a non-empty string array')
    texts = [str(document) for document in documents]
    ranked = sorted(
        ((score(query, text), index) for index, text in enumerate(texts)), key=lambda s: -s[0]
    )
    top = call.body.get("top_n")
    ranked = ranked[: top if isinstance(top, int) else len(ranked)]
    if tei:
        with_text = flag_of(call.body, "return_text")
        await call.json(
            [
                {"index": i, "score": s, **({"text": texts[i]} if with_text else {})}
                for s, i in ranked
            ]
        )
        return
    tokens = [[*tokenize(query), *tokenize(text)] for text in texts]
    await call.json(
        {
            "model": text_of(call.body, "model") or engine.model.id,
            "object": "list",
            "usage": _usage(tokens),
            "results": [{"index": i, "relevance_score": s} for s, i in ranked],
        }
    )


def score(query: str, text: str) -> float:
    """How well a text fits: the share of the query's words in it, nearly; the same every time."""
    words = set(query.lower().split())
    found = words & set(text.lower().split())
    noise = zlib.crc32(f"{query}\0{text}".encode()) / 2**32
    return round(4.0 * len(found) / max(1, len(words)) - 2.0 + 0.5 * noise, 6)


def _need_embeddings(engine: Engine) -> None:
    if not (engine.model.embeddings or engine.model.rerank):
        raise ApiError(501, "This server does not support embeddings. Start it with `--embeddings`")


def _inputs(call: Call) -> list[object]:
    given = call.body.get("input", call.body.get("content"))
    if given is None:
        raise ApiError(400, '"input" or "content" must be provided')
    if not isinstance(given, list):
        return [given]
    if not given:
        raise ApiError(400, '"input" must not be empty')
    return [given] if all(isinstance(item, int) for item in given) else given


def _checked(engine: Engine, one: object) -> list[int]:
    """Tokens of one input.

    Raises:
        ApiError: 500 for one that is longer than the physical batch, 400 beyond the context.
    """
    model, ids = engine.model, prompt_tokens(one)
    if len(ids) > model.batch:
        raise ApiError(
            500,
            f"input ({len(ids)} tokens) is too large to process. increase the physical batch size "
            f"(current batch size: {model.batch})",
        )
    if len(ids) > model.n_ctx:
        raise ApiError(
            400,
            f"request ({len(ids)} tokens) exceeds the available context size ({model.n_ctx} "
            "tokens), try increasing it",
            "exceed_context_size_error",
            n_prompt_tokens=len(ids),
            n_ctx=model.n_ctx,
        )
    return ids


def _pooled(engine: Engine, ids: Sequence[int]) -> Vector:
    """The mean of the token vectors: equal texts are equal, similar texts are near."""
    vectors = [_token_vector(engine, token) for token in ids]
    return [sum(column) / max(1, len(vectors)) for column in zip(*vectors, strict=True)]


def _token_vector(engine: Engine, token: int) -> Vector:
    seed = f"{engine.model.id}/{token}"
    numbers = (zlib.crc32(f"{seed}/{at}".encode()) for at in range(engine.model.n_embd))
    return [number / 2**31 - 1.0 for number in numbers]


def _normalised(vector: Vector, how: object) -> Vector:
    """-1 not at all, 0 by the largest, 1 taxicab, 2 Euclidean (default), above that the p-norm."""
    kind = how if isinstance(how, int) else 2
    if kind < 0:
        return vector
    if kind == 0:
        size = max(map(abs, vector)) / 32_760.0
    else:
        size = math.fsum(abs(x) ** kind for x in vector) ** (1.0 / kind)
    return [x / size for x in vector] if size else vector


def _usage(tokens: Sequence[Sequence[int]]) -> dict[str, int]:
    total = sum(map(len, tokens))
    return {"prompt_tokens": total, "total_tokens": total}
