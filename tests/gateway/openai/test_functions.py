"""Mirrors modelbay_gateway/openai/functions.py: both ways, over real sockets."""

import json
from typing import Any

import pytest

from gateway.conftest import Raw, Start
from gateway.serving import acme, desk
from modelbay.models.chat import Message, NamedTool, Tool
from modelbay.models.events import (
    Finish,
    Notice,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from modelbay_gateway.openai.decode import decode_chat

PATH = "/v1/chat/completions"
HI = [{"role": "user", "content": "hi"}]
WEATHER = {"name": "weather", "description": "d", "parameters": {"type": "object"}}
TOOL = Tool(name="weather", description="d", parameters={"type": "object"})
ONE: list[StreamEvent] = [
    ToolCallDelta(index=0, id="c1", name="weather"),
    ToolCallDelta(index=0, arguments='{"city":'),
    ToolCallDelta(index=0, arguments='"Rome"}'),
    ToolCall(id="c1", name="weather", arguments='{"city":"Rome"}', index=0),
    Finish("tool_calls"),
]
TWO: list[StreamEvent] = [
    ToolCall(id="c1", name="weather", arguments="{}", index=0),
    ToolCall(id="c2", name="time", arguments="{}", index=1),
    Finish("tool_calls"),
]


@pytest.mark.parametrize(
    ("call", "choice"),
    [
        (None, None),
        ("auto", "auto"),
        ("none", "none"),
        ({"name": "weather"}, NamedTool(name="weather")),
    ],
)
def test_functions_are_tools(call: object, choice: object) -> None:
    body = {"messages": HI, "functions": [WEATHER], "function_call": call}

    asked = decode_chat(json.dumps(body).encode())

    assert (asked.request.tools, asked.request.tool_choice) == ([TOOL], choice)
    assert (asked.request.extra, asked.notices, asked.has_functions) == ({}, (), True)


def test_a_choice_between_no_functions_is_none_and_told() -> None:
    body = {"messages": HI, "function_call": {"name": "weather"}}

    asked = decode_chat(json.dumps(body).encode())

    assert (asked.request.tools, asked.request.tool_choice) == ([], None)
    told = "function_call was left out: the gateway does not know it"
    assert asked.notices == (Notice("dropped_field", told),)


def test_results_are_tied_to_the_calls_before_them() -> None:
    def call(name: str) -> dict[str, Any]:
        said = {"name": name, "arguments": '{"a":1}'}
        return {"role": "assistant", "content": None, "function_call": said}

    def result(name: str) -> dict[str, Any]:
        return {"role": "function", "name": name, "content": name.upper()}

    turns = [call("f"), result("f"), call("f"), call("g"), result("g"), result("f"), result("x")]
    asked = decode_chat(json.dumps({"messages": [*HI, *turns]}).encode())

    def called(id: str, name: str) -> Message:
        return Message(role="assistant", tool_calls=[ToolCall(id, name, '{"a":1}', 0)])

    def answered(id: str, text: str) -> Message:
        return Message(role="tool", tool_call_id=id, content=text)

    assert asked.request.messages[1:] == [
        called("function_call_0", "f"),
        answered("function_call_0", "F"),
        called("function_call_1", "f"),
        called("function_call_2", "g"),
        answered("function_call_2", "G"),
        answered("function_call_1", "F"),
        answered("function_call_of_x", "X"),
    ]
    assert asked.notices == ()


def streamed(text: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The deltas with something in them, and the last choice."""
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    choices = [json.loads(line)["choices"][0] for line in lines[:-1]]
    return [each["delta"] for each in choices[1:] if each["delta"]], choices[-1]


def test_a_call_goes_back_as_one_of_a_function(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme(ONE))))
    body = {"model": "m", "messages": HI, "functions": [WEATHER]}

    whole = client.post(PATH, json=body).json()["choices"][0]
    deltas, last = streamed(client.post(PATH, json={**body, "stream": True}).text)

    called = {"name": "weather", "arguments": '{"city":"Rome"}'}
    assert whole["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "function_call": called,
    }
    assert whole["finish_reason"] == last["finish_reason"] == "function_call"
    assert deltas[0] == {"function_call": {"name": "weather", "arguments": ""}}
    assert [[*each] for each in deltas] == [["function_call"]] * len(deltas)
    arguments = "".join(each["function_call"]["arguments"] for each in deltas)
    assert arguments == called["arguments"]


def test_calls_beyond_the_first_have_no_place_and_are_told(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme(TWO))))
    body = {"model": "m", "messages": HI, "functions": [WEATHER]}

    whole = client.post(PATH, json=body).json()
    text = client.post(PATH, json={**body, "stream": True}).text

    assert whole["choices"][0]["message"]["function_call"]["name"] == "weather"
    assert [each["code"] for each in whole["modelbay"]["notices"]] == ["dropped_call"]
    deltas, _ = streamed(text)
    assert [each["function_call"].get("name") for each in deltas] == ["weather", None]
    assert text.count('"code":"dropped_call"') == 1


def test_an_answer_without_a_call_is_as_ever(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme([TextDelta("sunny"), Finish("stop")]))))
    body = {"model": "m", "messages": HI}

    def choice(**fields: object) -> object:
        return client.post(PATH, json={**body, **fields}).json()["choices"]

    assert choice(functions=[WEATHER]) == choice()


def test_programs_of_today_get_calls_of_today(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme(ONE))))
    before = {"role": "assistant", "content": None, "function_call": {"name": "weather"}}
    tools = [{"type": "function", "function": WEATHER}]

    answer = client.post(PATH, json={"model": "m", "messages": [*HI, before], "tools": tools})

    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "weather"
