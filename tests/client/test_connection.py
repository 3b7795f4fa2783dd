"""Mirrors modelbay/client/connection.py and pool.py: servers that speak HTTP oddly, or none."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

import httpx2 as httpx
import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelbay.client.connection import BUFFER_LIMIT, HEAD_LIMIT, Connection
from modelbay.client.http import open_stream, read_body
from modelbay.context import ProviderContext
from modelbay.errors import (
    BackendError,
    BackendTimeoutError,
    BackendUnreachableError,
    StreamInterruptedError,
)
from modelbay.host.resources import HostResources
from pretend import config, lent

pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Server:
    """Bytes for each request, on a real socket; what it saw."""

    def __init__(self) -> None:
        self.url = ""
        self.connections = 0
        self.requests: list[bytes] = []
        self.answers: list[Sequence[bytes] | None] = []
        self.hang_up_after: int | None = None
        self.keep_open = True
        self.asked = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        served = 0
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.lower().split(b"\r\n")
                        if line.startswith(b"content-length:")
                    ),
                    0,
                )
                self.requests.append(head + await reader.readexactly(length))
                self.asked.set()
                pieces = self.answers.pop(0) if self.answers else [HELLO]
                if pieces is None:
                    return
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                served += 1
                if not self.keep_open or served == self.hang_up_after:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(*answers: Sequence[bytes] | None) -> AsyncIterator[Server]:
    server = Server()
    server.answers = list(answers)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with listener:
        yield server


async def get(provider: ProviderContext, path: str = "x", **limits: float) -> bytes:
    async with open_stream(provider, "GET", path, **limits) as response:  # type: ignore[arg-type]
        return await read_body(response)


async def read(*answers: Sequence[bytes] | None, keep_open: bool = True) -> bytes:
    async with listening(*answers) as server:
        server.keep_open = keep_open
        async with lent(server.url) as provider:
            return await get(provider)


# --- whole answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ([HELLO], b"hello"),
        ([HELLO[i : i + 1] for i in range(len(HELLO))], b"hello"),
        ([CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"], b"hello"),
        ([CHUNKED + b"2;name=value\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"], b"hello"),
        ([CHUNKED + b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n"], b"hello"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", HELLO], b"hello"),
        ([b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + HELLO], b"hello"),
        ([OK + b"content-length: 0\r\n\r\n"], b""),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], b""),
        ([OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello"], b"hello"),
        ([b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"], b"hello"),
    ],
)
async def test_an_answer_is_read_whole_however_it_is_framed(
    pieces: Sequence[bytes], body: bytes
) -> None:
    assert await read(pieces) == body


@pytest.mark.parametrize("behind", [b"", b"garbage", b"garbage and more"])
async def test_an_answer_that_is_a_head_alone_has_no_body(behind: bytes) -> None:
    async with (
        listening([OK + b"Content-Length: 9\r\n\r\n" + behind]) as server,
        lent(server.url) as provider,
        open_stream(provider, "HEAD", "x") as response,
    ):
        assert (response.status, await read_body(response)) == (200, b"")


@pytest.mark.parametrize("head", [OK + b"\r\n", b"HTTP/1.0 200 OK\r\n\r\n"])
async def test_without_a_length_the_end_of_the_connection_is_the_end_of_the_answer(
    head: bytes,
) -> None:
    assert await read([head + b"hel", b"lo"], keep_open=False) == b"hello"


async def test_headers_of_one_name_are_joined_and_names_have_no_case() -> None:
    head = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 0\r\n\r\n"
    async with (
        listening([head]) as server,
        lent(server.url) as provider,
        open_stream(provider, "GET", "x") as response,
    ):
        assert dict(response.headers) == {"x-a": "1, 2", "content-length": "0"}


async def test_a_request_on_the_wire() -> None:
    async with listening() as server:
        address = server.url.replace("://", "://me:pass%40word@")
        async with lent(f"{address}/base", headers={"X-Team": "blue"}) as provider:
            await get(provider, "a path?q=1")
            await get(provider, "é")
            async with open_stream(provider, "POST", "y", json={"a": 1}) as response:
                await read_body(response)
        host = server.url.removeprefix("http://").encode()

    lines = [request.split(b"\r\n") for request in server.requests]
    assert [line[0] for line in lines] == [
        b"GET /base/a%20path?q=1 HTTP/1.1",
        b"GET /base/%C3%A9 HTTP/1.1",  # by way of the library, which knows how
        b"POST /base/y HTTP/1.1",
    ]
    for head in lines:
        fields = {name.lower(): value for name, _, value in (f.partition(b": ") for f in head)}
        assert fields[b"authorization"] == b"Basic bWU6cGFzc0B3b3Jk"
        assert fields[b"x-team"] == b"blue"
        assert fields[b"host"] == host
    assert lines[2][-1] == b'{"a":1}'
    assert server.connections == 1


# --- connections ----------------------------------------------------------------------------------


async def test_a_connection_is_used_again_after_an_answer_that_was_read_whole() -> None:
    async with listening() as server, lent(server.url) as provider:
        assert [await get(provider) for _ in range(5)] == [b"hello"] * 5
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
async def test_a_connection_the_server_will_close_is_not_used_again(answer: bytes) -> None:
    async with listening([answer]) as server, lent(server.url) as provider:
        assert [await get(provider), await get(provider)] == [b"hello"] * 2
        assert server.connections == 2


async def test_a_connection_whose_answer_was_not_read_is_not_used_again() -> None:
    async with listening([CHUNKED + b"5\r\nhello\r\n"]) as server, lent(server.url) as provider:
        async with open_stream(provider, "GET", "x") as response:
            assert response.status == 200
        assert await get(provider) == b"hello"
        assert server.connections == 2


async def test_bytes_after_an_answer_are_never_taken_for_the_next_one() -> None:
    """A pipelined lie: what comes unasked closes the connection."""
    forged = OK + b"Content-Length: 6\r\n\r\nforged"
    async with listening([HELLO + forged], [HELLO]) as server, lent(server.url) as provider:
        assert await get(provider) == b"hello"
        assert await get(provider) == b"hello"
        assert server.connections == 2


async def test_bytes_that_come_unasked_on_an_idle_connection_close_it() -> None:
    async with listening([HELLO, b"HTTP/1.1 200 OK\r\n"]) as server, lent(server.url) as provider:
        assert await get(provider) == b"hello"
        for _ in range(20):
            await asyncio.sleep(0)
        assert await get(provider) == b"hello"
        assert server.connections == 2


async def test_a_kept_connection_that_was_closed_meanwhile_is_replaced_and_asked_once() -> None:
    async with listening() as server:
        server.hang_up_after = 1
        async with lent(server.url) as provider:
            assert [await get(provider) for _ in range(3)] == [b"hello"] * 3
            assert (server.connections, len(server.requests)) == (3, 3)


async def test_a_new_connection_that_closes_without_an_answer_is_not_asked_again() -> None:
    async with listening(None) as server, lent(server.url) as provider:
        with pytest.raises(StreamInterruptedError, match="closed the connection before"):
            await get(provider)
        assert len(server.requests) == 1


async def test_many_requests_at_once_have_a_connection_each_and_all_answers_are_right() -> None:
    answers = [[OK + b"Content-Length: 3\r\n\r\n%03d" % n] for n in range(300)]
    async with listening(*answers) as server, lent(server.url) as provider:
        bodies = await asyncio.gather(*(get(provider) for _ in range(300)))

    assert sorted(bodies) == [b"%03d" % n for n in range(300)]


async def test_closing_the_host_closes_every_connection() -> None:
    async with listening([CHUNKED + b"5\r\nhello\r\n"]) as server:
        resources = HostResources({})
        provider = ProviderContext(config(base_url=server.url), resources)
        stream = open_stream(provider, "GET", "x")
        response = await stream.__aenter__()
        await resources.aclose()
        with pytest.raises(StreamInterruptedError):
            await read_body(response)
        await stream.__aexit__(None, None, None)


# --- pressure and time ----------------------------------------------------------------------------


async def test_a_reader_that_is_behind_stops_the_server() -> None:
    big = OK + b"Content-Length: 50000000\r\n\r\n"
    async with (
        listening([big, *([b"x" * 100_000] * 500)]) as server,
        lent(server.url) as provider,
        open_stream(provider, "GET", "x") as response,
    ):
        blocks = response.blocks()
        first = await anext(blocks)
        for _ in range(2000):  # turns enough for a server that nobody stops
            await asyncio.sleep(0)
        second = await anext(blocks)
        rest = 0
        async for block in blocks:
            rest += len(block)

    assert len(first) + len(second) + rest == 50_000_000
    assert len(second) <= BUFFER_LIMIT + 512 * 1024


async def test_a_large_request_is_sent_whole() -> None:
    content = bytes(range(256)) * 40_000
    async with (
        listening() as server,
        lent(server.url) as provider,
        open_stream(provider, "POST", "x", content=content) as response,
    ):
        assert await read_body(response) == b"hello"

    assert server.requests[0].endswith(content)


@pytest.mark.parametrize("answer", [[], [b"HTTP/1.1 200"], [CHUNKED], [CHUNKED + b"5\r\nhel"]])
async def test_a_server_that_stops_is_left_at_the_deadline(answer: Sequence[bytes]) -> None:
    async with listening(answer) as server, lent(server.url) as provider:
        with pytest.raises(BackendTimeoutError):
            await get(provider, deadline_s=0.05)


async def test_a_caller_that_is_cancelled_closes_its_connection() -> None:
    async with listening([CHUNKED]) as server, lent(server.url) as provider:
        task = asyncio.ensure_future(get(provider))
        await server.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await get(provider) == b"hello"
        assert server.connections == 2


async def test_no_connection_is_unreachable() -> None:
    async with listening() as server:
        gone = server.url
    async with lent(gone) as provider:
        with pytest.raises(BackendUnreachableError):
            await get(provider)
    async with lent("http://no-such-host.invalid:1") as provider:
        with pytest.raises(BackendUnreachableError):
            await get(provider)


# --- lies -----------------------------------------------------------------------------------------

ODD = [
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"\x00\x01\x02",
    b"<html>hello</html>",
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * (HEAD_LIMIT + 1) + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * 10_000 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n",
    CHUNKED + b"5\r\nhelloXX0\r\n\r\n",
    CHUNKED + b"ffffffffffffffffffff\r\nhello",
    CHUNKED + b"5\r\nhello\r\n0\r\n" + b"X-T: " + b"x" * (HEAD_LIMIT * 2) + b"\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 5000,
    HELLO[:-2],
    OK + b"Content-Length: 5\r\n",
]


@pytest.mark.parametrize("answer", ODD, ids=range(len(ODD)))
async def test_what_is_no_whole_http_answer_is_a_typed_error(answer: bytes) -> None:
    with pytest.raises(BackendError) as raised:
        await read([answer], keep_open=False)

    assert raised.value.provider_id == "desk"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    base=st.sampled_from([HELLO, CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", *ODD[:6]]),
    changes=st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=6)), max_size=4),
    cuts=st.lists(st.integers(0, 400), max_size=4),
)
def test_any_bytes_are_an_answer_or_a_typed_error(
    base: bytes, changes: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    answer = base
    for place, new in changes:
        at = place % (len(answer) + 1)
        answer = answer[:at] + new + answer[at + len(new) // 2 :]
    edges = [0, *sorted(cut % (len(answer) + 1) for cut in cuts), len(answer)]
    pieces = [answer[a:b] for a, b in pairwise(edges) if a < b]

    async def run() -> None:
        with suppress(BackendError):
            assert isinstance(await read(pieces, keep_open=False), bytes)

    asyncio.run(run())


# --- under the library's face ---------------------------------------------------------------------


async def test_a_plugin_may_use_the_librarys_client_over_the_same_connections() -> None:
    answers = [HELLO], [CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"]
    async with listening(*answers) as server, lent(server.url) as provider:
        assert (await provider.http.get("/a")).text == "hello"
        async with provider.http.stream("POST", "/b", json={"a": 1}) as response:
            assert [piece async for piece in response.aiter_bytes()] == [b"hello"]
        assert server.connections == 1

    assert server.requests[1].endswith(b'{"a":1}')


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (None, httpx.ReadError),
        ([b"SSH-2.0\r\n"], httpx.RemoteProtocolError),
        ([HELLO[:-2]], httpx.ReadError),
    ],
)
async def test_the_librarys_errors_are_its_own(
    answer: Sequence[bytes] | None, error: type[Exception]
) -> None:
    async with listening(answer) as server:
        server.keep_open = False
        async with lent(server.url) as provider:
            with pytest.raises(error):
                await provider.http.get("/a")


async def test_the_librarys_limits_of_time_count() -> None:
    async with listening([]) as server, lent(server.url) as provider:
        with pytest.raises(httpx.ReadTimeout):
            await provider.http.get("/a", timeout=0.05)
    async with listening() as server:
        gone = server.url
    async with lent(gone) as provider:
        with pytest.raises(httpx.ConnectError):
            await provider.http.get("/a")


# --- another event loop ---------------------------------------------------------------------------


def test_it_works_on_uvloop_too() -> None:
    async def run() -> list[bytes]:
        async with listening() as server, lent(server.url) as provider:
            bodies = [await get(provider) for _ in range(3)]
            assert server.connections == 1
        async with lent(server.url) as provider:
            with pytest.raises(BackendUnreachableError):
                await get(provider)
        return bodies

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(run()) == [b"hello"] * 3


class Forgetful(asyncio.Transport):
    """As asyncio's is once its last bytes went out after it was closed: without a loop."""

    def is_closing(self) -> bool:
        return True

    def abort(self) -> None:
        raise AttributeError("call_soon")


async def test_a_connection_that_is_lost_can_still_be_closed() -> None:
    connection = Connection(asyncio.get_running_loop())
    connection.connection_made(Forgetful())
    connection.connection_lost(None)

    connection.close()

    assert not connection.is_open
