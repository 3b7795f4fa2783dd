"""Mirrors modelbay/wire/openai_chunk.py: what is odd in a chunk does not lose the answer."""

import json

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelbay.models.events import Finish, ReasoningDelta, StreamEvent, TextDelta, ToolCall, Usage
from modelbay.wire.openai_chat import ChatDecoder, Dialect
from modelbay.wire.openai_chunk import (
    CallPiece,
    Choice,
    Chunk,
    Delta,
    Function,
    Measured,
    PromptProgress,
    Tokens,
    decode_chunk,
    read_odd,
)


def read(value: object) -> Chunk | None:
    return read_odd(json.dumps(value).encode())


def answer(**more: object) -> dict[str, object]:
    choice = {"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}
    return {"choices": [choice], **more}


def decode(value: object) -> list[StreamEvent]:
    decoder = ChatDecoder(Dialect())
    events = decoder.decode(json.dumps(value).encode())
    return [event for event in events + decoder.close() if not isinstance(event, Finish)]


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        ({"id": 1, "model": 2}, []),
        ({"id": [], "model": {"name": "m"}}, []),
        ({"usage": {"prompt_tokens": 1.0, "completion_tokens": 2}}, [Usage(1, 2)]),
        ({"usage": {"prompt_tokens": "1", "completion_tokens": 2}}, []),
        (
            {
                "usage": {
                    "prompt_tokens": 1,
                    "completion_tokens": 2,
                    "prompt_tokens_details": [],
                }
            },
            [Usage(1, 2)],
        ),
        (
            {
                "usage": {
                    "prompt_tokens": 1,
                    "completion_tokens": 2,
                    "prompt_tokens_details": {"cached_tokens": 1.0},
                }
            },
            [Usage(1, 2, cached_tokens=1)],
        ),
        ({"usage": []}, []),
        ({"usage": {"prompt_tokens": 10**30, "completion_tokens": True}}, []),
        ({"timings": "fast"}, []),
        ({"prompt_progress": []}, []),
    ],
)
def test_odd_fields_beside_the_answer_are_left_out(
    odd: dict[str, object], told: list[StreamEvent]
) -> None:
    assert decode(answer(**odd)) == [TextDelta("x"), *told]


@pytest.mark.parametrize("index", [None, 0.0, "0", []])
def test_a_choice_without_a_number_is_the_first(index: object) -> None:
    choice = {"index": index, "delta": {"content": "x"}, "finish_reason": "stop"}

    assert decode({"choices": [choice, {"index": 1.0, "delta": {"content": "y"}}]}) == [
        TextDelta("x")
    ]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab"),
        ({"content": ["a", {"type": "image_url", "image_url": {}}, "b"]}, "ab"),
        ({"content": []}, ""),
    ],
)
def test_a_message_in_parts_is_its_text(message: dict[str, object], told: str) -> None:
    events = decode({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    assert [event.text for event in events if isinstance(event, TextDelta)] == [told] * bool(told)


def test_ids_that_are_numbers_are_ids() -> None:
    calls = [{"index": 0, "id": 5, "function": {"name": "f", "arguments": "{}"}}]
    events = decode(
        {"id": 7, "choices": [{"message": {"tool_calls": calls}, "finish_reason": "x"}]}
    )

    assert events[-1] == ToolCall("5", "f", "{}", 0)


def test_everything_that_is_right_is_read_beside_what_is_odd() -> None:
    value = {
        "id": 1,
        "model": "m",
        "choices": [
            None,
            {
                "index": None,
                "delta": {
                    "reasoning": "r",
                    "tool_calls": [None, {"index": 2.0, "function": {"arguments": {"a": 1}}}],
                    "refusal": ["n", "o"],
                    "function_call": {"name": "f", "arguments": None},
                },
                "message": [],
                "text": "t",
                "finish_reason": "stop",
                "error": {"code": 1},
            },
        ],
        "timings": {"prompt_n": None, "cache_n": 2.0, "prompt_ms": 3, "predicted_ms": "x"},
        "prompt_progress": {"total": 10, "cache": None, "processed": 5.0},
        "usage": {"prompt_cache_hit_tokens": 4},
        "error": None,
    }
    delta = Delta(
        reasoning="r",
        tool_calls=[CallPiece(index=2, function=Function(arguments={"a": 1}))],
        refusal="no",
        function_call=Function("f"),
    )

    assert read(value) == Chunk(
        choices=[Choice(0, delta, None, "t", "stop", msgspec.Raw(b'{"code":1}'))],
        id="1",
        model="m",
        usage=Tokens(prompt_cache_hit_tokens=4),
        timings=Measured(cache_n=2, prompt_ms=3.0),
        prompt_progress=PromptProgress(10, 0, 5),
    )


@pytest.mark.parametrize(
    "value",
    [
        7,
        [],
        "text",
        {"choices": 7},
        {"choices": ["x"]},
        {"choices": [{"delta": 7}]},
        {"choices": [{"delta": {"content": 7}}]},
        {"choices": [{"delta": {"content": {"text": "x"}}}]},
        {"choices": [{"delta": {"reasoning_content": 7}}]},
        {"choices": [{"delta": {"tool_calls": "x"}}]},
        {"choices": [{"delta": {"refusal": 7}}]},
        {"choices": [{"delta": {"function_call": "x"}}]},
        {"choices": [{"delta": {"function_call": {"arguments": [1]}}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": "x"}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": {"name": 7}}]}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": [1]}}]}}]},
        {"choices": [{"finish_reason": 7}]},
    ],
)
def test_what_would_make_another_answer_is_no_chunk(value: object) -> None:
    with pytest.raises(msgspec.DecodeError):
        read(value)


@given(
    st.text(),
    st.text(),
    st.integers(0, 9),
    st.integers(-(2**52), 2**52),
    st.none() | st.sampled_from(["stop", "length"]),
)
@example("", "", 0, 0, None)
def test_a_chunk_that_fits_is_read_the_same_way_by_both(
    text: str, thought: str, index: int, count: int, reason: str | None
) -> None:
    value = {
        "id": "i",
        "choices": [
            {
                "index": index,
                "delta": {
                    "content": text,
                    "reasoning": thought,
                    "tool_calls": [{"index": index, "id": "c", "function": {"name": "f"}}],
                    "refusal": thought,
                    "function_call": {"name": "f", "arguments": "{}"},
                },
                "finish_reason": reason,
            }
        ],
        "usage": {"prompt_tokens": count},
        "timings": {"prompt_n": count, "prompt_ms": 0.5},
    }
    data = json.dumps(value).encode()
    quick, slow = decode_chunk(data), read_odd(data)
    assert quick.choices is not None
    [choice] = quick.choices
    assert choice.delta is not None
    choice.delta.content = text or None  # the lenient reading has nothing for what is empty
    choice.delta.reasoning = choice.delta.refusal = thought or None

    assert slow == quick


def test_a_thought_is_read_too() -> None:
    delta = {"reasoning_content": "r", "content": "x"}
    choice = {"index": None, "delta": delta, "finish_reason": "stop"}

    assert decode({"id": 1, "choices": [choice]}) == [ReasoningDelta("r"), TextDelta("x")]
