"""Mirrors modelbay/testing/streams.py and rechunk.py: one test per rule of the automaton."""

import pytest

from modelbay.models.events import (
    ErrorEvent,
    Finish,
    Notice,
    ReasoningDelta,
    Status,
    StreamEvent,
    TextDelta,
    Timings,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from modelbay.models.manage import Done, LogLine, ModelList, Progress
from modelbay.testing.rechunk import http_answer, pieces
from modelbay.testing.streams import (
    check_events,
    check_manage_events,
    joined,
    json_object,
    reasoning_of,
    text_of,
)

END = Finish("stop")
CALLED = Finish("tool_calls")
CALL = ToolCall("c1", "weather", '{"city": "Oslo"}')
DELTAS = (ToolCallDelta(0, '{"city":', "c1", "weather"), ToolCallDelta(0, ' "Oslo"}'))

SOUND: dict[str, list[object]] = {
    "nothing but the end": [END],
    "everything": [
        Status("processing", 0.5),
        ReasoningDelta("hm"),
        TextDelta("one "),
        TextDelta("two"),
        *DELTAS,
        CALL,
        Notice("truncated", "why"),
        Usage(7, 5, cached_tokens=7, reasoning_tokens=5),
        Timings(total_s=1.0),
        CALLED,
    ],
    "a call without deltas": [CALL, CALLED],
    "a call without arguments": [
        ToolCallDelta(0, "", "c1", "now"),
        ToolCall("c1", "now", "{}"),
        END,
    ],
    "two calls side by side": [
        ToolCallDelta(0, "{", "a", "x"),
        ToolCallDelta(1, "{}", "b", "y"),
        ToolCallDelta(0, "}"),
        ToolCall("a", "x", "{}", 0),
        ToolCall("b", "y", "{}", 1),
        CALLED,
    ],
    "a call that was cut off": [DELTAS[0], Notice("incomplete_tool_call", "cut"), Finish("length")],
}
BROKEN: dict[str, tuple[list[object], str]] = {
    "no end": ([TextDelta("one")], "there is no Finish"),
    "nothing at all": ([], "there is no Finish"),
    "two ends": ([END, END], "there are 2 Finish"),
    "more after the end": ([END, TextDelta("late")], "after Finish came TextDelta"),
    "an error as an event": ([ErrorEvent("x", "y"), END], "is an ErrorEvent"),
    "a stranger": (["text", END], "is str, which is no event"),
    "usage twice": ([Usage(1, 1), Usage(1, 2), END], "Usage came 2 times"),
    "timings twice": ([Timings(), Timings(), END], "Timings came 2 times"),
    "a negative count": ([Usage(-1, 0), END], "input_tokens is -1"),
    "more cached than read": ([Usage(1, 0, cached_tokens=2), END], "cached_tokens is more"),
    "more thought than said": ([Usage(1, 1, reasoning_tokens=2), END], "reasoning_tokens is more"),
    "progress beyond the end": ([Status("loading", 1.5), END], "a progress of 1.5"),
    "an unknown reason": ([Finish("because")], "the finish reason 'because'"),  # type: ignore[arg-type]
    "bytes for text": ([TextDelta(b"x"), END], "a text of type bytes"),  # type: ignore[arg-type]
    "a delta after its call": ([*DELTAS, CALL, DELTAS[1], CALLED], "after its call"),
    "a call twice": ([CALL, CALL, CALLED], "call 0 came twice"),
    "a call without an id": ([ToolCall("", "x", "{}"), CALLED], "without an id"),
    "a call without a name": ([ToolCall("a", "", "{}"), CALLED], "without a name"),
    "arguments that are a list": ([ToolCall("a", "x", "[]"), CALLED], "no JSON object"),
    "half of the arguments": ([ToolCall("a", "x", '{"a'), CALLED], "no JSON object"),
    "deltas of another call": ([DELTAS[0], CALL, CALLED], "the deltas give"),
    "a name that comes twice": ([DELTAS[0], *DELTAS[::-1], CALL, CALLED], "the name was given 2"),
    "another id in the deltas": (
        [ToolCallDelta(0, "{}", "c2", "x"), ToolCall("c1", "x", "{}"), CALLED],
        "the deltas' id is 'c2'",
    ),
    "deltas that lead to nothing": ([*DELTAS, END], "became no ToolCall"),
    "a finish for calls that never came": ([CALLED], "there was no ToolCall"),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_stream_has_no_breaches(name: str) -> None:
    assert check_events(SOUND[name]) == []


@pytest.mark.parametrize("name", BROKEN)
def test_a_breach_is_named(name: str) -> None:
    events, wanted = BROKEN[name]

    assert any(wanted in breach for breach in check_events(events)), check_events(events)


@pytest.mark.parametrize("length", range(len(SOUND["everything"])))
def test_a_stream_that_was_left_early_may_stop_anywhere(length: int) -> None:
    assert check_events(SOUND["everything"][:length], whole=False) == []


def test_a_stream_that_was_left_early_still_ends_with_its_end() -> None:
    assert check_events([END, TextDelta("late")], whole=False) != []


def test_management_ends_with_one_outcome() -> None:
    progress = [Progress(status="loading", fraction=f) for f in (0.1, 0.1, 0.9)]

    assert check_manage_events([*progress, LogLine(text="x"), Done()]) == []
    assert "0 outcomes" in check_manage_events(progress)[0]
    assert "2 outcomes" in check_manage_events([ModelList(), Done()])[0]
    assert "not the last" in check_manage_events([Done(), *progress])[0]
    assert "progress fell" in check_manage_events([*progress[::-1], Done()])[0]
    assert "a fraction of 7" in check_manage_events([Progress(status="x", fraction=7), Done()])[0]
    assert "is str" in check_manage_events(["x", Done()])[0]


def test_joined_streams_compare_equal_wherever_they_were_cut() -> None:
    one: list[StreamEvent] = [Status("loading"), TextDelta("ab"), TextDelta("c"), *DELTAS, CALL]
    other: list[StreamEvent] = [
        TextDelta("a"),
        TextDelta("bc"),
        ToolCallDelta(0, CALL.arguments, "other", "weather"),
        ToolCall("other", "weather", CALL.arguments),
    ]

    assert joined([*one, Timings(total_s=1), END]) == joined([*other, END])


def test_joined_keeps_what_matters_apart() -> None:
    apart: list[StreamEvent] = [TextDelta("a"), ReasoningDelta("b"), TextDelta("c")]

    assert joined(apart) == apart
    assert joined([TextDelta("a"), END]) != joined([ReasoningDelta("a"), END])


def test_text_and_reasoning_are_told_apart() -> None:
    events = [ReasoningDelta("hm "), TextDelta("a"), ReasoningDelta("so"), TextDelta("b")]

    assert (text_of(events), reasoning_of(events)) == ("ab", "hm so")


@pytest.mark.parametrize(("text", "value"), [('{"a": 1}', {"a": 1}), ("[]", None), ("{", None)])
def test_only_an_object_is_a_json_object(text: str, value: object) -> None:
    assert json_object(text) == value


def test_pieces_are_of_one_size_but_the_last() -> None:
    assert pieces(b"abcdefg", 3) == [b"abc", b"def", b"g"]


def test_an_answer_has_one_http_chunk_for_each_piece() -> None:
    answer = http_answer(
        b"abc", status=418, content_type="x/y", headers=[("A", "b")], chunk_bytes=2
    )

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 418 Answer",
        b"Connection: close",
        b"Transfer-Encoding: chunked",
        b"Content-Type: x/y",
        b"A: b",
    ]
    assert body == b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"


def test_an_answer_that_is_cut_lacks_its_last_chunk() -> None:
    assert http_answer(b"ab", whole=False).endswith(b"\r\n\r\n2\r\nab\r\n")
