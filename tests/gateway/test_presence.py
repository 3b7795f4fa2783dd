"""Mirrors modelbay_gateway/presence.py: whoever leaves leaves nothing behind, over real sockets."""

import asyncio
import gc
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.conftest import Start
from gateway.serving import Served, acme, desk
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, StreamEvent, TextDelta
from modelbay_gateway.answer import Answer
from modelbay_gateway.call import Call
from modelbay_gateway.presence import Listening, Presence

MESSAGES = [{"role": "user", "content": "hi"}]


class Endless:
    """A server whose answers never end; counts those that were begun and those it was let off."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)

    async def stream_chat(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        try:
            if request.stream:
                yield TextDelta("a")
            self.begun.release()
            await asyncio.Event().wait()
            yield Finish("stop")
        finally:
            self.ended.release()


def asked(stream: bool) -> bytes:
    body = json.dumps(
        {"model": "desk/m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    ).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def at_rest(served: Served) -> None:
    """When no request is worked on any more."""
    for _ in range(10_000):
        if not (served.bay.answers or served.bay.admission.active("desk")):
            return
        await asyncio.sleep(0)
    raise AssertionError("a request is still worked on")


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Only what nobody refers to is freed."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.usefixtures("uncollected")
def test_an_abandoned_request_is_freed_at_once(start: Start, stream: bool) -> None:
    """Its body may be large, and the next look for cycles far away."""
    endless = Endless()
    served = start(desk(acme(endless.stream_chat)))
    kinds = (ChatRequest, Answer)
    before = [sum(type(each) is kind for each in gc.get_objects()) for kind in kinds]

    for _ in range(5):
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as client:
            client.sendall(asked(stream))
            assert endless.begun.acquire(timeout=30)
        assert endless.ended.acquire(timeout=30)
    served.ask(at_rest(served))
    served.ask(asyncio.sleep(0))

    after = [sum(type(each) is kind for each in gc.get_objects()) for kind in kinds]
    assert after == before


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/chat/completions", {"model": "desk/m", "messages": MESSAGES}),
        ("POST", "/v1/chat/completions", {"model": "desk/m", "messages": MESSAGES, "stream": True}),
        ("POST", "/v1/chat/completions", {"model": "desk/gone", "messages": MESSAGES}),
        ("POST", "/v1/chat/completions", {"messages": "hi"}),
        ("POST", "/v1/messages", {"model": "desk/m", "max_tokens": 9, "messages": MESSAGES}),
        ("POST", "/api/chat", {"model": "desk/m", "messages": MESSAGES}),
        ("GET", "/v1/models", None),
        ("GET", "/nowhere", None),
    ],
)
@pytest.mark.usefixtures("uncollected")
def test_an_answered_request_is_freed_at_once(
    start: Start, method: str, path: str, body: object
) -> None:
    served = start(desk(acme()))
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as client:

        def ask(end: bytes = b"") -> None:
            client.sendall(head.encode() + end + b"\r\n" + content)
            assert client.recv(65536).startswith(b"HTTP/1.1 ")
            served.ask(at_rest(served))

        ask()  # what is made once for all stays
        served.ask(asyncio.sleep(0))
        before = sum(type(each) is Call for each in gc.get_objects())
        for _ in range(5):
            ask()
        ask(b"Connection: close\r\n")
        while client.recv(65536):
            pass
    served.ask(asyncio.sleep(0))

    assert sum(type(each) is Call for each in gc.get_objects()) == before


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("later", [1, 3])
def test_a_client_that_has_sent_more_requests_is_seen_to_leave(
    start: Start, stream: bool, later: int
) -> None:
    endless = Endless()
    served = start(desk(acme(endless.stream_chat)))

    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as client:
        client.sendall(asked(stream))
        assert endless.begun.acquire(timeout=30)
        for _ in range(later):
            client.sendall(asked(stream))
    assert endless.ended.acquire(timeout=30)

    served.ask(at_rest(served))
    assert not endless.begun.acquire(blocking=False)  # nobody asked for the client who left


def test_who_watches_is_told_once_and_who_comes_late_at_once() -> None:
    told: list[str] = []
    presence = Presence(lambda: told.append("resumed"))

    def stays() -> None:
        told.append("stays")

    def goes() -> None:
        told.append("goes")

    presence.watch(stays)
    presence.watch(goes)
    presence.unwatch(goes)
    presence.gone()
    presence.gone()
    presence.watch(goes)

    assert (told, presence.is_gone) == (["resumed", "resumed", "stays", "goes"], True)


@pytest.mark.anyio
async def test_behind_another_server_one_task_listens_while_somebody_watches() -> None:
    messages: asyncio.Queue[dict[str, object]] = asyncio.Queue()
    told: list[str] = []
    presence = Listening(messages.get)
    left = asyncio.Event()

    def leave() -> None:
        told.append("gone")
        left.set()

    presence.watch(leave)
    presence.unwatch(leave)
    presence.watch(leave)
    messages.put_nowait({"type": "http.request"})
    messages.put_nowait({"type": "http.disconnect"})
    await left.wait()

    assert (told, presence.is_gone) == (["gone"], True)
