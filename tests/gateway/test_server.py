"""Mirrors modelbay_gateway/server.py; draining is in test_answer.py, limits in test_security.py."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator

import pytest

from gateway.conftest import Raw, Start
from gateway.serving import acme, desk
from modelbay.errors import ConfigError
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, StreamEvent, TextDelta
from modelbay_gateway.limits import Limits
from modelbay_gateway.server import address_of, listen


def test_an_address_is_written_as_people_type_it() -> None:
    with listen("127.0.0.1", 0) as made:
        assert address_of(made) == f"http://127.0.0.1:{made.getsockname()[1]}"
    if socket.has_ipv6:
        with listen("::1", 0) as made:
            assert address_of(made) == f"http://[::1]:{made.getsockname()[1]}"


def test_a_port_that_is_taken_is_told(start: Start) -> None:
    with listen("127.0.0.1", 0) as made:
        port = made.getsockname()[1]
        with pytest.raises(ConfigError, match=f"nothing can listen at 127.0.0.1 port {port}: "):
            listen("127.0.0.1", port)


def test_small_answers_leave_at_once() -> None:
    with listen("127.0.0.1", 0) as made:
        assert made.proto == socket.IPPROTO_TCP  # asyncio sets TCP_NODELAY for no other


def test_connections_are_used_again(start: Start, raw: Raw) -> None:
    served = start(desk(acme()))
    client = raw(served)
    for _ in range(50):
        assert client.get("/health").status_code == 200

    assert len(served.server.server_state.connections) == 1


def test_a_head_is_counted_by_itself_however_the_pieces_fall(start: Start) -> None:
    """A piece may hold the end of a body and the beginning of the next head."""
    served = start(desk(acme()), limits=Limits(head_bytes=4096))
    body = b"{" + b" " * 20_000
    first = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    second = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(first)
        assert connection.recv(65536).startswith(b"HTTP/1.1 404 ")
        connection.sendall(body + second[:10])
        connection.sendall(second[10:])
        answer = b""
        while part := connection.recv(65536):
            answer += part

    assert b"HTTP/1.1 200 " in answer
    assert answer.endswith(b'"version":"0.1.0"}')


# --- how long it waits ----------------------------------------------------------------------------

POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90\r\n\r\n"
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def healthy(connection: socket.socket) -> bool:
    """The whole answer to `GET` comes, and says so."""
    answer = b""
    while not answer.endswith(b"}") and (part := connection.recv(65536)):
        answer += part
    return answer.startswith(b"HTTP/1.1 200 ")


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    answer = b""
    while part := connection.recv(65536):
        answer += part
    return answer


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", b""),
        (b"\r\n", b""),
        (b"GET /health HTTP/1.1\r\nHost: loc", b"HTTP/1.1 408 "),
        (POST, b"HTTP/1.1 408 "),
        (POST + b'{"model"', b"HTTP/1.1 408 "),
    ],
)
def test_a_request_that_does_not_come_to_its_end_is_not_waited_for(
    start: Start, sent: bytes, status: bytes
) -> None:
    served = start(desk(acme()), limits=Limits(head_s=0.2, body_idle_s=0.2))

    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(sent)
        answer = rest(connection)

    assert answer[: len(b"HTTP/1.1 408 ")] == status
    assert (b"\r\nx-request-id: " in answer) == bool(status)


@pytest.mark.parametrize(("sent", "status"), [(b"\r\n", b""), (GET[:20], b"HTTP/1.1 408 ")])
def test_nothing_keeps_a_connection_open_after_an_answer(
    start: Start, sent: bytes, status: bytes
) -> None:
    served = start(desk(acme()), limits=Limits(head_s=0.2))

    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(GET)
        assert healthy(connection)
        connection.sendall(sent)
        answer = rest(connection)

    assert answer[: len(b"HTTP/1.1 408 ")] == status


def test_an_answer_takes_longer_than_a_request_may(start: Start, raw: Raw) -> None:
    gate = asyncio.Event()

    async def late(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        await gate.wait()
        yield TextDelta("late")
        yield Finish("stop")

    served = start(desk(acme(late)), limits=Limits(head_s=0.05, body_idle_s=0.05, heartbeat_s=0.1))
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with raw(served).stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(6)].count(": keep-alive") == 2
        served.loop.call_soon_threadsafe(gate.set)
        assert any('"late"' in line for line in lines)


def test_one_connection_too_many_is_refused_and_the_others_go_on(start: Start) -> None:
    served = start(desk(acme()), limits=Limits(connections=2))
    address = ("127.0.0.1", served.port)

    with (
        socket.create_connection(address, timeout=30) as first,
        socket.create_connection(address, timeout=30) as second,
        socket.create_connection(address, timeout=30) as third,
    ):
        assert rest(third).startswith(b"HTTP/1.1 503 ")
        for connection in (first, second):
            connection.sendall(GET)
            assert healthy(connection)


def test_an_answer_that_ends_its_connection_goes_out_whole_beside_others(start: Start) -> None:
    served = start(desk(acme()))
    last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")

    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", served.port), timeout=30))
            for _ in range(8)
        ]
        for connection in connections:
            connection.sendall(GET + last)
        answers = [rest(connection) for connection in connections]

    assert [answer.count(b"HTTP/1.1 200 ") for answer in answers] == [2] * 8
    assert [answer.count(b'"version":"0.1.0"}') for answer in answers] == [2] * 8


def test_who_says_that_nothing_more_will_come_gets_the_answer_beside_others(start: Start) -> None:
    gate = asyncio.Event()

    async def held(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield TextDelta("a")
        await gate.wait()
        yield Finish("stop")

    served = start(desk(acme(held)))
    body = json.dumps(
        {"model": "m", "stream": True, "messages": [{"role": "user", "content": "?"}]}
    )
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as streaming:
        streaming.sendall(f"{head}\r\n\r\n{body}".encode())
        assert streaming.recv(65536).startswith(b"HTTP/1.1 200 ")
        answers = []
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
                connection.sendall(GET)
                connection.shutdown(socket.SHUT_WR)
                answers.append(rest(connection))
        served.loop.call_soon_threadsafe(gate.set)
        assert streaming.recv(65536)

    assert [answer.startswith(b"HTTP/1.1 200 ") for answer in answers] == [True] * 10
    assert [answer.endswith(b'"version":"0.1.0"}') for answer in answers] == [True] * 10


def test_a_body_that_nobody_wanted_is_not_read_without_end(start: Start) -> None:
    served = start(desk(acme()), limits=Limits(body_bytes=100_000))
    head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"2710\r\n" + b"x" * 10_000 + b"\r\n"

    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(head)
        assert healthy(connection)
        is_cut = False
        for _ in range(10_000):
            try:
                connection.sendall(chunk)
            except OSError:  # broken or reset, as it comes
                is_cut = True
                break

    assert is_cut


# --- one answer and the next ----------------------------------------------------------------------


def test_a_head_alone_comes_before_what_is_said_of_the_next_request(start: Start) -> None:
    served = start(desk(acme()))

    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(GET.replace(b"GET", b"HEAD") + b"JUNK\r\n\r\n")
        answer = rest(connection)

    statuses = [line[:12] for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    assert statuses in ([b"HTTP/1.1 200", b"HTTP/1.1 400"], [b"HTTP/1.1 400"])


@pytest.mark.parametrize("next_request", [POST + b'{"model"', b"JUNK\r\n\r\n"])
def test_nothing_is_said_in_the_middle_of_an_answer(start: Start, next_request: bytes) -> None:
    async def endless(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield TextDelta("a")
        await asyncio.Event().wait()
        yield Finish("stop")

    served = start(desk(acme(endless)), limits=Limits(head_s=0.2, body_idle_s=0.2))
    body = b'{"model": "desk/m", "stream": true, "messages": [{"role": "user", "content": "hi"}]}'
    head = POST.replace(b"Content-Length: 90", b"Content-Length: %d" % len(body))

    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(head + body)
        answer = connection.recv(65536)
        connection.sendall(next_request)
        answer += rest(connection)

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Refused" not in answer
