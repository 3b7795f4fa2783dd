"""Mirrors modelbay_gateway/connection.py, exchange.py and framing.py; time-outs: test_server.py."""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.wired import FIRST, Client, at_rest, read
from modelbay_gateway.connection import Connection
from modelbay_gateway.exchange import Exchange
from modelbay_gateway.limits import Limits
from modelbay_gateway.presence import PRESENCE

pytestmark = pytest.mark.anyio

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


def answers(
    body: bytes = b"hello", *headers: tuple[bytes, bytes], status: int = 200, whole: bool = True
) -> ASGIApp:
    """Reads the request and answers with this."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await read(receive)
        size = [(b"content-length", str(len(body)).encode())] if whole else []
        await send({"type": "http.response.start", "status": status, "headers": [*size, *headers]})
        await send({"type": "http.response.body", "body": body})

    return app


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The path and the body of the request, in pieces."""
    body = await read(receive)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for part in (scope["raw_path"], scope["query_string"], body):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"


# --- requests -------------------------------------------------------------------------------------


async def test_a_request_is_handed_on_as_asgi_wants_it() -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append({name: value for name, value in scope.items() if name in wanted})

    wanted = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1234),
        "scheme": "http",
        "root_path": "",
        "method": "PUT",
        "path": "/a b/ü",
        "raw_path": b"/a%20b/%C3%BC",
        "query_string": b"x=%20&y",
        "headers": [(b"host", b"h"), (b"x-two", b"1"), (b"x-two", b"2")],
    }
    await Client(app).send(
        b"PUT /a%20b/%C3%BC?x=%20&y HTTP/1.1\r\nHost: h\r\nX-Two: 1\r\nx-tWO:  2\r\n\r\n"
    )
    assert seen == [wanted]


@given(cuts=st.lists(st.integers(1, 400), max_size=12))
async def test_however_the_pieces_fall_the_answers_are_the_same(cuts: list[int]) -> None:
    requests = (
        b"POST /one?q=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
        b"POST /two HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n"
        b"GET /three HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    )
    places = sorted({0, *(cut for cut in cuts if cut < len(requests)), len(requests)})
    pieces = [requests[a:b] for a, b in pairwise(places)]
    client = Client(echo)

    sent = await client.send(*pieces)

    kept = FIRST + b"transfer-encoding: chunked\r\n\r\n"
    last = FIRST + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    assert sent == (
        kept
        + chunked(b"/one", b"q=1", b"hello")
        + kept
        + chunked(b"/two", b"abcde")
        + last
        + chunked(b"/three")
    )
    assert (client.wire.is_closed, client.shared.total_requests) == (True, 3)


async def test_a_body_is_asked_for_where_its_client_waits_to_be() -> None:
    client = Client(answers())
    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n"

    assert await client.send(head) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert await client.send(b"hi") == FIRST + b"content-length: 5\r\n\r\nhello"


async def test_a_body_nobody_wants_is_not_asked_for() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 403, "headers": []})
        await send({"type": "http.response.body"})

    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    assert (await Client(app).send(head)).startswith(b"HTTP/1.1 403 Forbidden\r\n")


UPGRADE = b"Host: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"


@given(cut=st.integers(0, 400))
async def test_whoever_is_asked_to_change_the_protocol_stays_with_this_one(cut: int) -> None:
    """A body stays the body of its request, also where it looks like another one."""
    requests = (
        b"GET /one HTTP/1.1\r\n" + UPGRADE + b"\r\n"
        b"POST /two HTTP/1.1\r\n"
        + UPGRADE
        + b"Content-Length: %d\r\n\r\n" % len(GET)
        + GET
        + b"POST /three HTTP/1.1\r\n"
        + UPGRADE
        + b"Transfer-Encoding: chunked\r\n\r\n"
        b"1c\r\n" + GET + b"\r\n0\r\n\r\n" + b"GET /four HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    assert len(GET) == 0x1C
    sent = await Client(echo).send(*(part for part in (requests[:cut], requests[cut:]) if part))

    head = FIRST + b"transfer-encoding: chunked\r\n\r\n"
    bodies = [(b"/one",), (b"/two", GET), (b"/three", GET), (b"/four",)]
    assert sent == b"".join(head + chunked(*body) for body in bodies)


async def test_a_tunnel_is_refused_and_what_follows_is_no_request() -> None:
    client = Client(answers())
    answer = await client.send(b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n" + GET)
    assert (answer[:13], client.wire.is_closed) == (b"HTTP/1.1 400 ", True)
    assert answer.count(b"HTTP/1.1 ") == 1


async def test_a_target_without_a_path_is_the_front_page() -> None:
    client = Client(echo)
    answer = await client.send(b"GET http://h HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answer.endswith(chunked(b"/"))


async def test_a_body_of_the_smallest_chunks_costs_no_more_than_its_length() -> None:
    counted = 0

    class Counting(bytes):
        def __len__(self) -> int:
            nonlocal counted
            counted += 1
            return super().__len__()

    goes_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await goes_on.wait()

    client = Client(app)
    await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    exchange = client.connection._latest
    assert exchange is not None
    for _ in range(1000):
        exchange.feed(Counting(b"x"))
    goes_on.set()
    await at_rest()
    assert counted == 1000


async def test_a_body_waits_until_its_application_wants_it() -> None:
    wanted = asyncio.Event()
    bodies: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await wanted.wait()
        bodies.append(await read(receive))

    client = Client(app)
    await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n")
    await client.send(b"x" * 100_000)
    assert client.wire.is_paused

    wanted.set()
    await at_rest()
    assert not client.wire.is_paused
    await client.send(b"x" * 100_000)
    assert bodies == [b"x" * 200_000]


@pytest.mark.parametrize(
    "sent",
    [
        b"JUNK\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_ends(sent: bytes) -> None:
    client = Client(answers())
    answer = await client.send(sent)
    assert (answer[:13], client.wire.is_closed) == (b"HTTP/1.1 400 ", True)


# --- answers --------------------------------------------------------------------------------------


async def test_a_head_goes_out_with_its_body_or_when_that_is_long_in_coming() -> None:
    goes_on = asyncio.Event()
    writes: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await goes_on.wait()
        await send({"type": "http.response.body", "body": b"x"})

    client = Client(app)
    client.wire.write = writes.append  # type: ignore[assignment,method-assign]
    await client.send(GET)
    goes_on.set()
    await at_rest()
    assert writes == [FIRST + b"transfer-encoding: chunked\r\n\r\n", chunked(b"x")]

    client = Client(answers(whole=False))
    client.wire.write = writes.append  # type: ignore[assignment,method-assign]
    writes.clear()
    await client.send(GET)
    assert writes == [FIRST + b"transfer-encoding: chunked\r\n\r\n" + chunked(b"hello")]


async def test_an_answer_without_a_body_has_none() -> None:
    head = GET.replace(b"GET", b"HEAD")
    assert await Client(answers()).send(head) == FIRST + b"content-length: 5\r\n\r\n"
    assert await Client(answers(whole=False)).send(head) == FIRST + b"\r\n"
    nothing = await Client(answers(b"", status=204, whole=False)).send(GET)
    assert nothing == b"HTTP/1.1 204 No Content\r\ndate: today\r\n\r\n"


async def test_to_who_does_not_know_chunks_the_end_of_the_connection_is_the_end() -> None:
    client = Client(answers(whole=False))
    answer = await client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert (answer, client.wire.is_closed) == (FIRST + b"connection: close\r\n\r\nhello", True)


@pytest.mark.parametrize(
    ("client_says", "app_says"),
    [
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", ()),
        (GET, ((b"connection", b"close"),)),
    ],
)
async def test_the_last_answer_ends_the_connection_and_says_so_once(
    client_says: bytes, app_says: tuple[tuple[bytes, bytes], ...]
) -> None:
    client = Client(answers(b"hello", *app_says))
    answer = await client.send(client_says)
    assert answer == FIRST + b"content-length: 5\r\nconnection: close\r\n\r\nhello"
    assert client.wire.is_closed


async def test_the_last_answer_is_given_time_while_its_request_still_comes() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        close = [(b"connection", b"close"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 413, "headers": close})
        await send({"type": "http.response.body", "body": b"no"})

    client = Client(app)
    answer = await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab")
    assert (answer[-2:], client.wire.has_said_all, client.wire.is_closed) == (b"no", True, False)
    await client.send(b"cd")
    assert client.wire.is_closed


async def test_an_endless_head_behind_the_last_answer_is_not_answered() -> None:
    client = Client(answers(), Limits(head_bytes=100))
    last = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    answer = await client.send(last + b"GET /" + b"x" * 50)
    assert (answer[-5:], client.wire.has_said_all) == (b"hello", True)
    assert await client.send(b"x" * 101) == b""
    assert client.wire.is_closed


async def test_an_application_that_fails_on_a_closed_connection_is_not_answered_for() -> None:
    goes_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await goes_on.wait()

    client = Client(app)
    await client.send(GET)
    client.connection._close()
    goes_on.set()
    assert await client.send() == b""


async def test_a_request_that_ends_behind_the_last_answer_is_not_begun() -> None:
    client = Client(answers())
    last = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    answer = await client.send(last + GET[:10])
    assert (answer[-5:], client.wire.has_said_all) == (b"hello", True)
    assert await client.send(GET[10:]) == b""
    assert (client.wire.is_closed, client.shared.total_requests) == (True, 1)


async def test_nothing_is_begun_or_said_behind_the_last_answer() -> None:
    goes_on = asyncio.Event()
    begun: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        begun.append(scope["raw_path"])
        await goes_on.wait()
        await answers()(scope, receive, send)

    client = Client(app, Limits(head_s=0.0))
    last = b"GET /last HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    await client.send(last + b"POST /next HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
    goes_on.set()
    answer = await client.send()
    assert (answer[-5:], client.wire.has_said_all) == (b"hello", True)
    await at_rest()
    assert (client.wire.sent, begun) == (b"", [b"/last"])
    assert client.wire.is_closed  # what is late is not waited for, and not told


@pytest.mark.parametrize(
    "header",
    [
        (b"x", b"a\r\ny: z"),
        (b"x", b"a\nb"),
        (b"x", b"a\rb"),
        (b"x", b"a\0b"),
        (b"x y", b"z"),
        (b"x\r\ny", b"z"),
        (b"", b"z"),
    ],
)
async def test_no_header_can_begin_another(header: tuple[bytes, bytes]) -> None:
    client = Client(answers(b"hello", header))
    answer = await client.send(GET)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert (b"x" not in answer.split(b": ")[0], client.wire.is_closed) == (True, True)


async def test_any_other_header_goes_out_as_it_is() -> None:
    header = (b"X-!#$%&'*+.^_`|~9", bytes([9, *range(32, 127), *range(128, 256)]))
    answer = await Client(answers(b"hello", header)).send(GET)
    assert answer == FIRST + b"content-length: 5\r\n%b: %b\r\n\r\nhello" % header


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"type": "http.response.body", "body": b"x"}],
        [{"type": "http.response.push"}],
    ],
)
async def test_an_application_that_does_not_answer_is_answered_for(messages: list[Message]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    client = Client(app)
    answer = await client.send(GET)
    assert (answer[:13], client.wire.is_closed) == (b"HTTP/1.1 500 ", True)


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "http.response.body", "body": b"x" * 6}],
        [{"type": "http.response.body", "body": b"x" * 4}],
        [{"type": "http.response.body", "body": b"x", "more_body": True}],
        [{"type": "http.response.start", "status": 200, "headers": []}],
    ],
)
async def test_an_answer_that_is_not_what_it_said_is_cut_off(messages: list[Message]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        size = [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": size})
        for message in messages:
            await send(message)

    client = Client(app)
    answer = await client.send(GET)
    assert (len(answer.partition(b"\r\n\r\n")[2]) < 5, client.wire.is_closed) == (True, True)


async def test_whoever_reads_slowly_is_waited_for() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in (b"a", b"b", b"c"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
            client.connection.pause_writing()
        await send({"type": "http.response.body"})

    client = Client(app)
    assert (await client.send(GET)).endswith(b"1\r\na\r\n")
    for rest in (b"1\r\nb\r\n", b"1\r\nc\r\n", b"0\r\n\r\n"):
        assert client.wire.sent == b""
        client.connection.resume_writing()
        assert await client.send() == rest


# --- the end --------------------------------------------------------------------------------------


def stays(until: asyncio.Event, told: list[str]) -> Callable[..., Awaitable[None]]:
    """Answers a little, then waits; notes when it hears that its client has gone."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope[PRESENCE].watch(lambda: told.append("presence"))
        await read(receive)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        told.append((await receive())["type"])
        await send({"type": "http.response.body", "body": b"y"})
        until.set()

    return app


async def test_an_application_hears_that_its_client_has_gone() -> None:
    told: list[str] = []
    until = asyncio.Event()
    client = Client(stays(until, told))
    await client.send(GET)
    client.leave()
    await until.wait()
    assert told == ["presence", "http.disconnect"]
    assert (client.wire.sent, client.shared.connections) == (b"", set())


async def test_a_server_that_stops_lets_answers_end_and_closes_the_rest() -> None:
    idle = Client(answers())
    idle.connection.shutdown()
    assert idle.wire.is_closed

    goes_on = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await goes_on.wait()
        await answers()(scope, receive, send)

    busy = Client(app)
    await busy.send(GET)
    busy.connection.shutdown()
    assert not busy.wire.is_closed
    goes_on.set()
    answer = await busy.send()
    assert answer == FIRST + b"content-length: 5\r\nconnection: close\r\n\r\nhello"
    assert busy.wire.is_closed


async def test_a_connection_that_is_gone_is_freed_at_once() -> None:
    """Of thousands that come and go nothing waits for the garbage collector."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    def alive() -> set[int]:
        return {id(each) for each in gc.get_objects() if type(each) in (Exchange, Connection)}

    gc.collect()
    gc.disable()
    try:
        before = alive()
        client = Client(app)
        await client.send(GET, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf")
        client.leave()
        await at_rest()
        wire: weakref.ReferenceType[object] = weakref.ref(client.wire)
        del client
        assert (wire(), alive() - before) == (None, set())
    finally:
        gc.enable()
