"""Mirrors modelbay_ollama/client.py and what is around it: retries, completion, vectors, /v1.

Over real sockets, against the simulator (S4-102, S4-106).
"""

import json
from collections.abc import Sequence

import pytest

from modelbay.errors import (
    AuthenticationError,
    BackendBusyError,
    BackendError,
    InvalidRequestError,
    ModelNotFoundError,
    ProtocolError,
    QuotaExceededError,
    UnsupportedFeatureError,
)
from modelbay.models.chat import JsonSchema, NamedTool
from modelbay.models.events import (
    Finish,
    Notice,
    ReasoningDelta,
    Status,
    StreamEvent,
    TextDelta,
    Timings,
    ToolCall,
    Usage,
)
from modelbay.models.manage import Load, Unload
from modelbay.models.media import CompleteRequest, EmbedRequest
from modelbay.refs import ModelRef
from modelbay.testing.fault import Fault
from modelbay.testing.simulator import Simulator
from modelbay.testing.streams import reasoning_of, text_of
from modelbay_ollama.failures import ReportedFailureError, SilentEndError
from modelbay_ollama.simulator import (
    Knobs,
    OllamaSimulator,
    Remote,
    SimulatedModel,
)
from modelbay_ollama.simulator import ToolCall as Call
from plugins.ollama.bay import WITH_TOOLS, Bay, OpenBay, ask, first

pytestmark = pytest.mark.anyio

THINKER = SimulatedModel(
    "qwen3:8b",
    answer="42",
    thinking="hm",
    capabilities=("completion", "tools", "thinking"),
    tool_calls=[Call("get_weather", {"city": "Oslo"})],
)
EMBEDDER = SimulatedModel("vectors:latest", family="bert", capabilities=("embedding",))


def posted(sim: Simulator, path: str = "/api/chat") -> list[dict[str, object]]:
    """The bodies sent there, oldest first."""
    bodies = [request.json() for request in sim.requests if request.path == path]
    return [body for body in bodies if isinstance(body, dict)]


def kinds(events: Sequence[StreamEvent]) -> list[str]:
    return [event.type for event in events]


# --- a turn --------------------------------------------------------------------------------------


async def test_a_turn_streams_with_usage_and_times(bay: OpenBay) -> None:
    """S4-11, S4-66 to S4-71, S4-77, S4-78, S4-82."""
    with OllamaSimulator() as sim:
        events = await bay(sim.base_url).chat("hi")

    assert text_of(events) == "Hello from the simulator."
    usage, times, finish = events[-3:]
    assert isinstance(usage, Usage)
    assert isinstance(times, Timings)
    assert (times.output_tokens_per_s or 0) > 0
    assert finish == Finish("stop", model="llama3.1:8b")


async def test_a_cold_model_is_told_once_and_loaded_once(bay: OpenBay) -> None:
    """Wire notes 13.4, assertion 5; trap 2."""
    with OllamaSimulator() as sim:
        desk = bay(sim.base_url)
        first_turn, second_turn = await desk.chat("hi"), await desk.chat("again")

        assert sim.loads == {"llama3.1:8b": 1}
    assert first_turn[0] == Status("loading")
    assert "status" not in kinds(second_turn)


async def test_a_model_somebody_unloaded_is_told_as_cold_again(bay: OpenBay) -> None:
    with OllamaSimulator() as sim:
        desk = bay(sim.base_url)
        await desk.chat("hi")
        await desk.manage(Unload(model="llama3.1:8b"))

        assert (await desk.chat("hi"))[0] == Status("loading")


async def test_a_window_of_the_user_s_own_is_sent_with_every_request(bay: OpenBay) -> None:
    """S4-74: one number for chat, load, completion and embedding, so that nothing is reloaded."""
    with OllamaSimulator([SimulatedModel("llama3.1:8b"), EMBEDDER]) as sim:
        desk = bay(sim.base_url, numCtx=8192)
        await desk.manage(Load(model="llama3.1:8b"))
        await desk.chat("hi")
        await desk.complete(CompleteRequest(prompt="Once", max_tokens=4))
        windows = sim.running

        assert (sim.reloads, windows) == ({}, {"llama3.1:8b": 8192})


async def test_a_lifetime_goes_with_every_request(bay: OpenBay) -> None:
    """S4-73; traps 10 and 25."""
    with OllamaSimulator([SimulatedModel("llama3.1:8b"), EMBEDDER]) as sim:
        desk = bay(sim.base_url, keepAlive="-1")
        await desk.chat("hi")
        await desk.complete(CompleteRequest(prompt="Once"))
        await desk.backend.embed(EmbedRequest(input=["x"]), await desk.model("vectors:latest"))
        sent = [posted(sim, f"/api/{name}")[0] for name in ("chat", "generate", "embed")]

    assert [body["keep_alive"] for body in sent] == [-1, -1, -1]


async def test_an_unstreamed_turn_has_the_same_events(bay: OpenBay) -> None:
    with OllamaSimulator([THINKER]) as sim:
        desk = bay(sim.base_url)
        events = await desk.chat(ask("hi", stream=False), "qwen3:8b")

    assert (reasoning_of(events), text_of(events)) == ("hm", "42")


# --- thinking and tools --------------------------------------------------------------------------


async def test_thinking_is_apart_from_the_answer_and_can_be_switched_off(bay: OpenBay) -> None:
    """S4-72."""
    with OllamaSimulator([THINKER]) as sim:
        desk = bay(sim.base_url)
        on = await desk.chat("hi", "qwen3:8b")
        off = await desk.chat(ask("hi", reasoning_effort="none"), "qwen3:8b")

    assert (reasoning_of(on), text_of(on)) == ("hm", "42")
    assert (reasoning_of(off), text_of(off)) == ("", "42")


async def test_no_think_is_sent_to_a_model_that_does_not(bay: OpenBay) -> None:
    """Wire notes 13.4, assertion 4; trap 11."""
    with OllamaSimulator() as sim:
        events = await bay(sim.base_url).chat(ask("hi", reasoning_effort="high"))

        assert "think" not in posted(sim)[0]
    assert [e.code for e in events if isinstance(e, Notice)] == ["dropped_field"]


async def test_a_refused_think_is_tried_simpler_and_then_left_out(bay: OpenBay) -> None:
    """Wire notes, section 5.4: capabilities may be old, and clouds reject some levels."""
    with OllamaSimulator([THINKER]) as sim:
        desk = bay(sim.base_url)
        model = await desk.model("qwen3:8b")
        for text in ("think value", "does not support thinking"):
            body = json.dumps({"error": f'"high" {text}'}).encode()
            sim.inject(Fault(status=400, body=body), path="/api/chat", times=1)
        request = ask("hi", reasoning_effort="high")
        events = [event async for event in desk.backend.stream_chat(request, model)]
        tried = [body.get("think", "absent") for body in posted(sim)]

    assert tried == ["high", True, "absent"]
    assert text_of(events) == "42"


async def test_a_server_without_think_leaves_tags_that_are_split(bay: OpenBay) -> None:
    """Wire notes 13.4, assertion 11."""
    with OllamaSimulator([THINKER], version="0.5.0") as sim:
        events = await bay(sim.base_url).chat("hi", "qwen3:8b")

        assert "think" not in posted(sim)[0]
    assert (reasoning_of(events).strip(), text_of(events)) == ("hm", "42")


@pytest.mark.parametrize("path", ["native", "rendered", "harmony"])
@pytest.mark.parametrize("version", ["0.12.0", "0.12.11", "0.30.1", "0.33.0"])
async def test_a_call_comes_whole_whatever_path_the_server_takes(
    bay: OpenBay, path: str, version: str
) -> None:
    """Wire notes 13.4, assertion 1; traps 4, 5 and 16."""
    caller = SimulatedModel(
        "caller:8b",
        path=path,  # type: ignore[arg-type] # one of the three
        capabilities=("completion", "tools"),
        tool_calls=[Call("get_weather", {"city": "Oslo"})],
    )
    with OllamaSimulator([caller], version=version) as sim:
        events = await bay(sim.base_url).chat(WITH_TOOLS, "caller:8b")

    (call,) = [event for event in events if isinstance(event, ToolCall)]
    assert (call.name, call.arguments, call.index) == ("get_weather", '{"city":"Oslo"}', 0)
    assert call.id
    assert events[-1] == Finish("tool_calls", model="caller:8b")


async def test_a_forced_call_is_refused_before_the_wire(bay: OpenBay) -> None:
    with OllamaSimulator([THINKER]) as sim:
        wanted = WITH_TOOLS.model_copy(update={"tool_choice": NamedTool(name="get_weather")})
        with pytest.raises(UnsupportedFeatureError):
            await bay(sim.base_url).chat(wanted, "qwen3:8b")

        assert posted(sim) == []


async def test_an_answer_that_ignores_its_schema_is_told(bay: OpenBay) -> None:
    """Trap 20."""
    schema = JsonSchema(schema={"type": "object", "required": ["city"]})
    with OllamaSimulator() as sim:
        sim.next_answer("plain")
        events = await bay(sim.base_url).chat(ask("hi", response_format=schema))

    assert [e.code for e in events if isinstance(e, Notice)] == ["format_ignored"]


# --- failures ------------------------------------------------------------------------------------


async def outcome(desk: Bay) -> BackendError:
    try:
        await desk.chat("hi")
    except BackendError as exc:
        return exc
    raise AssertionError("a quiet success")


@pytest.mark.parametrize("version", ["0.12.0", "0.12.11", "0.33.0"])
async def test_the_three_failures_are_three_errors_and_keep_what_came(
    bay: OpenBay, version: str
) -> None:
    """Wire notes 13.4, assertion 2; 0.12.0 says the early one under status 200."""
    found: dict[str, BackendError] = {}
    with OllamaSimulator(version=version) as sim:
        desk = bay(sim.base_url)
        for script in ("late_error", "silent_end", "early_error"):
            sim.next_answer(script)
            found[script] = await outcome(desk)
        assert text_of(await desk.chat("hi")) == "Hello from the simulator."

    late, silent, early = found.values()
    assert isinstance(late, ReportedFailureError)
    assert isinstance(silent, SilentEndError)
    assert (late.partial, silent.partial) == ("par", "par")
    assert (type(early), "load failed" in early.message) == (BackendError, True)
    assert late.model == early.model == "desk/llama3.1:8b"


async def test_an_engine_s_nested_error_is_readable(bay: OpenBay) -> None:
    """Trap 42."""
    with OllamaSimulator() as sim:
        sim.next_answer("nested_error")
        error = await outcome(bay(sim.base_url))

    assert error.message == (
        "request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it"
    )


@pytest.mark.parametrize("final", [True, False])
async def test_odd_characters_and_long_lines_are_text(bay: OpenBay, final: bool) -> None:
    """Trap 8: U+2028, U+0085, two megabytes in a line, a last line without an end."""
    with OllamaSimulator(knobs=Knobs(final_newline=final)) as sim:
        desk = bay(sim.base_url)
        sim.next_answer("separators")
        sim.next_answer("long_line")
        odd, long = text_of(await desk.chat("hi")), text_of(await desk.chat("hi"))

    assert odd == "one\u2028twothree\u0085four <b> & \u2029"
    assert long == "x" * 2_000_000


async def test_a_ten_megabyte_line_is_text(bay: OpenBay) -> None:
    record = {"message": {"role": "assistant", "content": "x" * 10_000_000}, "done": False}
    end = {"message": {"content": ""}, "done": True, "done_reason": "stop"}
    body = b"".join(json.dumps(each).encode() + b"\n" for each in (record, end))
    with OllamaSimulator() as sim:
        desk = bay(sim.base_url)
        model = await desk.model()
        sim.inject(
            Fault(status=200, body=body, content_type="application/x-ndjson"), path="/api/chat"
        )
        events = [event async for event in desk.backend.stream_chat(ask(), model)]

    assert len(text_of(events)) == 10_000_000


async def test_a_proxy_s_page_is_no_answer(bay: OpenBay) -> None:
    with OllamaSimulator() as sim:
        desk = bay(sim.base_url)
        model = await desk.model()
        sim.inject(Fault.html(200), path="/api/chat")
        with pytest.raises(ProtocolError) as raised:
            [event async for event in desk.backend.stream_chat(ask(), model)]

    assert "proxy" in (raised.value.hint or "")


async def test_an_unknown_model_is_told_with_how_to_get_it(bay: OpenBay) -> None:
    with OllamaSimulator() as sim:
        desk = bay(sim.base_url)
        with pytest.raises(ModelNotFoundError) as raised:
            [e async for e in desk.backend.stream_chat(ask(), desk.unlisted("nosuch:1b"))]

    assert "modelbay pull desk/nosuch:1b" in (raised.value.hint or "")


async def test_a_chat_with_an_embedding_model_is_an_unsupported_feature(bay: OpenBay) -> None:
    with OllamaSimulator([EMBEDDER]) as sim, pytest.raises(UnsupportedFeatureError):
        await bay(sim.base_url).chat("hi", "vectors:latest")


@pytest.mark.parametrize("wrong", [{"num_ctx": "big"}, {"options": {"stop": 7}}, {"options": 7}])
async def test_a_wrong_option_never_reaches_the_wire(
    bay: OpenBay, wrong: dict[str, object]
) -> None:
    """Trap 18."""
    with OllamaSimulator() as sim:
        with pytest.raises(InvalidRequestError) as raised:
            await bay(sim.base_url).chat(ask("hi", extra=wrong))

        assert posted(sim) == []
    assert raised.value.hint


async def test_a_full_queue_is_asked_again_a_few_times(bay: OpenBay) -> None:
    """Trap 39."""
    busy = Fault(status=503, body=b'{"error":"server busy, please try again."}')
    with OllamaSimulator() as sim:
        desk = bay(sim.base_url, busyTries=2)
        model = await desk.model()
        sim.inject(busy, path="/api/chat", times=2)
        events = [event async for event in desk.backend.stream_chat(ask(), model)]
        sim.inject(busy, path="/api/chat")
        with pytest.raises(BackendBusyError):
            [event async for event in desk.backend.stream_chat(ask(), model)]

        assert len(posted(sim)) == 3 + 3
    assert [e for e in events if isinstance(e, Status)] == [Status("loading"), Status("queued")]


async def test_an_engine_that_died_is_started_once_more(bay: OpenBay) -> None:
    """Wire notes, section 7: retryable once, and only before any of an answer."""
    died = Fault(status=500, body=b'{"error":"model runner has unexpectedly stopped"}')
    with OllamaSimulator() as sim:
        desk = bay(sim.base_url)
        model = await desk.model()
        sim.inject(died, path="/api/chat", times=1)
        events = [event async for event in desk.backend.stream_chat(ask(), model)]
        sim.inject(died, path="/api/chat")
        with pytest.raises(BackendError, match="unexpectedly stopped"):
            [event async for event in desk.backend.stream_chat(ask(), model)]

        assert len(posted(sim)) == 2 + 2
    assert events[-1].type == "finish"


# --- closing and the cloud -----------------------------------------------------------------------


async def test_closing_the_stream_closes_the_connection(bay: OpenBay) -> None:
    """Wire notes 13.4, assertion 3; section 5.11."""
    talker = SimulatedModel("llama3.1:8b", answer="more ", endless=True, token_delay_s=0.005)
    with OllamaSimulator([talker]) as sim:
        desk = bay(sim.base_url)
        model = await desk.model()
        await first(desk.backend.stream_chat(ask(), model), TextDelta)
        await sim.wait_until_async(lambda: sim.active_streams == 0)

        assert sim.cancelled_answers == {"llama3.1:8b": 1}


CLOUD = SimulatedModel("gpt-oss:120b-cloud", remote=Remote("gpt-oss:120b"), family="gptoss")


async def test_the_cloud_s_refusals_say_what_to_do(bay: OpenBay) -> None:
    """Trap 37: where to sign in, and that a quota is used up."""
    with (
        OllamaSimulator([CLOUD], knobs=Knobs(signed_in=False)) as sim,
        pytest.raises(AuthenticationError) as raised,
    ):
        await bay(sim.base_url).chat("hi", "gpt-oss:120b-cloud")
    assert (raised.value.hint or "").startswith("sign in: https://ollama.com/")

    limit = (429, "you have reached your session usage limit, upgrade for higher limits")
    with (
        OllamaSimulator([CLOUD], knobs=Knobs(cloud_refusal=limit)) as sim,
        pytest.raises(QuotaExceededError),
    ):
        await bay(sim.base_url).chat("hi", "gpt-oss:120b-cloud")


async def test_without_consent_nothing_is_sent_to_the_cloud(bay: OpenBay) -> None:
    with OllamaSimulator([CLOUD]) as sim:
        desk = bay(sim.base_url, allowCloud=False)
        info = (await bay(sim.base_url).model("gpt-oss:120b-cloud")).model_copy(
            update={"ref": ModelRef("desk", "gpt-oss:120b-cloud")}
        )
        with pytest.raises(UnsupportedFeatureError, match="in the cloud"):
            [event async for event in desk.backend.stream_chat(ask(), info)]

        assert posted(sim) == []


# --- raw prompts and vectors ---------------------------------------------------------------------


async def test_a_raw_prompt_is_continued_without_a_template(bay: OpenBay) -> None:
    with OllamaSimulator() as sim:
        desk = bay(sim.base_url)
        events = await desk.complete(CompleteRequest(prompt="Once", max_tokens=7, stop=["."]))
        (body,) = posted(sim, "/api/generate")

    assert (body["raw"], body["prompt"], body["options"]) == (
        True,
        "Once",
        {"num_predict": 7, "stop": ["."]},
    )
    assert events[-1].type == "finish"


async def test_a_suffix_is_for_models_that_fill_in(bay: OpenBay) -> None:
    coder = SimulatedModel("codestral:22b", capabilities=("completion", "insert"))
    with OllamaSimulator([coder, SimulatedModel("llama3.1:8b")]) as sim:
        desk = bay(sim.base_url)
        request = CompleteRequest(prompt="def f(", suffix="return 1")
        assert (await desk.complete(request, "codestral:22b"))[-1].type == "finish"
        with pytest.raises(UnsupportedFeatureError, match="insert"):
            await desk.complete(request)


async def test_vectors_come_in_the_order_of_the_texts(bay: OpenBay) -> None:
    with OllamaSimulator([EMBEDDER]) as sim:
        desk = bay(sim.base_url)
        model = await desk.model("vectors:latest")
        there = await desk.backend.embed(EmbedRequest(input=["a", "b"]), model)
        back = await desk.backend.embed(EmbedRequest(input=["b", "a"], dimensions=8), model)

    assert there.vectors[0] != there.vectors[1]
    assert [len(vector) for vector in back.vectors] == [8, 8]
    assert there.usage is not None


@pytest.mark.parametrize("version", ["0.2.5", "0.5.0"])
async def test_older_servers_make_vectors_of_the_same_kind(bay: OpenBay, version: str) -> None:
    """Wire notes, sections 4.5 and 9.1: /api/embeddings, and cutting by ourselves."""
    with OllamaSimulator([EMBEDDER], version=version) as sim:
        desk = bay(sim.base_url)
        model = await desk.model("vectors:latest")
        found = await desk.backend.embed(EmbedRequest(input=["a", "b"], dimensions=8), model)

    assert [len(vector) for vector in found.vectors] == [8, 8]
    assert [round(sum(x * x for x in vector), 6) for vector in found.vectors] == [1.0, 1.0]


async def test_a_chat_model_that_makes_no_vectors_says_so(bay: OpenBay) -> None:
    with OllamaSimulator() as sim:
        desk = bay(sim.base_url)
        model = await desk.model()
        sim.inject(Fault(status=501, body=b'{"error":"no embeddings"}'), path="/api/embed")
        with pytest.raises(UnsupportedFeatureError, match="no embeddings"):
            await desk.backend.embed(EmbedRequest(input=["a"]), model)


# --- "api": "openai" -----------------------------------------------------------------------------


async def test_the_openai_layer_is_used_when_it_is_asked_for(bay: OpenBay) -> None:
    """S4-23, S4-52, S4-53, S4-81."""
    with OllamaSimulator([THINKER]) as sim:
        events = await bay(sim.base_url, api="openai").chat(ask("hi", top_k=3), "qwen3:8b")
        (body,) = posted(sim, "/v1/chat/completions")

        assert posted(sim) == []
    assert text_of(events) == "42"
    assert reasoning_of(events) == "hm"
    assert "top_k" not in body
    assert "max_tokens" not in body
    assert [e.code for e in events if isinstance(e, Notice)] == ["dropped_field"]


@pytest.mark.parametrize(
    ("version", "usage", "effort"),
    [("0.5.1", False, False), ("0.10.0", True, False), ("0.33.0", True, True)],
)
async def test_what_the_layer_of_an_older_server_does_not_know_is_not_sent(
    bay: OpenBay, version: str, usage: bool, effort: bool
) -> None:
    """S4-58 to S4-61, U8: flags by version, not constants."""
    with OllamaSimulator([THINKER], version=version) as sim:
        await bay(sim.base_url, api="openai").chat(ask("hi", reasoning_effort="low"), "qwen3:8b")
        (body,) = posted(sim, "/v1/chat/completions")

    assert ("stream_options" in body, "reasoning_effort" in body) == (usage, effort)


async def test_the_layer_cannot_force_a_call_either(bay: OpenBay) -> None:
    with OllamaSimulator([THINKER]) as sim:
        wanted = WITH_TOOLS.model_copy(update={"tool_choice": "required"})
        with pytest.raises(UnsupportedFeatureError):
            await bay(sim.base_url, api="openai").chat(wanted, "qwen3:8b")


async def test_thoughts_are_told_as_they_come(bay: OpenBay) -> None:
    with OllamaSimulator([THINKER]) as sim:
        desk = bay(sim.base_url)
        model = await desk.model("qwen3:8b")

        assert await first(desk.backend.stream_chat(ask(), model), ReasoningDelta)
