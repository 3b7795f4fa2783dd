"""Chat, completion, embeddings and reranking: llama.cpp's own client, over an engine of ours."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import anyio

from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import StreamInterruptedError, UnsupportedFeatureError
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Status, StreamEvent
from modelbay.models.media import (
    CompleteRequest,
    EmbedRequest,
    EmbedResult,
    RerankRequest,
    RerankResult,
)
from modelbay_embedded.engines import Engines, Loaded
from modelbay_embedded.running import make_ready
from modelbay_llamacpp import chat as llamacpp

T = TypeVar("T")

_LAST_WORDS_S = 1.0


def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Answer one chat turn; a model that is not in memory is loaded first.

    Raises:
        UnsupportedFeatureError: The file is for embeddings or reranking.
        BackendError: The model cannot be loaded; the message names the file and the reason.
        StreamInterruptedError: The engine ended in mid-answer; the message says why.
    """
    if model.capabilities.embeddings or model.capabilities.rerank:
        raise UnsupportedFeatureError(
            f"'{model.wire_id}' makes vectors and cannot chat",
            model=str(model.ref),
            hint="modelbay models   # choose another one",
        )
    return _events(
        provider, model, lambda engine, ready: llamacpp.stream_chat(engine, request, ready)
    )


def complete(
    provider: ProviderContext, request: CompleteRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Continue a raw prompt; loads and fails as `stream_chat` does."""
    return _events(provider, model, lambda engine, ready: llamacpp.complete(engine, request, ready))


async def embed(provider: ProviderContext, request: EmbedRequest, model: ModelInfo) -> EmbedResult:
    """Vectors, in the order of the texts."""
    return await _once(
        provider, model, lambda engine, ready: llamacpp.embed(engine, request, ready)
    )


async def rerank(
    provider: ProviderContext, request: RerankRequest, model: ModelInfo
) -> RerankResult:
    """Documents, the best first."""
    return await _once(
        provider, model, lambda engine, ready: llamacpp.rerank(engine, request, ready)
    )


async def _events(
    provider: ProviderContext,
    model: ModelInfo,
    ask: Callable[[ProviderContext, ModelInfo], AsyncIterator[StreamEvent]],
) -> AsyncIterator[StreamEvent]:
    engines = Engines.of(provider)
    if engines.state(model.wire_id) != "loaded":
        yield Status("loading", message=f"loading {model.wire_id}")
    loaded = await make_ready(provider, model.wire_id)
    try:
        async with closing(ask(loaded.context, _ready(model))) as events:
            async for event in events:
                yield event
    except StreamInterruptedError as exc:
        raise await _with_reason(exc, loaded) from exc
    finally:
        engines.release(loaded)


async def _once(
    provider: ProviderContext,
    model: ModelInfo,
    ask: Callable[[ProviderContext, ModelInfo], Awaitable[T]],
) -> T:
    loaded = await make_ready(provider, model.wire_id)
    try:
        return await ask(loaded.context, _ready(model))
    except StreamInterruptedError as exc:
        raise await _with_reason(exc, loaded) from exc
    finally:
        Engines.of(provider).release(loaded)


def _ready(model: ModelInfo) -> ModelInfo:
    """The model as it is now; the caller's word for its state is from before the load."""
    return model if model.state == "loaded" else model.model_copy(update={"state": "loaded"})


async def _with_reason(exc: StreamInterruptedError, loaded: Loaded) -> StreamInterruptedError:
    """The same interruption, with what the engine said when it ended."""
    with anyio.move_on_after(_LAST_WORDS_S):  # the connection breaks before the process is gone
        await loaded.engine.wait_closed()
    reason = loaded.engine.reason()
    if reason is None:
        return exc
    return StreamInterruptedError(
        f"the engine of '{loaded.name}' ended: {reason}",
        partial=exc.partial,
        provider_id=exc.provider_id,
        model=exc.model,
        hint="ask again; the model is then loaded anew",
    )
