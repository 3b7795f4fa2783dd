"""Embeddings over the native API."""

import logging
from dataclasses import dataclass

import msgspec

from modelbay.context import ProviderContext
from modelbay.errors import BackendError, ProtocolError, UnsupportedFeatureError
from modelbay.models.catalog import ModelInfo
from modelbay.models.events import Notice, Usage
from modelbay.models.frozen import JsonObject
from modelbay.models.media import EmbedRequest, EmbedResult
from modelbay_ollama import config
from modelbay_ollama.asking import ask
from modelbay_ollama.encoding import Setup
from modelbay_ollama.extras import take_extra
from modelbay_ollama.memory import memory
from modelbay_ollama.options import options
from modelbay_ollama.requests import as_sent, require_consent, setup_for
from modelbay_ollama.versions import reaches

log = logging.getLogger("modelbay.ollama")

VECTORS_LIMIT = 256 * 1024 * 1024  # bytes of one answer


class _Vectors(msgspec.Struct):
    embeddings: list[list[float]]
    model: str | None = None
    prompt_eval_count: int | None = None


class _OneVector(msgspec.Struct):
    embedding: list[float]


@dataclass(frozen=True, slots=True)
class _Embedding:
    body: JsonObject
    cut_to: int | None


async def embed(provider: ProviderContext, request: EmbedRequest, model: ModelInfo) -> EmbedResult:
    """Vectors over ``POST /api/embed``, in the order of the texts; of length 1.

    Raises:
        UnsupportedFeatureError: The model makes no vectors, or none of so many dimensions.
        ProtocolError: There is not one vector for each text.
    """
    await require_consent(provider, model)
    known = memory(provider)
    notices: list[Notice] = []
    wanted = _embed_request(request, model, setup_for(provider, model), notices)
    for notice in notices:  # a result has no place for them
        log.warning("provider '%s': %s", provider.id, notice.message)
    with known.using(model.wire_id):
        if not reaches(known.version, 0, 2, 6):
            return await _one_by_one(provider, request, model, wanted)
        try:
            answer = await ask(
                provider,
                "POST",
                "api/embed",
                into=_Vectors,
                json=wanted.body,
                model=str(model.ref),
                deadline_s=None,
                limit=VECTORS_LIMIT,
                busy_tries=config.options(provider).busy_tries,
            )
        except BackendError as exc:
            if exc.status == 404 and isinstance(exc, ProtocolError):  # there is no such route
                return await _one_by_one(provider, request, model, wanted)
            if exc.status == 501:
                raise UnsupportedFeatureError(
                    exc.message,
                    provider_id=provider.id,
                    model=str(model.ref),
                    hint="choose a model that makes embeddings",
                ) from exc
            raise
    num_ctx, keep_alive = as_sent(wanted.body)
    known.used(model.wire_id, provider.resources.monotonic(), keep_alive, num_ctx)
    if len(answer.embeddings) != len(request.input):
        raise ProtocolError(
            f"{len(request.input)} texts were sent and {len(answer.embeddings)} vectors came back",
            provider_id=provider.id,
            model=str(model.ref),
            stage="decode",
        )
    count = answer.prompt_eval_count
    return EmbedResult(
        vectors=_checked(provider, request, model, answer.embeddings, wanted.cut_to),
        model=answer.model,
        usage=None if count is None else Usage(max(0, count), 0),
    )


def _embed_request(
    request: EmbedRequest, model: ModelInfo, setup: Setup, notices: list[Notice]
) -> _Embedding:
    body: JsonObject = {"model": model.ref.wire_id, "input": list(request.input)}
    if setup.keep_alive is not None:
        body["keep_alive"] = setup.keep_alive
    chosen = options(setup.fixed)
    take_extra(request.extra, chosen, body, notices, thinks=False, fixed=setup.fixed)
    if chosen:
        body["options"] = chosen
    cut_to = None
    if request.dimensions is not None:
        if reaches(setup.version, 0, 11, 11):
            body["dimensions"] = request.dimensions
        else:
            cut_to = request.dimensions
    return _Embedding(body, cut_to)


async def _one_by_one(
    provider: ProviderContext, request: EmbedRequest, model: ModelInfo, wanted: _Embedding
) -> EmbedResult:
    """The old route, a text at a time; its vectors have any length."""
    vectors = []
    body = {name: value for name, value in wanted.body.items() if name not in ("input", "truncate")}
    for text in request.input:
        answer = await ask(
            provider,
            "POST",
            "api/embeddings",
            into=_OneVector,
            json={**body, "prompt": text},
            model=str(model.ref),
            deadline_s=None,
            busy_tries=config.options(provider).busy_tries,
        )
        vectors.append(_normalised(answer.embedding))
    return EmbedResult(vectors=_checked(provider, request, model, vectors, wanted.cut_to))


def _checked(
    provider: ProviderContext,
    request: EmbedRequest,
    model: ModelInfo,
    vectors: list[list[float]],
    cut_to: int | None,
) -> list[list[float]]:
    """The vectors in the size asked for; the server passes over one larger than the model's own."""
    least = min(map(len, vectors))
    if not least:
        raise ProtocolError(
            "an empty vector came back",
            provider_id=provider.id,
            model=str(model.ref),
            hint="choose a model that makes embeddings",
            stage="decode",
        )
    if request.dimensions is not None and least < request.dimensions:
        raise UnsupportedFeatureError(
            f"the model's vectors have {least} dimensions, and not {request.dimensions}",
            provider_id=provider.id,
            model=str(model.ref),
            hint=f"ask for {least} dimensions or fewer",
        )
    return [_shortened(vector, cut_to) for vector in vectors]


def _shortened(vector: list[float], size: int | None) -> list[float]:
    return vector if size is None or size >= len(vector) else _normalised(vector[:size])


def _normalised(vector: list[float]) -> list[float]:
    length = sum(value * value for value in vector) ** 0.5
    return vector if not length else [value / length for value in vector]
