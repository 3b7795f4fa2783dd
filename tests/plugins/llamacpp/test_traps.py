"""The 39 traps of llama-server: one rule each.

The numbers are those of the table in docs/backends/llamacpp.md. The last test looks that none is
missing there or here.
"""

import asyncio
import math
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from modelbay.client.pool import KEEPALIVE_S
from modelbay.errors import (
    BackendBusyError,
    BackendError,
    InvalidRequestError,
    ModelNotFoundError,
    StreamInterruptedError,
    UnsupportedActionError,
    UnsupportedFeatureError,
)
from modelbay.models.chat import (
    ChatRequest,
    ImagePart,
    JsonMode,
    JsonSchema,
    Message,
    NamedTool,
    user,
)
from modelbay.models.events import (
    Finish,
    Notice,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    Timings,
    ToolCall,
    Usage,
)
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import (
    Done,
    Health,
    ListModels,
    Load,
    Progress,
    Pull,
    Running,
    Show,
    Unload,
)
from modelbay.models.media import EmbedRequest
from modelbay.testing.simulator import Fault, Simulator
from modelbay_llamacpp.simulator import LlamaCppSimulator, SimulatedModel
from modelbay_llamacpp.simulator import ToolCall as SimulatedCall
from plugins.llamacpp.bay import WITH_TOOLS, OpenBay, ask, first

pytestmark = pytest.mark.anyio


def router(*models: SimulatedModel, **options: object) -> LlamaCppSimulator:
    return LlamaCppSimulator(models, "router", **options)  # type: ignore[arg-type]


def text(events: list[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def bodies(sim: Simulator) -> list[JsonObject]:
    found = [r.json() for r in sim.requests if r.path == "/v1/chat/completions"]
    return [body for body in found if isinstance(body, dict)]


async def test_trap_01_the_mode_is_read_from_props_and_never_from_a_404(bay: OpenBay) -> None:
    """S3-22, S3-43: a 404 of the load means "gone" in a router and "no router" elsewhere."""
    gone = Fault(status=404, body=b'{"error":{"message":"File Not Found","code":404}}')
    with LlamaCppSimulator() as sim:
        with pytest.raises(UnsupportedActionError):
            await bay(sim.base_url).manage(Load(model="other"))
        assert "/models/load" not in [request.path for request in sim.requests]
    with router(SimulatedModel("a")) as sim:
        sim.inject(gone, path="/models/load", times=1)
        assert (await bay(sim.base_url).manage(Load(model="a")))[-1] == Done(message="a is loaded")


async def test_trap_02_no_look_of_ours_loads_a_model(bay: OpenBay) -> None:
    with router(SimulatedModel("a"), SimulatedModel("b"), models_max=1) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="a"))
        await desk.discover()
        for action in (ListModels(), Running(), Health(), Show(model="a"), Show(model="b")):
            await desk.manage(action)

        assert sim.loads == {"a": 1}
        assert [r.target for r in sim.requests if "model=" in r.target] == [
            "/props?model=a&autoload=false"
        ]


async def test_trap_03_success_means_begun_so_the_list_decides(bay: OpenBay) -> None:
    with router(SimulatedModel("a", load_s=0.02, unload_s=0.02)) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="a"))
        after_load = sim.states
        await desk.manage(Unload(model="a"))

        assert (after_load, sim.states) == ({"a": "loaded"}, {"a": "unloaded"})


async def test_trap_04_already_running_is_success(bay: OpenBay) -> None:
    """U4."""
    running = b'{"error":{"code":400,"message":"model is already running"}}'
    with router(SimulatedModel("a")) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="a"))
        unloaded = b'{"data":[{"id":"a","owned_by":"llamacpp","status":{"value":"unloaded"}}]}'
        sim.inject(Fault(body=unloaded), path="/v1/models", times=1)  # a list that is too old
        sim.inject(Fault(status=400, body=running), path="/models/load", times=1)

        assert (await desk.manage(Load(model="a")))[-1] == Done(message="a is loaded")


async def test_trap_05_a_load_we_called_off_has_not_failed(bay: OpenBay) -> None:
    """U4."""
    with router(SimulatedModel("a", load_s=math.inf)) as sim:
        desk = bay(sim.base_url)
        loading = desk.backend.manage(Load(model="a"))
        await anext(loading)
        await desk.manage(Unload(model="a"))
        with pytest.raises(BackendError, match="'a' was unloaded while it was loading"):
            await first(loading, Done)
        found = (await desk.discover())["a"]

    assert (found.state, found.problem) == ("unloaded", None)


async def test_trap_06_a_model_on_its_way_out_is_not_taken_for_loaded(bay: OpenBay) -> None:
    with router(SimulatedModel("a", unload_s=0.1)) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="a"))
        unloading = desk.backend.manage(Unload(model="a"))
        await anext(unloading)
        assert sim.states == {"a": "loaded"}
        again = asyncio.ensure_future(desk.manage(Load(model="a")))
        assert [event async for event in unloading] == [Done(message="a unloaded")]

        assert (await again)[-1] == Done(message="a is loaded")
        assert sim.loads == {"a": 2}


async def test_trap_07_a_model_with_our_streams_on_it_stays_unless_forced(bay: OpenBay) -> None:
    with router(SimulatedModel("a", hold_after=1)) as sim:
        desk = bay(sim.base_url)
        stream = desk.backend.stream_chat(ask(), await desk.model("a"))
        while not isinstance(await anext(stream), TextDelta):
            pass
        with pytest.raises(BackendBusyError) as caught:
            await desk.manage(Unload(model="a"))
        (running,) = await desk.manage(Running())
        forced = await desk.manage(Unload(model="a", force=True))
        with pytest.raises(StreamInterruptedError) as broken:
            await anext(stream)

    assert caught.value.message == "1 of our requests run on 'a' and would break"
    assert caught.value.hint == "modelbay unload desk/a --force"
    assert running.models[0].active_streams == 1  # type: ignore[union-attr]
    assert forced[-1] == Done(message="a unloaded")
    assert broken.value.message.startswith("proxy error: Failed to read connection")


@pytest.mark.parametrize("knob", ["fail_after", "die_after"])
@pytest.mark.parametrize("mode", ["single", "router"])
async def test_trap_08_a_stream_without_its_end_is_an_error_with_what_came(
    bay: OpenBay, knob: str, mode: str
) -> None:
    model = SimulatedModel("a", answer="Hello there.", **{knob: 2})  # type: ignore[arg-type]
    with (
        LlamaCppSimulator([model], mode) as sim,  # type: ignore[arg-type]
        pytest.raises(StreamInterruptedError) as caught,
    ):
        await bay(sim.base_url).chat("hi", "a")

    assert caught.value.partial == "Hello "


async def test_trap_09_a_head_that_comes_late_is_no_timeout(bay: OpenBay) -> None:
    """S3-60: the idle limit begins with the first byte; before it only the user's limits count."""
    with router(SimulatedModel("a", load_s=0.3)) as sim:
        assert text(await bay(sim.base_url, idleTimeoutS=0.1).chat("hi", "a")) != ""


async def test_trap_10_comments_are_passed_over(bay: OpenBay) -> None:
    with LlamaCppSimulator(
        [SimulatedModel("tiny", prompt_s=0.1, answer="Hi there.")], ping_interval_s=0.02
    ) as sim:
        assert text(await bay(sim.base_url).chat("hi")) == "Hi there."


async def test_trap_11_a_null_content_and_an_empty_choice_list_are_normal(bay: OpenBay) -> None:
    with LlamaCppSimulator([SimulatedModel("tiny", answer="Hi.")]) as sim:
        events = await bay(sim.base_url).chat("hi")

    assert [event for event in events if isinstance(event, TextDelta)] == [TextDelta("Hi.")]
    assert [type(event) for event in events[-3:]] == [Usage, Timings, Finish]


async def test_trap_12_most_500s_are_not_repeated(bay: OpenBay) -> None:
    with LlamaCppSimulator() as sim:
        desk = bay(sim.base_url)
        with pytest.raises(InvalidRequestError, match="Unknown reasoning format: x"):
            await desk.chat(ask(extra={"reasoning_format": "x"}))
        assert len(bodies(sim)) == 1


async def test_trap_13_text_that_is_labelled_json_is_read_as_text(bay: OpenBay) -> None:
    with router(SimulatedModel("a")) as sim:
        sim.fail_proxy("Failed to read connection")
        with pytest.raises(BackendError) as caught:
            await bay(sim.base_url).chat("hi", "a")

    assert caught.value.message == "proxy error: Failed to read connection (HTTP 500)"


async def test_trap_14_a_named_tool_is_forced_by_sending_it_alone(bay: OpenBay) -> None:
    with LlamaCppSimulator() as sim:
        request = WITH_TOOLS.model_copy(update={"tool_choice": NamedTool(name="get_weather")})
        await bay(sim.base_url).chat(request)
        (body,) = bodies(sim)

    assert (body["tool_choice"], len(body["tools"])) == ("required", 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["single", "router"])
async def test_trap_15_tools_a_template_would_swallow_are_refused(bay: OpenBay, mode: str) -> None:
    """S3-50: before the wire, and reported as a capability."""
    with LlamaCppSimulator([SimulatedModel("a", tools=False)], mode) as sim:  # type: ignore[arg-type]
        desk = bay(sim.base_url)
        with pytest.raises(UnsupportedFeatureError):
            await desk.chat(WITH_TOOLS, "a")
        assert (await desk.model("a")).capabilities.tools is False
        assert bodies(sim) == []


async def test_trap_16_a_schema_goes_to_the_level_that_is_enforced(bay: OpenBay) -> None:
    schema: JsonObject = {"type": "object", "properties": {"n": {"type": "integer"}}}
    with LlamaCppSimulator() as sim:
        events = await bay(sim.base_url).chat(ask(response_format=JsonSchema(schema=schema)))
        (body,) = bodies(sim)

    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema},
    }
    assert text(events).startswith("{")


async def test_trap_17_tools_and_a_format_are_not_sent_together(bay: OpenBay) -> None:
    with LlamaCppSimulator() as sim:
        with pytest.raises(UnsupportedFeatureError, match="format and offer tools"):
            await bay(sim.base_url).chat(
                WITH_TOOLS.model_copy(update={"response_format": JsonMode()})
            )
        assert bodies(sim) == []


async def test_trap_18_another_model_than_asked_for_is_told(bay: OpenBay) -> None:
    """The table says that the server checks no names, so the registry does; and an answer that
    comes from another model all the same (the server was started anew) says so."""
    with LlamaCppSimulator([SimulatedModel("old")]) as old:
        model = await bay(old.base_url).model("old")
    with LlamaCppSimulator([SimulatedModel("new")]) as sim:
        desk = bay(sim.base_url)
        assert desk.backend.table.server_checks_names is False
        events = [event async for event in desk.backend.stream_chat(ask(), model)]

    assert Notice("other_model", "the server answered with 'new'") in events


async def test_trap_19_an_unknown_model_of_a_router_is_not_found_although_it_says_400(
    bay: OpenBay,
) -> None:
    with router(SimulatedModel("a")) as sim:
        desk = bay(sim.base_url)
        model = await desk.model("a")
        with pytest.raises(ModelNotFoundError) as caught:
            await first(
                desk.backend.stream_chat(
                    ask(),
                    model.model_copy(update={"ref": type(model.ref)("desk", "A")}),
                ),
                Finish,
            )

    assert caught.value.status == 400


async def test_trap_20_neither_a_dummy_nor_the_trained_size_is_a_context(bay: OpenBay) -> None:
    with router(SimulatedModel("a", n_ctx=384, n_ctx_train=32768), slots=4) as sim:
        desk = bay(sim.base_url)
        before = (await desk.model("a")).capabilities
        await desk.manage(Load(model="a"))
        after = (await desk.model("a")).capabilities

    assert (before.context_window, before.configured_context) == (512, 1536)
    assert (after.context_window, after.trained_context) == (384, 32768)


async def test_trap_21_a_shared_context_that_is_full_names_the_flag(bay: OpenBay) -> None:
    with (
        LlamaCppSimulator([SimulatedModel("tiny", fail_after=3)], slots=None) as sim,
        pytest.raises(StreamInterruptedError, match="Context size has been exceeded") as error,
    ):
        await bay(sim.base_url).chat("hi")

    assert error.value.hint is not None
    assert "-np N" in error.value.hint


async def test_trap_22_every_chat_has_a_limit(bay: OpenBay) -> None:
    with LlamaCppSimulator() as sim:
        await bay(sim.base_url).chat("hi")
        (body,) = bodies(sim)

    assert body["max_tokens"] == 16384


def test_trap_23_a_limit_of_zero_cannot_be_asked_for() -> None:
    with pytest.raises(ValidationError):
        ask(max_tokens=0)


@pytest.mark.parametrize("stream", [True, False])
async def test_trap_24_a_repeated_prefill_is_taken_off(bay: OpenBay, stream: bool) -> None:
    with LlamaCppSimulator([SimulatedModel("tiny", answer="Oslo it is.")]) as sim:
        messages = [user("hi"), Message(role="assistant", content="So:\n")]
        raw = (
            await bay(sim.base_url).context.http.post(
                "/v1/chat/completions",
                json={"messages": [m.model_dump(include={"role", "content"}) for m in messages]},
            )
        ).json()
        events = await bay(sim.base_url).chat(ChatRequest(messages=messages, stream=stream))

    assert raw["choices"][0]["message"]["content"] == "So:\nOslo it is."
    assert text(events) == "Oslo it is."


async def test_trap_24_a_broken_stream_keeps_only_what_is_new(bay: OpenBay) -> None:
    with LlamaCppSimulator([SimulatedModel("tiny", answer="Oslo it is.", fail_after=2)]) as sim:
        messages = [user("hi"), Message(role="assistant", content="So: ")]
        with pytest.raises(StreamInterruptedError) as caught:
            await bay(sim.base_url).chat(ChatRequest(messages=messages))

    assert caught.value.partial == "Oslo i"


async def test_trap_25_several_answers_at_once_are_refused(bay: OpenBay) -> None:
    with LlamaCppSimulator() as sim:
        with pytest.raises(UnsupportedFeatureError):
            await bay(sim.base_url).chat(ask(extra={"n": 2}))
        assert bodies(sim) == []


async def test_trap_26_a_name_is_looked_up_among_ids_and_aliases(bay: OpenBay) -> None:
    """The id of several aliases is the alphabetically first of them."""
    with LlamaCppSimulator([SimulatedModel("tiny-say", aliases=["other-name"])]) as sim:
        desk = bay(sim.base_url)
        (model,) = (await desk.discover()).values()
        loads = [(await desk.manage(Load(model=name)))[-1] for name in ("tiny-say", "other-name")]

    assert (model.wire_id, model.aliases) == ("other-name", ("tiny-say",))
    assert loads == [Done(message="other-name is loaded", changed=False)] * 2


def test_trap_27_idle_connections_are_given_up_before_the_server_closes_them() -> None:
    assert KEEPALIVE_S < 5.0  # what the server announces


async def test_trap_28_rescanning_is_asked_for_or_not_mentioned(bay: OpenBay) -> None:
    with router(SimulatedModel("a")) as sim:
        await bay(sim.base_url).manage(ListModels())
        await bay(sim.base_url, rescan=True).manage(ListModels())
        targets = [r.target for r in sim.requests if r.path == "/v1/models"]

    assert targets == ["/v1/models", "/v1/models?reload=1"]


async def test_trap_29_command_lines_stay_with_the_server(bay: OpenBay) -> None:
    model = SimulatedModel("a", path="/secret/a.gguf", args=("--hf-token", "hf_secret"))
    with router(model) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="a"))
        (found,) = (await desk.discover()).values()
        shown = [
            event.model_dump_json()
            for action in (ListModels(), Running(), Show(model="a"), Health())
            for event in await desk.manage(action)
        ]

    assert "secret" not in "".join([found.model_dump_json(), *shown])


async def test_trap_30_dimensions_are_refused_and_long_inputs_explained(bay: OpenBay) -> None:
    with LlamaCppSimulator([SimulatedModel("tiny", embeddings=True, batch=16)]) as sim:
        desk = bay(sim.base_url)
        model = await desk.model()
        with pytest.raises(UnsupportedFeatureError, match="would ignore dimensions"):
            await desk.backend.embed(EmbedRequest(input=["a"], dimensions=8), model)
        with pytest.raises(InvalidRequestError, match="too large to process") as caught:
            await desk.backend.embed(EmbedRequest(input=["a" * 100]), model)

    assert caught.value.hint == (
        "send shorter texts, or start llama-server with a larger --ubatch-size"
    )


async def test_trap_31_a_finished_download_is_looked_for_in_the_list(bay: OpenBay) -> None:
    with router() as sim, pytest.raises(ModelNotFoundError):
        await bay(sim.base_url).manage(Pull(model="acme/absent"))


async def test_trap_32_a_budget_eaten_by_thinking_is_told(bay: OpenBay) -> None:
    with LlamaCppSimulator([SimulatedModel("tiny", reasoning="Let me think. " * 20)]) as sim:
        events = await bay(sim.base_url).chat(ask(max_tokens=5))

    (notice,) = [event for event in events if isinstance(event, Notice)]
    assert notice.code == "truncated"
    assert text(events) == ""
    assert any(isinstance(event, ReasoningDelta) for event in events)
    assert isinstance(events[-1], Finish)
    assert events[-1].reason == "length"


async def test_trap_33_a_call_that_was_cut_never_becomes_one(bay: OpenBay) -> None:
    call = SimulatedCall("get_weather", '{"city": "Oslo"}')
    with LlamaCppSimulator([SimulatedModel("tiny", tool_calls=[call])]) as sim:
        events = await bay(sim.base_url).chat(WITH_TOOLS.model_copy(update={"max_tokens": 15}))

    assert not any(isinstance(event, ToolCall) for event in events)
    assert [event.code for event in events if isinstance(event, Notice)] == ["incomplete_tool_call"]


@pytest.mark.parametrize("style", ["server", "readme"])
async def test_trap_34_events_are_read_under_both_names(bay: OpenBay, style: str) -> None:
    with router(SimulatedModel("a", load_s=0.02), event_style=style) as sim:
        events = await bay(sim.base_url).manage(Load(model="a"))

    assert Progress(status="loading", fraction=0.5) in events


async def test_trap_35_a_sleeping_model_is_running(bay: OpenBay) -> None:
    with router(SimulatedModel("a"), sleep_idle_s=math.inf) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="a"))
        sim.sleep_now("a")

        assert await desk.manage(Load(model="a")) == [
            Done(message="a is loaded and sleeps; the next request wakes it", changed=False)
        ]
        assert text(await desk.chat("hi", "a")) != ""


async def test_trap_36_an_address_of_an_image_is_refused_unless_allowed(bay: OpenBay) -> None:
    messages = [user("what?", ImagePart(url="http://127.0.0.1:9/x.png"))]
    with LlamaCppSimulator([SimulatedModel("tiny", vision=True)]) as sim:
        with pytest.raises(UnsupportedFeatureError, match="sent inline"):
            await bay(sim.base_url).chat(ChatRequest(messages=messages))
        assert bodies(sim) == []
        with pytest.raises(BackendError):  # the server tries, and cannot reach it
            await bay(sim.base_url, allowRemoteMedia=True).chat(ChatRequest(messages=messages))
        assert len(bodies(sim)) == 1


async def test_trap_37_no_reasoning_format_of_ours_is_sent(bay: OpenBay) -> None:
    """The server's own default splits; ``deepseek-legacy`` would not keep the tags either."""
    with LlamaCppSimulator([SimulatedModel("tiny", reasoning="Hm.")]) as sim:
        events = await bay(sim.base_url).chat("hi")
        (body,) = bodies(sim)

    assert "reasoning_format" not in body
    assert "<think>" not in text(events)


async def test_trap_38_every_chat_streams_and_leaving_it_frees_the_slot(bay: OpenBay) -> None:
    with LlamaCppSimulator([SimulatedModel("tiny", endless=True, token_s=0.001)]) as sim:
        desk = bay(sim.base_url)
        model = await desk.model()
        one = desk.backend.stream_chat(ask(stream=False), model)
        two = desk.backend.stream_chat(ask(stream=False), model)
        while not isinstance(await anext(two), TextDelta):
            pass
        await first(one, TextDelta)
        await sim.wait_until_async(lambda: sim.busy_slots == 1)
        await two.aclose()  # type: ignore[attr-defined]

        assert [body["stream"] for body in bodies(sim)] == [True, True]


async def test_trap_39_slots_and_metrics_are_never_polled(bay: OpenBay) -> None:
    with router(SimulatedModel("a", load_s=0.05)) as sim:
        desk = bay(sim.base_url)
        await desk.discover()
        for action in (Load(model="a"), Running(), Health(), Show(model="a"), Unload(model="a")):
            await desk.manage(action)

        assert not {"/slots", "/metrics"} & {request.path for request in sim.requests}


def test_every_trap_has_its_test_and_its_line_in_the_documentation() -> None:
    here = Path(__file__)
    tested = {int(n) for n in re.findall(r"def test_trap_(\d\d)_", here.read_text())}
    docs = (here.parents[3] / "docs" / "backends" / "llamacpp.md").read_text("utf-8")
    told = {int(n) for n in re.findall(r"^\| (\d+) \|", docs, re.MULTILINE)}

    assert tested == told == set(range(1, 40))
