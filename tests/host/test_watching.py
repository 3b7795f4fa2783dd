"""Mirrors modelbay/host/watching.py, on a loop whose clock jumps."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from modelbay.errors import BackendUnreachableError
from modelbay.host.host import Host
from modelbay.host.streams import EventStream
from modelbay.host.watching import WAITING_LIMIT
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.catalog import CatalogChange, DiscoveredModel, ModelState
from pretend import JUMPING, config, host, jumping, plugin

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return JUMPING


class Server:
    """A server whose models a test changes, and that may say so."""

    def __init__(self, **models: ModelState) -> None:
        self.models = models
        self.down = False
        self.looks: list[float] = []
        self.news: asyncio.Queue[Exception | None] = asyncio.Queue()
        self.listening = 0

    async def discover_models(self) -> list[DiscoveredModel]:
        self.looks.append(jumping().time())
        if self.down:
            raise BackendUnreachableError("down")
        return [DiscoveredModel(wire_id=name, state=now) for name, now in self.models.items()]

    async def watch_models(self) -> AsyncIterator[None]:
        self.listening += 1
        try:
            while True:
                item = await self.news.get()
                if item is not None:
                    raise item
                yield
        finally:
            self.listening -= 1


def open_host(server: Server, *, tells: bool = True, local: bool = True) -> Host:
    table = CapabilityTable(local=local)
    hooks: dict[str, object] = {
        "discover_models": lambda: server.discover_models(),
        "capabilities": lambda: table,
    }
    if tells:
        hooks["watch_models"] = lambda: server.watch_models()
    return host([config()], clock=jumping().time, acme=plugin(**hooks))  # type: ignore[arg-type]


def added(name: str, state: ModelState = "unknown") -> CatalogChange:
    return CatalogChange(type="added", provider_id="desk", id=f"desk/{name}", state=state)


def status(now: str) -> CatalogChange:
    return CatalogChange.model_validate({"type": "provider", "provider_id": "desk", "status": now})


async def take(changes: EventStream[CatalogChange], count: int) -> list[CatalogChange]:
    iterator = aiter(changes)
    return [await anext(iterator) for _ in range(count)]


async def test_a_watcher_is_told_what_is_added_changed_and_removed() -> None:
    server = Server(a="unloaded", b="unloaded")
    async with open_host(server) as held, held.watch() as changes:
        assert await take(changes, 3) == [
            added("a", "unloaded"),
            added("b", "unloaded"),
            status("ok"),
        ]

        server.models = {"a": "loaded", "c": "unloaded"}
        server.news.put_nowait(None)

        assert await take(changes, 3) == [
            CatalogChange(type="changed", provider_id="desk", id="desk/a", state="loaded"),
            added("c", "unloaded"),
            CatalogChange(type="removed", provider_id="desk", id="desk/b"),
        ]


async def test_a_look_that_finds_nothing_new_is_no_change() -> None:
    server = Server(a="loaded")
    async with open_host(server) as held, held.watch() as changes:
        await take(changes, 2)
        server.news.put_nowait(None)
        server.news.put_nowait(None)
        server.models = {"a": "loaded", "z": "unknown"}

        assert await take(changes, 1) == [added("z")]


@pytest.mark.parametrize(("local", "every_s"), [(True, 10.0), (False, 300.0)])
async def test_a_server_that_says_nothing_is_looked_at_now_and_then(
    local: bool, every_s: float
) -> None:
    server = Server(a="unloaded")
    async with open_host(server, tells=False, local=local) as held, held.watch() as changes:
        await take(changes, 2)
        server.models = {"b": "loaded"}
        assert await take(changes, 2) == [
            added("b", "loaded"),
            CatalogChange(type="removed", provider_id="desk", id="desk/a"),
        ]

    assert server.looks[1] - server.looks[0] == every_s


async def test_a_server_that_goes_and_comes_back_is_a_change_of_its_status() -> None:
    server = Server(a="loaded")
    async with open_host(server, tells=False) as held, held.watch() as changes:
        await take(changes, 2)
        server.down = True
        assert await take(changes, 1) == [status("stale")]
        server.down = False
        assert await take(changes, 1) == [status("ok")]


async def test_news_that_break_off_are_asked_for_again_and_polled_for_meanwhile() -> None:
    server = Server(a="loaded")
    async with open_host(server) as held, held.watch() as changes:
        await take(changes, 2)
        server.news.put_nowait(BackendUnreachableError("events are gone"))
        server.models = {"a": "unloaded"}
        [polled] = await take(changes, 1)
        await asyncio.sleep(60)
        server.models = {"a": "loaded"}
        server.news.put_nowait(None)
        [told] = await take(changes, 1)

    assert (polled.state, told.state) == ("unloaded", "loaded")


async def test_nobody_is_looked_at_once_nobody_watches() -> None:
    server = Server(a="loaded")
    async with open_host(server) as held:
        async with held.watch() as one, held.watch() as other:
            await take(one, 2)
            second = asyncio.ensure_future(take(other, 1))
            await asyncio.sleep(0)
            server.models = {"a": "unloaded"}
            server.news.put_nowait(None)
            assert await take(one, 1) == await second
            assert server.listening == 1
        looks = len(server.looks)
        await asyncio.sleep(3600)

        assert (server.listening, len(server.looks)) == (0, looks)


async def test_a_slow_watcher_is_told_that_it_has_missed_something() -> None:
    server = Server()
    async with open_host(server) as held, held.watch() as changes:
        await take(changes, 1)
        server.models = {str(n): "unknown" for n in range(WAITING_LIMIT + 1)}
        server.news.put_nowait(None)
        await asyncio.sleep(1)

        assert await take(changes, 1) == [CatalogChange(type="lost")]


async def test_a_host_that_closes_ends_what_its_watchers_started() -> None:
    server = Server(a="loaded")
    held = open_host(server)
    changes = held.watch()
    await take(changes, 2)
    await held.aclose()

    assert server.listening == 0
    await changes.aclose()
