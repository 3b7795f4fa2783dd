"""Chat, raw completion, embeddings and reranking on one llama-server model."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import NoReturn

from modelbay.client import openai_compat
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import (
    BackendBusyError,
    BackendError,
    ModelbayError,
    StreamInterruptedError,
    UnsupportedFeatureError,
)
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import (
    Finish,
    Notice,
    ReasoningDelta,
    Status,
    StreamEvent,
    TextDelta,
)
from modelbay.models.media import (
    CompleteRequest,
    EmbedRequest,
    EmbedResult,
    RerankRequest,
    RerankResult,
)
from modelbay.wire.openai_chat import Dialect
from modelbay_llamacpp import config, infill
from modelbay_llamacpp.config import at
from modelbay_llamacpp.failures import (
    BATCH_TOO_SMALL,
    CONTEXT_FULL,
    NO_IMAGES,
    NO_JINJA,
    NOT_LOADED,
    classify,
)
from modelbay_llamacpp.memory import memory
from modelbay_llamacpp.prefill import PrefillStripper, prefill_of
from modelbay_llamacpp.probe import model_props
from modelbay_llamacpp.waiting import Waiting, patiently, waiting_for
from modelbay_llamacpp.wire import TemplateCaps

_FIXED = "the server fixes it at its start (llama-server --ctx-size, or ctx-size in a preset)"


def dialect(provider: ProviderContext) -> Dialect:
    """How llama-server differs from other OpenAI-style servers."""
    return Dialect(
        named_tool_choice="single",  # it reads the object as "auto" without a word (trap 14)
        tools_with_format=False,  # the format wins and the call comes as text (trap 17)
        reasoning_history="reasoning_content",
        image_urls=config.options(provider).allow_remote_media,  # the server fetches them (trap 36)
        renamed={"repetition_penalty": "repeat_penalty", "num_predict": "max_tokens"},
        fixed_at_start={"num_ctx": _FIXED, "n_ctx": _FIXED},
    )


async def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Answer one chat turn.

    The wire is always a stream, whatever the request says: a busy server never notices that the
    caller of a plain request has gone, and goes on computing for nobody (trap 38).

    Raises:
        UnsupportedFeatureError: Among others tools for a model whose template drops them silently.
        BackendBusyError: It was still loading, or had no place, when `busy_wait_s` was over.
    """
    streamed = request if request.stream else request.model_copy(update={"stream": True})
    dialect_ = dialect(provider)
    stripper = PrefillStripper(prefill_of(request))
    said = thought = False
    with memory(provider).using(model.wire_id):
        if model.state in ("unloaded", "failed", "loading"):
            yield Status("loading")
        if request.tools:
            await _require_tools(provider, model)
        events = _attempts(
            provider,
            model,
            lambda: openai_compat.stream_chat(
                provider,
                streamed,
                model,
                dialect=dialect_,
                path=at(provider, "v1/chat/completions"),
                classify=classify,
                pings=True,
                extra={"return_progress": True},
            ),
        )
        try:
            async with closing(events):
                async for event in events:
                    if isinstance(event, TextDelta):
                        if stripper.pending:
                            text = stripper.feed(event.text)
                            if not text:
                                continue
                            event = TextDelta(text)
                        said = True
                    elif isinstance(event, ReasoningDelta):
                        thought = True
                    elif not isinstance(event, (Status, Notice)):
                        if stripper.pending and (rest := stripper.close()):
                            said = True
                            yield TextDelta(rest)
                        if isinstance(event, Finish):
                            for notice in _last_words(event, model, said=said, thought=thought):
                                yield notice
                    yield event
        except StreamInterruptedError as exc:
            exc.partial = exc.partial.removeprefix(stripper.prefix)
            raise


def _last_words(finish: Finish, model: ModelInfo, *, said: bool, thought: bool) -> list[Notice]:
    notices = []
    if finish.reason == "length" and thought and not said:
        notices.append(
            Notice(
                "truncated",
                "the output limit was used up by the model's thinking; raise max_tokens, or send"
                ' extra={"reasoning_budget_tokens": N}',
            )
        )
    if finish.model not in (None, model.wire_id, *model.aliases):
        # A single-model server takes any name; it was started anew with another model (trap 18).
        notices.append(Notice("other_model", f"the server answered with '{finish.model}'"))
    return notices


async def complete(
    provider: ProviderContext, request: CompleteRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Continue a raw prompt, or with a suffix fill in the middle."""
    wanted = request.model_copy(
        update={
            "stream": True,  # trap 38
            # Without a limit a model that loops runs until its context is full (trap 22).
            "max_tokens": request.max_tokens or model.capabilities.max_output_tokens,
        }
    )

    def start() -> AsyncIterator[StreamEvent]:
        if wanted.suffix is not None:
            return infill.stream(provider, wanted, model)
        return openai_compat.complete(
            provider,
            wanted,
            model,
            path=at(provider, "v1/completions"),
            classify=classify,
            pings=True,
        )

    with memory(provider).using(model.wire_id):
        if model.state in ("unloaded", "failed", "loading"):
            yield Status("loading")
        events = _attempts(provider, model, start)
        async with closing(events):
            async for event in events:
                yield event


async def embed(provider: ProviderContext, request: EmbedRequest, model: ModelInfo) -> EmbedResult:
    """Vectors for texts.

    Raises:
        UnsupportedFeatureError: The server was not started for embeddings, or ``dimensions`` was
            set: this server would ignore it (trap 30).
    """
    if request.dimensions is not None:
        raise UnsupportedFeatureError(
            "llama.cpp gives vectors of the model's own size and would ignore dimensions",
            model=str(model.ref),
            hint="leave dimensions out",
            stage="encode",
        )
    with _using(provider, model):
        return await patiently(
            provider,
            lambda: openai_compat.embed(
                provider, request, model, path=at(provider, "v1/embeddings"), classify=classify
            ),
        )


async def rerank(
    provider: ProviderContext, request: RerankRequest, model: ModelInfo
) -> RerankResult:
    """Documents, the best first.

    Raises:
        UnsupportedFeatureError: The server was not started for reranking.
    """
    with _using(provider, model):
        return await patiently(
            provider,
            lambda: openai_compat.rerank(
                provider, request, model, path=at(provider, "v1/rerank"), classify=classify
            ),
        )


# --- tools ---------------------------------------------------------------------------------------


async def _require_tools(provider: ProviderContext, model: ModelInfo) -> None:
    """Refuse tools where the template would drop them without a word (trap 15).

    A single-model server's template is in its capabilities. A router tells only about models that
    run. So it is asked here, once for each run of a model: first without loading anything, then by
    a look that loads what the chat is about to load anyway.

    Raises:
        UnsupportedFeatureError: The template knows no tools.
    """
    tools = model.capabilities.tools
    if tools is None:
        known = memory(provider)
        caps = known.templates.get(model.wire_id)
        if caps is None:
            caps = await patiently(provider, lambda: _template(provider, model))
            if caps is None:
                return
            known.templates[model.wire_id] = caps
        tools = caps.tools
    if tools is False:
        raise UnsupportedFeatureError(
            f"the chat template of '{model.wire_id}' knows no tools; they would be dropped",
            model=str(model.ref),
            hint="choose a model with tools, or start llama-server with --chat-template-file",
            stage="encode",
        )


async def _template(provider: ProviderContext, model: ModelInfo) -> TemplateCaps | None:
    """What the template can do; ``None`` if the server does not say."""
    try:
        props = await model_props(provider, model.wire_id)
    except BackendError as exc:
        if exc.status == 404:
            return None
        if NOT_LOADED not in exc.message:
            raise
        try:
            props = await model_props(provider, model.wire_id, load=True)
        except BackendError as again:
            _raise_explained(again, model)
    return props.chat_template_caps


# --- waiting and explaining ----------------------------------------------------------------------


async def _attempts(
    provider: ProviderContext, model: ModelInfo, start: Callable[[], AsyncIterator[StreamEvent]]
) -> AsyncIterator[StreamEvent]:
    """The events of the first try that the server takes up.

    Only a server that is loading or full is asked again, and only while nothing of an answer has
    come: most of its 500s are final (trap 12).
    """
    waiting = Waiting(provider)
    told: list[StreamEvent] = []
    shown: str | None = None
    while True:
        begun = False
        events = start()
        try:
            async with closing(events):
                async for event in events:
                    if not begun:
                        if isinstance(event, Notice):  # about the request: the same at each try
                            if event in told:
                                continue
                            told.append(event)
                        else:
                            begun = True
                    yield event
            return
        except BackendBusyError as exc:
            if begun:
                raise
            busy = exc
        except BackendError as exc:
            _raise_explained(exc, model)
        state = waiting_for(busy)
        if state != shown and not (shown is None and state == "loading" and _is_told(model)):
            yield Status(state)
        shown = state
        await waiting.pause(busy)


def _is_told(model: ModelInfo) -> bool:
    """The caller has heard already that the model has to be loaded."""
    return model.state in ("unloaded", "failed", "loading")


class _using(AbstractContextManager[None]):  # noqa: N801 - reads like the function it wraps
    """Count a request as running, and explain what goes wrong in it."""

    def __init__(self, provider: ProviderContext, model: ModelInfo) -> None:
        self._model = model
        self._counted = memory(provider).using(model.wire_id)

    def __enter__(self) -> None:
        self._counted.__enter__()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._counted.__exit__(None, None, None)
        if isinstance(error, BackendError):
            _raise_explained(error, self._model)


def _raise_explained(exc: BackendError, model: ModelInfo) -> NoReturn:
    explained = _explained(exc, model)
    if explained is exc:
        raise exc
    raise explained from exc


def _explained(exc: BackendError, model: ModelInfo) -> ModelbayError:
    """The error with the next step in its hint; another class where the server cannot at all."""
    text = exc.message
    if exc.status == 501 or text.startswith(NO_IMAGES) or NO_JINJA in text:
        return UnsupportedFeatureError(
            text, provider_id=exc.provider_id, model=str(model.ref), hint=_missing(text)
        )
    if exc.hint is None:
        exc.hint = _hint(text, model)
    return exc


def _missing(text: str) -> str:
    """What the server would have to be started with."""
    if "embeddings" in text:
        return "start llama-server with --embeddings"
    if "reranking" in text:
        return "start llama-server with --reranking"
    if "nfill" in text:
        return "choose a model with fill-in-the-middle tokens"
    if NO_JINJA in text:
        return "start llama-server without --no-jinja"
    if text.startswith(NO_IMAGES):
        return "start llama-server with --mmproj FILE, or choose a model with a projector"
    return "llama-server --help   # shows which option switches it on"


def _hint(text: str, model: ModelInfo) -> str | None:
    if NOT_LOADED in text:
        return f"modelbay load {model.ref}   # this router does not load by itself"
    if CONTEXT_FULL in text:
        # Without -np four slots share one context, and each claims the whole of it (trap 21).
        return "start llama-server with -np N, so that every request has a context of its own"
    if "exceeds the available context size" in text:
        return "shorten the conversation, or start llama-server with a larger --ctx-size"
    if BATCH_TOO_SMALL in text:
        return "send shorter texts, or start llama-server with a larger --ubatch-size"
    if "failed to load" in text:
        return f"modelbay show {model.ref}   # and read the server's log: file or memory"
    return None
