"""Chat in the dialect of each server: what is sent, and what comes back."""

from dataclasses import replace
from typing import Any

import pytest

from modelbay.errors import UnsupportedFeatureError
from modelbay.models.chat import (
    ChatRequest,
    ImagePart,
    JsonMode,
    JsonSchema,
    Message,
    NamedTool,
    TextPart,
    user,
)
from modelbay.models.events import (
    Finish,
    Notice,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCall,
    Usage,
)
from modelbay.models.frozen import JsonObject
from modelbay.models.media import CompleteRequest
from modelbay_openai.dialects import BY_NAME
from modelbay_openai.memory import memory
from modelbay_openai.simulator import (
    PERSONALITIES,
    Knobs,
    OpenAISimulator,
    SimulatedModel,
)
from modelbay_openai.simulator import ToolCall as Call
from plugins.openai.bay import WEATHER, WITH_TOOLS, OpenBay, ask

pytestmark = pytest.mark.anyio

SAYS = "Hello there, this is the answer."
MODELS = [
    SimulatedModel("tiny", answer=SAYS, json_answer='{"city":"Oslo"}'),
    SimulatedModel("thinker", answer=SAYS, thinking="Let me think."),
    SimulatedModel("caller", answer=SAYS, calls=[Call("get_weather", '{"city": "Oslo"}')]),
]
EVERY = list(PERSONALITIES)


def text(events: list[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def thought(events: list[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReasoningDelta))


def body(sim: OpenAISimulator) -> dict[str, Any]:
    """What the last chat sent."""
    sent = sim.requests[-1].json()
    assert isinstance(sent, dict)
    return sent


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", EVERY)
async def test_every_server_answers_streamed_and_whole(
    bay: OpenBay, name: str, stream: bool
) -> None:
    with OpenAISimulator(MODELS, name) as sim:
        desk = bay(sim.address, server=name)
        events = await desk.chat(ask(stream=stream))

        assert text(events) == SAYS
        assert isinstance(events[-2], Usage)
        assert isinstance(events[-1], Finish)
        assert (events[-1].reason, events[-1].model) == ("stop", "tiny")
        assert body(sim)["stream"] is stream


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", EVERY)
async def test_thoughts_come_under_either_name(bay: OpenBay, name: str, stream: bool) -> None:
    with OpenAISimulator(MODELS, name) as sim:
        events = await bay(sim.address, server=name).chat(ask(stream=stream), "thinker")

    assert (thought(events), text(events)) == ("Let me think.", SAYS)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", EVERY)
async def test_calls_come_whole(bay: OpenBay, name: str, stream: bool) -> None:
    request = WITH_TOOLS.model_copy(update={"stream": stream})
    with OpenAISimulator(MODELS, name) as sim:
        events = await bay(sim.address, server=name).chat(request, "caller")

    (call,) = (event for event in events if isinstance(event, ToolCall))
    assert (call.id, call.name, call.arguments) == ("call_0", "get_weather", '{"city": "Oslo"}')
    assert isinstance(events[-1], Finish)
    assert events[-1].reason == "tool_calls"


async def test_a_stop_under_a_call_is_a_call(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "tabbyapi", knobs=Knobs(stop_under_calls=True)) as sim:
        events = await bay(sim.base_url).chat(WITH_TOOLS, "caller")

    assert events[-1] == Finish(
        "tool_calls", raw_reason="stop", model="caller", response_id="chatcmpl-simulated"
    )


HISTORY = ChatRequest(
    messages=[
        user("hi"),
        Message(role="assistant", content="Hello.", reasoning="I greet."),
        user("and now?"),
    ]
)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("openai", None),
        ("vllm", "reasoning"),
        ("sglang", "reasoning_content"),
        ("lmstudio", None),
        ("tabbyapi", "reasoning_content"),
        ("koboldcpp", None),
        ("openrouter", "reasoning"),
    ],
)
async def test_earlier_thoughts_go_back_where_the_server_wants_them(
    bay: OpenBay, name: str, field: str | None
) -> None:
    with OpenAISimulator(MODELS, name) as sim:
        events = await bay(sim.address, server=name).chat(HISTORY, "thinker")
        notices = [event for event in events if isinstance(event, Notice)]

        answer = body(sim)["messages"][1]
        more = {} if field is None else {field: "I greet."}
        # OpenAI has no field for it; of the others nobody knows what they would do with one.
        assert notices == (field is None and name != "openai") * [
            Notice(
                "dropped_field",
                "earlier reasoning was left out: this server is not known to read it",
            )
        ]
        assert answer == {"role": "assistant", "content": "Hello.", **more}


@pytest.mark.parametrize("name", EVERY)
async def test_a_named_tool_is_forced_in_the_server_s_own_way(bay: OpenBay, name: str) -> None:
    other = WEATHER.model_copy(update={"name": "other"})
    request = ask(tools=[other, WEATHER], tool_choice=NamedTool(name="get_weather"))
    with OpenAISimulator(MODELS, name) as sim:
        await bay(sim.address, server=name).chat(request, "caller")

        sent = body(sim)
        names = [tool["function"]["name"] for tool in sent["tools"]]
        if name == "lmstudio":  # it refuses the object
            assert (sent["tool_choice"], names) == ("required", ["get_weather"])
        else:
            assert names == ["other", "get_weather"]
            assert sent["tool_choice"]["function"] == {"name": "get_weather"}


@pytest.mark.parametrize("name", EVERY)
async def test_a_schema_reaches_the_server(bay: OpenBay, name: str) -> None:
    schema = JsonSchema(schema={"type": "object"}, strict=True)
    with OpenAISimulator(MODELS, name) as sim:
        events = await bay(sim.address, server=name).chat(ask(response_format=schema))

        assert text(events) == '{"city":"Oslo"}'
        assert body(sim)["response_format"] == {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
        }


async def test_sglang_would_drop_the_tools_beside_a_format(bay: OpenBay) -> None:
    request = WITH_TOOLS.model_copy(update={"response_format": JsonMode()})
    with OpenAISimulator(MODELS, "sglang") as sim:
        with pytest.raises(UnsupportedFeatureError):
            await bay(sim.base_url).chat(request, "caller")
        assert not [one for one in sim.requests if one.method == "POST"]


@pytest.mark.parametrize("name", EVERY)
async def test_no_limit_is_sent_that_nobody_asked_for(bay: OpenBay, name: str) -> None:
    with OpenAISimulator(MODELS, name) as sim:
        await bay(sim.address, server=name).chat()

        assert not {"max_tokens", "max_completion_tokens"} & body(sim).keys()


@pytest.mark.parametrize("name", EVERY)
async def test_a_limit_goes_under_the_server_s_name_for_it(bay: OpenBay, name: str) -> None:
    field = "max_completion_tokens" if name == "openai" else "max_tokens"
    with OpenAISimulator(MODELS, name) as sim:
        events = await bay(sim.address, server=name).chat(ask(max_tokens=2), "thinker")

        assert body(sim)[field] == 2
        assert isinstance(events[-1], Finish)
        assert events[-1].reason == "length"


async def test_a_limit_from_the_file_is_sent(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "vllm") as sim:
        await bay(sim.base_url, models={"*": {"maxOutputTokens": 512}}).chat()

        assert body(sim)["max_tokens"] == 512


async def test_what_openai_refuses_is_left_out_with_a_notice(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS) as sim:
        events = await bay(sim.address, server="openai").chat(ask(top_k=3))

        assert events[0] == Notice(
            "dropped_field", "top_k was left out: this server does not know it"
        )
        assert "top_k" not in body(sim)


async def test_the_developer_role_goes_where_it_is_known(bay: OpenBay) -> None:
    request = ChatRequest(messages=[Message(role="developer", content="Be brief."), user("hi")])
    for name, role in (("openai", "developer"), ("vllm", "system")):
        with OpenAISimulator(MODELS, name) as sim:
            await bay(sim.address, server=name).chat(request)

            assert body(sim)["messages"][0]["role"] == role


async def test_an_earlier_refusal_goes_back_as_one_where_it_is_known(bay: OpenBay) -> None:
    refused = Message(role="assistant", content=[TextPart(text="no", refusal=True)])
    request = ChatRequest(messages=[user("a"), refused, user("b")])
    part = {"type": "refusal", "refusal": "no"}
    for name, content in (("openai", [part]), ("vllm", "no")):
        with OpenAISimulator(MODELS, name) as sim:
            await bay(sim.address, server=name).chat(request)

            assert body(sim)["messages"][1] == {"role": "assistant", "content": content}


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("vllm", {"reasoning_effort": "high"}),
        ("openrouter", {"reasoning": {"effort": "high"}}),
    ],
)
async def test_an_effort_is_sent_as_the_server_reads_it(
    bay: OpenBay, name: str, sent: dict[str, object]
) -> None:
    with OpenAISimulator(MODELS, name) as sim:
        await bay(sim.address, server=name).chat(ask(reasoning_effort="high"))

        found = body(sim)
        assert {k: found[k] for k in found if k.startswith("reasoning")} == sent


IMAGE = ChatRequest(messages=[user("look", ImagePart(url="https://example.com/cat.png"))])


async def test_a_server_of_one_s_own_is_not_sent_to_fetch_images(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "vllm") as sim:
        with pytest.raises(UnsupportedFeatureError):
            await bay(sim.base_url).chat(IMAGE)
        await bay(sim.base_url, dialect={"imageUrls": True}).chat(IMAGE)
        await bay(sim.base_url, local=False).chat(IMAGE)

        url = body(sim)["messages"][0]["content"][1]["image_url"]["url"]
        assert url == "https://example.com/cat.png"


@pytest.mark.parametrize(
    ("switches", "request_", "wanted"),
    [
        ({"maxTokensField": "max_completion_tokens"}, ask(max_tokens=9), "max_completion_tokens"),
        ({"reasoningEffort": "field"}, ask(reasoning_effort="low"), "reasoning_effort"),
        ({"reasoningEffort": "object"}, ask(reasoning_effort="low"), "reasoning"),
        ({"renamed": {"min_p": "minimum_p"}}, ask(extra={"min_p": 0.1}), "minimum_p"),
        ({"topK": True}, ask(top_k=4), "top_k"),
    ],
)
async def test_a_switch_of_the_user_wins_over_the_row(
    bay: OpenBay, switches: dict[str, object], request_: ChatRequest, wanted: str
) -> None:
    with OpenAISimulator(MODELS, "vllm") as sim:
        await bay(sim.base_url, dialect=switches).chat(request_)

        assert wanted in body(sim)


@pytest.mark.parametrize(
    ("switches", "request_", "missing"),
    [
        ({"streamUsage": False}, ask(), "stream_options"),
        ({"reasoningEffort": "none"}, ask(reasoning_effort="low"), "reasoning_effort"),
        ({"topK": False}, ask(top_k=4), "top_k"),
    ],
)
async def test_a_switch_takes_away_what_a_server_does_not_know(
    bay: OpenBay, switches: dict[str, object], request_: ChatRequest, missing: str
) -> None:
    with OpenAISimulator(MODELS, "vllm") as sim:
        await bay(sim.base_url, dialect=switches).chat(request_)

        assert missing not in body(sim)


async def test_extra_cannot_change_what_the_request_is_about(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "vllm") as sim:
        desk = bay(sim.base_url)
        await desk.chat(ask(stream=False))
        plain = body(sim)
        extra: JsonObject = {"messages": [], "model": "other", "stream": True, "min_p": 0.1}
        events = await desk.chat(ask(stream=False, extra=extra))

        assert body(sim) == {**plain, "min_p": 0.1}
        assert [event for event in events if isinstance(event, Notice)] == [
            Notice("dropped_field", f"{name} was left out: the request's own {name} decides")
            for name in ("messages", "model", "stream")
        ]


async def test_reasoning_history_can_be_switched_off(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "vllm") as sim:
        desk = bay(sim.base_url, dialect={"reasoningHistory": ""})
        events = await desk.chat(HISTORY, "thinker")

        assert not any(isinstance(event, Notice) for event in events)
        assert body(sim)["messages"][1] == {"role": "assistant", "content": "Hello."}


async def test_what_is_learned_of_a_server_counts_from_the_next_request_on(bay: OpenBay) -> None:
    fields = []
    with OpenAISimulator(MODELS, "vllm") as sim:
        desk = bay(sim.address)
        model = await desk.model("thinker")
        for name, version in (("vllm", "0.12.0"), ("vllm", "0.10.0"), ("openai", None)):
            memory(desk.context).saw(BY_NAME[name], version)
            assert [event async for event in desk.backend.stream_chat(HISTORY, model)]
            fields.append(sorted(body(sim)["messages"][1].keys() - {"role", "content"}))

    assert fields == [["reasoning"], ["reasoning_content"], []]


async def test_thoughts_between_tags_are_taken_out_where_the_user_says_so(bay: OpenBay) -> None:
    tagged = [SimulatedModel("tiny", answer="<think>hm</think>yes")]
    with OpenAISimulator(tagged, "koboldcpp") as sim:
        events = await bay(sim.base_url, dialect={"thinkTags": True}).chat()

    assert (thought(events), text(events)) == ("hm", "yes")


async def test_comments_are_no_part_of_the_answer(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "openrouter", knobs=Knobs(pings=50)) as sim:
        events = await bay(sim.address, server="openrouter").chat()

    assert text(events) == SAYS


async def test_a_list_from_disk_tells_the_dialect_too(bay: OpenBay) -> None:
    """A host that starts with the list of an earlier program chats without a look of its own."""
    choice = NamedTool(name="get_weather")
    request = WITH_TOOLS.model_copy(update={"tool_choice": choice})
    with OpenAISimulator(MODELS, "lmstudio") as sim:
        info = await bay(sim.base_url).model("caller")
        seen = len(sim.requests)
        fresh = bay(sim.base_url)
        events = [event async for event in fresh.backend.stream_chat(request, info)]

        assert body(sim)["tool_choice"] == "required"
        assert len(sim.requests) == seen + 1
    assert isinstance(events[-1], Finish)


async def test_a_list_from_disk_tells_where_the_routes_are(bay: OpenBay) -> None:
    bare = replace(PERSONALITIES["vllm"], api="", version="0.10.0")
    with OpenAISimulator(MODELS, bare) as sim:
        info = await bay(sim.base_url).model("thinker")
        fresh = bay(sim.base_url)
        assert [event async for event in fresh.backend.stream_chat(HISTORY, info)]

        assert sim.requests[-1].path == "/chat/completions"
        assert body(sim)["messages"][1]["reasoning_content"] == "I greet."


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", EVERY)
async def test_a_raw_prompt_is_continued(bay: OpenBay, name: str, stream: bool) -> None:
    request = CompleteRequest(prompt="Once", max_tokens=3, stream=stream)
    with OpenAISimulator(MODELS, name) as sim:
        events = await bay(sim.address, server=name).complete(request)

        assert text(events) == SAYS[:15]
        assert sim.requests[-1].path.endswith("/completions")
    assert isinstance(events[-1], Finish)
    assert events[-1].reason == "length"
