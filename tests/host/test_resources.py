"""Mirrors modelbay/host/resources.py."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Iterator

import httpx2 as httpx
import pytest

from modelbay.client.http import fetch_json
from modelbay.client.pool import Pool
from modelbay.context import ProviderContext
from modelbay.host.proxies import Proxies, is_loopback
from modelbay.host.resources import HostResources
from modelbay.host.transport import SharedTransport
from modelbay.testing.simulator import Exchange, Simulator
from pretend import Clock, Records, config, lent

pytestmark = pytest.mark.anyio


@pytest.fixture
def logged() -> Iterator[list[str]]:
    records = Records()
    logger = logging.getLogger("modelbay")
    logger.addHandler(records)
    yield records.lines
    logger.removeHandler(records)


def ok(sim: Simulator) -> Simulator:
    @sim.route("GET", "/x")
    async def route(exchange: Exchange) -> None:
        await exchange.json({})

    return sim


# --- clients --------------------------------------------------------------------------------------


async def test_a_provider_keeps_one_client_for_each_address() -> None:
    async with lent("http://a") as provider:
        assert provider.http is provider.http
        assert provider.http is provider.client_for("http://a")
        assert provider.http is not provider.client_for("http://b")


async def test_a_client_waits_five_seconds_to_connect_and_for_ever_to_read() -> None:
    async with lent("http://a") as provider:
        assert provider.http.timeout == httpx.Timeout(None, connect=5.0)
        assert (provider.http.follow_redirects, provider.http.trust_env) == (False, False)


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({}, None),
        ({"apiKey": "k"}, "Bearer k"),
        ({"apiKey": "k", "headers": {"Authorization": "Basic b"}}, "Basic b"),
        ({"apiKey": "k", "headers": {"authorization": "Basic b"}}, "Basic b"),
        ({"headers": {"authorization": "Basic b"}}, "Basic b"),
    ],
)
async def test_the_key_is_sent_unless_the_user_has_a_header_of_their_own(
    sim: Simulator, fields: dict[str, object], sent: str | None
) -> None:
    async with lent(ok(sim).base_url, **fields) as provider:
        await fetch_json(provider, "GET", "x", into=dict)

    assert sim.requests[0].headers.get("authorization") == sent


async def test_more_than_a_hundred_streams_run_at_once(sim: Simulator) -> None:
    @sim.route("GET", "/x")
    async def route(exchange: Exchange) -> None:
        await exchange.start_stream("text/plain")
        await exchange.raw(b"x")
        await exchange.sleep(float("inf"))

    async with lent(sim.base_url) as provider:
        streams = [provider.http.stream("GET", "/x") for _ in range(120)]
        await asyncio.gather(*(stream.__aenter__() for stream in streams))
        await sim.wait_until_async(lambda: sim.open_streams == 120)
        await asyncio.gather(*(stream.__aexit__(None, None, None) for stream in streams))


async def test_a_callers_transport_is_used_and_stays_the_callers_to_close() -> None:
    class Mine(httpx.AsyncBaseTransport):
        closed = False

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, content=b"{}")

        async def aclose(self) -> None:
            self.closed = True

    mine = Mine()
    resources = HostResources({}, transport=mine)
    provider = ProviderContext(config(base_url="http://a"), resources)
    assert await fetch_json(provider, "GET", "x", into=dict) == {}
    await resources.aclose()

    assert not mine.closed


async def test_closing_closes_every_connection(sim: Simulator) -> None:
    async with lent(ok(sim).base_url) as provider:
        await fetch_json(provider, "GET", "x", into=dict)
        assert sim.open_connections == 1
    await sim.wait_until_async(lambda: sim.open_connections == 0)


# --- proxies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("192.168.1.2", False),
        ("localhost.example.org", False),
        ("0.0.0.0", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_what_is_this_machine(host: str, own: bool) -> None:
    assert is_loopback(host) is own


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
async def test_loopback_is_never_proxied_and_other_addresses_are(sim: Simulator, name: str) -> None:
    with Simulator() as proxy:

        @proxy.route("GET", "/{rest...}")
        async def route(exchange: Exchange) -> None:
            await exchange.json({"proxied": True})

        pool = Pool()
        transport = SharedTransport(pool, Proxies({name: proxy.base_url}))
        async with httpx.AsyncClient(transport=transport) as client:
            assert (await client.get(f"{ok(sim).base_url}/x")).json() == {}
            asked = await client.get("http://model-box.invalid/x")
        await pool.aclose()

    assert asked.json() == {"proxied": True}
    assert [r.target for r in proxy.requests] == ["http://model-box.invalid/x"]
    assert [r.target for r in sim.requests] == ["/x"]


async def test_hosts_named_by_no_proxy_are_not_proxied() -> None:
    with Simulator() as proxy:
        proxies = Proxies({"http_proxy": proxy.base_url, "no_proxy": "invalid"})
        transport = SharedTransport(Pool(), proxies)
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get("http://model-box.invalid/x")
        assert proxy.requests == []


def test_without_a_proxy_the_library_that_knows_exceptions_is_not_imported() -> None:
    program = """
import sys
from modelbay.host.proxies import Proxies
from modelbay.host.resources import HostResources
none, one = Proxies({}), Proxies({"http_proxy": "http://proxy"})
print(none.of("http", "box"), one.of("http", "localhost"), "urllib.request" in sys.modules)
print(one.of("http", "box"), "urllib.request" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "  False\nhttp://proxy True\n"


# --- work, callbacks, the clock -------------------------------------------------------------------


async def test_work_of_a_plugin_runs_beside_the_host_and_ends_with_it() -> None:
    log: list[str] = []

    async def work() -> None:
        log.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            log.append("ended")

    resources = HostResources({})
    resources.start_soon(work)
    await asyncio.sleep(0)
    await resources.aclose()

    assert log == ["began", "ended"]


async def test_work_that_fails_is_logged(logged: list[str]) -> None:
    async def work() -> None:
        raise RuntimeError("x")

    resources = HostResources({})
    resources.start_soon(work)
    await asyncio.sleep(0)
    await resources.aclose()

    assert logged == ["WARNING background work of a plugin failed"]


async def test_callbacks_run_at_close_last_registered_first_and_one_that_fails_stops_none(
    logged: list[str],
) -> None:
    log: list[int] = []
    resources = HostResources({})

    def note(number: int) -> None:
        async def callback() -> None:
            log.append(number)
            if number == 2:
                raise RuntimeError("x")

        resources.at_close(callback)

    for number in (1, 2, 3):
        note(number)
    await resources.aclose()
    await resources.aclose()

    assert log == [3, 2, 1]
    assert logged == ["WARNING something a plugin registered raised while closing"]


def test_the_clock_and_the_environment_are_the_hosts() -> None:
    clock = Clock(5.0)
    env = {"A": "b"}
    resources = HostResources(env, clock=clock)
    env["A"] = "later"

    assert (resources.monotonic(), resources.env) == (5.0, {"A": "b"})
