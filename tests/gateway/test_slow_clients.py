"""Clients that send slowly, or too much: they delay nobody and hold nothing."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway.conftest import Raw, Start
from gateway.serving import WAIT_S, Served, acme, desk
from modelbay.models.chat import ChatRequest
from modelbay_gateway.limits import MIB, Limits

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
PATH = "/v1/chat/completions"
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
HEAD = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
)


def connected(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=WAIT_S)


def rest(connection: socket.socket) -> bytes:
    """Everything until the server closes."""
    answer = b""
    while part := connection.recv(65536):
        answer += part
    return answer


@pytest.mark.parametrize("sent", [HEAD[:20], HEAD[:-2], HEAD, HEAD + BODY[:30]])
def test_a_request_that_is_not_whole_holds_no_place_and_delays_nobody(
    start: Start, raw: Raw, sent: bytes
) -> None:
    seen: list[ChatRequest] = []
    served = start(desk(acme(seen=seen)), limits=Limits(active=1, waiting=0))

    with ExitStack() as stack:
        slow = [stack.enter_context(connected(served)) for _ in range(50)]
        for connection in slow:
            connection.sendall(sent)
        assert raw(served).post(PATH, json=CHAT).status_code == 200
        assert len(seen) == 1
        for connection in slow:
            connection.sendall((HEAD + BODY)[len(sent) :])
            assert rest(connection).startswith(b"HTTP/1.1 200 ")

    assert len(seen) == 51
    assert served.bay.admission.active("desk") == 0


def test_a_request_that_comes_byte_by_byte_is_answered(start: Start) -> None:
    served = start(desk(acme()))

    with connected(served) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(HEAD + BODY)):
            connection.sendall((HEAD + BODY)[at : at + 1])
        assert b'"content":"Hello"' in rest(connection)


def test_who_leaves_in_the_middle_of_a_body_asked_for_nothing(start: Start, raw: Raw) -> None:
    seen: list[ChatRequest] = []
    served = start(desk(acme(seen=seen)))

    for _ in range(20):
        with connected(served) as connection:
            connection.sendall(HEAD + BODY[:30])
    assert raw(served).get("/health").status_code == 200

    assert seen == []
    assert not served.bay.answers  # and `Served.stop` finds no task left


def test_a_refusal_does_not_wait_for_a_body_that_is_announced(start: Start) -> None:
    """Nobody has to send what will not be read."""
    served = start(desk(acme()), limits=Limits(body_bytes=1000))
    announced = HEAD.replace(b"Length: %d" % len(BODY), b"Length: 1001")

    with connected(served) as connection:
        connection.sendall(announced)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_a_refusal_in_mid_body_says_that_the_connection_ends_and_arrives_whole(
    start: Start,
) -> None:
    """Else a client keeps the connection, and its next request meets a closed one."""
    served = start(desk(acme()), limits=Limits(body_bytes=1000))
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
    size = 9_000_000

    for body in (
        b"Content-Length: %d\r\n\r\n" % size + b"x" * size,
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n",
    ):
        with connected(served) as connection:
            connection.sendall(head + body)
            answer = rest(connection)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close\r\n" in answer
        assert answer.endswith(b"}")


def test_a_body_of_64_mib_is_read_and_one_byte_more_is_not(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme())))

    def pieces(size: int) -> Iterator[bytes]:
        yield BODY
        left = size - len(BODY)
        while left:
            yield b" " * min(left, MIB)
            left -= min(left, MIB)

    def post(size: int, *, announced: bool) -> tuple[int, str | None]:
        headers = {"content-length": str(size)} if announced else {}
        answer = client.post(PATH, content=pieces(size), headers=headers)
        return answer.status_code, answer.json().get("error", {}).get("code")

    for announced in (True, False):
        assert post(64 * MIB, announced=announced) == (200, None)
        assert post(64 * MIB + 1, announced=announced) == (413, "request_too_large")
