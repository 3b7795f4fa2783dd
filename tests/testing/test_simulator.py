"""Mirrors modelbay/testing/simulator.py and what is behind it: one test per rule, real sockets."""

import asyncio
import gc
import http.client
import json
import socket
import textwrap
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

import modelbay.testing
from modelbay import ChatRequest, Host, ProviderConfig, user
from modelbay.models.events import ErrorEvent, Finish, StreamEvent, TextDelta
from modelbay.testing.simulator import (
    ClientGone,
    Exchange,
    Fault,
    Simulator,
    SimulatorError,
)

EVENTS = b'data: {"n":0}\n\ndata: {"n":1}\n\ndata: [DONE]\n\n'


class Sample(Simulator):
    """Routes that the tests below ask for."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.left: list[str] = []

        @self.route("GET", "/hello")
        async def hello(exchange: Exchange) -> None:
            await exchange.json({"hello": "world"})

        @self.route("POST", "/echo")
        async def echo(exchange: Exchange) -> None:
            await exchange.send(exchange.request.body, content_type="text/plain")

        @self.route("GET", "/events")
        async def events(exchange: Exchange) -> None:
            await exchange.start_stream("text/event-stream")
            for n in range(2):
                await exchange.sse({"n": n})
            await exchange.sse("[DONE]")

        @self.route("GET", "/endless")
        async def endless(exchange: Exchange) -> None:
            await exchange.start_stream("application/x-ndjson")
            await exchange.ndjson({"first": True})
            try:
                await exchange.sleep(60)
            except ClientGone:
                self.left.append("noticed")
                raise

        @self.route("GET", "/broken")
        async def broken(exchange: Exchange) -> None:
            raise ValueError("a bug in a route")


@pytest.fixture
def sim() -> Iterator[Sample]:
    with Sample() as sim:
        yield sim


def test_a_server_with_models_and_a_chat_is_a_few_lines() -> None:
    documentation = modelbay.testing.__doc__ or ""
    code = textwrap.dedent(documentation.partition("streams:\n")[2].partition("``with sim:``")[0])
    names = {"Simulator": Simulator, "Exchange": Exchange}
    exec(code, names)
    sim = names["sim"]
    assert isinstance(sim, Simulator)

    async def answers() -> list[list[StreamEvent]]:
        found = []
        config = ProviderConfig(id="tiny", kind="openai", base_url=sim.base_url)
        env = {"MODELBAY_HOME": "/nonexistent"}
        async with Host.open(providers=[config], env=env, state=":memory:") as host:
            for _ in range(2):
                request = ChatRequest(model="tiny/tiny", messages=[user("hello")])
                async with host.stream(request, errors="event") as events:
                    found.append([event async for event in events])
        return found

    with sim:
        sim.inject(Fault(cut_after_bytes=40), path="/v1/chat/completions", after=1, times=1)
        whole, cut = asyncio.run(answers())

    assert whole == [TextDelta(text="Hi."), Finish(reason="stop")]
    assert isinstance(cut[-1], ErrorEvent)
    assert cut[-1].code == "stream_interrupted"
    assert len([line for line in code.splitlines() if line.strip()]) == 11


@contextmanager
def connected(sim: Simulator) -> Iterator[http.client.HTTPConnection]:
    with closing(http.client.HTTPConnection("127.0.0.1", sim.port, timeout=5)) as connection:
        yield connection


def ask(
    sim: Simulator, method: str, target: str, body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    with connected(sim) as connection:
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return response.status, found, response.read()


def talk(sim: Simulator, data: bytes) -> bytes:
    """Send bytes and read until the server closes."""
    with closing(socket.create_connection(("127.0.0.1", sim.port), timeout=5)) as raw:
        raw.sendall(data)
        received = b""
        while block := raw.recv(65_536):
            received += block
        return received


# start and stop


def test_stop_leaves_no_thread_and_no_port(sim: Sample) -> None:
    before = threading.active_count()

    other = Sample().start()
    ask(other, "GET", "/hello")
    other.stop()
    other.stop()

    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", other.port), timeout=1)


def test_stop_ends_routes_that_still_run_and_clients_that_do_not_read() -> None:
    with Sample() as sim:
        raw = socket.create_connection(("127.0.0.1", sim.port), timeout=5)
        raw.sendall(b"GET /endless HTTP/1.1\r\n\r\n")
        sim.wait_until(lambda: sim.open_streams == 1)
        sim.inject(Fault(huge_mb=50))
        full = socket.create_connection(("127.0.0.1", sim.port), timeout=5)
        full.sendall(b"GET /huge HTTP/1.1\r\n\r\n")
        sim.wait_until(lambda: sim.open_streams == 2)
    raw.close()
    full.close()

    assert (sim.open_connections, sim.open_streams) == (0, 0)


def test_a_simulator_started_again_has_the_same_address() -> None:
    sim = Sample()
    with sim:
        first = sim.base_url
    with sim:
        assert (sim.base_url, ask(sim, "GET", "/hello")[0]) == (first, 200)


def test_a_taken_port_is_an_error_at_once(sim: Sample) -> None:
    with pytest.raises(OSError, match="in use"):
        Sample(port=sim.port).start()


def test_the_address_is_not_known_before_the_start() -> None:
    with pytest.raises(RuntimeError, match="start"):
        _ = Sample().base_url


def test_a_client_that_blocks_its_loop_does_not_block_the_server() -> None:
    async def client() -> int:
        async with Sample() as sim:
            return ask(sim, "GET", "/hello")[0]  # a blocking call inside a coroutine

    assert asyncio.run(client()) == 200


# routes


def test_a_request_is_seen_whole(sim: Sample) -> None:
    ask(sim, "POST", "/echo?a=1&b=%C3%A9", b'{"x":1}', Authorization="Bearer k")

    seen = sim.requests[0]
    assert (seen.method, seen.path, seen.query, seen.body, seen.json()) == (
        "POST",
        "/echo",
        {"a": "1", "b": "é"},
        b'{"x":1}',
        {"x": 1},
    )
    assert seen.headers["authorization"] == "Bearer k"


def test_names_in_a_path_are_decoded_one_part_each(sim: Sample) -> None:
    @sim.route("GET", "/models/{name}/{rest...}")
    async def models(exchange: Exchange) -> None:
        await exchange.json([exchange.params, exchange.request.raw_path])

    assert json.loads(ask(sim, "GET", "/models/a%2Fb/c/d%20e")[2]) == [
        {"name": "a/b", "rest": "c/d e"},
        "/models/a%2Fb/c/d%20e",
    ]


def test_the_younger_of_two_routes_answers(sim: Sample) -> None:
    @sim.route("GET", "/hello")
    async def hello(exchange: Exchange) -> None:
        await exchange.text("replaced")

    assert ask(sim, "GET", "/hello")[2] == b"replaced"


def test_unknown_paths_are_404_and_unknown_methods_405(sim: Sample) -> None:
    assert [ask(sim, "GET", "/nope")[0], ask(sim, "DELETE", "/hello")[0]] == [404, 405]


def test_a_prefix_moves_every_route() -> None:
    with Sample(prefix="/llm") as sim:
        assert sim.base_url == f"http://127.0.0.1:{sim.port}/llm"
        assert [ask(sim, "GET", p)[0] for p in ("/llm/hello", "/hello")] == [200, 404]


def test_a_subclass_may_answer_before_routing() -> None:
    class Locked(Sample):
        async def admit(self, exchange: Exchange) -> bool:
            await exchange.json({"error": "locked"}, 401)
            return False

    with Locked() as sim:
        assert ask(sim, "GET", "/hello")[0] == 401


def test_a_route_that_raises_gives_500_and_fails_the_test() -> None:
    sim = Sample()
    with pytest.raises(SimulatorError, match="a bug in a route"), sim:
        assert ask(sim, "GET", "/broken")[0] == 500


def test_a_route_that_answers_nothing_fails_the_test() -> None:
    sim = Sample()

    @sim.route("GET", "/silent")
    async def silent(exchange: Exchange) -> None:
        return

    with pytest.raises(SimulatorError, match="gave no answer"), sim:
        assert ask(sim, "GET", "/silent")[0] == 500


# HTTP


def test_a_stream_is_chunked_event_by_event(sim: Sample) -> None:
    answer = talk(sim, b"GET /events HTTP/1.1\r\nConnection: close\r\n\r\n")

    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert body == (
        b'f\r\ndata: {"n":0}\n\n\r\nf\r\ndata: {"n":1}\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n'
    )


def test_an_old_client_gets_a_body_that_ends_with_the_connection(sim: Sample) -> None:
    answer = talk(sim, b"GET /events HTTP/1.0\r\n\r\n")

    assert answer.partition(b"\r\n\r\n")[2] == EVENTS


def test_comments_and_named_events_are_framed_as_sse(sim: Sample) -> None:
    @sim.route("GET", "/named")
    async def named(exchange: Exchange) -> None:
        await exchange.start_stream("text/event-stream", chunked=False)
        await exchange.sse_comment()
        await exchange.sse({"a": "é"}, event="delta")

    assert ask(sim, "GET", "/named")[2] == ':\n\nevent: delta\ndata: {"a":"é"}\n\n'.encode()


def test_lines_of_ndjson_are_one_chunk_each(sim: Sample) -> None:
    @sim.route("GET", "/lines")
    async def lines(exchange: Exchange) -> None:
        await exchange.start_stream("application/x-ndjson")
        for value in ({"a": "é\u2028"}, [1]):
            await exchange.ndjson(value)

    answer = talk(sim, b"GET /lines HTTP/1.1\r\nConnection: close\r\n\r\n")

    line = '{"a":"é\u2028"}\n'.encode()
    assert answer.partition(b"\r\n\r\n")[2] == (
        b"%x\r\n%b\r\n4\r\n[1]\n\r\n0\r\n\r\n" % (len(line), line)
    )


def test_a_stream_may_announce_its_length(sim: Sample) -> None:
    @sim.route("GET", "/known")
    async def known(exchange: Exchange) -> None:
        await exchange.start_stream("text/plain", length=4)
        await exchange.raw(b"ab")
        await exchange.raw(b"cd")

    with connected(sim) as connection:
        for _ in range(2):  # the connection is kept
            connection.request("GET", "/known")
            response = connection.getresponse()
            assert (response.getheader("Content-Length"), response.read()) == ("4", b"abcd")
    assert sim.call(lambda: len(sim.requests)) == 2


def test_a_chunked_request_body_is_joined(sim: Sample) -> None:
    answer = talk(
        sim,
        b"POST /echo HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2;x=1\r\nde\r\n0\r\nTrailer: t\r\n\r\n",
    )

    assert answer.endswith(b"\r\n\r\nabcde")


def test_expect_100_continue_is_answered_before_the_body_comes(sim: Sample) -> None:
    with closing(socket.create_connection(("127.0.0.1", sim.port), timeout=5)) as raw:
        raw.sendall(
            b"POST /echo HTTP/1.1\r\nConnection: close\r\n"
            b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        assert raw.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"ok")
        assert raw.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def test_head_has_the_length_and_no_body(sim: Sample) -> None:
    status, headers, body = ask(sim, "HEAD", "/hello")

    assert (status, headers["content-length"], body) == (200, "17", b"")


def test_a_connection_carries_so_many_requests() -> None:
    with Sample(max_requests=2) as sim, connected(sim) as connection:
        announced = []
        for _ in range(2):
            connection.request("GET", "/hello")
            response = connection.getresponse()
            response.read()
            announced.append((response.getheader("Keep-Alive"), response.getheader("Connection")))

    assert announced == [("timeout=5, max=2", None), (None, "close")]
    assert len(sim.requests) == 2


def test_pipelined_requests_are_answered_in_order(sim: Sample) -> None:
    answer = talk(
        sim, b"GET /hello HTTP/1.1\r\n\r\nGET /nope HTTP/1.1\r\nConnection: close\r\n\r\n"
    )

    assert [part.split()[0] for part in answer.split(b"HTTP/1.1")[1:]] == [b"200", b"404"]


def test_an_idle_connection_is_closed_after_its_time() -> None:
    with Sample(keep_alive_s=0.01) as sim:
        assert talk(sim, b"GET /hello HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")
        sim.wait_until(lambda: sim.open_connections == 0)


def test_what_is_not_http_gets_400_and_fails_the_test() -> None:
    sim = Sample()
    with pytest.raises(SimulatorError, match="not a request line"), sim:
        assert talk(sim, b"\x16\x03\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")


# the client goes away


def test_a_sleeping_route_learns_at_once_that_its_client_left(sim: Sample) -> None:
    with connected(sim) as connection:
        connection.request("GET", "/endless")
        connection.getresponse().readline()
        assert (sim.open_streams, sim.streams_closed_by_client) == (1, 0)

    sim.wait_until(lambda: sim.left == ["noticed"], timeout_s=1)
    sim.wait_until(lambda: sim.open_connections == 0, timeout_s=1)
    assert (sim.open_streams, sim.streams_opened, sim.streams_closed_by_client) == (0, 1, 1)


def test_a_stream_that_ended_is_not_counted_as_left(sim: Sample) -> None:
    ask(sim, "GET", "/events")

    sim.wait_until(lambda: sim.open_connections == 0)
    assert (sim.open_streams, sim.streams_opened, sim.streams_closed_by_client) == (0, 1, 0)


def test_waiting_for_what_never_comes_ends_with_the_counts(sim: Sample) -> None:
    ask(sim, "GET", "/hello")

    with pytest.raises(TimeoutError, match="GET /hello"):
        sim.wait_until(lambda: False, timeout_s=0.005)


def test_a_coroutine_can_wait_with_its_loop_free(sim: Sample) -> None:
    async def client() -> list[str]:
        order: list[str] = []

        async def wait() -> None:
            await sim.wait_until_async(lambda: len(sim.requests) == 1, timeout_s=5)
            order.append("seen")

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        order.append("loop is free")
        await asyncio.to_thread(ask, sim, "GET", "/hello")
        await waiting
        with pytest.raises(TimeoutError):
            await sim.wait_until_async(lambda: False, timeout_s=0.005)
        return order

    assert asyncio.run(client()) == ["loop is free", "seen"]


def test_a_call_runs_where_routes_run(sim: Sample) -> None:
    assert sim.call(lambda: threading.current_thread().name) == f"Sample:{sim.port}"


# faults


def test_a_fault_hits_its_path_so_many_times(sim: Sample) -> None:
    sim.inject(Fault(status=503, body=b"busy"), path="/hello", times=2)

    asked = ["/hello", "/nope", "/hello", "/hello"]
    assert [ask(sim, "GET", p)[0] for p in asked] == [503, 404, 503, 200]


def test_a_fault_without_times_lasts_until_it_is_cleared(sim: Sample) -> None:
    sim.inject(Fault(status=500), method="GET")
    hit = [ask(sim, "GET", "/hello")[0], ask(sim, "GET", "/hello")[0]]
    sim.clear_faults()

    assert [*hit, ask(sim, "GET", "/hello")[0]] == [500, 500, 200]


def test_a_fault_can_wait_for_the_nth_request(sim: Sample) -> None:
    sim.inject(Fault(status=503), path="/hello", after=1, times=1)
    sim.inject(Fault(status=502), path="/hello", after=2, times=1)

    asked = ["/hello", "/nope", "/hello", "/hello", "/hello"]
    assert [ask(sim, "GET", p)[0] for p in asked] == [200, 404, 503, 200, 502]


@pytest.mark.parametrize(
    ("path", "hit"),
    [
        ("/models/{name}", [500, 404, 404]),
        ("/models/{rest...}", [500, 500, 404]),
        ("/models/{name}/show", [404, 500, 404]),
        ("/models/{name", [404, 404, 404]),
    ],
)
def test_a_fault_can_wait_for_a_route(sim: Sample, path: str, hit: list[int]) -> None:
    sim.inject(Fault(status=500), path=path)

    asked = ["/models/a.b", "/models/a/show", "/hello/a"]
    assert [ask(sim, "GET", p)[0] for p in asked] == hit


def test_each_route_has_faults_of_its_own(sim: Sample) -> None:
    sim.inject(Fault(content_type="text/html", drip_bytes_per_s=10_000), path="/hello")
    sim.inject(Fault(cut_after_bytes=3), method="POST", path="/echo")
    with pytest.raises(http.client.IncompleteRead):
        ask(sim, "POST", "/echo", b"whole")

    assert ask(sim, "GET", "/hello")[1]["content-type"] == "text/html"
    assert ask(sim, "GET", "/events")[2] == EVENTS


def test_faults_combine(sim: Sample) -> None:
    combined = Fault(
        delay_head_s=0.01,
        status=502,
        body=b"0123456789",
        content_type="text/html",
        drip_bytes_per_s=1_000,
        cut_after_bytes=8,
    )
    sim.inject(combined, times=1)
    begun = time.monotonic()
    with connected(sim) as connection:
        connection.request("GET", "/hello")
        response = connection.getresponse()
        with pytest.raises(http.client.IncompleteRead) as caught:
            response.read()

    assert time.monotonic() - begun >= 0.01 + 8 / 1_000
    assert (response.status, response.getheader("Content-Type")) == (502, "text/html")
    assert caught.value.partial == b"01234567"


def test_the_head_can_be_late(sim: Sample) -> None:
    sim.inject(Fault(delay_head_s=0.02), times=1)
    begun = time.monotonic()

    assert ask(sim, "GET", "/hello")[0] == 200
    assert time.monotonic() - begun >= 0.02


def test_a_hanging_request_gets_nothing_until_the_client_leaves(sim: Sample) -> None:
    sim.inject(Fault(hang=True), times=1)
    raw = socket.create_connection(("127.0.0.1", sim.port), timeout=0.01)
    raw.sendall(b"GET /hello HTTP/1.1\r\n\r\n")
    with closing(raw), pytest.raises(TimeoutError):
        raw.recv(1)

    sim.wait_until(lambda: sim.open_connections == 0)


def test_a_drip_is_as_slow_as_told(sim: Sample) -> None:
    sim.inject(Fault(drip_bytes_per_s=1_000), times=1)
    begun = time.monotonic()

    assert ask(sim, "GET", "/hello")[2] == b'{"hello":"world"}'
    assert time.monotonic() - begun >= 17 / 1_000


def test_a_body_with_a_length_can_be_cut(sim: Sample) -> None:
    sim.inject(Fault(cut_after_bytes=5), times=1)

    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(sim, "GET", "/hello")

    assert (caught.value.partial, caught.value.expected) == (b'{"hel', 12)


@pytest.mark.parametrize("cut", [0, 20, len(EVENTS), 1_000])
def test_a_chunked_body_can_be_cut_anywhere_even_before_its_last_chunk(
    sim: Sample, cut: int
) -> None:
    sim.inject(Fault(cut_after_bytes=cut), times=1)

    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(sim, "GET", "/events")

    assert caught.value.partial == EVENTS[:cut]
    assert sim.streams_closed_by_client == 0


@pytest.mark.parametrize("cut", [None, 3])
def test_a_connection_can_be_reset_before_and_in_the_body(sim: Sample, cut: int | None) -> None:
    sim.inject(Fault(reset=True, cut_after_bytes=cut), times=1)

    with pytest.raises(ConnectionResetError):
        talk(sim, b"GET /hello HTTP/1.1\r\n\r\n")


def test_a_connection_can_be_dropped_without_an_answer(sim: Sample) -> None:
    sim.inject(Fault(drop=True), times=1)

    assert talk(sim, b"GET /hello HTTP/1.1\r\n\r\n") == b""


def test_a_huge_body_is_made_on_the_way(sim: Sample) -> None:
    sim.inject(Fault(huge_mb=3), times=1)

    assert len(ask(sim, "GET", "/hello")[2]) == 3_000_000


def test_a_wrong_content_type_leaves_the_rest_alone(sim: Sample) -> None:
    sim.inject(Fault(content_type="text/html"), times=1)

    status, headers, body = ask(sim, "GET", "/hello")
    assert (status, headers["content-type"], body) == (200, "text/html", b'{"hello":"world"}')


def test_a_proxy_page_stands_in_for_the_answer(sim: Sample) -> None:
    sim.inject(Fault.html(502), times=1)

    status, headers, body = ask(sim, "GET", "/hello")
    assert (status, headers["content-type"], body[:6]) == (502, "text/html", b"<html>")


def test_garbage_comes_instead_of_http(sim: Sample) -> None:
    sim.inject(Fault(garbage=b"SSH-2.0-OpenSSH\r\n"), times=1)

    assert talk(sim, b"GET /hello HTTP/1.1\r\n\r\n") == b"SSH-2.0-OpenSSH\r\n"


@pytest.mark.parametrize("size", [1, 4, 7])
def test_rechunking_moves_the_boundaries_and_not_the_bytes(sim: Sample, size: int) -> None:
    sim.inject(Fault(rechunk_bytes=size))

    answer = talk(sim, b"GET /events HTTP/1.1\r\nConnection: close\r\n\r\n")
    first = f"{size:x}\r\n".encode() + EVENTS[:size] + b"\r\n"
    assert answer.partition(b"\r\n\r\n")[2].startswith(first)
    assert ask(sim, "GET", "/events")[2] == EVENTS


def test_a_crash_closes_the_port_and_every_connection(sim: Sample) -> None:
    with connected(sim) as connection:
        connection.request("GET", "/endless")
        response = connection.getresponse()
        sim.call(sim.crash)
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", sim.port), timeout=1)
    sim.wait_until(lambda: sim.open_streams == 0)
    assert sim.streams_closed_by_client == 0


def test_work_that_is_ended_before_it_began_leaves_no_complaint(
    sim: Sample, recwarn: pytest.WarningsRecorder
) -> None:
    async def work() -> None:
        raise AssertionError("it must not begin")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        sim.call(lambda: sim.spawn(work()).cancel())
        sim.call(gc.collect)

    assert [str(each.message) for each in recwarn] == []
    assert sim.errors == []


def test_hundreds_of_clients_at_once_are_served(sim: Sample) -> None:
    statuses: list[int] = []
    clients = [
        threading.Thread(target=lambda: statuses.append(ask(sim, "GET", "/events")[0]))
        for _ in range(100)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()

    assert statuses == [200] * 100
