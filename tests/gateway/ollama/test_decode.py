"""Mirrors modelbay_gateway/ollama/decode.py and messages.py."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay.models.chat import AudioPart, ImagePart, Message
from modelbay.models.events import Notice, ToolCall
from modelbay.models.frozen import JsonObject
from modelbay.models.media import CompleteRequest
from modelbay_gateway.ollama.decode import (
    Asked,
    ChatCall,
    CompleteCall,
    decode_chat,
    decode_generate,
    fitted,
)
from modelbay_gateway.refusal import Refused
from pretend import model

HI = {"role": "user", "content": "hi"}
CALL = {"function": {"name": "f", "arguments": {"a": 1}}}


def chat(**fields: Any) -> ChatCall:
    return decode_chat(json.dumps({"model": "m", "messages": [HI], **fields}).encode())


def messages(*given: dict[str, Any]) -> list[Message]:
    return chat(messages=[*given]).request.messages


def generate(**fields: Any) -> ChatCall | CompleteCall:
    return decode_generate(json.dumps({"model": "m", "prompt": "hi", **fields}).encode())


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


# --- messages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"\x89PNG\r\n\x1a\n", ImagePart(data=coded(b"\x89PNG\r\n\x1a\n"), media_type="image/png")),
        (b"\xff\xd8\xff\xe0", ImagePart(data=coded(b"\xff\xd8\xff\xe0"), media_type="image/jpeg")),
        (
            b"RIFF\0\0\0\0WEBPVP8 ",
            ImagePart(data=coded(b"RIFF\0\0\0\0WEBPVP8 "), media_type="image/webp"),
        ),
        (b"RIFF\0\0\0\0WAVEfmt ", AudioPart(data=coded(b"RIFF\0\0\0\0WAVEfmt "), format="wav")),
        (b"ID3\4", AudioPart(data=coded(b"ID3\4"), format="mp3")),
    ],
)
def test_media_are_known_by_their_first_bytes(data: bytes, part: ImagePart | AudioPart) -> None:
    [message] = messages({"role": "user", "images": [coded(data)]})

    assert message.content == [part]


@given(st.binary(max_size=40))
def test_media_of_any_length_are_base64(data: bytes) -> None:
    [message] = messages({"role": "user", "images": [coded(data)]})

    assert not isinstance(message.content, str)
    [part] = message.content
    assert isinstance(part, ImagePart | AudioPart)
    assert part.data == coded(data)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_media_may_stand_on_several_lines(end: str) -> None:
    data = coded(b"\x89PNG\r\n\x1a\n" + bytes(100))
    lines = end.join(data[at : at + 5] for at in range(0, len(data), 5)) + end

    [message] = messages({"role": "user", "images": [lines]})

    assert message.content == [ImagePart(data=data, media_type="image/png")]


@pytest.mark.parametrize("data", ["data:image/png;base64,AAAA", "https://x.test/a.png"])
def test_addresses_are_no_media(data: str) -> None:
    with pytest.raises(Refused) as caught:
        messages({"role": "user", "images": [data]})

    assert caught.value.refusal.field == "messages[0].images[0]"
    assert caught.value.refusal.hint is not None


@pytest.mark.parametrize(
    ("results", "ids"),
    [
        ([{"tool_call_id": "y"}, {"tool_call_id": "x"}], ["y", "x"]),
        ([{"tool_name": "g"}, {"tool_name": "f"}], ["y", "x"]),
        ([{}, {}], ["x", "y"]),
        ([{"tool_name": "g"}, {}], ["y", "x"]),
        ([{"tool_name": "h"}, {"tool_call_id": "z"}], ["call_of_h", "z"]),
    ],
)
def test_results_are_tied_to_calls_by_id_by_name_or_by_order(
    results: list[dict[str, str]], ids: list[str]
) -> None:
    calls = [{"id": "x", "function": {"name": "f"}}, {"id": "y", "function": {"name": "g"}}]
    found = messages(
        {"role": "assistant", "tool_calls": calls},
        *({"role": "tool", "content": "r", **result} for result in results),
    )

    assert [message.tool_call_id for message in found[1:]] == ids


def test_calls_without_an_id_get_one_of_their_own() -> None:
    turn = {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]}
    result = {"role": "tool", "content": "r", "tool_name": "f"}

    found = messages(turn, result, result, turn, result, result)

    assert found[0].tool_calls == [
        ToolCall("call_0", "f", '{"a":1}', 0),
        ToolCall("call_1", "f", '{"a":1}', 1),
    ]
    assert [m.tool_call_id for m in found if m.role == "tool"] == [
        "call_0",
        "call_1",
        "call_2",
        "call_3",
    ]


# --- requests -------------------------------------------------------------------------------------


def test_a_stream_is_the_default() -> None:
    assert chat().request.stream
    assert not chat(stream=False).request.stream


@pytest.mark.parametrize(("limit", "wanted"), [(5, 5), (-1, None), (-2, None), (0, None)])
def test_no_limit_is_written_as_a_negative_number(limit: int, wanted: int | None) -> None:
    assert chat(options={"num_predict": limit}).request.max_tokens == wanted


def test_what_only_its_own_server_understands_is_kept_apart() -> None:
    asked = chat(
        keep_alive="5m",
        truncate=False,
        shift=True,
        surprise=1,
        options={"temperature": 1, "num_ctx": 8192, "min_p": 0.1},
    ).asked
    own: JsonObject = {"keep_alive": "5m", "truncate": False, "shift": True}
    surprise = Notice("dropped_field", "surprise was left out: no provider here knows it")

    assert asked == Asked("m", own, {"num_ctx": 8192, "min_p": 0.1}, (surprise,))
    extra, notices = fitted(asked, model().model_copy(update={"kind": "ollama"}))
    assert extra == {**own, "options": {"num_ctx": 8192, "min_p": 0.1}}
    assert notices == (surprise,)
    extra, notices = fitted(asked, model())
    assert extra == {"min_p": 0.1}
    assert [notice.message.partition(" was")[0] for notice in notices] == [
        "surprise",
        "keep_alive",
        "truncate",
        "shift",
        "options.num_ctx",
    ]


@pytest.mark.parametrize(
    ("keep_alive", "unloads"),
    [(0, True), ("0", True), ("0s", True), (1, False), ("5m", False), (-1, False), (None, False)]
    + [(text, True) for text in ("0h", "0ms", "0m0s", "0.0s", ".0s", "-0s", 0.0)]
    + [(text, False) for text in ("0h1m", "0.5s", "10s", "", "s", 0.5)],
)
def test_no_time_to_live_frees_a_model(keep_alive: Any, unloads: bool) -> None:
    assert chat(messages=[], keep_alive=keep_alive).asked.unloads is unloads


def test_a_prompt_is_a_user_message() -> None:
    asked = generate(system="s")

    assert isinstance(asked, ChatCall)
    assert asked.request.messages == [
        Message(role="system", content="s"),
        Message(role="user", content="hi"),
    ]
    empty = generate(prompt="", system="s")
    assert isinstance(empty, ChatCall)
    assert empty.request.messages == []  # it only loads the model


def test_a_template_is_passed_over_and_that_is_told() -> None:
    assert generate(template="{{ .Prompt }}").asked.notices == (
        Notice("dropped_field", "template was left out: no provider here knows it"),
    )


def test_a_raw_prompt_is_a_completion() -> None:
    asked = generate(
        suffix="end", stream=False, options={"num_predict": 5, "stop": ["x"], "temperature": 0}
    )

    assert isinstance(asked, CompleteCall)
    assert asked.request == CompleteRequest(
        model="m",
        prompt="hi",
        suffix="end",
        max_tokens=5,
        temperature=0.0,
        stop=["x"],
        stream=False,
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"model": None}, "model"),
        ({"messages": [{"role": "robot"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{}]}]},
            "messages[0].tool_calls[0].function",
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
                    }
                ]
            },
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"tools": [{"type": "web"}]}, "tools[0].type"),
        ({"format": "xml"}, "format"),
        ({"think": "hard"}, "think"),
        ({"keep_alive": True}, "keep_alive"),
        ({"keep_alive": []}, "keep_alive"),
        ({"truncate": "yes"}, "truncate"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"options": []}, "options"),
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"options": {"stop": [1]}}, "options.stop[0]"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as caught:
        chat(**fields)

    assert (caught.value.refusal.status, caught.value.refusal.field) == (400, field)
