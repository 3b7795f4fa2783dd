"""A chat turn: what is told to the caller, what is remembered, and what is asked again."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

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
)
from modelbay_deepseek import client, config
from modelbay_deepseek.attempts import Begun, answering
from modelbay_deepseek.encoding import Encoded, encode
from modelbay_deepseek.failures import retired
from modelbay_deepseek.json_answers import JsonAnswers
from modelbay_deepseek.kept_reasoning import Asked
from modelbay_deepseek.memory import memory
from modelbay_deepseek.table import RETIRED
from modelbay_deepseek.thinking import decide


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

    def recall(calls: Sequence[str]) -> str | None:
        return known.kept.find(calls, now())

    encoded = encode(request, model.wire_id, thinking, recall, users_limit(model))
    for notice in (*of_retirement(provider, model), *encoded.notices):
        yield notice
    if known.gate is not None and not known.gate.value:
        yield Status("queued", message="waiting for a place: maxConcurrent of this provider")
    thought: list[str] = []
    made: list[ToolCall] = []
    said = False
    async with _answer(provider, request, model, encoded) as begun:
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
                    made.append(event)
                case Finish():
                    if made:
                        names = Asked(request.messages).names(made)
                        known.kept.keep(names, "".join(thought), now())
                    for notice in _last_words(event, said=said):
                        yield notice
            yield event
            following = await anext(begun.rest, None)
            if following is None:
                return
            event = following


def _answer(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo, encoded: Encoded
) -> AbstractAsyncContextManager[Begun]:
    places = config.addresses(provider)
    url = places.beta_chat if encoded.beta else places.chat
    once_more = None
    if isinstance(request.response_format, JsonMode):
        once_more = JsonAnswers(streamed=request.stream).look
    return answering(
        lambda: client.answer(provider, url, encoded.body, model.wire_id),
        config.options(provider).retries,
        memory(provider).gate,
        once_more,
    )


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
