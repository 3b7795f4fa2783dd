"""Mirrors modelbay_deepseek/chat.py and client.py: a turn, at a simulated server."""

from contextlib import AsyncExitStack

import pytest

from modelbay.errors import (
    ModelNotFoundError,
    UnsupportedFeatureError,
)
from modelbay.models.chat import ImagePart, JsonMode, Message, Tool, user
from modelbay.models.events import (
    Finish,
    Notice,
    ReasoningDelta,
    TextDelta,
    Usage,
)
from modelbay.models.frozen import JsonObject
from modelbay.models.media import CompleteRequest
from modelbay.testing.simulator import Fault
from modelbay.testing.streams import check_events
from modelbay_deepseek.memory import memory
from modelbay_deepseek.simulator import DeepSeekSimulator, Knobs, Script
from plugins.deepseek.bay import (
    FLASH,
    PRO,
    WEATHER,
    OpenBay,
    ask,
    calls,
    failure,
    notices,
    open_host,
    said,
    thought,
)

pytestmark = pytest.mark.anyio

TEXT, THOUGHT = "This is a pretended answer.", "Let me think about that."
FORCED = ask("Weather?", tools=[WEATHER], tool_choice="required")


# --- the answer -----------------------------------------------------------------------------------


async def test_the_model_thinks_by_default_and_then_answers(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    events = await bay(server.base_url).chat()

    kinds = [type(event) for event in events]
    assert kinds == [ReasoningDelta] * 5 + [TextDelta] * 5 + [Usage, Finish]
    assert (thought(events), said(events)) == (THOUGHT, TEXT)
    assert events[-2] == Usage(2, 10, cached_tokens=0, reasoning_tokens=5)
    assert server.chats == [
        {
            "model": FLASH,
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]


async def test_without_thinking_there_is_none_and_the_usage_says_nothing_of_it(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    events = await bay(server.base_url).chat(ask(reasoning_effort="none"))

    assert (thought(events), said(events)) == ("", TEXT)
    assert events[-2] == Usage(2, 5, cached_tokens=0)
    assert server.chats[0]["thinking"] == {"type": "disabled"}
    assert "reasoning_effort" not in server.chats[0]


async def test_an_effort_is_sent_as_a_level_the_server_knows(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    opened = bay(server.base_url)
    for effort in ("max", "ultra", "medium"):
        await opened.chat(ask(reasoning_effort=effort))

    assert [body["reasoning_effort"] for body in server.chats] == ["max", "max", "high"]


async def test_the_provider_may_say_how_to_think(server: DeepSeekSimulator, bay: OpenBay) -> None:
    await bay(server.base_url, thinking=False).chat()
    await bay(server.base_url, effort="low").chat()

    first, second = server.chats
    assert first["thinking"] == {"type": "disabled"}
    assert (second["thinking"], second["reasoning_effort"]) == ({"type": "enabled"}, "low")


async def test_parallel_calls_whose_pieces_are_interleaved_come_out_whole(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(parallel=2)
    tools = [WEATHER, Tool(name="get_time", parameters={"properties": {"zone": {}}})]

    events = await bay(server.base_url).chat(ask("Weather and time?", tools=tools))

    found = [(call.name, call.arguments, call.index) for call in calls(events)]
    assert found == [("get_weather", '{"city": "city"}', 0), ("get_time", '{"zone": "zone"}', 1)]
    assert check_events(events) == []


async def test_a_limit_that_thinking_uses_up_is_told(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    for limit in (3, 5):
        events = await bay(server.base_url).chat(ask(max_tokens=limit))

        assert said(events) == ""
        assert notices(events) == ["truncated"]
        assert events[-1].type == "finish"
        assert getattr(events[-1], "reason", "") == "length"


async def test_a_limit_that_leaves_room_is_no_notice(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    events = await bay(server.base_url).chat(ask(max_tokens=7))

    assert (said(events), notices(events)) == ("This is", [])


async def test_no_limit_is_sent_but_the_user_s_own(server: DeepSeekSimulator, bay: OpenBay) -> None:
    await bay(server.base_url).chat()
    await bay(server.base_url, models={"deepseek-*": {"maxOutputTokens": 77}}).chat()

    assert ["max_tokens" in body for body in server.chats] == [False, True]
    assert server.chats[1]["max_tokens"] == 77


async def test_an_answer_without_a_word_is_told(server: DeepSeekSimulator, bay: OpenBay) -> None:
    server.script = Script(text="")

    assert notices(await bay(server.base_url).chat()) == ["empty_answer"]


async def test_usage_in_a_chunk_of_its_own_counts_too(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(trailing_usage_chunk=True)

    events = await bay(server.base_url).chat()

    assert events[-2] == Usage(2, 10, cached_tokens=0, reasoning_tokens=5)


async def test_an_answer_as_one_text_gives_the_same(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    events = await bay(server.base_url).chat(ask(stream=False))

    assert (thought(events), said(events)) == (THOUGHT, TEXT)
    assert "stream_options" not in server.chats[0]


async def test_a_second_prompt_with_the_same_beginning_hits_the_cache(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    opened = bay(server.base_url)
    long = Message(role="system", content="word " * 130)
    await opened.chat(ask().model_copy(update={"messages": [long, user("one")]}))
    turns = [long, user("one"), Message(role="assistant", content=TEXT), user("two")]
    events = await opened.chat(ask().model_copy(update={"messages": turns}))

    usage = next(event for event in events if isinstance(event, Usage))
    assert usage == Usage(141, 10, cached_tokens=128, reasoning_tokens=5)


# --- tools and formats ----------------------------------------------------------------------------


async def test_a_forced_call_switches_thinking_off(server: DeepSeekSimulator, bay: OpenBay) -> None:
    events = await bay(server.base_url).chat(FORCED)

    assert notices(events) == ["thinking_off"]
    assert [call.name for call in calls(events)] == ["get_weather"]
    assert server.chats[0]["thinking"] == {"type": "disabled"}


async def test_a_forced_call_with_thinking_is_refused_here(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    request = FORCED.model_copy(update={"extra": {"thinking": True}})

    _, error = await failure(bay(server.base_url).stream(request), UnsupportedFeatureError)

    assert error.hint == 'send tool_choice "auto", or extra={"thinking": False}'
    assert server.requests == []


async def test_strict_tools_go_to_the_beta_address(server: DeepSeekSimulator, bay: OpenBay) -> None:
    schema: JsonObject = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    tool = Tool(name="get_weather", parameters=schema, strict=True)

    events = await bay(server.base_url).chat(ask(tools=[tool]))

    assert [call.name for call in calls(events)] == ["get_weather"]
    assert [one.path for one in server.log] == ["/beta/chat/completions"]


async def test_a_begun_answer_is_continued_at_the_beta_address(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    start = Message(role="assistant", content="```python\n")
    request = ask(stop=["```"]).model_copy(update={"messages": [user("Code!"), start]})

    await bay(server.base_url).chat(request)

    assert [one.path for one in server.log] == ["/beta/chat/completions"]
    assert server.chats[0]["messages"] == [
        {"role": "user", "content": "Code!"},
        {"role": "assistant", "content": "```python\n", "prefix": True},
    ]


async def test_json_mode_gets_the_word_the_server_wants(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    opened = bay(server.base_url)
    without = await opened.chat(ask("List!", response_format=JsonMode()))
    with_it = await opened.chat(ask("List as JSON!", response_format=JsonMode()))

    assert (notices(without), notices(with_it)) == (["json_instruction"], [])
    first, second = (body["messages"] for body in server.chats)
    assert first == [
        {"role": "system", "content": "Answer with a JSON object."},
        {"role": "user", "content": "List!"},
    ]
    assert second == [{"role": "user", "content": "List as JSON!"}]
    assert said(with_it) == '{"answer": "This is a pretended answer."}'


JSON = '{"answer": "This is a pretended answer."}'


@pytest.mark.usefixtures("retries")
@pytest.mark.parametrize(("stream", "effort"), [(True, "none"), (False, "none"), (False, "high")])
async def test_an_empty_json_answer_is_asked_for_once_more(
    server: DeepSeekSimulator, bay: OpenBay, stream: bool, effort: str
) -> None:
    request = ask("JSON!", response_format=JsonMode(), stream=stream, reasoning_effort=effort)
    server.knobs = Knobs(json_empty=True, times=1)
    events = await bay(server.base_url).chat(request)
    assert (said(events), notices(events)) == (JSON, [])

    server.knobs = Knobs(json_empty=True)
    events = await bay(server.base_url).chat(request)
    assert (said(events), notices(events)) == ("", ["empty_answer"])
    assert len(server.chats) == 4


@pytest.mark.usefixtures("retries")
@pytest.mark.parametrize("stream", [True, False])
async def test_what_both_tries_of_a_json_answer_cost_is_told(
    server: DeepSeekSimulator, bay: OpenBay, stream: bool
) -> None:
    request = ask("JSON!", response_format=JsonMode(), stream=stream, reasoning_effort="none")
    opened = bay(server.base_url)
    [alone] = [e for e in await opened.chat(request) if isinstance(e, Usage)]
    server.knobs = Knobs(json_empty=True, times=1)

    [both] = [e for e in await opened.chat(request) if isinstance(e, Usage)]

    assert (both.input_tokens, both.output_tokens) == (
        2 * alone.input_tokens,
        alone.output_tokens,
    )


@pytest.mark.usefixtures("retries")
@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_an_empty_json_answer_that_was_stopped_would_be_stopped_again(
    server: DeepSeekSimulator, bay: OpenBay, reason: str
) -> None:
    server.knobs = Knobs(json_empty=True, finish=reason)

    await bay(server.base_url).chat(ask("JSON!", response_format=JsonMode(), stream=False))

    assert len(server.chats) == 1


@pytest.mark.usefixtures("retries")
async def test_an_empty_json_answer_is_asked_for_within_the_retries(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    request = ask("JSON!", response_format=JsonMode(), stream=False)
    server.knobs = Knobs(json_empty=True)
    await bay(server.base_url, retries=0).chat(request)
    assert len(server.chats) == 1

    server.inject(Fault(status=503, body=b"{}"), times=1)
    events = await bay(server.base_url, retries=1).chat(request)
    assert (notices(events), len(server.requests)) == (["empty_answer"], 3)


async def test_an_empty_json_answer_whose_thinking_was_handed_on_is_not(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(json_empty=True, times=1)

    events = await bay(server.base_url).chat(ask("JSON!", response_format=JsonMode()))

    assert (thought(events), said(events)) == (THOUGHT, "")
    assert notices(events) == ["empty_answer"]
    assert len(server.chats) == 1


async def test_an_image_for_a_model_without_eyes_is_refused_here(
    server: DeepSeekSimulator,
) -> None:
    picture = user("What is it?", ImagePart(data="aGk="))
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(open_host(server.base_url))
        with pytest.raises(UnsupportedFeatureError):
            await host.chat(ask(model=f"deepseek/{PRO}").model_copy(update={"messages": [picture]}))
        seen = ask(model=f"deepseek/{FLASH}").model_copy(update={"messages": [picture]})
        result = await host.chat(seen)

    assert result.usage == Usage(1 + 3 + 384, 10, cached_tokens=0, reasoning_tokens=5)
    assert [body["model"] for body in server.chats] == [FLASH]


async def test_a_raw_prompt_goes_to_the_beta_address(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    request = CompleteRequest(prompt="def f(", suffix="return 1", max_tokens=3)

    events = await bay(server.base_url).complete(request)

    assert said(events) == "This is a"
    assert events[-1].type == "finish"
    assert [(one.path, one.body) for one in server.log] == [
        (
            "/beta/completions",
            {
                "model": FLASH,
                "prompt": "def f(",
                "stream": True,
                "stream_options": {"include_usage": True},
                "suffix": "return 1",
                "max_tokens": 3,
            },
        )
    ]


async def test_a_raw_prompt_may_be_answered_at_once(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    events = await bay(server.base_url).complete(CompleteRequest(prompt="x", stream=False))

    assert said(events) == TEXT
    assert "stream_options" not in (server.log[0].body or {})


async def test_what_a_raw_prompt_cannot_have_is_left_out_with_a_notice(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    extra: JsonObject = {
        "seed": 1,
        "stream": True,
        "stream_options": {"include_usage": True},
        "thinking": {"type": "enabled"},
        "model": "other",
        "prompt": "other",
        "best_of": None,
        "max_completion_tokens": 2,
        "echo": True,
    }
    request = CompleteRequest(prompt="x", stream=False, extra=extra)
    events = await bay(server.base_url).complete(request)

    told = [event.message.split()[0] for event in events if isinstance(event, Notice)]
    assert told == ["seed", "stream", "stream_options", "thinking", "model", "prompt"]
    assert server.log[0].body == {
        "model": FLASH,
        "prompt": "x",
        "stream": False,
        "max_tokens": 2,
        "echo": True,
    }


async def test_a_raw_prompt_gets_one_answer(server: DeepSeekSimulator, bay: OpenBay) -> None:
    opened = bay(server.base_url)
    request = CompleteRequest(prompt="x", extra={"n": 2})

    await failure(opened.backend.complete(request, opened.model()), UnsupportedFeatureError)

    assert server.requests == []


# --- models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire_id", ["deepseek-chat", "deepseek-reasoner"])
async def test_an_id_that_has_ended_is_never_rewritten(
    server: DeepSeekSimulator, bay: OpenBay, wire_id: str
) -> None:
    _, error = await failure(bay(server.base_url).stream("hi", wire_id), ModelNotFoundError)

    assert error.hint == f"modelbay chat -m cloud/{FLASH}"
    assert "24 July 2026" in error.message
    assert server.requests == []


async def test_a_server_that_lists_an_ended_id_is_asked(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    opened = bay(server.base_url)
    memory(opened.context).listed = frozenset({"deepseek-chat"})

    _, error = await failure(opened.stream("hi", "deepseek-chat"), ModelNotFoundError)

    assert error.hint == f"modelbay chat -m cloud/{FLASH}"
    assert [body["model"] for body in server.chats] == ["deepseek-chat"]


@pytest.mark.parametrize("wire_id", ["deepseek-v4-flash", "deepseek-v4-flash-vision-exp"])
async def test_an_id_that_is_still_routed_is_sent_and_noticed_once(
    server: DeepSeekSimulator, bay: OpenBay, wire_id: str
) -> None:
    opened = bay(server.base_url)
    told = [notices(await opened.chat("hi", wire_id)) for _ in range(2)]

    assert told == [["retired_model"], []]
    assert [body["model"] for body in server.chats] == [wire_id, wire_id]


async def test_an_unknown_model_is_not_found_in_the_server_s_words(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    _, error = await failure(bay(server.base_url).stream("hi", "deepseek-v9"), ModelNotFoundError)

    assert "The supported API model names are deepseek-flash, deepseek-v4-pro" in error.message
    assert server.chats[0]["model"] == "deepseek-v9"


async def test_notices_come_before_the_answer(server: DeepSeekSimulator, bay: OpenBay) -> None:
    events = await bay(server.base_url).chat(ask(seed=7, temperature=0.5))

    assert events[:2] == [
        Notice("dropped_field", "seed was left out: DeepSeek does not know it"),
        Notice("no_effect", "temperature has no effect while the model thinks"),
    ]
