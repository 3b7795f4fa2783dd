"""Mirrors modelbay_llamaswap/following.py: what changes is told by the server's own events."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from modelbay.errors import AuthenticationError
from modelbay.host.host import Host
from modelbay.host.loader import Plugin
from modelbay.models.catalog import CatalogChange
from modelbay.models.manage import Load
from modelbay.models.provider import ProviderConfig
from modelbay.testing.simulator import Exchange, Fault
from modelbay_llamaswap import plugin
from modelbay_llamaswap.simulator import LlamaSwapSimulator, SimulatedModel
from plugins.llamaswap.bay import OpenBay
from plugins.llamaswap.serving import Scripted
from pretend import installed, manager

pytestmark = pytest.mark.anyio


def open_host(sim: LlamaSwapSimulator) -> Host:
    row = Plugin(kind="llama-swap", dist="d", version="1", entry_point="e", manager=manager(plugin))
    desk = ProviderConfig(id="desk", kind="llama-swap", base_url=sim.base_url)
    return Host.open(providers=[desk], env={}, installed=installed(row))


async def until(changes: AsyncIterator[CatalogChange], state: str) -> list[CatalogChange]:
    """The changes up to the one that tells this state."""
    seen: list[CatalogChange] = []
    async with asyncio.timeout(20):
        async for change in changes:
            seen.append(change)
            if change.state == state:
                return seen
    raise AssertionError("the changes ended")


async def test_a_watcher_hears_of_a_load_by_the_servers_own_events() -> None:
    """Without them the next look would be ten seconds later, and the load over by then."""
    models = [SimulatedModel("tiny", load_s=2), SimulatedModel("other")]
    with LlamaSwapSimulator(models) as sim:
        async with open_host(sim) as host, host.watch() as watched:
            changes = aiter(watched)
            await until(changes, "unloaded")
            await sim.wait_until_async(lambda: bool(sim.listeners))
            async with host.manage("desk", Load(model="tiny")) as events:
                async for _ in events:
                    pass
            seen = await until(changes, "loaded")

        assert [change.id for change in seen if change.state == "loaded"] == ["desk/tiny"]
        assert sim.starts == {"tiny": 1}


@pytest.mark.parametrize("name", ["requestTimeoutS", "firstByteTimeoutS", "idleTimeoutS"])
async def test_events_may_be_silent_for_longer_than_an_answer(bay: OpenBay, name: str) -> None:
    """They have no heartbeat (trap 18)."""
    with Scripted() as sim:

        @sim.route("GET", "/api/events")
        async def events(exchange: Exchange) -> None:
            await exchange.sleep(0.1)
            await exchange.start_stream("text/event-stream")
            for state in ("starting", "ready"):
                inner = json.dumps([{"id": "tiny", "state": state}])
                await exchange.sse({"type": "modelStatus", "data": inner})
                await exchange.sleep(0.1)

        desk = bay(sim.base_url, **{name: 0.05})
        assert [None async for _ in desk.backend.watch_models()] == [None, None]


async def test_a_server_that_has_no_events_is_asked_for_them_once() -> None:
    with LlamaSwapSimulator([SimulatedModel("tiny")]) as sim:
        sim.inject(Fault(status=404, body=b"404 page not found"), path="/api/events")
        async with open_host(sim) as host:
            backend = host.registry.handle("desk").require()
            assert [None async for _ in backend.watch_models()] == []
            assert [None async for _ in backend.watch_models()] == []

        assert [request.path for request in sim.requests].count("/api/events") == 1


async def test_a_server_that_refuses_is_an_error_for_the_host_to_poll_after() -> None:
    with LlamaSwapSimulator([SimulatedModel("tiny")], keys=["sk-right"]) as sim:
        async with open_host(sim) as host:
            backend = host.registry.handle("desk").require()
            with pytest.raises(AuthenticationError):
                [None async for _ in backend.watch_models()]
