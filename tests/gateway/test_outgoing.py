"""Mirrors modelbay_gateway/outgoing.py: answers behind servers that have to be waited for."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.types import Message, Send

from gateway.serving import Reply, acme, desk
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, StreamEvent, TextDelta
from modelbay_gateway.app import Gateway
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Gone
from modelbay_gateway.limits import Limits
from modelbay_gateway.outgoing import Courier

pytestmark = pytest.mark.anyio


def body(text: str) -> Message:
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}


async def ask(reply: Reply, send: Send, limits: Limits) -> None:
    """One streamed turn through the application, behind a server with this ``send``."""
    asked = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    messages = [{"type": "http.request", "body": asked, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError

    host = desk(acme(reply))
    async with host:
        gateway = Gateway(Bay(host, limits=limits))
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/chat/completions",
            "raw_path": b"/v1/chat/completions",
            "query_string": b"",
            "headers": [(b"host", b"localhost")],
            "client": ("127.0.0.1", 1),
        }
        await gateway(scope, receive, send)


async def test_messages_go_out_in_their_order_and_who_waits_is_told_once() -> None:
    sent: list[Message] = []
    told: list[str] = []
    goes_on = asyncio.Event()

    async def send(message: Message) -> None:
        await goes_on.wait()
        sent.append(message)

    courier = Courier(send)
    assert courier.is_free
    courier.write(body("a"))
    courier.write(body("b"))
    courier.when_free(lambda: told.append("free"))
    await asyncio.sleep(0)
    assert (courier.is_free, sent, told) == (False, [], [])

    goes_on.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert (courier.is_free, sent, told) == (True, [body("a"), body("b")], ["free"])

    courier.write(body("c"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert (sent[2:], told) == ([body("c")], ["free"])


@pytest.mark.parametrize(("error", "told"), [(BrokenPipeError(), Gone), (ValueError(), ValueError)])
async def test_what_cannot_be_sent_is_told_to_who_writes_next(
    error: Exception, told: type[Exception]
) -> None:
    freed: list[str] = []
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        raise error

    courier = Courier(send)
    courier.write(body("a"))
    courier.write(body("b"))
    courier.when_free(lambda: freed.append("free"))
    with pytest.raises(told):
        await courier.sent()
    with pytest.raises(told):
        courier.write(body("c"))
    assert (courier.is_free, freed, sent) == (True, ["free"], [body("a")])


async def test_what_waits_is_forgotten_when_it_is_closed() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)
        await asyncio.Event().wait()

    courier = Courier(send)
    courier.write(body("a"))
    courier.write(body("b"))
    await asyncio.sleep(0)
    await courier.aclose()
    assert (courier.is_free, sent) == (True, [body("a")])


@pytest.mark.parametrize("unsent_bytes", [1, 1 << 20])
async def test_behind_another_server_a_stream_comes_whole_however_slow_it_sends(
    unsent_bytes: int,
) -> None:
    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        for n in range(50):
            yield TextDelta(f"<{n}>")
            if n % 7 == 0:
                await asyncio.sleep(0)
        yield Finish("stop")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        sent.append(message)

    await ask(reply, send, Limits(unsent_bytes=unsent_bytes))

    assert [message["type"] for message in sent[:2]] == [
        "http.response.start",
        "http.response.body",
    ]
    assert [message.get("more_body", False) for message in sent[1:]] == [
        *[True] * (len(sent) - 2),
        False,
    ]
    text = b"".join(message["body"] for message in sent[1:]).decode()
    pieces = [
        line.split('"content":"')[1].split('"')[0] for line in text.split("\n") if "<" in line
    ]
    assert pieces == [f"<{n}>" for n in range(50)]
    assert text.endswith("data: [DONE]\n\n")


async def test_behind_another_server_nothing_is_sent_beside_or_behind_the_end() -> None:
    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield TextDelta("hi")
        yield Finish("stop")

    events: list[str] = []

    async def send(message: Message) -> None:
        kind = message["type"].rpartition(".")[2]
        is_end = kind == "body" and not message.get("more_body", False)
        name = "end" if is_end else kind
        events.append(f"+{name}")
        for _ in range(100):  # far longer than a heartbeat
            await asyncio.sleep(0)
        events.append(f"-{name}")

    await ask(reply, send, Limits(heartbeat_s=0.0))
    assert [event[1:] for event in events[::2]] == [event[1:] for event in events[1::2]]
    assert (events[0], events.index("+end")) == ("+start", len(events) - 2)


async def test_behind_another_server_its_error_ends_the_providers_stream() -> None:
    made = 0

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        nonlocal made
        for n in range(1000):
            made += 1
            yield TextDelta(f"<{n}>")
            await asyncio.sleep(0)
        yield Finish("stop")

    async def send(message: Message) -> None:
        if made > 5:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await ask(reply, send, Limits())
    assert made < 20
