"""Mirrors modelbay_gateway/outgoing.py: answers behind servers that have to be waited for."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.types import Message

from gateway.serving import acme, desk
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, StreamEvent, TextDelta
from modelbay_gateway.app import Gateway
from modelbay_gateway.bay import Bay
from modelbay_gateway.limits import Limits
from modelbay_gateway.outgoing import Courier

pytestmark = pytest.mark.anyio


def body(text: str) -> Message:
    return {"type": "http.response.body", "body": text.encode(), "more_body": True}


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


async def test_a_client_that_has_gone_is_no_failure() -> None:
    told: list[str] = []

    async def send(message: Message) -> None:
        raise BrokenPipeError

    courier = Courier(send)
    courier.write(body("a"))
    courier.write(body("b"))
    courier.when_free(lambda: told.append("free"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert (courier.is_free, told) == (True, ["free"])


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
    asked = b'{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    messages = [{"type": "http.request", "body": asked, "more_body": False}]

    async def receive() -> Message:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        sent.append(message)

    host = desk(acme(reply))
    async with host:
        gateway = Gateway(Bay(host, limits=Limits(unsent_bytes=unsent_bytes)))
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
