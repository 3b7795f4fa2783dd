"""What stands between a client and an upstream: nothing but a relay of bytes, or the gateway.

`python -m benchmarks.proxies relay PORT` and `... gateway PORT` print the port they listen at. Each
line on standard input is answered with the CPU seconds the process has used; its end is the end.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from types import ModuleType
from typing import cast

from modelbay import ChatRequest, Host, ProviderConfig
from modelbay.client import openai_compat
from modelbay.context import ProviderContext
from modelbay.hookspecs import hookimpl
from modelbay.host.loader import Installed, Plugin, _manager
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.events import StreamEvent
from modelbay.models.manage import Action, Done, ManageEvent
from modelbay.wire.openai_chat import Dialect
from modelbay_gateway.app import Gateway
from modelbay_gateway.bay import Bay
from modelbay_gateway.server import Server, listen, new_event_loop

MODEL = "n8"  # eight chunks of text
LOOPBACK = "127.0.0.1"
TABLE, DIALECT = CapabilityTable(), Dialect()


@hookimpl
def capabilities() -> CapabilityTable:
    return TABLE


@hookimpl
async def discover_models() -> Sequence[DiscoveredModel]:
    return [DiscoveredModel(wire_id=MODEL, state="loaded")]


@hookimpl
def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    return openai_compat.stream_chat(provider, request, model, dialect=DIALECT)


@hookimpl
async def manage(action: Action) -> AsyncIterator[ManageEvent]:
    yield Done(message=action.action)


class _Inward(asyncio.Protocol):
    """The upstream's side: whatever comes goes to the client."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.close()


class _Relay(asyncio.Protocol):
    """The client's side, with a connection to the upstream of its own; nothing is read of it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._upstream: asyncio.Transport | None = None
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        client = cast("asyncio.Transport", transport)  # uvloop's is one by its methods alone
        self._connecting = asyncio.ensure_future(self._connect(client))

    async def _connect(self, client: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        self._upstream, _ = await loop.create_connection(
            lambda: _Inward(client), LOOPBACK, self._port
        )
        self._upstream.writelines(self._early)

    def data_received(self, data: bytes) -> None:
        if self._upstream is None:
            self._early.append(data)
        else:
            self._upstream.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connecting.cancel()
        if self._upstream is not None:
            self._upstream.close()


async def _relay(upstream: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Relay(upstream), LOOPBACK, 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await loop.run_in_executor(None, _tell)


async def _gateway(upstream: int) -> None:
    this: ModuleType = sys.modules[__name__]
    plugin = Plugin("bench", "bench", "0", __name__, manager=_manager("bench", this, ()))
    config = ProviderConfig(id="bench", kind="bench", base_url=f"http://{LOOPBACK}:{upstream}")
    installed = Installed((plugin,), ())
    async with Host.open(providers=[config], env={}, installed=installed) as host:
        await host.refresh()
        with listen(LOOPBACK, 0) as listening:
            port: int = listening.getsockname()[1]
            server = Server(Gateway(Bay(host)), on_started=lambda: print(port, flush=True))
            serving = asyncio.ensure_future(server.serve(sockets=[listening]))
            await asyncio.get_running_loop().run_in_executor(None, _tell)
            server.should_exit = True
            await serving


def _tell() -> None:
    for _ in sys.stdin:
        print(time.process_time(), flush=True)


def main() -> None:
    kind, port = sys.argv[1], int(sys.argv[2])
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run({"relay": _relay, "gateway": _gateway}[kind](port))


if __name__ == "__main__":
    main()
