"""Mirrors modelbay/client/http.py: over real sockets, but for what no server can be made to do."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2 as httpx
import pytest

from modelbay import errors
from modelbay.client.http import (
    HttpResponse,
    fetch_json,
    open_stream,
    raise_for_status,
    read_body,
)
from modelbay.context import ProviderContext
from modelbay.errors import (
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    BackendUnreachableError,
    ModelNotFoundError,
    ProtocolError,
    RateLimitedError,
    StreamInterruptedError,
)
from modelbay.host.resources import HostResources
from modelbay.testing.simulator import Exchange, Fault, Simulator
from modelbay.wire.errors import ErrorBody
from pretend import JUMPING, Records, config, jumping, lent

pytestmark = pytest.mark.anyio

KEY = "sk-very-secret"


def answer(sim: Simulator, path: str = "/x", **sent: object) -> None:
    """A route that answers GET with these arguments of `Exchange.send`."""

    @sim.route("GET", path)
    async def route(exchange: Exchange) -> None:
        await exchange.send(**sent)  # type: ignore[arg-type]


def endless(sim: Simulator, method: str = "GET") -> None:
    @sim.route(method, "/x")
    async def route(exchange: Exchange) -> None:
        await exchange.start_stream("text/plain")
        await exchange.raw(b"first")
        await exchange.sleep(float("inf"))


async def read_all(provider: ProviderContext, **limits: float) -> bytes:
    async with open_stream(provider, "GET", "x", **limits) as response:  # type: ignore[arg-type]
        return await read_body(response)


async def failure(provider: ProviderContext, path: str = "x") -> BackendError:
    with pytest.raises(BackendError) as caught:
        await fetch_json(provider, "GET", path, into=dict)
    return caught.value


# --- requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["json", "content"])
async def test_a_body_is_let_go_once_it_was_sent(sim: Simulator, field: str) -> None:
    """It may be large, and the answer take long."""
    endless(sim, "POST")
    body: object = {"prompt": ["a" * 1000]} if field == "json" else b"a" * 1000
    async with lent(sim.base_url) as provider:
        held = sys.getrefcount(body)
        sent: dict[str, Any] = {field: body}
        async with open_stream(provider, "POST", "x", **sent):
            del sent
            assert sys.getrefcount(body) == held


async def test_a_request_with_a_body_says_what_it_is_and_one_without_says_nothing(
    sim: Simulator,
) -> None:
    @sim.route("POST", "/v1/echo")
    async def echo(exchange: Exchange) -> None:
        await exchange.json(exchange.request.json())

    answer(sim, body=b"{}")
    async with lent(sim.base_url, apiKey=KEY, headers={"X-Team": "blue"}) as provider:
        sent = {"a": ["\u2028", None, 1.5]}
        assert await fetch_json(provider, "POST", "/v1/echo", into=dict, json=sent) == sent  # type: ignore[arg-type]
        assert await fetch_json(provider, "GET", "x", into=dict) == {}

    first, second = (dict(request.headers) for request in sim.requests)
    assert first["content-type"] == "application/json"  # S1-38
    assert "content-type" not in second
    for headers in (first, second):
        assert (headers["accept-encoding"], headers["authorization"], headers["x-team"]) == (
            "identity",
            f"Bearer {KEY}",
            "blue",
        )


async def test_paths_lie_below_the_providers_address(sim: Simulator) -> None:
    answer(sim, "/llm/v1/x", body=b"{}")
    async with lent(f"{sim.base_url}/llm/") as provider:
        for path in ("v1/x", "/v1/x", f"{sim.base_url}/llm/v1/x"):
            assert await fetch_json(provider, "GET", path, into=dict) == {}


@pytest.mark.parametrize("through", ["our own", "the library"])
async def test_an_anonymous_request_carries_what_it_is_given_and_nothing_of_the_provider_s(
    sim: Simulator, through: str
) -> None:
    answer(sim, body=b"{}")
    transport = None if through == "our own" else httpx.AsyncHTTPTransport()
    resources = HostResources({}, transport=transport)
    fields: dict[str, Any] = {
        "apiKey": KEY,
        "headers": {"X-Team": "blue", "x-other": "red"},
    }
    provider = ProviderContext(config(base_url=sim.base_url, **fields), resources)
    for headers in ({}, {"Authorization": "Bearer another", "X-Other": "mine"}):
        async with open_stream(provider, "GET", "x", headers=headers, anonymous=True) as response:
            assert response.status == 200
    await resources.aclose()
    if transport is not None:
        await transport.aclose()

    names = ("authorization", "x-team", "x-other")
    assert [[r.headers.get(name) for name in names] for r in sim.requests] == [
        [None, None, None],
        ["Bearer another", None, "mine"],
    ]


async def test_bytes_are_sent_as_they_are(sim: Simulator) -> None:
    @sim.route("PUT", "/blob")
    async def blob(exchange: Exchange) -> None:
        await exchange.send(b"", 201)

    async with lent(sim.base_url) as provider:
        headers = {"Content-Type": "application/octet-stream"}
        async with open_stream(
            provider, "PUT", "blob", content=b"\x00\xff", headers=headers
        ) as response:
            assert response.status == 201

    [request] = sim.requests
    assert (request.body, request.headers["content-type"]) == (
        b"\x00\xff",
        "application/octet-stream",
    )


# --- error answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (400, b'{"error":{"message":"bad","type":"t"}}', errors.InvalidRequestError, "bad"),
        (401, b'{"error":"who?"}', AuthenticationError, "who?"),
        (402, b"pay", errors.QuotaExceededError, "pay"),
        (404, b'{"error":"no model"}', ModelNotFoundError, "no model"),
        (400, b'{"error":{"code":"model_not_found","message":"m"}}', ModelNotFoundError, "m"),
        (429, b"", RateLimitedError, "no reason given"),
        (500, b"boom", BackendError, "boom"),
        (502, b"<html>gone</html>", BackendError, "gone"),
        (503, b'{"error":"loading"}', errors.BackendBusyError, "loading"),
    ],
)
async def test_an_error_answer_is_a_typed_error(
    sim: Simulator, status: int, body: bytes, kind: type[BackendError], text: str
) -> None:
    answer(sim, body=body, status=status)
    async with lent(sim.base_url) as provider:
        with pytest.raises(BackendError) as caught:
            await fetch_json(provider, "GET", "x", into=dict, model="desk/m")

    error = caught.value
    assert (type(error), str(error), error.status, error.provider_id, error.model, error.stage) == (
        kind,
        f"{text} (HTTP {status})",
        status,
        "desk",
        "desk/m",
        "send",
    )


async def test_how_long_to_wait_is_kept(sim: Simulator) -> None:
    answer(sim, body=b"slow down", status=429, headers=[("Retry-After", "7")])
    async with lent(sim.base_url) as provider:
        assert (await failure(provider)).retry_after_s == 7.0


async def test_a_plugin_reads_its_servers_errors(sim: Simulator) -> None:
    answer(sim, body=b"model is loading", status=500)

    def classify(status: int, body: ErrorBody) -> type[BackendError] | None:
        return (
            errors.BackendBusyError if (status, body.message) == (500, "model is loading") else None
        )

    async with lent(sim.base_url) as provider:
        with pytest.raises(errors.BackendBusyError):
            await fetch_json(provider, "GET", "x", into=dict, classify=classify)


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"apiKeyEnv": "ACME_KEY"}, "set ACME_KEY to a valid key"),
        ({}, 'set "apiKeyEnv" of provider "desk" in providers.json'),
    ],
)
async def test_a_wrong_key_hints_where_the_key_is_set(
    sim: Simulator, fields: dict[str, object], hint: str
) -> None:
    answer(sim, body=b"", status=401)
    async with lent(sim.base_url, **fields) as provider:
        assert (await failure(provider)).hint == hint


async def test_of_an_error_no_more_than_a_megabyte_is_read(sim: Simulator) -> None:
    sim.inject(Fault(huge_mb=500, status=500))
    async with lent(sim.base_url) as provider:
        error = await failure(provider)
        await sim.wait_until_async(lambda: sim.open_connections == 0)  # read whole, it would stay

    assert str(error) == "x" * 499 + "… (HTTP 500)"


async def test_an_error_that_is_cut_off_is_still_that_error(sim: Simulator) -> None:
    answer(sim, body=b"out of memory", status=500)
    sim.inject(Fault(cut_after_bytes=6))
    async with lent(sim.base_url) as provider:
        assert str(await failure(provider)) == "out of (HTTP 500)"


async def test_a_redirect_is_not_followed_and_the_key_does_not_travel(sim: Simulator) -> None:
    with Simulator() as elsewhere:
        where = ("Location", f"{elsewhere.base_url}/x?token=abc")
        answer(sim, body=b"", status=307, headers=[where])
        async with lent(sim.base_url, apiKey=KEY) as provider:
            error = await failure(provider)

        assert (type(error), str(error)) == (
            ProtocolError,
            f"redirects to {elsewhere.base_url}/x; a key never follows a redirect (HTTP 307)",
        )
        assert elsewhere.requests == []


# --- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 500])
async def test_a_key_a_server_repeats_is_taken_out(sim: Simulator, status: int) -> None:
    answer(sim, body=f'{{"error":"bad key {KEY}, team blue-team"}}'.encode(), status=status)
    async with lent(sim.base_url, apiKey=KEY, headers={"X-Team": "blue-team"}) as provider:
        error = await failure(provider)

    assert str(error) == f"bad key ***, team *** (HTTP {status})"


@pytest.mark.parametrize(
    "key", [f"{KEY}\n", f"{KEY}\r\nX: y", f"{KEY}\x00", f"{KEY}é", f"{KEY}\u200b"]
)
async def test_a_key_that_cannot_be_sent_is_a_typed_error_that_does_not_show_it(
    sim: Simulator, key: str
) -> None:
    answer(sim, body=b"{}")
    async with lent(sim.base_url, apiKey=key) as provider:
        error = None
        try:
            await fetch_json(provider, "GET", "x", into=dict)  # trimmed and sent is as good
        except errors.ModelbayError as exc:
            error = exc

    assert KEY not in f"{error} {error and error.hint}"


@pytest.fixture
def logged() -> Iterator[list[str]]:
    records = Records()
    logger = logging.getLogger("modelbay.http")
    before = logger.level
    logger.addHandler(records)
    logger.setLevel(logging.DEBUG)
    yield records.lines
    logger.removeHandler(records)
    logger.setLevel(before)


async def test_calls_are_logged_with_their_direction_and_without_secrets(
    sim: Simulator, logged: list[str]
) -> None:
    answer(sim, body=b'{"secret": "body"}')
    address = sim.base_url.replace("://", "://user:password@")
    async with lent(address, apiKey=KEY) as provider:
        await fetch_json(provider, "GET", "x?token=query-secret", into=dict)

    assert logged == [
        f"DEBUG -> GET {sim.base_url}/x",
        f"DEBUG <- 200 GET {sim.base_url}/x",
    ]


# --- bodies ---------------------------------------------------------------------------------------


async def test_json_of_another_shape_is_a_protocol_error_that_says_what_came(
    sim: Simulator,
) -> None:
    answer(sim, body=b"<html>a router's login page</html>", content_type="text/html")
    async with lent(sim.base_url) as provider:
        error = await failure(provider)

    assert (type(error), error.status, error.provider_id, error.stage, error.hint) == (
        ProtocolError,
        200,
        "desk",
        "decode",
        f"is {sim.base_url} the right address?",
    )
    assert str(error).startswith("GET /x answered something unexpected: ")
    assert str(error).endswith("(text/html)")


@pytest.mark.parametrize("body", [b"[]", b"", b"\xff", b'{"a":', b'{"a":' + b"[" * 100_000])
async def test_a_body_that_is_no_such_json_is_a_protocol_error(sim: Simulator, body: bytes) -> None:
    answer(sim, body=body)
    async with lent(sim.base_url) as provider:
        assert type(await failure(provider)) is ProtocolError


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_beyond_the_limit_is_refused(sim: Simulator, chunked: bool) -> None:
    answer(sim, body=b'"' + b"x" * 100 + b'"', chunked=chunked)
    async with lent(sim.base_url) as provider:
        assert len(await fetch_json(provider, "GET", "x", into=str, limit=102)) == 100
        with pytest.raises(ProtocolError, match="the answer is larger than 101 bytes") as caught:
            await fetch_json(provider, "GET", "x", into=str, limit=101)

    assert caught.value.provider_id == "desk"


async def test_an_endless_body_is_not_read_to_its_end(sim: Simulator) -> None:
    sim.inject(Fault(huge_mb=2000))
    async with lent(sim.base_url) as provider:
        with pytest.raises(ProtocolError, match="larger than"):
            await fetch_json(provider, "GET", "x", into=dict, limit=1_000_000)
        await sim.wait_until_async(lambda: sim.open_connections == 0)


async def test_a_compressed_answer_is_refused(sim: Simulator) -> None:
    answer(sim, body=b"\x1f\x8b", headers=[("Content-Encoding", "gzip")])
    async with lent(sim.base_url) as provider:
        error = await failure(provider)

    assert (type(error), str(error)) == (
        ProtocolError,
        "the answer is compressed although 'identity' was asked for",
    )


async def test_a_compressed_error_is_still_judged_by_its_status(sim: Simulator) -> None:
    answer(sim, body=b"\x1f\x8b", status=401, headers=[("Content-Encoding", "gzip")])
    async with lent(sim.base_url) as provider:
        assert type(await failure(provider)) is AuthenticationError


@pytest.mark.parametrize("limits", [{}, {"deadline_s": 60.0}])
async def test_blocks_come_as_they_arrive_and_are_never_empty(
    sim: Simulator, limits: dict[str, float]
) -> None:
    @sim.route("GET", "/x")
    async def route(exchange: Exchange) -> None:
        await exchange.start_stream("text/plain")
        for piece in (b"one", b"two", b"three"):
            await exchange.raw(piece)
            await exchange.sleep(0.01)

    async with (
        lent(sim.base_url) as provider,
        open_stream(provider, "GET", "x", **limits) as response,  # type: ignore[arg-type]
    ):
        blocks = [block async for block in response.blocks()]

    assert (b"".join(blocks), b"" in blocks) == (b"onetwothree", False)
    assert (response.status, response.headers["content-type"]) == (200, "text/plain")


class Pieces(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in (b"one", b"", b"two"):
            yield piece


@pytest.mark.parametrize("limits", [{}, {"deadline_s": 60.0}])
async def test_an_empty_piece_of_a_callers_transport_is_not_the_end(
    limits: dict[str, float],
) -> None:
    async def serve(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Pieces())

    resources = HostResources({}, transport=httpx.MockTransport(serve))
    provider = ProviderContext(config(base_url="http://a"), resources)
    async with open_stream(provider, "GET", "x", **limits) as response:  # type: ignore[arg-type]
        assert await read_body(response) == b"onetwo"
    await resources.aclose()


# --- connections ----------------------------------------------------------------------------------


async def test_a_closed_port_is_unreachable_and_the_hint_can_be_typed() -> None:
    with Simulator() as gone:
        address = gone.base_url
    async with lent(address) as provider:
        error = await failure(provider)

    assert (type(error), error.provider_id, error.stage, error.retryable, error.hint) == (
        BackendUnreachableError,
        "desk",
        "connect",
        True,
        "is the server of provider 'desk' running? modelbay doctor",
    )
    assert str(error).startswith(f"cannot reach {address} (")
    assert error.__cause__ is not None
    assert isinstance(error.__cause__.__cause__, ConnectionRefusedError)  # S1-39


@pytest.mark.parametrize(
    ("raised", "kind", "stage"),
    [
        (httpx.ConnectTimeout(""), BackendUnreachableError, "connect"),
        (httpx.ConnectError("name not known"), BackendUnreachableError, "connect"),
        (httpx.UnsupportedProtocol("odd"), BackendUnreachableError, "connect"),
        (httpx.ReadError(""), StreamInterruptedError, "decode"),
        (httpx.WriteError(""), StreamInterruptedError, "decode"),
        (httpx.RemoteProtocolError("odd"), StreamInterruptedError, "decode"),
    ],
)
async def test_what_the_transport_raises_is_typed_and_chained(
    raised: Exception, kind: type[BackendError], stage: str
) -> None:
    async def refuse(request: httpx.Request) -> httpx.Response:
        raise raised

    resources = HostResources({}, transport=httpx.MockTransport(refuse))
    provider = ProviderContext(config(base_url="http://a"), resources)
    error = await failure(provider)
    await resources.aclose()

    assert (type(error), error.__cause__, error.provider_id, error.stage) == (
        kind,
        raised,
        "desk",
        stage,
    )


@pytest.mark.parametrize(
    "fault", [Fault(drop=True), Fault(reset=True), Fault(garbage=b"SSH-2.0-OpenSSH\r\n")]
)
async def test_a_server_that_hangs_up_before_a_head_interrupted_the_stream(
    sim: Simulator, fault: Fault
) -> None:
    sim.inject(fault)
    async with lent(sim.base_url) as provider:
        error = await failure(provider)

    assert (type(error), error.provider_id, error.retryable) == (
        StreamInterruptedError,
        "desk",
        True,
    )


@pytest.mark.parametrize("reset", [False, True])
async def test_a_body_that_is_cut_off_is_an_interruption(sim: Simulator, reset: bool) -> None:
    answer(sim, body=b'{"a":1}', chunked=True)
    sim.inject(Fault(cut_after_bytes=3, reset=reset))
    async with lent(sim.base_url) as provider:
        error = await failure(provider)

    assert (type(error), error.provider_id) == (StreamInterruptedError, "desk")


async def test_a_provider_without_an_address_fails_at_its_first_use() -> None:
    async with lent() as provider:
        with pytest.raises(errors.ConfigError, match="provider 'desk' has no address"):
            await fetch_json(provider, "GET", "x", into=dict)


# --- limits of time (real ones, and short) --------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "limits", "fields", "message"),
    [
        (Fault(hang=True), {"deadline_s": 0.05}, {}, "did not finish within"),
        (Fault(hang=True), {}, {"requestTimeoutS": 0.05}, "did not finish within"),
        (Fault(hang=True), {"first_byte_s": 0.05}, {}, "sent nothing for"),
        (Fault(hang=True), {"first_byte_s": 60.0}, {"firstByteTimeoutS": 0.05}, "sent nothing for"),
        (Fault(drip_bytes_per_s=50), {"deadline_s": 0.1}, {}, "did not finish within"),
        (None, {"idle_s": 0.05}, {}, "stopped sending: nothing for 0.05 s"),
        (None, {"idle_s": 60.0}, {"idleTimeoutS": 0.05}, "stopped sending: nothing for 0.05 s"),
    ],
)
async def test_a_limit_that_passes_is_a_timeout_and_closes_the_connection(
    sim: Simulator,
    fault: Fault | None,
    limits: dict[str, float],
    fields: dict[str, object],
    message: str,
) -> None:
    endless(sim)
    if fault is not None:
        sim.inject(fault)
    async with lent(sim.base_url, **fields) as provider:
        with pytest.raises(BackendTimeoutError) as caught:
            await read_all(provider, **limits)
        assert str(caught.value).startswith(f"provider 'desk' {message}")
        assert caught.value.provider_id == "desk"
        await sim.wait_until_async(lambda: sim.open_connections == 0)


@pytest.mark.parametrize("limits", [{"deadline_s": 60.0}, {"own_limits": True}])
@pytest.mark.parametrize("name", ["requestTimeoutS", "firstByteTimeoutS", "idleTimeoutS"])
async def test_the_provider_s_limits_are_for_answers_of_models_alone(
    sim: Simulator, name: str, limits: dict[str, float]
) -> None:
    """A question has a limit of its own, and a log may be silent for as long as it likes."""

    @sim.route("GET", "/x")
    async def slow(exchange: Exchange) -> None:
        await exchange.sleep(0.1)
        await exchange.start_stream("text/plain")
        await exchange.raw(b"a")
        await exchange.sleep(0.1)
        await exchange.raw(b"b")

    async with lent(sim.base_url, **{name: 0.05}) as provider:
        assert await read_all(provider, **limits) == b"ab"
        with pytest.raises(BackendTimeoutError):
            await read_all(provider)


async def test_an_idle_limit_does_not_count_while_a_cold_model_keeps_its_head(
    sim: Simulator,
) -> None:
    answer(sim, body=b"{}")
    sim.inject(Fault(delay_head_s=0.2))
    async with lent(sim.base_url) as provider:
        assert await read_all(provider, idle_s=0.05) == b"{}"


@pytest.mark.parametrize("anyio_backend", [JUMPING])
@pytest.mark.parametrize(("limits", "after_s"), [({}, 15), ({"deadline_s": 40.0}, 40)])
async def test_a_question_has_a_limit_without_being_told(
    limits: dict[str, float], after_s: float
) -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    resources = HostResources({}, transport=httpx.MockTransport(hang))
    provider = ProviderContext(config(base_url="http://a"), resources)
    with pytest.raises(BackendTimeoutError):
        await fetch_json(provider, "GET", "x", into=dict, **limits)  # type: ignore[arg-type]
    await resources.aclose()

    assert jumping().time() == after_s


# --- leaving early --------------------------------------------------------------------------------


async def leave(provider: ProviderContext) -> None:
    async with open_stream(provider, "GET", "x") as response:
        async for _ in response.blocks():
            break


async def fail(provider: ProviderContext) -> None:
    async def read() -> None:
        async with open_stream(provider, "GET", "x") as response:
            async for _ in response.blocks():
                raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await read()


async def be_cancelled(provider: ProviderContext) -> None:
    came = asyncio.Event()

    async def read() -> None:
        async with open_stream(provider, "GET", "x", deadline_s=60) as response:
            async for _ in response.blocks():
                came.set()

    task = asyncio.create_task(read())
    await came.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()


@pytest.mark.parametrize("way", [leave, fail, be_cancelled])
async def test_leaving_early_closes_the_connection(
    sim: Simulator, way: Callable[[ProviderContext], object]
) -> None:
    endless(sim)
    async with lent(sim.base_url) as provider:
        await way(provider)  # type: ignore[misc]
        await sim.wait_until_async(
            lambda: (sim.streams_closed_by_client, sim.open_streams) == (1, 0)
        )


async def test_being_cancelled_before_the_head_closes_the_connection(sim: Simulator) -> None:
    sim.inject(Fault(hang=True))
    async with lent(sim.base_url) as provider:
        task = asyncio.create_task(leave(provider))
        await sim.wait_until_async(lambda: len(sim.requests) == 1)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        await sim.wait_until_async(lambda: sim.open_connections == 0)


async def test_a_whole_answer_leaves_the_connection_for_the_next(sim: Simulator) -> None:
    answer(sim, body=b"{}")
    async with lent(sim.base_url) as provider:
        for _ in range(3):
            await fetch_json(provider, "GET", "x", into=dict)
        assert sim.open_connections == 1


async def test_a_success_raises_nothing(sim: Simulator) -> None:
    answer(sim, body=b"", status=204)
    async with lent(sim.base_url) as provider:
        response: HttpResponse
        async with open_stream(provider, "GET", "x") as response:
            await raise_for_status(provider, response)
