"""Answers that break off are errors, and keep what came."""

import pytest

from modelbay.errors import (
    BackendBusyError,
    BackendError,
    QuotaExceededError,
    StreamInterruptedError,
)
from modelbay.models.events import Finish
from modelbay.testing.simulator import Fault
from modelbay_deepseek.simulator import DeepSeekSimulator, Knobs, Script
from plugins.deepseek.bay import WEATHER, OpenBay, ask, calls, failure, said

pytestmark = pytest.mark.anyio

TEXT = "This is a pretended answer."


@pytest.mark.parametrize("reason", ["insufficient_system_resource", "aborted"])
async def test_a_finish_without_capacity_is_an_error_and_never_a_stop(
    server: DeepSeekSimulator, bay: OpenBay, reason: str
) -> None:
    server.knobs = Knobs(finish=reason)

    events, error = await failure(bay(server.base_url).stream(), StreamInterruptedError)

    assert (error.partial, error.status) == (TEXT, 503)
    assert reason in error.message
    assert not any(isinstance(event, Finish) for event in events)


async def test_calls_of_an_answer_that_was_broken_off_are_none(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(finish="aborted")

    events, _ = await failure(
        bay(server.base_url).stream(ask(tools=[WEATHER])), StreamInterruptedError
    )

    assert calls(events) == []


async def test_no_capacity_before_a_word_is_a_busy_server(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(finish="insufficient_system_resource")
    server.script = Script(thought="", text="")

    events, error = await failure(bay(server.base_url).stream(), BackendBusyError)

    assert (events, error.status, error.retryable) == ([], 503, True)


async def test_another_finish_reason_is_passed_on(server: DeepSeekSimulator, bay: OpenBay) -> None:
    for word, reason in (("content_filter", "content_filter"), ("tired", "other")):
        server.knobs = Knobs(finish=word)
        [finish] = [e for e in await bay(server.base_url).chat() if isinstance(e, Finish)]
        assert (finish.reason, finish.raw_reason) == (reason, None if word == reason else word)


async def test_an_answer_without_an_end_mark_is_whole_if_it_has_a_reason(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(no_done=True)

    assert said(await bay(server.base_url).chat()) == TEXT


async def test_a_cut_stream_keeps_what_came(server: DeepSeekSimulator, bay: OpenBay) -> None:
    server.knobs = Knobs(cut_after=8)

    _, error = await failure(bay(server.base_url).stream(), StreamInterruptedError)

    assert error.partial == "This is"


async def test_an_error_inside_a_stream_keeps_what_came(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(error_in_stream="the engine broke")

    _, error = await failure(
        bay(server.base_url).stream(ask(extra={"thinking": False})), BackendError
    )

    assert "the engine broke" in error.message


async def test_an_error_without_a_stream_around_it_is_read_all_the_same(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    error = b'{"error":{"message":"Insufficient Balance","type":"unknown_error"}}\n'
    server.inject(Fault(body=error, content_type="text/event-stream"))

    await failure(bay(server.base_url).stream(), QuotaExceededError)
