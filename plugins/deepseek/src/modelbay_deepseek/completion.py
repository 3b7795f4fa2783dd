"""Raw completion and fill-in-the-middle; beta, and without thinking."""

from collections.abc import AsyncIterator

from modelbay.context import ProviderContext
from modelbay.models.catalog import ModelInfo
from modelbay.models.events import Status, StreamEvent
from modelbay.models.media import CompleteRequest
from modelbay.wire.openai_misc import encode_complete
from modelbay_deepseek import client, config, encoding
from modelbay_deepseek.attempts import answering
from modelbay_deepseek.chat import of_retirement
from modelbay_deepseek.encoding import passed_on
from modelbay_deepseek.memory import memory

_NO_CHAT = "a raw prompt is no chat"
LEFT_OUT = {
    **encoding.LEFT_OUT,
    "prompt": "the request's own prompt decides",
    "reasoning_effort": "raw completion is without thinking",
    "response_format": _NO_CHAT,
    "suffix": "the request's own suffix decides",
    "thinking": "raw completion is without thinking",
    "tool_choice": _NO_CHAT,
    "tools": _NO_CHAT,
}


async def complete(
    provider: ProviderContext, request: CompleteRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Continue a raw prompt over ``POST /beta/completions``, or with a suffix fill in the middle.

    One answer has at most 4096 tokens there; more is refused by the server.

    Raises:
        UnsupportedFeatureError: More than one answer is asked for.
    """
    config.require_key(provider)
    known = memory(provider)
    for notice in of_retirement(provider, model):
        yield notice
    extra, notices = passed_on(
        request.extra, LEFT_OUT, request.model_dump(include={"max_tokens", "stop", "temperature"})
    )
    for notice in notices:
        yield notice
    body = encode_complete(request.model_copy(update={"extra": extra}), model.wire_id)
    url = config.addresses(provider).completions
    if known.gate is not None and not known.gate.value:
        yield Status("queued", message="waiting for a place: maxConcurrent of this provider")
    async with answering(
        lambda: client.answer(provider, url, body, model.wire_id),
        config.options(provider).retries,
        known.gate,
    ) as begun:
        yield begun.first
        async for event in begun.rest:
            yield event
