"""What the host itself costs for one whole stream: parse, resolve, dispatch, guard."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from types import ModuleType

from benchmarks.measure import Ratio, ratio
from modelbay import ChatRequest, Host, ProviderConfig, user
from modelbay.context import ProviderContext
from modelbay.hookspecs import hookimpl
from modelbay.host.loader import Installed, Plugin, _manager
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.events import Finish, StreamEvent, TextDelta
from modelbay.models.manage import Action, Done, ManageEvent

BASE = "one bare pluggy call"
TABLE = CapabilityTable()
TIMES = 3000


@hookimpl
def capabilities() -> CapabilityTable:
    return TABLE


@hookimpl
async def discover_models() -> Sequence[DiscoveredModel]:
    return [DiscoveredModel(wire_id="m", state="loaded")]


@hookimpl
async def stream_chat(request: ChatRequest) -> AsyncIterator[StreamEvent]:
    yield TextDelta("hello")
    yield Finish("stop")


@hookimpl
async def manage(action: Action) -> AsyncIterator[ManageEvent]:
    yield Done(message=action.action)


def run(rounds: int = 9) -> list[Ratio]:
    """A stream through the host, less the same stream straight from the plugin."""
    this: ModuleType = sys.modules[__name__]
    plugin = Plugin("bench", "bench", "0", __name__, manager=_manager("bench", this, ()))
    return asyncio.run(_measure(Installed((plugin,), ()), rounds))


async def _measure(installed: Installed, rounds: int) -> list[Ratio]:
    config = ProviderConfig(id="bench", kind="bench")
    async with Host.open(providers=[config], env={}, installed=installed) as host:
        await host.refresh()
        request = ChatRequest(model="bench/m", messages=[user("hi")])
        backend = host.providers[0].require()
        hooks, context = backend._hooks, backend.context
        model = await host.resolve("bench/m")
        costs: dict[str, list[float]] = {BASE: [], "host": [], "bare": []}
        for _ in range(rounds):
            costs[BASE].append(_bare_call(hooks, context))
            costs["bare"].append(await _bare_stream(hooks, context, request, model))
            costs["host"].append(await _host_stream(host, request))
    own = "the host's own cost of one stream"
    costs[own] = [
        whole - bare + call
        for whole, bare, call in zip(costs["host"], costs["bare"], costs[BASE], strict=True)
    ]
    return [ratio(own, BASE, 10, costs)]


def _bare_call(hooks: object, context: ProviderContext) -> float:
    call = getattr(hooks, "capabilities")  # noqa: B009 - pluggy's namespace is dynamic
    began = time.process_time()
    for _ in range(TIMES):
        call(provider=context)
    return (time.process_time() - began) / TIMES


async def _bare_stream(
    hooks: object, context: ProviderContext, request: ChatRequest, model: ModelInfo
) -> float:
    call = getattr(hooks, "stream_chat")  # noqa: B009 - as above
    began = time.process_time()
    for _ in range(TIMES):
        async for _event in call(provider=context, request=request, model=model):
            pass
    return (time.process_time() - began) / TIMES


async def _host_stream(host: Host, request: ChatRequest) -> float:
    began = time.process_time()
    for _ in range(TIMES):
        async with host.stream(request) as events:
            async for _event in events:
                pass
    return (time.process_time() - began) / TIMES
