"""Mirrors modelbay_llamacpp/chat.py and waiting.py: requests out, events in, what goes wrong."""

import asyncio
import math

import pytest

from modelbay.errors import (
    BackendBusyError,
    BackendError,
    BackendTimeoutError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    StreamInterruptedError,
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
    Status,
    StreamEvent,
    TextDelta,
    Timings,
    ToolCall,
    Usage,
)
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import Load
from modelbay.models.media import (
    CompleteRequest,
    EmbedRequest,
    EmbedResult,
    RankedDocument,
    RerankRequest,
    RerankResult,
)
from modelbay.testing.simulator import Fault, Simulator
from modelbay_llamacpp.simulator import LlamaCppSimulator, SimulatedModel
from modelbay_llamacpp.simulator import ToolCall as SimulatedCall
from plugins.llamacpp.bay import WEATHER, WITH_TOOLS, OpenBay, StartLlama, ask, first

pytestmark = pytest.mark.anyio

PIXEL = ImagePart(
    data="iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def text(events: list[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def thought(events: list[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReasoningDelta))


def of_type(events: list[StreamEvent], *kinds: type) -> list[StreamEvent]:
    return [event for event in events if isinstance(event, kinds)]


def sent(sim: Simulator, path: str = "/v1/chat/completions") -> JsonObject:
    """The body of the last request to a path."""
    body = [request for request in sim.requests if request.path == path][-1].json()
    assert isinstance(body, dict)
    return body


def router(*models: SimulatedModel, **options: object) -> LlamaCppSimulator:
    return LlamaCppSimulator(models, "router", **options)  # type: ignore[arg-type]


# --- the request and its events ------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_a_turn_is_a_stream_on_the_wire_whatever_the_caller_wants(
    bay: OpenBay, stream: bool
) -> None:
    """S3-10, S3-24, S3-44, S3-45, S3-46, S3-47, S3-49, S3-66, S3-67."""
    with LlamaCppSimulator([SimulatedModel("tiny", answer="Hi there.")]) as sim:
        request = ChatRequest(
            messages=[Message(role="system", content="Be brief."), user("hi")],
            temperature=0.5,
            top_p=0.9,
            top_k=5,
            seed=7,
            stop=["never"],
            stream=stream,
        )
        events = await bay(sim.base_url).chat(request)

        assert sent(sim) == {
            "model": "tiny",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "hi"},
            ],
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_progress": True,
            "max_tokens": 16384,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 5,
            "seed": 7,
            "stop": ["never"],
        }
    assert text(events) == "Hi there."
    assert of_type(events, Status) == [Status("processing", 0.0), Status("processing", 1.0)]
    (usage, timings, finish) = events[-3:]
    assert isinstance(usage, Usage)
    assert isinstance(timings, Timings)
    assert isinstance(finish, Finish)
    assert (usage.output_tokens, usage.cached_tokens) == (4, 0)
    assert timings.output_s is not None
    assert (finish.reason, finish.model) == ("stop", "tiny")


async def test_sampling_fields_go_through_and_foreign_names_are_translated(bay: OpenBay) -> None:
    """S3-48, S3-71."""
    with LlamaCppSimulator() as sim:
        events = await bay(sim.base_url).chat(
            ask(
                extra={
                    "min_p": 0.1,
                    "repetition_penalty": 1.1,
                    "num_predict": 9,
                    "grammar": 'root ::= "Hello"',
                    "num_ctx": 8192,
                }
            )
        )
        body = sent(sim)

    assert {name: body.get(name) for name in ("min_p", "repeat_penalty", "max_tokens")} == {
        "min_p": 0.1,
        "repeat_penalty": 1.1,
        "max_tokens": 9,
    }
    assert "grammar" in body
    assert not {"repetition_penalty", "num_predict", "num_ctx"} & body.keys()
    (notice,) = of_type(events, Notice)
    assert isinstance(notice, Notice)
    assert notice.code == "dropped_field"
    assert notice.message.startswith("num_ctx was left out: the server fixes it at its start")


async def test_the_table_limits_answers_that_set_no_limit(bay: OpenBay) -> None:
    with LlamaCppSimulator([SimulatedModel("tiny", endless=True)]) as sim:
        desk = bay(sim.base_url, models={"tiny": {"maxOutputTokens": 5}})
        events = await desk.chat("hi")

        assert sent(sim)["max_tokens"] == 5
    assert isinstance(events[-1], Finish)
    assert events[-1].reason == "length"


async def test_thinking_is_kept_apart_and_sent_back(bay: OpenBay) -> None:
    model = SimulatedModel("tiny", reasoning="Let me see.", answer="Four.")
    with LlamaCppSimulator([model]) as sim:
        desk = bay(sim.base_url)
        events = await desk.chat("2 + 2?")
        await desk.chat(
            ChatRequest(
                messages=[
                    user("2 + 2?"),
                    Message(role="assistant", content="Four.", reasoning=thought(events)),
                    user("Sure?"),
                ],
                reasoning_effort="low",
            )
        )
        body = sent(sim)

    assert (thought(events), text(events)) == ("Let me see.\n", "Four.")  # verbatim
    assert isinstance(body["messages"], list)
    assert body["messages"][1] == {
        "role": "assistant",
        "content": "Four.",
        "reasoning_content": "Let me see.\n",
    }
    assert body["reasoning_effort"] == "low"


async def test_a_tool_call_comes_in_pieces_and_once_as_a_whole(bay: OpenBay) -> None:
    """S3-32, S3-50, S3-72."""
    call = SimulatedCall("get_weather", '{"city": "Oslo"}')
    with LlamaCppSimulator([SimulatedModel("tiny", tool_calls=[call])]) as sim:
        events = await bay(sim.base_url).chat(WITH_TOOLS)

    (whole,) = of_type(events, ToolCall)
    assert isinstance(whole, ToolCall)
    assert (whole.name, whole.arguments) == ("get_weather", '{"city": "Oslo"}')
    assert isinstance(events[-1], Finish)
    assert events[-1].reason == "tool_calls"


async def test_a_schema_is_sent_where_the_server_enforces_it(bay: OpenBay) -> None:
    """S3-51, S3-72, S3-76."""
    schema: JsonObject = {"type": "object", "properties": {"n": {"type": "integer"}}}
    with LlamaCppSimulator([SimulatedModel("tiny", json_answer='{"n": 4}')]) as sim:
        desk = bay(sim.base_url)
        events = await desk.chat(ask(response_format=JsonSchema(schema=schema)))
        body = sent(sim)
        await desk.chat(ask(response_format=JsonMode()))

        assert sent(sim)["response_format"] == {"type": "json_object"}
    assert text(events) == '{"n": 4}'
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": schema},
    }


async def test_an_image_goes_inline(bay: OpenBay) -> None:
    with LlamaCppSimulator([SimulatedModel("tiny", vision=True)]) as sim:
        await bay(sim.base_url).chat(ChatRequest(messages=[user("what?", PIXEL)]))
        (message,) = sent(sim)["messages"]  # type: ignore[misc, str-unpack]

    assert isinstance(message, dict)
    assert message["content"] == [
        {"type": "text", "text": "what?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL.data}"}},
    ]


async def test_a_long_answer_reports_no_more_than_one_word_about_loading(bay: OpenBay) -> None:
    """S3-04, S3-06, S3-43: the request itself loads the model; nobody sends a dummy first."""
    with router(SimulatedModel("a", load_s=0.05), SimulatedModel("b")) as sim:
        events = await bay(sim.base_url).chat("hi", "a")

        assert sim.loads == {"a": 1}
    assert of_type(events, Status) == [
        Status("loading"),
        Status("processing", 0.0),
        Status("processing", 1.0),
    ]


async def test_an_alias_is_answered_under_the_canonical_name(bay: OpenBay) -> None:
    with router(SimulatedModel("a", aliases=["zoo"])) as sim:
        desk = bay(sim.base_url)
        model = await desk.model("a")
        await first(desk.backend.stream_chat(ask(), model), Finish)

        assert model.aliases == ("zoo",)
        assert sent(sim)["model"] == "a"


async def test_pings_keep_a_silent_stream_alive_and_silence_ends_it(bay: OpenBay) -> None:
    slow = SimulatedModel("tiny", prompt_s=0.3)
    with LlamaCppSimulator([slow], ping_interval_s=0.05) as sim:
        assert text(await bay(sim.base_url, idleTimeoutS=0.2).chat("hi")) != ""
    with (
        LlamaCppSimulator([slow], ping_interval_s=-1) as sim,
        pytest.raises(BackendTimeoutError),
    ):
        await bay(sim.base_url, idleTimeoutS=0.1).chat("hi")


async def test_leaving_a_stream_frees_the_slot(bay: OpenBay) -> None:
    with LlamaCppSimulator([SimulatedModel("tiny", endless=True, token_s=0.001)]) as sim:
        desk = bay(sim.base_url)
        await first(desk.backend.stream_chat(ask(), await desk.model()), TextDelta)
        await sim.wait_until_async(lambda: sim.busy_slots == 0)


@pytest.mark.real
async def test_a_real_server_says_what_the_model_says(bay: OpenBay, llama: StartLlama) -> None:
    """S3-24, S3-44."""
    desk = bay(llama("tiny", {"say": "Hello there."}))
    events = await desk.chat("hi")

    assert text(events) == "Hello there."
    assert isinstance(events[-1], Finish)
    assert (events[-1].reason, events[-1].model) == ("stop", "tiny")


@pytest.mark.real
async def test_a_real_server_thinks_and_calls_tools(bay: OpenBay, llama: StartLlama) -> None:
    """S3-32, S3-50."""
    say = (
        "<think>\nI need the weather.\n</think>\n\n"
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    )
    desk = bay(llama("caller", {"say": say, "template": "tools", "n_ctx_train": 8192}))
    events = await desk.chat(WITH_TOOLS, "caller")

    assert thought(events).rstrip("\n") == "I need the weather."
    (call,) = of_type(events, ToolCall)
    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments.replace(" ", "")) == ("get_weather", '{"city":"Oslo"}')


@pytest.mark.real
async def test_a_real_server_holds_an_answer_to_a_schema(bay: OpenBay, llama: StartLlama) -> None:
    """S3-51."""
    desk = bay(llama("noise"))
    schema: JsonObject = {"type": "object", "properties": {}, "additionalProperties": False}
    events = await desk.chat(ask(response_format=JsonSchema(schema=schema)), "noise")

    assert text(events).replace(" ", "").replace("\n", "") == "{}"


@pytest.mark.real
async def test_a_real_server_repeats_a_prefill_and_we_take_it_off(
    bay: OpenBay, llama: StartLlama
) -> None:
    desk = bay(llama("tiny-tools", {"say": "Hi.", "template": "tools", "n_ctx_train": 8192}))
    messages = [user("hi"), Message(role="assistant", content="So:\n")]
    events = await desk.chat(ChatRequest(messages=messages, max_tokens=4), "tiny-tools")

    assert not text(events).startswith("So")
    assert isinstance(events[-1], Finish)


@pytest.mark.real
async def test_a_real_server_refuses_a_prompt_that_does_not_fit(
    bay: OpenBay, llama: StartLlama
) -> None:
    desk = bay(llama("tiny", {"say": "Hello there."}, n_ctx=256))
    with pytest.raises(ContextLengthError, match="exceeds the available context size"):
        await desk.chat("word " * 400)


# --- waiting -------------------------------------------------------------------------------------


async def test_a_server_that_is_loading_is_asked_again(bay: OpenBay) -> None:
    with LlamaCppSimulator() as sim:
        desk = bay(sim.base_url)
        model = await desk.model()
        loading = b'{"error":{"message":"Loading model","type":"unavailable_error","code":503}}'
        sim.inject(Fault(status=503, body=loading), path="/v1/chat/completions", times=2)
        request = ask(extra={"num_ctx": 1})
        events = [e async for e in desk.backend.stream_chat(request, model)]

    assert [event.state for event in events if isinstance(event, Status)] == [
        "loading",
        "processing",
        "processing",
    ]
    assert len(of_type(events, Notice)) == 1  # not once for each try
    assert text(events) == "Hello from the simulator."


async def test_a_child_that_does_not_listen_yet_is_asked_again(bay: OpenBay) -> None:
    """S3-05: and a router without a free place lets us wait in line."""
    with router(SimulatedModel("a")) as sim:
        sim.fail_proxy(times=1)
        assert text(await bay(sim.base_url).chat("hi", "a")) == "Hello from the simulator."

        limit = b'{"error":{"message":"model limit reached, try again later","code":500}}'
        sim.inject(Fault(status=500, body=limit), path="/v1/chat/completions", times=1)
        events = await bay(sim.base_url).chat("hi", "a")

    assert next(e.state for e in events if isinstance(e, Status)) == "queued"


async def test_waiting_ends_when_its_time_is_up(bay: OpenBay) -> None:
    with LlamaCppSimulator() as sim:
        desk = bay(sim.base_url, busyWaitS=0.05)
        model = await desk.model()
        sim.inject(Fault(status=503, body=b""), path="/v1/chat/completions")
        with pytest.raises(BackendBusyError) as caught:
            await first(desk.backend.stream_chat(ask(), model), Finish)

    assert caught.value.hint is not None
    assert caught.value.hint.startswith("it was tried for 0.05 s")


async def test_waiting_can_be_cancelled(bay: OpenBay) -> None:
    with LlamaCppSimulator() as sim:
        desk = bay(sim.base_url)
        model = await desk.model()
        sim.inject(Fault(status=503, body=b""), path="/v1/chat/completions")
        turn = asyncio.ensure_future(first(desk.backend.stream_chat(ask(), model), Finish))
        await sim.wait_until_async(
            lambda: any(request.path == "/v1/chat/completions" for request in sim.requests)
        )
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn


async def test_what_broke_after_it_began_is_not_tried_again(bay: OpenBay) -> None:
    with LlamaCppSimulator([SimulatedModel("tiny", fail_after=2)]) as sim:
        with pytest.raises(StreamInterruptedError) as caught:
            await bay(sim.base_url).chat("hi")
        asked = [request.path for request in sim.requests]

    assert asked.count("/v1/chat/completions") == 1
    assert caught.value.partial == "Hello "
    assert caught.value.hint == (
        "start llama-server with -np N, so that every request has a context of its own"
    )


# --- refusals ------------------------------------------------------------------------------------


async def test_a_broken_model_file_is_final(bay: OpenBay) -> None:
    with router(SimulatedModel("a", exit_code=1)) as sim:
        with pytest.raises(BackendError, match="failed to load") as caught:
            await bay(sim.base_url).chat("hi", "a")
        assert sim.loads == {"a": 1}

    assert caught.value.hint is not None
    assert caught.value.hint.startswith("modelbay show desk/a")


async def test_a_router_that_does_not_load_by_itself_says_how_to(bay: OpenBay) -> None:
    """S3-11: ``--no-models-autoload`` is the operator's word, and we keep to it."""
    with router(SimulatedModel("a"), autoload=False) as sim:
        desk = bay(sim.base_url)
        with pytest.raises(InvalidRequestError, match="model is not loaded") as caught:
            await desk.chat("hi", "a")
        assert sim.loads == {}
        await desk.manage(Load(model="a"))
        assert text(await desk.chat("hi", "a")) != ""

    assert caught.value.hint == "modelbay load desk/a   # this router does not load by itself"


async def test_a_model_that_vanished_is_not_found(bay: OpenBay) -> None:
    with router(SimulatedModel("a")) as sim:
        desk = bay(sim.base_url)
        gone = (await desk.model("a")).model_copy(
            update={"ref": (await desk.model("a")).ref.__class__("desk", "gone")}
        )
        with pytest.raises(ModelNotFoundError, match="model 'gone' not found"):
            await first(desk.backend.stream_chat(ask(), gone), Finish)


async def test_a_prompt_that_does_not_fit_tells_both_numbers(bay: OpenBay) -> None:
    with (
        LlamaCppSimulator([SimulatedModel("tiny", n_ctx=64)]) as sim,
        pytest.raises(ContextLengthError, match=r"\d+ tokens.*64 tokens") as caught,
    ):
        await bay(sim.base_url).chat("x" * 200)

    assert caught.value.hint == (
        "shorten the conversation, or start llama-server with a larger --ctx-size"
    )


async def test_an_image_for_a_text_model_names_the_missing_projector(bay: OpenBay) -> None:
    with (
        LlamaCppSimulator([SimulatedModel("tiny")]) as sim,
        pytest.raises(UnsupportedFeatureError, match="image input is not supported") as caught,
    ):
        await bay(sim.base_url).chat(ChatRequest(messages=[user("what?", PIXEL)]))

    assert caught.value.hint == (
        "start llama-server with --mmproj FILE, or choose a model with a projector"
    )


async def test_tools_without_the_template_engine_name_the_flag(bay: OpenBay) -> None:
    with (
        LlamaCppSimulator([SimulatedModel("tiny", jinja=False)]) as sim,
        pytest.raises(UnsupportedFeatureError, match="requires --jinja") as caught,
    ):
        await bay(sim.base_url).chat(WITH_TOOLS)

    assert caught.value.hint == "start llama-server without --no-jinja"


async def test_a_named_tool_alone_is_sent_and_required(bay: OpenBay) -> None:
    other = WEATHER.model_copy(update={"name": "get_time"})
    with LlamaCppSimulator() as sim:
        await bay(sim.base_url).chat(
            ask(tools=[WEATHER, other], tool_choice=NamedTool(name="get_time"))
        )
        body = sent(sim)

    assert body["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in body["tools"]] == ["get_time"]  # type: ignore


# --- tools in a router ---------------------------------------------------------------------------


async def test_an_unloaded_model_is_asked_about_tools_by_the_look_that_loads_it(
    bay: OpenBay,
) -> None:
    with router(SimulatedModel("a", tools=False)) as sim:
        desk = bay(sim.base_url)
        for _ in range(2):
            with pytest.raises(UnsupportedFeatureError, match="knows no tools") as caught:
                await desk.chat(WITH_TOOLS, "a")
        looks = [r.target for r in sim.requests if "model=" in r.target]

        assert sim.loads == {"a": 1}
        assert "/v1/chat/completions" not in [request.path for request in sim.requests]
    assert looks == ["/props?model=a&autoload=false", "/props?model=a"]
    assert caught.value.hint is not None


async def test_a_router_that_does_not_load_by_itself_is_not_made_to_by_a_look(
    bay: OpenBay,
) -> None:
    with router(SimulatedModel("a"), autoload=False) as sim:
        with pytest.raises(BackendError, match="model is not loaded") as caught:
            await bay(sim.base_url).chat(WITH_TOOLS, "a")
        assert sim.loads == {}

    assert caught.value.hint == "modelbay load desk/a   # this router does not load by itself"


async def test_tools_of_a_loading_model_wait_for_it(bay: OpenBay) -> None:
    call = SimulatedCall("get_weather", '{"city": "Oslo"}')
    model = SimulatedModel("a", tool_calls=[call], load_s=0.1, listen_s=0.05)
    with router(model) as sim:
        desk = bay(sim.base_url)
        loading = desk.backend.manage(Load(model="a"))
        await anext(loading)
        events = await desk.chat(WITH_TOOLS, "a")
        await loading.aclose()  # type: ignore[attr-defined]

    assert len(of_type(events, ToolCall)) == 1


# --- completion, embeddings, reranking -----------------------------------------------------------


async def test_a_raw_prompt_is_continued_within_a_limit(bay: OpenBay) -> None:
    with LlamaCppSimulator([SimulatedModel("tiny", answer="and so on.")]) as sim:
        desk = bay(sim.base_url)
        request = CompleteRequest(prompt="Once", stream=False)
        events = [e async for e in desk.backend.complete(request, await desk.model())]
        body = sent(sim, "/v1/completions")

    assert text(events) == "and so on."
    assert isinstance(events[-1], Finish)
    assert (body["stream"], body["max_tokens"]) == (True, 16384)


async def test_filling_in_needs_a_model_that_can(bay: OpenBay) -> None:
    with LlamaCppSimulator() as sim:
        desk = bay(sim.base_url)
        request = CompleteRequest(prompt="def f(", suffix="): pass")
        with pytest.raises(UnsupportedFeatureError) as caught:
            await first(desk.backend.complete(request, await desk.model()), Finish)

    assert caught.value.hint == "choose a model with fill-in-the-middle tokens"


async def test_the_middle_is_filled_in_by_the_native_route(bay: OpenBay) -> None:
    stream = (
        b'data: {"content":"x, ","stop":false}\n\n:\n\ndata: {"content":"y","stop":false}\n\n'
        b'data: {"content":"","stop":true,"stop_type":"eos","model":"tiny","tokens_predicted":3,'
        b'"tokens_evaluated":6,"timings":{"cache_n":1,"prompt_n":5,"prompt_ms":10.0,'
        b'"prompt_per_second":500.0,"predicted_n":3,"predicted_ms":30.0,'
        b'"predicted_per_second":66.0}}\n\n'
    )
    with LlamaCppSimulator() as sim:
        sim.inject(
            Fault(body=stream, content_type="text/event-stream", rechunk_bytes=7), path="/infill"
        )
        desk = bay(sim.base_url)
        request = CompleteRequest(
            prompt="def f(", suffix="): pass", max_tokens=9, temperature=0.0, stop=["\n"]
        )
        events = [e async for e in desk.backend.complete(request, await desk.model())]
        body = sent(sim, "/infill")

    assert body == {
        "model": "tiny",
        "input_prefix": "def f(",
        "input_suffix": "): pass",
        "stream": True,
        "max_tokens": 9,
        "temperature": 0.0,
        "stop": ["\n"],
    }
    assert events == [
        TextDelta("x, "),
        TextDelta("y"),
        Usage(6, 3, 1),
        Timings(
            total_s=0.04,
            input_s=0.01,
            input_tokens_per_s=500.0,
            output_s=0.03,
            output_tokens_per_s=66.0,
        ),
        Finish("stop", model="tiny"),
    ]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'data: {"content":"x","stop":false}\n\n', "the stream ended before its own end"),
        (
            b'data: {"content":"x","stop":false}\n\nproxy error: Failed to read connection',
            "the stream ended before its own end",
        ),
    ],
)
async def test_a_native_stream_without_its_last_piece_is_broken(
    bay: OpenBay, body: bytes, message: str
) -> None:
    with LlamaCppSimulator() as sim:
        sim.inject(Fault(body=body, content_type="text/event-stream"), path="/infill")
        desk = bay(sim.base_url)
        request = CompleteRequest(prompt="a", suffix="b")
        with pytest.raises(StreamInterruptedError) as caught:
            await first(desk.backend.complete(request, await desk.model()), Finish)

    assert caught.value.partial == "x"


async def test_an_error_in_a_native_stream_is_read_and_shows_no_key(bay: OpenBay) -> None:
    body = b'data: {"error":{"code":500,"message":"no: k-12345","type":"server_error"}}\n\n'
    with LlamaCppSimulator() as sim:
        sim.inject(Fault(body=body, content_type="text/event-stream"), path="/infill")
        desk = bay(sim.base_url, api_key="k-12345")
        request = CompleteRequest(prompt="a", suffix="b")
        with pytest.raises(BackendError, match=r"no: \*\*\*") as caught:
            await first(desk.backend.complete(request, await desk.model()), Finish)

    assert (caught.value.status, caught.value.model) == (500, "desk/tiny")


async def test_embeddings_come_in_the_order_of_the_texts(bay: OpenBay) -> None:
    """S3-31, S3-56, S3-57."""
    with LlamaCppSimulator([SimulatedModel("tiny", embeddings=True, n_embd=8)]) as sim:
        desk = bay(sim.base_url)
        result = await desk.backend.embed(EmbedRequest(input=["a", "b"]), await desk.model())

    assert isinstance(result, EmbedResult)
    assert [len(vector) for vector in result.vectors] == [8, 8]
    assert result.vectors[0] != result.vectors[1]


async def test_a_server_without_embeddings_says_how_to_get_them(bay: OpenBay) -> None:
    """S3-58."""
    with LlamaCppSimulator() as sim:
        desk = bay(sim.base_url)
        model = await desk.model()
        with pytest.raises(UnsupportedFeatureError) as embedded:
            await desk.backend.embed(EmbedRequest(input=["a"]), model)
        with pytest.raises(UnsupportedFeatureError) as ranked:
            await desk.backend.rerank(RerankRequest(query="a", documents=["b"]), model)

    assert embedded.value.hint == "start llama-server with --embeddings"
    assert ranked.value.hint == "start llama-server with --reranking"


async def test_documents_come_best_first(bay: OpenBay) -> None:
    with LlamaCppSimulator([SimulatedModel("tiny", rerank=True, pooling="rank")]) as sim:
        desk = bay(sim.base_url)
        request = RerankRequest(query="a", documents=["b", "cc", "ddd"], top_n=2)
        result = await desk.backend.rerank(request, await desk.model())

    assert isinstance(result, RerankResult)
    assert len(result.results) == 2
    assert all(isinstance(found, RankedDocument) for found in result.results)
    assert result.results[0].score >= result.results[1].score


async def test_embeddings_wait_for_a_loading_model_too(bay: OpenBay) -> None:
    model = SimulatedModel("a", embeddings=True, args=("--embeddings",))
    with router(model) as sim:
        sim.fail_proxy()
        desk = bay(sim.base_url)
        result = await desk.backend.embed(EmbedRequest(input=["a"]), await desk.model("a"))

    assert len(result.vectors) == 1


@pytest.mark.real
async def test_a_real_server_embeds_and_ranks(bay: OpenBay, llama: StartLlama) -> None:
    """S3-31, S3-56."""
    made = {"pooling": "mean", "template": None}
    desk = bay(llama("embedder", made, embedding=True))
    result = await desk.backend.embed(
        EmbedRequest(input=["one text", "another"]), await desk.model("embedder")
    )

    assert len(result.vectors) == 2
    assert all(math.isclose(sum(x * x for x in v), 1.0, rel_tol=1e-3) for v in result.vectors)


@pytest.mark.real
async def test_a_real_server_completes_a_raw_prompt(bay: OpenBay, llama: StartLlama) -> None:
    desk = bay(llama("noise"))
    request = CompleteRequest(prompt="once upon", max_tokens=4)
    events = [e async for e in desk.backend.complete(request, await desk.model("noise"))]

    (usage,) = of_type(events, Usage)
    assert isinstance(usage, Usage)
    assert usage.output_tokens == 4
    assert isinstance(events[-1], Finish)
    assert events[-1].reason == "length"
