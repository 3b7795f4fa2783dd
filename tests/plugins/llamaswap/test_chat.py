"""Mirrors modelbay_llamaswap/chat.py and waiting.py: one turn, from the wait to the last event."""

import asyncio
import json
from collections.abc import Callable

import anyio
import pytest

from modelbay.closing import closing
from modelbay.errors import (
    BackendBusyError,
    BackendError,
    BackendTimeoutError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    RateLimitedError,
    StreamInterruptedError,
    UnsupportedFeatureError,
)
from modelbay.models.events import Finish, ReasoningDelta, Status, TextDelta
from modelbay.models.media import CompleteRequest
from modelbay.testing.simulator import Exchange
from modelbay_llamaswap.waiting import Watch
from plugins.llamaswap.bay import OpenBay, ask, statuses, text_of
from plugins.llamaswap.serving import (
    CUT,
    LOADED,
    LOADING,
    SAID,
    Scripted,
    chunk,
    entry,
    loading,
    process,
    refused,
)

pytestmark = pytest.mark.anyio

ANSWER = [TextDelta("one "), TextDelta("two")]
END = Finish("stop", model="models/tiny.gguf", response_id="chatcmpl-1")


@pytest.mark.parametrize("then", ["it stays open", "it breaks", "more comes"])
async def test_an_answer_is_whole_once_it_is_done(bay: OpenBay, then: str) -> None:
    with Scripted([entry("tiny")], [process("tiny")]) as sim:

        @sim.route("POST", "/v1/chat/completions")
        async def route(exchange: Exchange) -> None:
            await exchange.start_stream("text/event-stream")
            await exchange.raw(SAID + (chunk({"content": "LATE"}) if then == "more comes" else b""))
            if then == "it stays open":
                await exchange.sleep(float("inf"))
            elif then == "it breaks":
                exchange.abort()

        with anyio.fail_after(5):
            events = await bay(sim.base_url).chat(ask(), "tiny")

    assert events == [*ANSWER, END]


async def test_a_turn_goes_to_v1_with_max_tokens_and_the_bare_id(bay: OpenBay) -> None:
    """S1-02, S1-03, S1-31."""
    with Scripted([entry("org/model:7b")], [process("org/model:7b")]) as sim:
        events = await bay(sim.base_url).chat(ask(max_tokens=5), "org/model:7b")

        sent = sim.requests[-1]
    assert events == [*ANSWER, END]
    assert sent.path == "/v1/chat/completions"
    assert sent.json() == {
        "model": "org/model:7b",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 5,
    }
    assert sent.headers["accept"] == "application/json"


@pytest.mark.parametrize("base", ["", "/", "/v1", "/v1/"])
async def test_an_address_is_taken_with_and_without_v1(bay: OpenBay, base: str) -> None:
    """S1-23, S1-26."""
    with Scripted() as sim:
        await bay(sim.base_url + base).chat()

        paths = sim.paths()
    assert sorted(paths[:2]) == ["GET /running", "GET /v1/models"]
    assert paths[2:] == ["POST /v1/chat/completions"]


async def test_without_a_key_no_authorization_is_sent(bay: OpenBay) -> None:
    """S1-04, S1-24: since v225 a placeholder would reach a child that has a key of its own."""
    with Scripted() as sim:
        await bay(sim.base_url).chat()
        without = [request.headers.get("authorization") for request in sim.requests]
        await bay(sim.base_url, apiKey="sk-secret-1").chat()

        key = sim.requests[-1].headers["authorization"]
    assert set(without) == {None}
    assert key == "Bearer sk-secret-1"


# --- waiting --------------------------------------------------------------------------------------


async def test_a_cold_model_is_told_at_once_and_its_way_is_followed(bay: OpenBay) -> None:
    """S1-21: the wait has no limit of its own; what is waited for is said."""
    with Scripted([entry("tiny"), entry("other")], [process("other")]) as sim:
        desk = bay(sim.base_url, pollS=0.02)
        model = await desk.model()
        sim.call(sim.gate.clear)
        seen: list[tuple[str, str | None]] = []
        steps = {
            "not started yet; 'other' may have to make room": [process("tiny", "starting")],
            "llama-swap starts 'tiny'": [process("tiny")],
            "'tiny' is ready and reads the prompt": None,
        }
        async with closing(desk.backend.stream_chat(ask(), model)) as events:
            async for event in events:
                if isinstance(event, Status):
                    seen.append((event.state, event.message))
                    following = steps.get(event.message or "")
                    if following is not None:
                        sim.running = following
                    elif event.message is not None:
                        sim.call(sim.gate.set)

    assert seen == [
        ("loading", None),
        ("queued", "not started yet; 'other' may have to make room"),
        ("loading", "llama-swap starts 'tiny'"),
        ("processing", "'tiny' is ready and reads the prompt"),
    ]
    assert event == END


@pytest.mark.parametrize(
    ("running", "told"),
    [
        ([], ("loading", "llama-swap starts 'tiny'")),
        ([process("tiny", "stopping")], ("queued", "'tiny' stops first, and is started again")),
        ([{"model": "tiny"}], ("processing", "'tiny' is ready and reads the prompt")),
    ],
)
async def test_what_is_waited_for_is_read_from_running(
    bay: OpenBay, running: list[dict[str, object]], told: tuple[str, str]
) -> None:
    with Scripted(running=running) as sim:
        desk = bay(sim.base_url, pollS=0.02)
        model = await desk.model()
        sim.call(sim.gate.clear)
        async with closing(desk.backend.stream_chat(ask(), model)) as events:
            async for event in events:
                if isinstance(event, Status) and event.message:
                    assert (event.state, event.message) == told
                    break


async def test_a_deadline_of_the_callers_ends_the_wait_and_leaves_nothing(bay: OpenBay) -> None:
    """S1-05."""
    with Scripted() as sim:
        desk = bay(sim.base_url, pollS=0.02)
        model = await desk.model()
        sim.call(sim.gate.clear)
        before = len(asyncio.all_tasks())
        with pytest.raises(BackendTimeoutError):
            _ = [e async for e in desk.backend.stream_chat(ask(), model, 0.1)]

        assert len(asyncio.all_tasks()) == before
        await sim.wait_until_async(lambda: sim.open_connections <= 1)


async def test_leaving_while_it_waits_closes_the_request(bay: OpenBay) -> None:
    with Scripted() as sim:
        desk = bay(sim.base_url, pollS=0.02)
        model = await desk.model()
        sim.call(sim.gate.clear)
        before = len(asyncio.all_tasks())
        async with closing(desk.backend.stream_chat(ask(), model)) as events:
            await anext(events)  # loading
            await anext(events)  # and the first look at it

        assert len(asyncio.all_tasks()) == before


async def test_a_warm_model_needs_no_look(bay: OpenBay) -> None:
    with Scripted(running=[process("tiny")]) as sim:
        await bay(sim.base_url).chat()

        assert sim.polls == 1  # discovery's


async def test_nothing_is_said_of_names_without_a_process(bay: OpenBay) -> None:
    """A peer's models and a profile's names never stand in `/running`."""
    peer = entry("lab/m", meta={"llamaswap": {"type": "peer", "peerID": "lab"}})
    with Scripted([peer], [process("other")]) as sim:
        desk = bay(sim.base_url)
        for name in ("lab/m", "m"):  # by its listed name, and by the bare one
            model = await desk.model(name)
            watch = Watch(desk.context, model)

            assert await watch.look() == []


# --- the loading text -----------------------------------------------------------------------------


async def test_the_loading_text_is_told_and_reaches_neither_reasoning_nor_answer(
    bay: OpenBay,
) -> None:
    thought = chunk({"reasoning_content": "Hm."})
    with Scripted(running=[process("tiny")], stream=LOADING + LOADED + thought + SAID) as sim:
        events = await bay(sim.base_url).chat()

    assert events == [
        Status("loading", message="llama-swap loading model: tiny"),
        ReasoningDelta("Hm."),
        *ANSWER,
        END,
    ]


async def test_bare_reasoning_of_a_model_s_own_server_is_reasoning(bay: OpenBay) -> None:
    """Some servers leave `id` and `object` out."""
    for prefix in (b"", LOADING + LOADED):
        thought = loading("Let me ", "think.\n", "The answer")
        with Scripted(running=[process("tiny")], stream=prefix + thought + SAID) as sim:
            events = await bay(sim.base_url).chat()

        assert [e for e in events if not isinstance(e, Status)] == [
            ReasoningDelta("Let me "),
            ReasoningDelta("think.\n"),
            ReasoningDelta("The answer"),
            *ANSWER,
            END,
        ]


async def test_a_bare_error_under_200_is_found_and_has_its_class(bay: OpenBay) -> None:
    """An SSE reader passes over such a line, and the answer looks empty and successful."""
    failed = b'{"src":"llama-swap","error":{"message":"unspecific error: upstream command exited'
    failed += b' prematurely","type":"server_error","param":null,"code":"internal_error"}}'
    full = b'{"error":{"code":400,"message":"request (3520 tokens) exceeds the available context'
    full += b' size (512 tokens), try increasing it","type":"exceed_context_size_error"}}'
    busy = b'{"error":"Too many requests"}'
    for bare, wanted, status in (
        (failed, BackendError, 500),
        (full, ContextLengthError, 400),
        (busy, BackendBusyError, 500),
    ):
        with (
            Scripted(stream=LOADING + LOADED + bare) as sim,
            pytest.raises(wanted) as caught,
        ):
            await bay(sim.base_url, busyWaitS=0).chat()
        assert (type(caught.value), caught.value.status) == (wanted, status)
        assert caught.value.provider_id == "desk"


async def test_a_bare_error_with_a_long_command_line_keeps_its_meaning(bay: OpenBay) -> None:
    text = f"unspecific error: failed to start command 'x {'-y z ' * 2000}': no such file"
    bare = json.dumps({"src": "llama-swap", "error": {"message": text, "type": "server_error"}})
    with Scripted(stream=LOADING + bare.encode()) as sim, pytest.raises(BackendError) as caught:
        await bay(sim.base_url).chat()

    assert caught.value.message.startswith("unspecific error: failed to start its command")
    assert type(caught.value) is BackendError


async def test_a_failed_load_points_to_the_models_log(bay: OpenBay) -> None:
    text = "unspecific error: upstream command exited prematurely"
    with Scripted() as sim:
        sim.answer("/v1/chat/completions", refused(text, "internal_error", "server_error"), 500)
        with pytest.raises(BackendError) as caught:
            await bay(sim.base_url).chat()

    assert caught.value.message == f"{text} (HTTP 500)"
    assert caught.value.hint == "modelbay logs desk tiny"


async def test_an_older_server_tells_a_failed_load_inside_its_text(bay: OpenBay) -> None:
    """Up to v217."""
    old = loading(
        "━━━━━\n",
        "llama-swap loading model: tiny\n",
        "Unable to swap model err: start() failed for command 'x --api-key k3y': exit 1\n",
    )
    with (
        Scripted(stream=old + b"data: [DONE]\n\n") as sim,
        pytest.raises(BackendError) as caught,
    ):
        await bay(sim.base_url).chat()

    assert caught.value.message == (
        "the model could not be loaded: start() failed for its command: exit 1"
    )


# --- endings --------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", [b"", LOADING + LOADED], ids=["plain", "loading text"])
@pytest.mark.parametrize("end", [b"", b"data: [DONE]\n\n"], ids=["silent", "DONE"])
async def test_a_stream_without_a_finish_reason_is_an_interruption(
    bay: OpenBay, prefix: bytes, end: bytes
) -> None:
    """A killed child, an unload and a reload all end the stream cleanly, on every version."""
    with (
        Scripted(stream=prefix + CUT + end) as sim,
        pytest.raises(StreamInterruptedError) as caught,
    ):
        await bay(sim.base_url).chat()

    assert caught.value.partial == "one two "
    assert caught.value.hint == "its process died, or it was unloaded; modelbay logs desk tiny"


async def test_an_interruption_inside_the_loading_text_has_no_text(bay: OpenBay) -> None:
    with Scripted(stream=LOADING) as sim, pytest.raises(StreamInterruptedError) as caught:
        await bay(sim.base_url).chat()

    assert caught.value.partial == ""


async def test_a_dead_child_of_a_plain_request_is_an_empty_502(bay: OpenBay) -> None:
    with Scripted() as sim:
        sim.answer("/v1/chat/completions", b"", 502)
        with pytest.raises(BackendError) as caught:
            await bay(sim.base_url).chat(ask(stream=False))

    assert caught.value.message == (
        "the model's own server died, or takes no connections yet (HTTP 502)"
    )
    assert caught.value.status == 502


async def test_a_request_called_off_at_the_server_is_an_empty_200(bay: OpenBay) -> None:
    with Scripted() as sim:
        sim.answer("/v1/chat/completions", b"", 200)
        with pytest.raises(StreamInterruptedError, match="called off at the server"):
            await bay(sim.base_url).chat()


async def test_one_json_answer_gives_the_same_events_at_once(bay: OpenBay) -> None:
    with Scripted() as sim:
        sim.answer(
            "/v1/chat/completions",
            {
                "id": "chatcmpl-1",
                "model": "models/tiny.gguf",
                "choices": [{"index": 0, "message": {"content": "all"}, "finish_reason": "stop"}],
            },
        )
        events = await bay(sim.base_url).chat(ask(stream=False))

    assert events == [Status("loading"), TextDelta("all"), END]


# --- errors ---------------------------------------------------------------------------------------

SHAPES: dict[str, Callable[[str, str], object]] = {
    "after v250": lambda text, code: refused(text, code),
    "v218": lambda text, code: {"src": "llama-swap", "error": text},
    "v217 as JSON": lambda text, code: {"error": text},
    "v217 as text": lambda text, code: f"{text}\n",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("status", "text", "code", "wanted"),
    [
        (404, "no router for requested model", "not_found", ModelNotFoundError),
        (400, "could not find suitable inference handler for nope", "", ModelNotFoundError),
        (400, "could not find real modelID for nope", "", ModelNotFoundError),
        (404, "no model id could be identified", "not_found", InvalidRequestError),
        (429, "Too many requests", "concurrency_limit", BackendBusyError),
        (500, "unspecific error: group: model unloaded", "internal_error", BackendBusyError),
        (500, "unspecific error: matrix: model unloaded", "internal_error", BackendBusyError),
        (500, "unspecific error: group is shutting down", "internal_error", BackendBusyError),
        (503, "[tiny] process is not ready", "service_unavailable", BackendBusyError),
        (502, "unable to start process: exit status 1", "bad_gateway", BackendError),
        (500, "unspecific error: health check timed out after 2m0s", "", BackendError),
    ],
)
async def test_every_version_s_errors_have_their_class(
    bay: OpenBay, shape: str, status: int, text: str, code: str, wanted: type[BackendError]
) -> None:
    with Scripted([entry("tiny"), entry("small")]) as sim:
        sim.answer("/v1/chat/completions", SHAPES[shape](text, code), status)
        with pytest.raises(BackendError) as caught:
            await bay(sim.base_url, busyWaitS=0).chat()

    assert type(caught.value) is wanted
    assert caught.value.message == f"{text} (HTTP {status})"
    assert caught.value.status == status


async def test_an_unknown_model_is_told_with_names_that_are_near(bay: OpenBay) -> None:
    with Scripted([entry("qwen-small"), entry("qwen-large")]) as sim:
        sim.answer("/v1/chat/completions", refused("no router for requested model"), 404)
        with pytest.raises(ModelNotFoundError) as caught:
            await bay(sim.base_url).chat(wire_id="qwen-smal")

    assert caught.value.hint == "did you mean desk/qwen-small or desk/qwen-large?"


async def test_a_rate_limit_of_anybody_elses_is_no_full_model(bay: OpenBay) -> None:
    """A peer behind llama-swap may have limits of its own; they are not waited for."""
    with Scripted() as sim:
        sim.answer("/v1/chat/completions", {"error": {"message": "slow down"}}, 429)
        with pytest.raises(RateLimitedError):
            await bay(sim.base_url).chat()


async def test_a_command_line_never_stands_in_an_error(bay: OpenBay) -> None:
    text = "unspecific error: failed to start command 'server --api-key k3y': exec: no such file"
    with Scripted() as sim:
        sim.answer("/v1/chat/completions", refused(text, "internal_error"), 500)
        with pytest.raises(BackendError) as caught:
            await bay(sim.base_url).chat()

    assert caught.value.message == (
        "unspecific error: failed to start its command: exec: no such file (HTTP 500)"
    )
    assert "k3y" not in repr(caught.value.args)
    assert caught.value.hint == "modelbay logs desk tiny"


async def test_an_endpoint_this_version_lacks_is_no_unknown_model(bay: OpenBay) -> None:
    with Scripted() as sim:
        sim.answer("/v1/chat/completions", "404 page not found\n", 404)
        with pytest.raises(UnsupportedFeatureError, match="no such endpoint"):
            await bay(sim.base_url).chat()


# --- raw prompts ----------------------------------------------------------------------------------


async def test_a_raw_prompt_has_a_limit_and_the_same_events(bay: OpenBay) -> None:
    with Scripted() as sim:

        @sim.route("POST", "/v1/completions")
        async def completions(exchange: Exchange) -> None:
            await exchange.start_stream("text/event-stream")
            await exchange.sse({"choices": [{"index": 0, "text": "more"}]})
            await exchange.sse({"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]})

        desk = bay(sim.base_url)
        model = await desk.model()
        request = CompleteRequest(prompt="once")
        events = [e async for e in desk.backend.complete(request, model)]

        sent = sim.requests[-1].json()
    assert events == [Status("loading"), TextDelta("more"), Finish("stop")]
    assert isinstance(sent, dict)
    assert (sent["model"], sent["max_tokens"]) == ("tiny", 16384)


async def test_filling_in_the_middle_is_refused_rather_than_ignored(bay: OpenBay) -> None:
    with Scripted() as sim:
        desk = bay(sim.base_url)
        model = await desk.model()
        request = CompleteRequest(prompt="a", suffix="b")
        with pytest.raises(UnsupportedFeatureError):
            _ = [e async for e in desk.backend.complete(request, model)]


async def test_statuses_do_not_get_into_the_text(bay: OpenBay) -> None:
    with Scripted(stream=LOADING + LOADED + SAID) as sim:
        events = await bay(sim.base_url).chat()

    assert text_of(events) == "one two"
    assert statuses(events) == [
        ("loading", None),
        ("loading", "llama-swap loading model: tiny"),
    ]
