"""A chat turn: what is told to the caller, what is remembered, and what is asked again."""

from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext

from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import ChatRequest, JsonMode
from modelbay.models.events import (
    Finish,
    Notice,
    ReasoningDelta,
    Status,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from modelbay_deepseek import client, config
from modelbay_deepseek.attempts import Begun, begin
from modelbay_deepseek.encoding import Encoded, encode
from modelbay_deepseek.failures import retired
from modelbay_deepseek.memory import memory
from modelbay_deepseek.table import RETIRED
from modelbay_deepseek.thinking import decide

_SAID = (TextDelta, ToolCall)
_CONTENT = (*_SAID, ReasoningDelta, ToolCallDelta)


async def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Answer one chat turn.

    Raises:
        AuthenticationError: There is no key; nobody is asked.
        ModelNotFoundError: The id was retired; the hint names its successor.
        UnsupportedFeatureError: A forced tool call together with thinking, among others.
        QuotaExceededError: The account is empty, or too low for so many requests at once.
    """
    config.require_key(provider)
    chosen, known = config.options(provider), memory(provider)
    thinking = decide(request, default=chosen.thinking, default_effort=chosen.effort)
    now = provider.resources.monotonic

    def recall(call_ids: Sequence[str]) -> str | None:
        return known.kept.find(call_ids, now())

    encoded = encode(request, model.wire_id, thinking, recall, users_limit(model))
    for notice in (*of_retirement(provider, model), *encoded.notices):
        yield notice
    if known.gate is not None and not known.gate.value:
        yield Status("queued", message="waiting for a place: maxConcurrent of this provider")
    thought: list[str] = []
    call_ids: list[str] = []
    said = False
    async with known.gate or nullcontext():
        begun = await _begin(provider, request, model, encoded)
        async with closing(begun.rest) as rest:
            event = begun.first
            while True:
                match event:
                    case ReasoningDelta():
                        if request.tools:
                            thought.append(event.text)
                    case TextDelta():
                        said = True
                    case ToolCall():
                        said = True
                        if event.id != f"call_{event.index}":  # made up where the server gave none
                            call_ids.append(event.id)
                    case Finish():
                        known.kept.keep(call_ids, "".join(thought), now())
                        for notice in _last_words(event, said=said):
                            yield notice
                yield event
                following = await anext(rest, None)
                if following is None:
                    return
                event = following


async def _begin(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo, encoded: Encoded
) -> Begun:
    """The answer, up to its first event.

    In JSON mode the server now and then says nothing at all; it is asked once more then, as long
    as nothing has been handed on. Of a streamed answer its thinking has been.
    """
    retries = config.options(provider).retries
    places = config.addresses(provider)
    url = places.beta_chat if encoded.beta else places.chat

    def start() -> AsyncIterator[StreamEvent]:
        return client.answer(provider, url, encoded.body, model.wire_id)

    begun = await begin(start, retries)
    if not retries or not isinstance(request.response_format, JsonMode):
        return begun
    if request.stream:
        if isinstance(begun.first, _CONTENT):
            return begun
        async with closing(begun.rest):
            pass
        return await begin(start, retries)
    events = [begun.first, *[event async for event in begun.rest]]
    if not any(isinstance(event, _SAID) for event in events):
        return await begin(start, retries)
    return Begun(events[0], _again(events[1:]))


async def _again(events: Sequence[StreamEvent]) -> AsyncIterator[StreamEvent]:
    for event in events:
        yield event


def users_limit(model: ModelInfo) -> int | None:
    """The limit of an answer the user has set for this model; none is sent for the model's own.

    The most a model can write is no sensible limit: together with a long conversation it does not
    fit the context, and the request would be refused.
    """
    origin = model.capabilities.provenance.get("max_output_tokens")
    if origin is None or origin.layer != "user":
        return None
    return model.capabilities.max_output_tokens


def of_retirement(provider: ProviderContext, model: ModelInfo) -> list[Notice]:
    """What to say of a retired id; once for each provider.

    Raises:
        ModelNotFoundError: Nothing answers under it. Known without asking: some who asked were
            left hanging. A server that lists the id is asked all the same.
    """
    old, known = RETIRED.get(model.wire_id), memory(provider)
    if old is None or model.wire_id in known.listed:
        return []
    if not old.routed:
        raise retired(model.wire_id, old, provider.id)
    if model.wire_id in known.told:
        return []
    known.told.add(model.wire_id)
    return [
        Notice(
            "retired_model",
            f"'{model.wire_id}' is retired ({old.note}); its successor is '{old.successor}'",
        )
    ]


def _last_words(finish: Finish, *, said: bool) -> list[Notice]:
    if said:
        return []
    if finish.reason == "length":
        return [
            Notice(
                "truncated",
                "max_tokens covers the thinking too, and left no room for an answer; raise it, or"
                ' send reasoning_effort "none"',
            )
        ]
    return [Notice("empty_answer", "DeepSeek ended its answer without saying anything")]
