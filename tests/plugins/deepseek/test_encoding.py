"""Mirrors modelbay_deepseek/encoding.py: what goes onto the wire, and what is told of the rest."""

from collections.abc import Sequence
from typing import Any

import pytest

from modelbay.errors import UnsupportedFeatureError
from modelbay.models.chat import ChatRequest, ImagePart, JsonMode, Message, TextPart, Tool, user
from modelbay.models.events import Notice, ToolCall
from modelbay.models.frozen import JsonObject
from modelbay_deepseek.encoding import LEFT_OUT, Encoded, encode
from modelbay_deepseek.kept_reasoning import Asked
from modelbay_deepseek.thinking import decide
from plugins.deepseek.bay import FLASH, WEATHER, ask

CALL = ToolCall("call_00_x", "get_weather", '{"city":"Oslo"}')
CALLED = {
    "id": "call_00_x",
    "type": "function",
    "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'},
}


def nothing_known(_: Sequence[str]) -> str | None:
    return None


def encoded(request: ChatRequest, **options: Any) -> Encoded:
    return encode(request, FLASH, decide(request), nothing_known, **options)


def of(*messages: Message, **fields: Any) -> ChatRequest:
    return ChatRequest(messages=list(messages), **fields)


def test_what_the_server_takes_is_sent() -> None:
    request = ask(
        max_tokens=9,
        stop=["."],
        temperature=0.0,
        top_p=0.9,
        extra={"thinking": False, "user_id": "u1", "logprobs": True, "own": 1},
    )

    assert encoded(request) == Encoded(
        {
            "model": FLASH,
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": 9,
            "stop": ["."],
            "temperature": 0.0,
            "top_p": 0.9,
            "thinking": {"type": "disabled"},
            "user_id": "u1",
            "logprobs": True,
            "own": 1,
        },
        beta=False,
        notices=(),
    )


@pytest.mark.parametrize("name", sorted(LEFT_OUT))
def test_what_the_server_passes_over_is_left_out_with_a_notice(name: str) -> None:
    result = encoded(ask(extra={name: 5}))

    assert result.body == encoded(ask()).body
    assert result.notices == (Notice("dropped_field", f"{name} was left out: {LEFT_OUT[name]}"),)


def test_a_limit_under_its_newer_name_is_not_lost() -> None:
    assert encoded(ask(extra={"max_completion_tokens": 7})).body["max_tokens"] == 7


@pytest.mark.parametrize(
    ("own", "extra", "field"),
    [
        ({"max_tokens": 5}, {"max_completion_tokens": 7}, "max_tokens"),
        ({"max_tokens": 5}, {"max_tokens": 7}, "max_tokens"),
        ({"stop": ["."]}, {"stop": ["!"]}, "stop"),
        ({"temperature": 0.0}, {"temperature": 1.0}, "temperature"),
        ({"tools": [WEATHER]}, {"tools": [{"type": "web_search"}]}, "tools"),
    ],
)
def test_what_the_request_itself_says_wins_over_extra(
    own: dict[str, Any], extra: JsonObject, field: str
) -> None:
    [name] = extra
    request = ask(**own, extra={"thinking": False})
    result = encoded(request.model_copy(update={"extra": {"thinking": False, **extra}}))

    assert result.body == encoded(request).body
    notice = Notice("dropped_field", f"{name} was left out: the request's own {field} decides")
    assert result.notices == (notice,)


def test_extra_that_says_the_same_needs_no_notice() -> None:
    result = encoded(ask(max_tokens=5, extra={"max_completion_tokens": 5}))

    assert (result.body["max_tokens"], result.notices) == (5, ())


@pytest.mark.parametrize("name", [*sorted(LEFT_OUT), "max_completion_tokens", "user_id", "own"])
def test_nothing_is_sent_for_a_null(name: str) -> None:
    assert encoded(ask(extra={name: None})) == encoded(ask())


def test_tools_only_extra_knows_are_passed_on_as_they_are() -> None:
    tools: JsonObject = {"tools": [{"type": "web_search"}]}

    assert encoded(ask(extra=tools)).body["tools"] == tools["tools"]


@pytest.mark.parametrize(
    "extra",
    [
        {"n": 1},
        {"n": None},
        {"parallel_tool_calls": True},
        {"functions": []},
        {"modalities": ["text"]},
    ],
)
def test_what_says_nothing_new_is_left_out_silently(extra: dict[str, Any]) -> None:
    assert encoded(ask(extra=extra)) == encoded(ask())


@pytest.mark.parametrize(
    "extra",
    [{"n": 2}, {"functions": [{"name": "f"}]}, {"modalities": ["audio"]}, {"function_call": "f"}],
)
def test_what_would_change_the_answer_is_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedFeatureError):
        encoded(ask(extra=extra))


def test_the_developer_is_a_system() -> None:
    result = encoded(of(Message(role="developer", content="Be brief."), user("hi")))

    assert result.body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ]


def test_a_tool_turn_has_all_the_server_wants() -> None:
    result = encoded(
        of(
            user("Weather?"),
            Message(role="assistant", tool_calls=[CALL], reasoning=" why "),
            Message(role="tool", tool_call_id="call_00_x", name="get_weather"),
            Message(role="assistant", content="Sunny."),
            user("And tomorrow?"),
            tools=[WEATHER],
        )
    )

    assert result.body["messages"] == [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [CALLED],
            "reasoning_content": " why ",
        },
        {"role": "tool", "content": "(no output)", "tool_call_id": "call_00_x"},
        {"role": "assistant", "content": "Sunny.", "reasoning_content": ""},
        {"role": "user", "content": "And tomorrow?"},
    ]


def test_what_is_still_known_of_a_call_goes_back() -> None:
    asked: list[Sequence[str]] = []

    def recall(ids: Sequence[str]) -> str | None:
        asked.append(ids)
        return "why"

    request = of(
        user("Weather?"),
        Message(role="assistant", tool_calls=[CALL]),
        Message(role="tool", tool_call_id="call_00_x", content="sunny"),
    )
    body = encode(request, FLASH, decide(request), recall).body

    assert asked == [Asked([user("Weather?")]).names([CALL])]
    assert body["messages"][1]["reasoning_content"] == "why"  # type: ignore[index, call-overload]


def test_the_beginning_of_an_answer_may_come_with_a_thought() -> None:
    result = encoded(of(user("hi"), Message(role="assistant", content="He", reasoning="greet")))

    assert result.beta
    assert result.body["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "He", "prefix": True, "reasoning_content": "greet"},
    ]


@pytest.mark.parametrize("role", ["system", "assistant", "tool"])
def test_only_a_user_s_message_has_parts(role: Any) -> None:
    text = [TextPart(text="one "), TextPart(text="two")]
    fields: dict[str, Any] = {"tool_call_id": "x"} if role == "tool" else {}
    spoken = Message(role=role, content=list(text), **fields)

    sent = encoded(of(user("hi"), spoken, user("go"))).body["messages"]
    assert sent[1]["content"] == "one two"  # type: ignore[index, call-overload]
    with pytest.raises(UnsupportedFeatureError):
        encoded(of(Message(role=role, content=[ImagePart(data="aGk=")], **fields)))


def test_an_image_of_a_user_is_sent_inline_or_by_its_address() -> None:
    picture = user(
        "?", ImagePart(data="aGk=", media_type="image/jpeg"), ImagePart(url="https://x/y")
    )

    assert encoded(of(picture)).body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "?"},
                {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,aGk="}},
                {"type": "image_url", "image_url": {"url": "https://x/y"}},
            ],
        }
    ]


@pytest.mark.parametrize("word", ["json", "JSON", "a Json object"])
def test_the_word_for_json_mode_may_stand_anywhere(word: str) -> None:
    request = of(Message(role="system", content=word), user("hi"), response_format=JsonMode())

    result = encoded(request)

    assert len(result.body["messages"]) == 2  # type: ignore[arg-type]
    assert result.body["response_format"] == {"type": "json_object"}
    assert result.notices == ()


def test_strict_is_for_all_tools_or_none() -> None:
    strict = Tool(name="f", parameters={"type": "object"}, strict=True)
    loose = Tool(name="g", strict=False)

    one = encoded(ask(tools=[strict]))
    none = encoded(ask(tools=[loose]))

    assert one.beta
    assert not none.beta
    assert one.body["tools"][0]["function"]["strict"] is True  # type: ignore[index, call-overload]
    assert "strict" not in none.body["tools"][0]["function"]  # type: ignore[index, call-overload, operator]
    with pytest.raises(UnsupportedFeatureError):
        encoded(ask(tools=[strict, loose]))


def test_no_tools_are_no_field() -> None:
    assert {"tools", "tool_choice"} & encoded(ask(tool_choice="auto")).body.keys() == set()


def test_a_limit_of_the_user_s_is_for_requests_without_one() -> None:
    assert encoded(ask(), max_tokens=5).body["max_tokens"] == 5
    assert encoded(ask(max_tokens=9), max_tokens=5).body["max_tokens"] == 9


def test_an_effect_that_thinking_takes_away_is_told() -> None:
    told = [notice.message for notice in encoded(ask(temperature=1.0, top_p=0.5)).notices]

    assert told == [
        "temperature has no effect while the model thinks",
        "top_p has no effect while the model thinks",
    ]
