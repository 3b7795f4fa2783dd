"""Raw completion and fill-in-the-middle; beta, and without thinking."""

from collections.abc import AsyncIterator
from contextlib import nullcontext

from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.models.catalog import ModelInfo
from modelbay.models.events import Status, StreamEvent
from modelbay.models.media import CompleteRequest
from modelbay.wire.openai_misc import encode_complete
from modelbay_deepseek import client, config
from modelbay_deepseek.attempts import begin
from modelbay_deepseek.chat import of_retirement
from modelbay_deepseek.memory import memory


async def complete(
    provider: ProviderContext, request: CompleteRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Continue a raw prompt over ``POST /beta/completions``, or with a suffix fill in the middle.

    One answer has at most 4096 tokens there.
    """
    config.require_key(provider)
    known = memory(provider)
    for notice in of_retirement(provider, model):
        yield notice
    body = encode_complete(request, model.wire_id)
    url = config.addresses(provider).completions
    if known.gate is not None and not known.gate.value:
        yield Status("queued", message="waiting for a place: maxConcurrent of this provider")
    async with known.gate or nullcontext():
        begun = await begin(
            lambda: client.answer(provider, url, body, model.wire_id),
            config.options(provider).retries,
        )
        async with closing(begun.rest) as rest:
            yield begun.first
            async for event in rest:
                yield event
