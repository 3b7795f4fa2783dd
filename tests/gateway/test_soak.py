"""A thousand streams at once for a minute, and ten thousand requests that nobody waits for.

Upstream and gateway are processes of their own, with real sockets between them.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from gateway.chats import PROTOCOLS, Protocol
from gateway.processes import Running, gateway, many_files, upstream
from gateway.programs.upstream import pieces_of

pytestmark = pytest.mark.soak

STREAMS, DELAY_S = 1000, 1.0
ABANDONED, SIDE_BY_SIDE, SHORT_DELAY_S = 10_000, 50, 0.05
MOST_KIB = 128.0  # of memory for a stream
MOST_GROWN_KIB = 8 * 1024  # by ten thousand requests, once there had been a thousand
SETTLE_S = 60.0


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    with many_files():
        yield


class Chat:
    """One streamed answer, or the way to one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self._reader = reader

    @classmethod
    async def ask(
        cls, served: Running, protocol: Protocol, model: str, text: str, *, stream: bool = True
    ) -> "Chat":
        port = int(served.base_url.rpartition(":")[2])
        made = cls(*await asyncio.open_connection("127.0.0.1", port))
        body = json.dumps(protocol.body(model, text, stream=stream)).encode()
        made.writer.write(
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (protocol.path.encode(), len(body), body)
        )
        return made

    async def lines(self) -> AsyncIterator[str]:
        """Of a chunked body, and nothing after its end."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        kept = b""
        while size := int(await self._reader.readline(), 16):
            *lines, kept = (kept + (await self._reader.readexactly(size + 2))[:-2]).split(b"\n")
            for line in lines:
                yield line.decode()
        assert kept == b""

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


def settled(served: Running, *servers: Running) -> dict[str, int]:
    """What is held once the servers have no connection any more, or the patience is at its end."""

    async def wait() -> dict[str, int]:
        loop = asyncio.get_running_loop()
        limit = loop.time() + SETTLE_S
        while True:
            held = [server.counts() for server in servers]
            connections = sum(each["connections"] for each in held)
            if not connections or loop.time() > limit:
                streams = sum(each["streams"] for each in held)
                files, tasks = served.open_files, served.tasks
                return {
                    "tasks": tasks,
                    "files": files,
                    "connections": connections,
                    "streams": streams,
                }
            await asyncio.sleep(0.5)

    return asyncio.run(wait())


async def whole(
    served: Running, protocol: Protocol, model: str, mark: str, begun: set[str]
) -> list[str]:
    """The pieces of an answer, all of them."""
    chat = await Chat.ask(served, protocol, model, mark)
    pieces: list[str] = []
    is_whole = False
    async for line in chat.lines():
        document = protocol.document(line)
        if document is None:
            continue
        if piece := protocol.said(document):
            pieces.append(piece)
            begun.add(mark)
        is_whole = is_whole or protocol.is_whole(document)
    await chat.close()
    assert is_whole
    return pieces


async def all_protocols(served: Running, model: str) -> None:
    """One whole answer in each, so that everything is there that the first one makes."""
    for protocol in PROTOCOLS:
        assert await whole(served, protocol, model, "abc", set()) == pieces_of("abc")


def test_a_thousand_streams_for_a_minute_are_all_held_and_none_crosses_another(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    marks = [f"{number:03}" for number in range(STREAMS)]
    protocols = [PROTOCOLS[number % len(PROTOCOLS)] for number in range(STREAMS)]

    async def everybody(served: Running) -> tuple[list[list[str]], int]:
        """All answers, and the most memory it had while none was at its end."""
        begun: set[str] = set()
        most = 0
        async with asyncio.TaskGroup() as group:
            asked = [
                group.create_task(whole(served, protocol, "desk/echo", mark, begun))
                for protocol, mark in zip(protocols, marks, strict=True)
            ]
            while not any(each.done() for each in asked):
                if len(begun) == STREAMS:
                    most = max(most, served.memory_kib)
                await asyncio.sleep(1)
        return [each.result() for each in asked], most

    with (
        upstream("openai", DELAY_S) as server,
        upstream("openai", 0.0) as quick,
        gateway(
            tmp_path, desk=("openai", server.base_url), quick=("openai", quick.base_url)
        ) as served,
    ):
        asyncio.run(all_protocols(served, "quick/echo"))
        before, memory = settled(served, server, quick), served.memory_kib
        answers, most = asyncio.run(everybody(served))
        after = settled(served, server, quick)
        opened = server.counts()["opened"]

    for mark, pieces in zip(marks, answers, strict=True):
        assert pieces == pieces_of(mark)
    assert opened == STREAMS
    assert (after["connections"], after["streams"]) == (0, 0)
    assert after == before
    each = (most - memory) / STREAMS
    record_property("gateway_alone_kib", memory)
    record_property("kib_per_stream", round(each, 1))
    print(f"{each:.1f} KiB of memory for each of {STREAMS} streams; the gateway alone {memory} KiB")
    assert 0 < each < MOST_KIB


def test_ten_thousand_abandoned_requests_leave_nothing_behind(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    async def abandon(served: Running, number: int) -> None:
        protocol = PROTOCOLS[number % len(PROTOCOLS)]
        is_streamed = number % 4 != 0
        chat = await Chat.ask(served, protocol, "desk/endless", "x", stream=is_streamed)
        if number % 4 == 1:  # in the middle of its answer
            async for line in chat.lines():
                document = protocol.document(line)
                if document is not None and protocol.said(document):
                    break
        elif number % 4 == 2:
            await chat.writer.drain()
        chat.writer.transport.abort()

    async def everybody(served: Running, number: int) -> None:
        for first in range(0, number, SIDE_BY_SIDE):
            await asyncio.gather(*(abandon(served, first + n) for n in range(SIDE_BY_SIDE)))

    with (
        upstream("openai", SHORT_DELAY_S) as server,
        gateway(tmp_path, desk=("openai", server.base_url)) as served,
    ):
        asyncio.run(all_protocols(served, "desk/echo"))
        asyncio.run(everybody(served, ABANDONED // 10))
        before, memory = settled(served, server), served.memory_kib
        asyncio.run(everybody(served, ABANDONED))
        after = settled(served, server)
        grown = served.memory_kib - memory
        opened = server.counts()["opened"]
        asyncio.run(all_protocols(served, "desk/echo"))

    assert opened >= ABANDONED // 4
    assert (after["connections"], after["streams"]) == (0, 0)
    assert after == before
    record_property("kib_grown", grown)
    print(f"{grown} KiB more after {ABANDONED} abandoned requests; {opened} had reached the server")
    assert grown < MOST_GROWN_KIB
