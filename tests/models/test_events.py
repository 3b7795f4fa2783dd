"""Mirrors modelbay/models/events.py."""

import json
from typing import get_args

import pytest
from pydantic import ValidationError

from modelbay.models.events import (
    EVENT_TYPES,
    ErrorEvent,
    Finish,
    Notice,
    ReasoningDelta,
    RefusalDelta,
    Status,
    StreamEvent,
    TextDelta,
    Timings,
    ToolCall,
    ToolCallDelta,
    Usage,
    encode_event,
    event_adapter,
)

# Each event bare and with everything, and its JSON.
EVENTS: list[tuple[StreamEvent, dict[str, object]]] = [
    (TextDelta("a\u2028\U0001f600"), {"text": "a\u2028\U0001f600", "type": "text"}),
    (ReasoningDelta(""), {"text": "", "type": "reasoning"}),
    (RefusalDelta("no"), {"text": "no", "type": "refusal"}),
    (
        ToolCallDelta(1, '{"a', "c", "add"),
        {"index": 1, "arguments": '{"a', "id": "c", "name": "add", "type": "tool_call_delta"},
    ),
    (
        ToolCallDelta(0),
        {"index": 0, "arguments": "", "id": None, "name": None, "type": "tool_call_delta"},
    ),
    (
        ToolCall("c", "add", "{}", 2),
        {"id": "c", "name": "add", "arguments": "{}", "index": 2, "type": "tool_call"},
    ),
    (
        Status("loading", 0.5, "reading"),
        {"state": "loading", "progress": 0.5, "message": "reading", "type": "status"},
    ),
    (
        Notice("dropped_field", "top_k"),
        {"code": "dropped_field", "message": "top_k", "type": "notice"},
    ),
    (
        Usage(1, 2, cached_tokens=3, reasoning_tokens=4),
        {
            "input_tokens": 1,
            "output_tokens": 2,
            "cached_tokens": 3,
            "reasoning_tokens": 4,
            "type": "usage",
        },
    ),
    (
        Timings(1.0, 2.0, 3.0, 4.0, 5.0, 6.0),
        {
            "total_s": 1.0,
            "load_s": 2.0,
            "input_s": 3.0,
            "input_tokens_per_s": 4.0,
            "output_s": 5.0,
            "output_tokens_per_s": 6.0,
            "type": "timings",
        },
    ),
    (
        Finish("other", "odd", "m", "i", "http://a"),
        {
            "reason": "other",
            "raw_reason": "odd",
            "model": "m",
            "response_id": "i",
            "endpoint": "http://a",
            "type": "finish",
        },
    ),
    (
        ErrorEvent("backend_busy", "wait", "later", "desk", "desk/m", True, 503, 1.5, "so f"),
        {
            "code": "backend_busy",
            "message": "wait",
            "hint": "later",
            "provider_id": "desk",
            "model": "desk/m",
            "retryable": True,
            "status": 503,
            "retry_after_s": 1.5,
            "partial": "so f",
            "type": "error",
        },
    ),
]


def test_the_union_and_the_table_of_types_are_one() -> None:
    assert get_args(StreamEvent) == EVENT_TYPES
    assert {type(event) for event, _ in EVENTS} == set(EVENT_TYPES)


def test_every_type_has_a_name_of_its_own() -> None:
    assert len({event.type for event, _ in EVENTS}) == len(EVENT_TYPES)


@pytest.mark.parametrize(("event", "written"), EVENTS)
def test_an_event_in_json(event: StreamEvent, written: dict[str, object]) -> None:
    assert json.loads(encode_event(event)) == written
    assert b"\n" not in encode_event(event)


@pytest.mark.parametrize(("event", "written"), EVENTS)
def test_what_was_written_is_read_back(event: StreamEvent, written: dict[str, object]) -> None:
    assert event_adapter().validate_json(encode_event(event)) == event


@pytest.mark.parametrize(
    "text", ['{"text": "a"}', '{"type": "texts", "text": "a"}', '{"type": "text"}', "[]"]
)
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        event_adapter().validate_json(text)


def test_the_union_has_a_schema_by_type() -> None:
    schema = event_adapter().json_schema()

    assert set(schema["discriminator"]["mapping"]) == {event.type for event, _ in EVENTS}


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_events_have_slots_and_take_no_other_field(kind: type[StreamEvent]) -> None:
    event = next(event for event, _ in EVENTS if type(event) is kind)
    with pytest.raises(AttributeError):
        event.another = 1  # type: ignore[union-attr]
