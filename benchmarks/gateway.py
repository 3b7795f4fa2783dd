"""The gateway over real sockets, against a relay that only copies bytes, before one upstream.

Both run on the same event loop, in processes of their own. A request is one short streamed chat.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.measure import Ratio, ratio, upstream
from benchmarks.proxies import LOOPBACK, MODEL

BASE = "a relay of bytes"
CONNECTIONS = (16, 64, 256)
REQUESTS = 512  # of each measurement, all connections together
ONE_BY_ONE = 100
LAST = b"0\r\n\r\n"  # of an answer in chunks of the transfer


class Proxy:
    """One process between client and upstream."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        assert child.stdin is not None
        assert child.stdout is not None
        self._ask, self._said = child.stdin, child.stdout
        self.port = int(self._said.readline())

    def cpu_s(self) -> float:
        """CPU seconds it has used until now."""
        self._ask.write("\n")
        self._ask.flush()
        return float(self._said.readline())


def run(rounds: int = 5) -> list[Ratio]:
    """CPU per request at each number of connections, and what is added to the time of one.

    The inverse of the first is requests per CPU second; its ratio is the same the other way round.
    """
    with upstream() as port, ExitStack() as stack:
        ours, relay = (stack.enter_context(_proxy(kind, port)) for kind in ("gateway", "relay"))
        return asyncio.run(_measure(ours, relay, port, rounds))


@contextmanager
def _proxy(kind: str, upstream_port: int) -> Iterator[Proxy]:
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.proxies", kind, str(upstream_port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        yield Proxy(child)
    finally:
        child.stdin.close()
        child.wait(timeout=30)
        child.stdout.close()


async def _measure(ours: Proxy, relay: Proxy, direct: int, rounds: int) -> list[Ratio]:
    found = []
    for connections in CONNECTIONS:
        name = f"the gateway, CPU per request at {connections} connections"
        costs: dict[str, list[float]] = {BASE: [], name: []}
        for proxy in (relay, ours):  # connections and caches of the first time are no cost of it
            await _cpu_s(proxy, connections)
        for _ in range(rounds):
            costs[BASE].append(await _cpu_s(relay, connections))
            costs[name].append(await _cpu_s(ours, connections))
        found.append(ratio(name, BASE, 30, costs))
    name = "the gateway, added p50"
    added: dict[str, list[float]] = {BASE: [], name: []}
    for _ in range(rounds):
        alone, copied, answered = [await _p50_s(port) for port in (direct, relay.port, ours.port)]
        added[BASE].append(max(copied - alone, 1e-6))
        added[name].append(max(answered - alone, 1e-6))
    return [*found, ratio(name, BASE, 15, added)]


async def _cpu_s(proxy: Proxy, connections: int) -> float:
    """CPU seconds of the proxy for one request, while so many clients ask without a pause."""
    async with asyncio.TaskGroup() as tasks:
        opened = [tasks.create_task(_Client.open(proxy.port)) for _ in range(connections)]
    clients = [each.result() for each in opened]
    began = proxy.cpu_s()
    async with asyncio.TaskGroup() as tasks:
        for client in clients:
            tasks.create_task(client.ask(max(1, REQUESTS // connections)))
    used = proxy.cpu_s() - began
    await asyncio.gather(*(each.close() for each in clients))
    return used / (max(1, REQUESTS // connections) * connections)


async def _p50_s(port: int) -> float:
    """The median time of a request, from its first byte to the answer's last, one by one."""
    client = await _Client.open(port)
    await client.ask(5)
    times = []
    for _ in range(ONE_BY_ONE):
        began = time.perf_counter()
        await client.ask(1)
        times.append(time.perf_counter() - began)
    await client.close()
    return statistics.median(times)


class _Client:
    """One connection that is used again and again."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        body = json.dumps(
            {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "stream": True}
        ).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        self._request = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

    @classmethod
    async def open(cls, port: int) -> "_Client":
        return cls(*await asyncio.open_connection(LOOPBACK, port))

    async def ask(self, times: int) -> None:
        for _ in range(times):
            self._writer.write(self._request)
            answer = await self._reader.readuntil(LAST)
            if not answer.startswith(b"HTTP/1.1 200 ") or b"[DONE]" not in answer:
                raise RuntimeError(f"no answer: {answer[:200]!r}")

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


if __name__ == "__main__":
    from benchmarks.measure import table

    print(table(run()))
