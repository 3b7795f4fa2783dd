"""Mirrors modelbay_gateway/answer.py, over real sockets."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from gateway.conftest import Raw, Start
from gateway.serving import WAIT_S, Reply, acme, desk
from gateway.wired import Client, at_rest
from modelbay.errors import BackendBusyError, RateLimitedError, StreamInterruptedError
from modelbay.models.chat import ChatRequest
from modelbay.models.events import (
    Finish,
    Notice,
    ReasoningDelta,
    Status,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
)
from modelbay_gateway.app import Gateway
from modelbay_gateway.bay import Bay
from modelbay_gateway.limits import Limits

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
PATH = "/v1/chat/completions"


class Gate:
    """Lets a pretended server go on; from any thread."""

    def __init__(self) -> None:
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    async def passed(self) -> None:
        assert await asyncio.to_thread(self._open.wait, WAIT_S)


def test_what_has_come_goes_out_with_one_send(start: Start) -> None:
    pieces = [TextDelta(str(n)) for n in range(1000)]
    served = start(desk(acme([*pieces, Finish("stop")])))
    body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    ) + body

    with socket.create_connection(("127.0.0.1", served.port), timeout=WAIT_S) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(1 << 20):
            answer += part

    chunked = answer.partition(b"\r\n\r\n")[2]
    size = int(chunked.partition(b"\r\n")[0], 16)
    assert size > 150_000  # all of it is one chunk of HTTP
    assert answer.count(b"data: {") == 1002


def test_a_failure_before_the_answer_begins_is_a_status(start: Start, raw: Raw) -> None:
    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield Status("queued")
        yield Notice("dropped_field", "seed was left out")
        raise RateLimitedError("slow down", retry_after_s=3.0)

    answer = raw(start(desk(acme(reply)))).post(PATH, json=CHAT)

    assert answer.status_code == 429
    assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("3", "true")
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"


def test_a_failure_in_the_middle_is_an_event_and_the_stream_ends(start: Start, raw: Raw) -> None:
    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield TextDelta("Hel")
        raise StreamInterruptedError("the connection broke off", partial="Hel")

    answer = raw(start(desk(acme(reply)))).post(PATH, json=CHAT)

    assert answer.status_code == 200
    error, done = answer.text.split("\n\n")[-3:-1]
    assert done == "data: [DONE]"
    assert error.startswith('data: {"error":{"message":"the connection broke off"')
    assert '"code":"upstream_stream_closed"' in error
    assert 'finish_reason":"' not in answer.text


def test_a_plugin_that_breaks_shows_nothing_of_its_error(start: Start, raw: Raw) -> None:
    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield TextDelta("Hel")
        raise ValueError("sk-planted-secret")

    answer = raw(start(desk(acme(reply)))).post(PATH, json=CHAT)

    assert '"code":"internal_error"' in answer.text
    assert "planted" not in answer.text


def test_silence_gets_a_status_and_comments_and_the_answer_still_comes(
    start: Start, raw: Raw
) -> None:
    gate = Gate()

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield Status("loading", 0.42, "reading  the\nweights")
        await gate.passed()
        yield TextDelta("late")
        yield Finish("stop")

    served = start(desk(acme(reply)), limits=Limits(heartbeat_s=0.05))
    with raw(served).stream("POST", PATH, json=CHAT) as answer:
        lines = answer.iter_lines()
        first = [next(lines) for _ in range(6)]
        gate.open()
        rest = [*lines]

    assert answer.status_code == 200
    assert first[0].startswith('data: {"id":')
    assert first[2] == ": loading 42% reading the weights"
    assert first[4] == ": keep-alive"
    assert [line for line in rest if '"content":"late"' in line]
    assert rest[-2:] == ["data: [DONE]", ""]
    assert "weights" not in "".join(line for line in (*first, *rest) if line.startswith("data"))


def test_a_failure_after_silence_is_an_event(start: Start, raw: Raw) -> None:
    gate = Gate()

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        await gate.passed()
        raise BackendBusyError("out of memory")
        yield Finish("stop")

    served = start(desk(acme(reply)), limits=Limits(heartbeat_s=0.05))
    with raw(served).stream("POST", PATH, json=CHAT) as answer:
        lines = answer.iter_lines()
        next(lines)
        gate.open()
        rest = [*lines]

    assert '"code":"overloaded"' in rest[-4]
    assert rest[-2:] == ["data: [DONE]", ""]


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_ends_the_providers_stream(
    start: Start, raw: Raw, stream: bool
) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        try:
            yield TextDelta("Hel")
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()
        yield Finish("stop")

    served = start(desk(acme(reply)))
    body = b'{"model":"m","stream":%b,"messages":[{"role":"user","content":"hi"}]}' % (
        b"true" if stream else b"false"
    )
    with socket.create_connection(("127.0.0.1", served.port), timeout=WAIT_S) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        assert begun.wait(WAIT_S)

    assert ended.wait(WAIT_S)


def test_a_reader_that_is_slow_slows_its_provider(start: Start) -> None:
    made = 0

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        nonlocal made
        for _ in range(2000):
            made += 1
            yield TextDelta("x" * 100_000)
            await asyncio.sleep(0)
        yield Finish("stop")

    served = start(desk(acme(reply)))
    body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    with socket.create_connection(("127.0.0.1", served.port), timeout=WAIT_S) as connection:
        connection.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )

        async def settled() -> int:
            seen = -1
            while seen != made:
                seen = made
                await asyncio.sleep(0.2)
            return seen

        assert served.ask(settled()) < 300  # of 2000: what buffers hold, and no more
        size = 0
        while part := connection.recv(1 << 20):
            size += len(part)

    assert (made, size > 200_000_000) == (2000, True)


def test_streams_that_outlive_the_drain_end_with_an_error(start: Start, raw: Raw) -> None:
    begun = threading.Event()

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield TextDelta("Hel")
        begun.set()
        await asyncio.Event().wait()
        yield Finish("stop")

    served = start(desk(acme(reply)), limits=Limits(drain_s=0.0))
    with raw(served).stream("POST", PATH, json=CHAT) as answer:
        assert begun.wait(WAIT_S)
        served.loop.call_soon_threadsafe(setattr, served.server, "should_exit", True)
        text = "".join(answer.iter_text())

    assert '"message":"the gateway is shutting down"' in text
    assert text.endswith("data: [DONE]\n\n")


def test_streams_within_the_drain_end_by_themselves(start: Start, raw: Raw) -> None:
    gate, begun = Gate(), threading.Event()

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield TextDelta("Hel")
        begun.set()
        await gate.passed()
        yield TextDelta("lo")
        yield Finish("stop")

    served = start(desk(acme(reply)), limits=Limits(drain_s=WAIT_S))
    with raw(served).stream("POST", PATH, json=CHAT) as answer:
        assert begun.wait(WAIT_S)
        served.loop.call_soon_threadsafe(setattr, served.server, "should_exit", True)
        gate.open()
        text = "".join(answer.iter_text())

    assert '"content":"lo"' in text
    assert "error" not in text


def test_a_hundred_streams_at_once_keep_apart(start: Start) -> None:
    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        mark = request.messages[0].text
        for n in range(20):
            yield TextDelta(f"{mark}.{n} ")
            await asyncio.sleep(0)
        yield Finish("stop")

    served = start(desk(acme(reply)))

    async def ask(number: int) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        body = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"<%d>"}]}' % number
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        text = (await reader.read()).decode()
        writer.close()
        await writer.wait_closed()
        return text

    async def everybody() -> list[str]:
        return await asyncio.gather(*(ask(number) for number in range(100)))

    for number, text in enumerate(asyncio.run(everybody())):
        said = [
            line.split('"content":"')[1].split('"')[0]
            for line in text.split("\n")
            if '"delta":{"content"' in line
        ]
        assert said == [f"<{number}>.{n} " for n in range(20)]
    assert not served.bay.answers
    assert served.bay.admission.active("desk") == 0


def test_answers_that_outlive_the_drain_are_refused(start: Start, raw: Raw) -> None:
    begun = threading.Event()

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        begun.set()
        await asyncio.Event().wait()
        yield Finish("stop")

    served = start(desk(acme(reply)), limits=Limits(drain_s=0.0))

    def stop() -> None:
        assert begun.wait(WAIT_S)
        served.loop.call_soon_threadsafe(setattr, served.server, "should_exit", True)

    stopping = threading.Thread(target=stop)
    stopping.start()
    answer = raw(served).post(PATH, json={**CHAT, "stream": False})
    stopping.join()

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
    assert answer.json()["error"]["message"] == "the gateway is shutting down"


@pytest.mark.parametrize(
    ("path", "text"), [("/v1/messages", b"raw"), ("/v1/chat/completions", object())]
)
def test_a_text_that_is_none_ends_the_answer_with_an_error(
    start: Start, raw: Raw, path: str, text: Any
) -> None:
    gate = asyncio.Event()

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield TextDelta("first")
        yield TextDelta(text)
        await gate.wait()
        yield Finish("stop")

    served = start(desk(acme(reply)))
    answer = raw(served).post(path, json={**CHAT, "max_tokens": 9})

    assert answer.status_code == 200
    assert "first" in answer.text
    assert "a fault of its own" in answer.text


# --- ends and pauses, without a socket ------------------------------------------------------------

BODY = b'{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'


def asked(path: str = PATH) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BODY)}\r\n\r\n"
    return head.encode() + BODY


@asynccontextmanager
async def wired(reply: Reply, **limits: Any) -> AsyncIterator[tuple[Client, Bay]]:
    """A client of a gateway whose one provider answers so."""
    host = desk(acme(reply))
    async with host:
        bay = Bay(host, limits=Limits(**limits))
        yield Client(Gateway(bay)), bay
        await bay.aclose()


@pytest.mark.anyio
@pytest.mark.parametrize("path", [PATH, "/v1/messages", "/api/chat"])
@pytest.mark.parametrize("times", [1, 2])
async def test_an_end_that_waits_for_its_client_is_written_whatever_happens(
    path: str, times: int
) -> None:
    breaks = asyncio.Event()

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield TextDelta("begun")
        await breaks.wait()
        yield TextDelta("LAST")
        raise StreamInterruptedError("the server broke off")

    async with wired(reply) as (client, bay):
        text = await client.send(asked(path))
        client.connection.pause_writing()
        breaks.set()
        await at_rest()
        for _ in range(times):
            bay.interrupt()
            await at_rest()
        assert client.wire.sent == b""
        client.connection.resume_writing()
        text += await client.send()

    assert b"begun" in text
    assert b"LAST" in text
    assert b"the server broke off" in text
    assert text.endswith(b"\r\n0\r\n\r\n")
    assert not bay.answers


@pytest.mark.anyio
async def test_who_is_told_to_stop_twice_ends_once() -> None:
    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield TextDelta("begun")
        await asyncio.Event().wait()
        yield Finish("stop")

    async with wired(reply) as (client, bay):
        text = await client.send(asked())
        client.connection.pause_writing()
        for _ in range(2):
            bay.interrupt()
            await at_rest()
        client.connection.resume_writing()
        text += await client.send()

    assert text.count(b"the gateway is shutting down") == 1
    assert text.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


@pytest.mark.anyio
async def test_a_provider_that_only_tells_what_it_does_is_held_back_too() -> None:
    made = 0

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        nonlocal made
        while True:
            made += 1
            yield Status("loading", 0.5, "x" * 100)
            if made % 10 == 0:
                await asyncio.sleep(0)

    async with wired(reply, unsent_bytes=10_000) as (client, _):
        assert await client.send(asked()) == b""
        assert 0 < made <= 100
        client.leave()
        await at_rest()


@pytest.mark.anyio
async def test_a_plugin_that_lives_on_is_told_again_when_the_client_leaves() -> None:
    ended = asyncio.Event()

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        try:
            yield TextDelta("begun")
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await asyncio.Event().wait()
            yield Finish("stop")
        finally:
            ended.set()

    async with wired(reply) as (client, bay):
        await client.send(asked())
        bay.interrupt()
        await at_rest()
        assert not ended.is_set()
        client.leave()
        await ended.wait()
        await at_rest()
        assert (bay.answers, bay.admission.active("desk")) == (set(), 0)


@pytest.mark.anyio
@pytest.mark.parametrize("path", [PATH, "/v1/messages", "/api/chat"])
@pytest.mark.parametrize("first", [TextDelta(""), ToolCallDelta(0, "{"), ReasoningDelta("hm")])
async def test_the_head_comes_with_the_first_event_though_it_shows_nowhere(
    path: str, first: StreamEvent
) -> None:
    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield first
        await asyncio.Event().wait()
        yield Finish("stop")

    async with wired(reply) as (client, _):
        assert (await client.send(asked(path))).startswith(b"HTTP/1.1 200 OK\r\n")
        client.leave()
        await at_rest()


@pytest.mark.anyio
async def test_a_plugin_that_waits_for_what_was_cancelled_has_failed() -> None:
    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield TextDelta("begun")
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future
        yield Finish("stop")

    async with wired(reply) as (client, _):
        text = await client.send(asked())

    assert b"stream_chat raised CancelledError" in text
    assert text.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


@pytest.mark.anyio
async def test_what_every_answer_carries_a_stream_carries_too() -> None:
    async with wired([TextDelta("hi"), Finish("stop")]) as (client, _):
        head = (await client.send(asked("/v1/messages"))).partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0] for line in head.split(b"\r\n")]
    assert (names.count(b"x-request-id"), names.count(b"request-id")) == (1, 1)
