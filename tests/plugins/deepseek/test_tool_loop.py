"""Reasoning goes back with tool turns, whoever dropped it on its way."""

import json
from collections.abc import Callable

import httpx2 as httpx
import pytest

from modelbay.models.chat import ChatRequest, Message, Tool, user
from modelbay.models.events import ToolCall
from modelbay.testing.simulator import Fault
from modelbay_deepseek.kept_reasoning import LONGEST_S
from modelbay_deepseek.simulator import DeepSeekSimulator, Knobs, Script
from plugins.deepseek.bay import (
    FLASH,
    WEATHER,
    Clock,
    OpenBay,
    answered,
    ask,
    calls,
    open_host,
    said,
    thought,
)

pytestmark = pytest.mark.anyio

ODD = "Hm — let me  see:\n\tgrüße \u2028 \U0001f98a. "
TURNS = 10


def kept(answer: Message) -> Message:
    return answer


def dropped(answer: Message) -> Message:
    """What a caller makes of an answer that knows no such field."""
    return answer.model_copy(update={"reasoning": None})


def through_json(answer: Message) -> Message:
    """What a serialiser leaves that leaves out what is not set."""
    text = json.dumps(dropped(answer).model_dump(exclude_none=True, exclude_defaults=True))
    return Message.model_validate_json(text)


def emptied(answer: Message) -> Message:
    return answer.model_copy(update={"reasoning": ""})


def sent_reasoning(body: dict[str, object]) -> list[object]:
    """What stands with each assistant message of a request; ``...`` where the field is missing."""
    messages = body["messages"]
    assert isinstance(messages, list)
    return [m.get("reasoning_content", ...) for m in messages if m["role"] == "assistant"]


@pytest.mark.parametrize("passback", ["probed", "documented"])
@pytest.mark.parametrize("caller", [kept, dropped, through_json, emptied])
async def test_ten_turns_with_tools_are_never_refused(
    caller: Callable[[Message], Message], passback: str
) -> None:
    knobs = Knobs(passback="probed" if passback == "probed" else "documented", tool_rounds=TURNS)
    with DeepSeekSimulator(Script(thought=ODD), knobs) as server:
        async with open_host(server.base_url) as host:
            history = [user("What is the weather in Oslo?")]
            for _ in range(TURNS):
                request = ChatRequest(model=f"deepseek/{FLASH}", messages=history, tools=[WEATHER])
                result = await host.chat(request)
                [call] = result.tool_calls
                answer = caller(result.message())
                history += [
                    answer,
                    Message(role="tool", content="sunny", tool_call_id=call.id),
                ]
            last = ChatRequest(model=f"deepseek/{FLASH}", messages=history, tools=[WEATHER])
            result = await host.chat(last)

        assert result.text == "The tool said: sunny"
        assert sent_reasoning(server.chats[-1]) == [ODD] * TURNS


@pytest.mark.parametrize("passback", ["probed", "documented"])
async def test_a_conversation_goes_on_for_many_turns_after_tools(passback: str) -> None:
    knobs = Knobs(passback="probed" if passback == "probed" else "documented")
    with DeepSeekSimulator(knobs=knobs) as server:
        async with open_host(server.base_url) as host:
            history: list[Message] = []
            for number in range(TURNS):
                history.append(user(f"And in city {number}?"))
                for _ in range(2):  # the call, then the words about its result
                    result = await host.chat(
                        ChatRequest(model=f"deepseek/{FLASH}", messages=history, tools=[WEATHER])
                    )
                    history.append(dropped(result.message()))
                    history += [
                        Message(role="tool", content="sunny", tool_call_id=call.id)
                        for call in result.tool_calls
                    ]

        known, unknown = "Let me think about that.", ""
        assert sent_reasoning(server.chats[-1]) == [known, unknown] * (TURNS - 1) + [known]


async def test_a_history_from_elsewhere_gets_an_empty_text(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    call = ToolCall("call_00_elsewhere", "get_weather", "{}")
    request = ask(tools=[WEATHER]).model_copy(
        update={"messages": answered([user("Weather?")], [call])}
    )

    events = await bay(server.base_url).chat(request)

    assert said(events) == "The tool said: sunny"
    assert sent_reasoning(server.chats[0]) == [""]


async def test_what_the_caller_sends_wins_over_what_is_kept(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    opened = bay(server.base_url)
    made = calls(await opened.chat(ask("Weather?", tools=[WEATHER])))
    again = answered([user("Weather?")], made, reasoning="my own words")
    await opened.chat(ask(tools=[WEATHER]).model_copy(update={"messages": again}))

    assert sent_reasoning(server.chats[1]) == ["my own words"]


async def test_parallel_calls_share_what_led_to_them(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(parallel=2)
    opened = bay(server.base_url)
    tools = [WEATHER, Tool(name="get_time")]
    made = calls(await opened.chat(ask("Weather?", tools=tools)))
    reordered = answered([user("Weather?")], made[::-1])
    await opened.chat(ask(tools=tools).model_copy(update={"messages": reordered}))

    assert sent_reasoning(server.chats[1]) == ["Let me think about that."]


async def test_an_answer_at_once_is_kept_as_well(server: DeepSeekSimulator, bay: OpenBay) -> None:
    opened = bay(server.base_url)
    events = await opened.chat(ask("Weather?", tools=[WEATHER], stream=False))
    history = answered([user("Weather?")], calls(events))
    await opened.chat(ask(tools=[WEATHER]).model_copy(update={"messages": history}))

    assert sent_reasoning(server.chats[1]) == [thought(events)]


async def test_what_is_kept_is_forgotten_after_six_hours(
    server: DeepSeekSimulator, bay: OpenBay, clock: Clock
) -> None:
    opened = bay(server.base_url)
    made = calls(await opened.chat(ask("Weather?", tools=[WEATHER])))
    history = answered([user("Weather?")], made)
    clock.now += LONGEST_S + 1
    events = await opened.chat(ask(tools=[WEATHER]).model_copy(update={"messages": history}))

    assert said(events) == "The tool said: sunny"
    assert sent_reasoning(server.chats[1]) == [""]


async def test_nothing_is_sent_back_to_a_model_that_does_not_think(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    opened = bay(server.base_url)
    made = calls(await opened.chat(ask("Weather?", tools=[WEATHER])))
    history = answered([user("Weather?")], made, reasoning="why")
    request = ask(tools=[WEATHER], extra={"thinking": False})
    await opened.chat(request.model_copy(update={"messages": history}))

    assert sent_reasoning(server.chats[1]) == [...]


async def test_two_accounts_keep_apart_what_they_thought(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    made = calls(await bay(server.base_url).chat(ask("Weather?", tools=[WEATHER])))
    request = ask(tools=[WEATHER]).model_copy(
        update={"messages": answered([user("Weather?")], made)}
    )
    await bay(server.base_url).chat(request)

    assert sent_reasoning(server.chats[1]) == [""]


async def test_the_server_does_refuse_what_we_never_send(server: DeepSeekSimulator) -> None:
    """The loop above proves nothing unless the simulator would have refused it."""
    call = {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "sunny", "tool_call_id": "c"},
    ]
    async with httpx.AsyncClient(base_url=server.base_url, trust_env=False) as http:
        answer = await http.post(
            "/chat/completions",
            json={"model": FLASH, "messages": messages},
            headers={"Authorization": "Bearer sk-test"},
        )

    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == (
        "The `reasoning_content` in the thinking mode must be passed back to the API."
    )


def calling(reasoning: str | None, **call: object) -> Fault:
    """An answer with one call of the weather."""
    function = {"name": "get_weather", "arguments": "{}"}
    message = {
        "reasoning_content": reasoning,
        "tool_calls": [{"index": 0, "function": function, **call}],
    }
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    body = json.dumps({"choices": [choice]}).encode()
    return Fault(body=body, content_type="application/json")


@pytest.mark.parametrize("given", [{}, {"id": "call_0"}])
async def test_an_id_that_comes_again_recalls_nothing_of_another_conversation(
    server: DeepSeekSimulator, bay: OpenBay, given: dict[str, str]
) -> None:
    opened = bay(server.base_url)
    made = []
    for asked, reasoning in (("alice", "of alice"), ("bob", None), ("carol", "of carol")):
        server.inject(calling(reasoning, **given), times=1)
        made.append((asked, calls(await opened.chat(ask(asked, tools=[WEATHER])))))
    for asked, one in [*made, ("dave", made[0][1])]:
        request = ask(tools=[WEATHER])
        history = answered([user(asked)], one)
        await opened.chat(request.model_copy(update={"messages": history}))

    sent = [sent_reasoning(body) for body in server.chats[-4:]]
    assert sent == [["of alice"], [""], ["of carol"], [""]]


async def test_an_id_that_comes_again_in_one_conversation_recalls_the_last_turn_s_thought(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    opened = bay(server.base_url)
    for reasoning in ("first", None):
        server.inject(calling(reasoning, id="call_0"), times=1)
        made = calls(await opened.chat(ask("Weather?", tools=[WEATHER])))
    history = answered([user("Weather?")], made)
    await opened.chat(ask(tools=[WEATHER]).model_copy(update={"messages": history}))

    assert sent_reasoning(server.chats[-1]) == [""]
