"""CPU of listing the models of many providers, against asyncio and msgspec with nothing between."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import msgspec

from benchmarks.lists import HUNG, MODELS, SERVERS
from benchmarks.measure import Ratio, ratio
from modelbay import Host, ProviderConfig
from modelbay.host.loader import Installed, Plugin, _manager
from modelbay_openai import plugin

BASE = "raw asyncio + msgspec"
LIMIT_S = 0.5  # for a provider; with two that hang it is what a round takes
FOUND = (SERVERS - HUNG) * MODELS


class _Entry(msgspec.Struct):
    id: str


class _List(msgspec.Struct):
    data: list[_Entry]


def run(rounds: int = 7) -> list[Ratio]:
    """All providers at once, two of them silent: connections, lists, one catalogue of them.

    Both read the same lists in turns over new connections, and both end with every model by its
    name. A host is opened for each round; that is a part of its cost.
    """
    with _servers() as ports:
        return asyncio.run(_measure(ports, rounds))


@contextmanager
def _servers() -> Iterator[Sequence[int]]:
    """The ports of `benchmarks.lists`, in a process of its own."""
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.lists"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        yield [int(port) for port in child.stdout.readline().split()]
    finally:
        child.stdin.close()
        child.wait(timeout=10)
        child.stdout.close()


async def _measure(ports: Sequence[int], rounds: int) -> list[Ratio]:
    ours = f"{SERVERS} providers × {MODELS} models, {HUNG} hung, CPU of a look at all"
    costs: dict[str, list[float]] = {BASE: [], ours: []}
    for case in (_raw, _ours):  # what is imported and compiled at the first time is no cost of it
        await case(ports)
    for _ in range(rounds):
        costs[BASE].append(await _raw(ports))
        costs[ours].append(await _ours(ports))
    return [ratio(ours, BASE, 30, costs)]


async def _ours(ports: Sequence[int]) -> float:
    kind = Plugin("openai", "openai", "0", __name__, manager=_manager("openai", plugin, ()))
    providers = [
        ProviderConfig(
            id=f"p{number}",
            kind="openai",
            base_url=f"http://127.0.0.1:{port}",
            probe_timeout_s=LIMIT_S,
        )
        for number, port in enumerate(ports)
    ]
    began = time.process_time()
    async with Host.open(providers=providers, env={}, installed=Installed((kind,), ())) as host:
        catalog = await host.refresh()
        found = {str(model.ref) for entry in catalog.providers for model in entry.models}
    used = time.process_time() - began
    down = [entry.id for entry in catalog.providers if entry.problem is not None]
    assert (len(found), down) == (FOUND, [f"p{number}" for number in range(HUNG)])
    return used


class _Get(asyncio.Protocol):
    """One request; `body` is that of its answer."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._left: int | None = None  # bytes; None before the head has come
        self.body: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        writing = cast("asyncio.Transport", transport)
        writing.write(b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        if self._left is None:
            head, end, rest = b"".join(self._parts).partition(b"\r\n\r\n")
            if not end:
                return
            assert head.startswith(b"HTTP/1.1 200 ")
            self._parts = [rest]
            self._left = int(head.rpartition(b"Content-Length: ")[2]) - len(rest)
        else:
            self._left -= len(data)
        if self._left == 0:
            self.body.set_result(b"".join(self._parts))


async def _raw(ports: Sequence[int]) -> float:
    began = time.process_time()
    decoder = msgspec.json.Decoder(_List)
    loop = asyncio.get_running_loop()

    async def one(port: int) -> list[str] | None:
        transport, get = await loop.create_connection(_Get, "127.0.0.1", port)
        try:
            async with asyncio.timeout(LIMIT_S):
                return [entry.id for entry in decoder.decode(await get.body).data]
        except TimeoutError:
            return None
        finally:
            transport.close()

    lists = await asyncio.gather(*(one(port) for port in ports))
    found = {name for each in lists for name in each or ()}
    used = time.process_time() - began
    assert (len(found), sum(each is None for each in lists)) == (FOUND, HUNG)
    return used


if __name__ == "__main__":
    from benchmarks.measure import table

    print(table(run()))
