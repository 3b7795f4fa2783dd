"""Mirrors modelbay/host/streams.py. How streams are closed and folded: see test_host.py."""

import pytest

from modelbay.errors import (
    BackendBusyError,
    ConfigError,
    ModelbayError,
    StreamInterruptedError,
)
from modelbay.host.streams import Fold, error_event
from modelbay.models.chat import ChatResult
from modelbay.models.events import (
    ErrorEvent,
    Finish,
    Notice,
    RefusalDelta,
    Status,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from modelbay.refs import ModelRef


def test_what_a_server_is_doing_is_no_part_of_the_answer() -> None:
    fold = Fold()
    for event in (Status("loading", 0.5), TextDelta("a"), Usage(1, 1), Usage(1, 2), Finish("stop")):
        fold.add(event)

    assert fold.result(ModelRef("desk", "m")) == ChatResult(
        ref=ModelRef("desk", "m"), text="a", usage=Usage(1, 2)
    )


def test_a_refusal_is_no_text() -> None:
    fold = Fold()
    for event in (RefusalDelta("I "), RefusalDelta("won't"), Finish("stop")):
        fold.add(event)

    assert fold.result(ModelRef("desk", "m")) == ChatResult(
        ref=ModelRef("desk", "m"), refusal="I won't"
    )


def test_a_call_that_was_cut_off_stays_as_far_as_it_came() -> None:
    fold = Fold()
    notice = Notice("incomplete_tool_call", "cut")
    for event in (
        ToolCallDelta(0, "{}", "a", "f"),
        ToolCallDelta(1, '{"x"', "b"),
        ToolCallDelta(1, ":", name="g"),
        ToolCall("a", "f", "{}", 0),
        notice,
        Finish("length"),
    ):
        fold.add(event)

    assert fold.result(ModelRef("desk", "m")) == ChatResult(
        ref=ModelRef("desk", "m"),
        tool_calls=[ToolCall("a", "f", "{}", 0)],
        cut_off_calls=[ToolCallDelta(1, '{"x":', "b", "g")],
        finish_reason="length",
        notices=[notice],
    )


def test_the_text_so_far_is_there_before_the_end() -> None:
    fold = Fold()
    fold.add(TextDelta("so "))
    fold.add(TextDelta("far"))

    assert (fold.text, fold.finish) == ("so far", None)


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (ConfigError("wrong", where="f"), ErrorEvent("config_error", "f: wrong")),
        (
            BackendBusyError(
                "busy", status=503, retry_after_s=1.5, provider_id="p", model="m", hint="h"
            ),
            ErrorEvent("backend_busy", "busy", "h", "p", "m", True, 503, 1.5),
        ),
        (
            StreamInterruptedError("cut", partial="so f"),
            ErrorEvent("stream_interrupted", "cut", retryable=True, partial="so f"),
        ),
    ],
)
def test_an_error_as_an_event(error: ModelbayError, event: ErrorEvent) -> None:
    assert error_event(error) == event
