"""A thousand streams at once for a minute, and ten thousand requests that nobody waits for."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.conftest import Start
from gateway.serving import Served, acme, desk
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, StreamEvent, TextDelta

pytestmark = pytest.mark.soak

STREAMS, SECONDS = 1000, 60
ABANDONED, SIDE_BY_SIDE = 10_000, 50


async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
    """A piece every second; each carries the mark that the request came with."""
    for number in range(SECONDS):
        yield TextDelta(f"{request.messages[0].text}.{number} ")
        await asyncio.sleep(1)
    yield Finish("stop")


async def ask(
    served: Served, mark: str, stream: bool = True
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    body = b'{"model":"m","stream":%b,"messages":[{"role":"user","content":"%b"}]}' % (
        b"true" if stream else b"false",
        mark.encode(),
    )
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body) + body
    )
    return reader, writer


def test_a_thousand_streams_for_a_minute_are_all_held_and_none_crosses_another(
    start: Start,
) -> None:
    served = start(desk(acme(reply)))

    async def whole(mark: str) -> str:
        reader, writer = await ask(served, mark)
        text = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        return text

    async def everybody() -> list[str]:
        return await asyncio.gather(*(whole(f"<{number}>") for number in range(STREAMS)))

    for number, text in enumerate(asyncio.run(everybody())):
        said = [
            line.split('"content":"')[1].split('"')[0]
            for line in text.split("\n")
            if '"delta":{"content"' in line
        ]
        assert said == [f"<{number}>.{n} " for n in range(SECONDS)]
        assert "data: [DONE]" in text
    assert not served.bay.answers


def test_ten_thousand_abandoned_requests_leave_nothing_behind(start: Start) -> None:
    served = start(desk(acme(reply)))

    async def abandon(number: int) -> None:
        reader, writer = await ask(served, "x", stream=number % 2 == 0)
        if number % 4 == 0:
            await reader.readuntil(b'"content":"x.0 "')  # in the middle of its answer
        writer.transport.abort()

    async def everybody() -> None:
        for first in range(0, ABANDONED, SIDE_BY_SIDE):
            await asyncio.gather(*(abandon(first + n) for n in range(SIDE_BY_SIDE)))

    async def settled() -> tuple[int, int, int]:
        async with asyncio.timeout(30):
            while served.bay.answers or served.server.server_state.connections:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return (
            len(served.bay.answers),
            served.bay.admission.active("desk"),
            len(served.server.server_state.tasks),
        )

    asyncio.run(everybody())

    assert served.ask(settled()) == (0, 0, 0)
