"""What First means to modelbay. Read this file first; what the bytes mean is in `wire`."""

from collections.abc import AsyncIterator

from modelbay.client.http import fetch_json, open_stream, raise_for_status
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import StreamInterruptedError, UnsupportedActionError
from modelbay.hookspecs import hookimpl
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, StreamEvent, TextDelta
from modelbay.models.manage import Action, ManageEvent
from modelbay.models.provider import ProviderConfig
from modelbay.wire.lines import LineDecoder
from modelbay_first.table import ADDRESS, TABLE
from modelbay_first.wire import Listing, decode_line, encode_chat

capabilities = hookimpl(lambda: TABLE)


@hookimpl
def default_providers() -> list[ProviderConfig]:
    return [ProviderConfig(id="first", kind="first", base_url=ADDRESS, source="loopback")]


@hookimpl
async def discover_models(provider: ProviderContext) -> list[DiscoveredModel]:
    listing = await fetch_json(provider, "GET", "api/models", into=Listing)
    return [DiscoveredModel(wire_id=model.name) for model in listing.models]


@hookimpl
async def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    body = encode_chat(request, model.ref.wire_id)
    lines, partial, finished = LineDecoder(), "", False
    try:
        async with open_stream(provider, "POST", "api/chat", json=body) as response:
            await raise_for_status(provider, response, model=str(model.ref))
            async with closing(response.blocks()) as blocks:
                async for block in blocks:
                    for line in lines.feed(block):
                        for event in decode_line(line):
                            partial += event.text if isinstance(event, TextDelta) else ""
                            finished = isinstance(event, Finish)
                            yield event
            if not finished:
                raise StreamInterruptedError("the answer broke off")
    except StreamInterruptedError as exc:
        exc.partial = partial
        raise


@hookimpl
def manage(action: Action) -> AsyncIterator[ManageEvent]:
    raise UnsupportedActionError(f"first cannot {action.action}")
