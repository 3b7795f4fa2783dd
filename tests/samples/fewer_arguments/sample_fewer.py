"""A frozen sample: each hook names fewer arguments than it is offered, in an order of its own."""

from collections.abc import AsyncIterator

from modelbay.hookspecs import hookimpl
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, StreamEvent, TextDelta
from modelbay.models.manage import Done, ManageEvent
from modelbay.models.provider import ProviderConfig


@hookimpl
def capabilities() -> CapabilityTable:
    return CapabilityTable(actions=frozenset({"health"}))


@hookimpl
def default_providers() -> list[ProviderConfig]:
    return [ProviderConfig(id="fewer", kind="fewer", base_url="http://fewer", source="bundled")]


@hookimpl
async def discover_models() -> list[DiscoveredModel]:
    return [DiscoveredModel(wire_id="parrot")]


@hookimpl
async def stream_chat(request: ChatRequest) -> AsyncIterator[StreamEvent]:
    yield TextDelta(request.messages[-1].text)
    yield Finish("stop")


@hookimpl
async def manage() -> AsyncIterator[ManageEvent]:
    yield Done()
