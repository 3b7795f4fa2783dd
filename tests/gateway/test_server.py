"""Mirrors modelbay_gateway/server.py; draining is in test_answer.py, limits in test_security.py."""

import socket

import pytest

from gateway.conftest import Raw, Start
from gateway.serving import acme, desk
from modelbay.errors import ConfigError
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
