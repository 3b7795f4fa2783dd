"""What Quill means to modelbay. Read this file first; what the bytes mean is in `wire`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal
from urllib.parse import quote

from modelbay.client.http import open_stream, raise_for_status, read_body
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import ProtocolError, StreamInterruptedError, UnsupportedActionError
from modelbay.hookspecs import hookimpl
from modelbay.models.capabilities import CapabilityTable, Facts
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, StreamEvent, TextDelta
from modelbay.models.manage import (
    Action,
    Done,
    Health,
    HealthReport,
    ListedModel,
    ListModels,
    Load,
    ManageEvent,
    ModelList,
    Running,
    RunningModel,
    RunningModels,
    Unload,
)
from modelbay.models.provider import ProviderConfig

from .table import ADDRESS, TABLE
from .wire import FrameDecoder, Pen, decode_frame, decode_shelf, encode


@hookimpl
def capabilities() -> CapabilityTable:
    return TABLE


@hookimpl
def default_providers(env: Mapping[str, str]) -> Sequence[ProviderConfig]:
    named = env.get("QUILL_DESK", "").strip()
    return [
        ProviderConfig(
            id="quill",
            kind="quill",
            base_url=named or ADDRESS,
            source="environment" if named else "loopback",
        )
    ]


@hookimpl
async def discover_models(provider: ProviderContext) -> Sequence[DiscoveredModel]:
    return [
        DiscoveredModel(
            wire_id=pen.name,
            state=pen.state,
            facts=Facts(context_window=pen.span or None),
            evidence={"context_window": "span, in GET /shelf"},
        )
        for pen in await _shelf(provider)
    ]


@hookimpl
async def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    body, notices = encode(request, model.ref.wire_id)
    for notice in notices:
        yield notice
    frames, said, finished = FrameDecoder(), list[str](), False
    try:
        async with open_stream(provider, "POST", "write", json=body) as response:
            await raise_for_status(provider, response, model=str(model.ref))
            async with closing(response.blocks()) as blocks:
                async for block in blocks:
                    for letter, payload in frames.feed(block):
                        if finished:
                            break  # the pen may be dipped once more after its end
                        for event in decode_frame(letter, payload):
                            if isinstance(event, TextDelta):
                                said.append(event.text)
                            finished = isinstance(event, Finish)
                            yield event
            if not finished:
                frames.close()
                raise StreamInterruptedError("the answer ended without its end")
    except StreamInterruptedError as exc:
        exc.partial = "".join(said)
        raise
    except ProtocolError as exc:
        raise StreamInterruptedError(exc.message, partial="".join(said)) from exc


@hookimpl
async def manage(provider: ProviderContext, action: Action) -> AsyncIterator[ManageEvent]:
    match action:
        case ListModels():
            pens = await _shelf(provider)
            listed = tuple(ListedModel(wire_id=pen.name, state=pen.state) for pen in pens)
            yield ModelList(models=listed)
        case Running():
            pens = [pen for pen in await _shelf(provider) if pen.state == "loaded"]
            running = tuple(RunningModel(wire_id=pen.name, state="loaded") for pen in pens)
            yield RunningModels(models=running)
        case Health():
            await _shelf(provider)
            yield HealthReport(healthy=True, server="Quill")
        case Load():
            yield await _put(provider, action.model, "wet")
        case Unload(model=str(pen)):
            yield await _put(provider, pen, "dry")
        case Unload():
            wet = [pen.name for pen in await _shelf(provider) if pen.state == "loaded"]
            done = [await _put(provider, pen, "dry") for pen in wet]
            yield Done(changed=any(one.changed for one in done))
        case _:
            raise UnsupportedActionError(f"Quill cannot {action.action}")


async def _shelf(provider: ProviderContext) -> list[Pen]:
    async with open_stream(provider, "GET", "shelf") as response:
        await raise_for_status(provider, response)
        return decode_shelf(await read_body(response))


async def _put(provider: ProviderContext, pen: str, state: Literal["wet", "dry"]) -> Done:
    path = f"shelf/{quote(pen, safe='')}/{state}"
    async with open_stream(provider, "PUT", path) as response:
        await raise_for_status(provider, response, model=pen)
        said = (await read_body(response)).strip()
    if said not in (b"done", b"already"):
        raise ProtocolError("Quill does not say whether it was done")
    return Done(changed=said == b"done")
