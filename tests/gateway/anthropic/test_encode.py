"""Mirrors modelbay_gateway/anthropic/encode.py, envelope.py and estimate.py."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay.errors import CODES
from modelbay.models.chat import ChatRequest, FilePart, ImagePart, Message, TextPart, Tool
from modelbay.models.events import (
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    Status,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from modelbay_gateway.anthropic.blocks import SIGNATURE
from modelbay_gateway.anthropic.encode import MessageEncoder, input_of, stop_word
from modelbay_gateway.anthropic.envelope import refuse
from modelbay_gateway.anthropic.estimate import estimate
from modelbay_gateway.refusal import OWN, Refusal

Json = dict[str, Any]


def encoder(*, thinks: bool = True) -> MessageEncoder:
    return MessageEncoder(
        id="msg_1", model="m", input_tokens=5, thinks=thinks, new=lambda prefix: f"{prefix}NEW"
    )


def read(data: bytes) -> list[Json]:
    """Events of a stream; each has its name in front, as the clients want it."""
    found = []
    for event in data.split(b"\n\n")[:-1]:
        name, body = event.split(b"\n")
        assert body.startswith(b"data: ")
        found.append(json.loads(body[6:]))
        assert name == b"event: " + found[-1]["type"].encode()
    return found


def written(*events: StreamEvent, thinks: bool = True) -> list[Json]:
    made = encoder(thinks=thinks)
    return read(made.begin() + b"".join(map(made.encode, events)))


def blocks(events: list[Json]) -> list[Json]:
    """What a client puts together, and a check that no two blocks are open at once."""
    found: list[Json] = []
    is_open = False
    for event in events:
        match event["type"]:
            case "content_block_start":
                assert not is_open
                assert event["index"] == len(found)
                is_open = True
                found.append({**event["content_block"], "json": ""})
            case "content_block_delta":
                assert is_open
                assert event["index"] == len(found) - 1
                delta = event["delta"]
                names = {"partial_json": "json", "text": "text", "thinking": "thinking"}
                for name, value in delta.items():
                    if name == "signature":
                        found[-1][name] = value
                    elif name in names:
                        found[-1][names[name]] += value
            case "content_block_stop":
                assert is_open
                is_open = False
    assert not is_open
    return found


# --- streams --------------------------------------------------------------------------------------


def test_a_stream_as_it_is_on_the_wire() -> None:
    made = encoder()
    data = made.begin() + made.encode(TextDelta("Hi\u2028")) + made.encode(Finish("stop"))

    assert data.decode() == (
        "event: message_start\n"
        'data: {"type":"message_start","message":{"id":"msg_1","type":"message",'
        '"role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,'
        '"usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,'
        '"output_tokens":0}}}\n\n'
        "event: content_block_start\n"
        'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'
        "\n\n"
        "event: content_block_delta\n"
        'data: {"type":"content_block_delta","index":0,'
        '"delta":{"type":"text_delta","text":"Hi\\u2028"}}\n\n'
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        "event: message_delta\n"
        'data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        '"usage":{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,'
        '"output_tokens":2,"estimated":true}}\n\n'
        'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )


def test_an_empty_answer_has_no_blocks() -> None:
    assert [
        event["type"] for event in written(Status("loading"), TextDelta(""), Finish("stop"))
    ] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]


def test_thoughts_and_text_may_take_turns() -> None:
    found = blocks(
        written(
            ReasoningDelta("a"), TextDelta("b"), ReasoningDelta("c"), TextDelta("d"), Finish("stop")
        )
    )

    assert [(block["type"], block.get("text") or block.get("thinking")) for block in found] == [
        ("thinking", "a"),
        ("text", "b"),
        ("thinking", "c"),
        ("text", "d"),
    ]
    assert [block["signature"] for block in found if "signature" in block] == [SIGNATURE] * 2


def test_a_refusal_is_text_and_the_reason_to_stop() -> None:
    events = written(RefusalDelta(""), RefusalDelta("I "), RefusalDelta("won't"), Finish("stop"))
    [block] = blocks(events)

    assert (block["type"], block["text"]) == ("text", "I won't")
    assert events[-2]["delta"]["stop_reason"] == "refusal"
    assert written(RefusalDelta(""), Finish("stop"))[-2]["delta"]["stop_reason"] == "end_turn"


def test_thoughts_nobody_asked_for_are_not_shown() -> None:
    found = blocks(written(ReasoningDelta("a"), TextDelta("b"), Finish("stop"), thinks=False))

    assert [block["type"] for block in found] == ["text"]


def test_text_after_the_pieces_of_a_call_waits_for_the_call() -> None:
    found = blocks(
        written(
            ToolCallDelta(0, "{", id="x", name="f"),
            TextDelta("and"),
            ToolCallDelta(0, "}"),
            ToolCall("x", "f", "{}", 0),
            Finish("tool_calls"),
        )
    )

    assert [(block["type"], block["json"]) for block in found] == [("tool_use", "{}"), ("text", "")]


def test_a_name_may_come_late() -> None:
    found = blocks(
        written(
            ToolCallDelta(0, '{"a":'),
            ToolCallDelta(0, "1}", name="f"),
            ToolCall("", "f", '{"a":1}', 0),
            Finish("tool_calls"),
        )
    )

    assert found == [
        {"type": "tool_use", "id": "toolu_NEW", "name": "f", "input": {}, "json": '{"a":1}'}
    ]


def test_a_call_that_was_cut_off_is_closed_and_one_that_was_not_begun_is_left_out() -> None:
    events = written(
        ToolCallDelta(0, '{"a":', id="x", name="f"),
        ToolCallDelta(1, '{"b":', id="y", name="g"),
        Finish("length"),
    )

    assert [(block["id"], block["json"]) for block in blocks(events)] == [("x", '{"a":')]
    assert events[-2]["delta"]["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(
    ("reason", "has_calls", "word"),
    [
        ("stop", False, "end_turn"),
        ("stop", True, "tool_use"),
        ("tool_calls", True, "tool_use"),
        ("length", True, "max_tokens"),
        ("content_filter", False, "refusal"),
        ("other", False, "end_turn"),
        ("other", True, "tool_use"),
    ],
)
def test_reasons_to_stop(reason: FinishReason, has_calls: bool, word: str) -> None:
    assert stop_word(reason, has_calls=has_calls) == word


EVENTS = st.lists(
    st.builds(TextDelta, st.text(max_size=3))
    | st.builds(ReasoningDelta, st.text(max_size=3))
    | st.builds(ToolCallDelta, st.integers(0, 2), st.sampled_from(['{"a":', "1}", ""])),
    max_size=12,
)


@given(events=EVENTS)
def test_in_whatever_order_pieces_come_blocks_never_overlap_and_nothing_is_lost(
    events: list[StreamEvent],
) -> None:
    asked = sorted({event.index for event in events if isinstance(event, ToolCallDelta)})
    whole = {
        index: "".join(
            event.arguments
            for event in events
            if isinstance(event, ToolCallDelta) and event.index == index
        )
        for index in asked
    }
    ends = [ToolCall(f"id{i}", f"f{i}", whole[i] or "{}", i) for i in asked]

    found = blocks(written(*events, *ends, Finish("stop")))

    texts = [event.text for event in events if isinstance(event, TextDelta)]
    thoughts = [event.text for event in events if isinstance(event, ReasoningDelta)]
    assert "".join(block["text"] for block in found if block["type"] == "text") == "".join(texts)
    said = [block["thinking"] for block in found if block["type"] == "thinking"]
    assert "".join(said) == "".join(thoughts)
    assert {block["name"]: block["json"] for block in found if block["type"] == "tool_use"} == {
        f"f{i}": whole[i] or "{}" for i in asked
    }


# --- parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ('{"a":1}', {"a": 1}),
        ("", {}),
        ("[1]", {"arguments": "[1]"}),
        ('{"a":', {"arguments": '{"a":'}),
    ],
)
def test_arguments_are_an_object(arguments: str, wanted: Json) -> None:
    assert input_of(arguments) == wanted


def test_every_error_has_a_type_of_theirs() -> None:
    kinds = {
        code: json.loads(refuse(Refusal(status, code, "no")))["error"]["type"]
        for code, status in (*OWN.items(), *((code, pair[0]) for code, pair in CODES.items()))
    }

    assert {code for code, kind in kinds.items() if kind == "api_error"} == {
        code for code, pair in CODES.items() if pair[0] in (500, 502)
    } | {"internal_error"}
    assert kinds["backend_busy"] == "overloaded_error"
    assert kinds["request_too_large"] == "request_too_large"
    assert kinds["method_not_allowed"] == kinds["headers_too_large"] == "invalid_request_error"


def test_a_refusal_as_it_is_on_the_wire() -> None:
    refusal = Refusal(400, "missing_field", "'model' is missing", field="model", hint="name one")

    assert json.loads(refuse(refusal, "r1")) == {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "'model' is missing",
            "code": "missing_field",
            "field": "model",
            "hint": "name one",
        },
        "request_id": "r1",
    }


def test_an_estimate_counts_everything_that_is_sent() -> None:
    request = ChatRequest(
        messages=[
            Message(role="system", content="x" * 8),
            Message(
                role="user",
                content=[
                    TextPart(text="ä" * 4),
                    ImagePart(data="AAAA"),
                    FilePart(data="A" * 16),
                ],
            ),
            Message(role="assistant", tool_calls=[ToolCall("x", "name", "{}")]),
        ],
        tools=[Tool(name="name", description="1234", parameters={})],
    )

    assert estimate(request) == (4 + 2) + (4 + 2 + 1000 + 3) + (4 + 4 + 2) + (4 + 3)
    assert estimate(ChatRequest(messages=[])) == 1
