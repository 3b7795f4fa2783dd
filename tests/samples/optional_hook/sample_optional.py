"""A frozen sample: it also has a hook that only some other core knows, and says so."""

from collections.abc import AsyncIterator

from modelbay.context import ProviderContext
from modelbay.hookspecs import hookimpl
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, StreamEvent, TextDelta
from modelbay.models.manage import Action, Done, ManageEvent


@hookimpl
def capabilities(provider: ProviderContext) -> CapabilityTable:
    return CapabilityTable()


@hookimpl
async def discover_models(provider: ProviderContext) -> list[DiscoveredModel]:
    return [DiscoveredModel(wire_id="parrot")]


@hookimpl
async def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    yield TextDelta(request.messages[-1].text)
    yield Finish("stop")


@hookimpl
async def manage(provider: ProviderContext, action: Action) -> AsyncIterator[ManageEvent]:
    yield Done()


@hookimpl(optionalhook=True)
def dream(provider: ProviderContext, night: object) -> str:
    return "of electric sheep"
