"""Waiting: the server's queue, our own, deadlines on events, and leaving early."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import stamina

from modelbay.closing import closing
from modelbay.errors import BackendTimeoutError
from modelbay.models.events import (
    Finish,
    ReasoningDelta,
    Status,
    StreamEvent,
    TextDelta,
    Usage,
)
from modelbay.models.media import CompleteRequest
from modelbay.testing.simulator import Fault
from modelbay_deepseek.simulator import DeepSeekSimulator, Knobs
from plugins.deepseek.bay import Clock, OpenBay, ask, failure, said

pytestmark = pytest.mark.anyio

TEXT = "This is a pretended answer."


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("queue_ms", [2_000, 30_000])
async def test_keep_alives_of_a_queue_are_no_events_and_no_timeout(
    server: DeepSeekSimulator, bay: OpenBay, clock: Clock, stream: bool, queue_ms: int
) -> None:
    server.knobs = Knobs(queue_ms=queue_ms, tick_s=0)
    clock.step_s = 0.04  # each look at the clock is one keep-alive later

    events = await bay(server.base_url).chat(ask(stream=stream))

    assert {type(event) for event in events} == {ReasoningDelta, TextDelta, Usage, Finish}
    assert said(events) == TEXT


@pytest.mark.parametrize("stream", [True, False])
async def test_keep_alives_alone_do_not_hold_a_request_for_ever(
    server: DeepSeekSimulator, bay: OpenBay, clock: Clock, stream: bool
) -> None:
    server.knobs = Knobs(queue_ms=60_000, tick_s=0.001)
    clock.step_s = 300.0

    events, error = await failure(
        bay(server.base_url).stream(ask(stream=stream)), BackendTimeoutError
    )

    assert events == []
    assert error.message.startswith("DeepSeek sent nothing but keep-alives for 660 s [trace ")
    await server.wait_until_async(lambda: server.open_streams == 0)


@pytest.mark.parametrize(
    "silence", [Fault(hang=True), Fault(delay_head_s=60.0), Knobs(queue_ms=100, tick_s=60.0)]
)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_server_that_falls_silent_is_given_up(
    server: DeepSeekSimulator, bay: OpenBay, silence: Fault | Knobs, stream: bool
) -> None:
    if isinstance(silence, Fault):
        server.inject(silence)
    else:
        server.knobs = silence
    opened = bay(server.base_url, stallTimeoutS=0.2)

    events, error = await failure(opened.stream(ask(stream=stream)), BackendTimeoutError)

    assert events == []
    assert error.hint == (
        'try again later, or choose another model; how long to wait says "stallTimeoutS" of'
        ' provider "cloud"'
    )
    await server.wait_until_async(lambda: server.open_streams == 0)


async def test_the_limits_of_the_provider_s_entry_come_before_those_on_silence(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.inject(Fault(hang=True))
    opened = bay(server.base_url, requestTimeoutS=0.2)

    _, error = await failure(opened.stream(), BackendTimeoutError)

    assert error.hint == "give it more time with --deadline SECONDS"


@pytest.mark.usefixtures("retries")
async def test_a_place_is_free_while_a_refused_request_pauses(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.inject(Fault(status=503, body=b"{}"), times=1)
    opened = bay(server.base_url, maxConcurrent=1)
    paused = asyncio.Event()

    hooks = stamina.instrumentation.get_on_retry_hooks()
    stamina.instrumentation.set_on_retry_hooks([lambda _: paused.set()])
    stamina.set_testing(False)
    try:
        task = asyncio.create_task(opened.chat("one"))
        await paused.wait()
        assert said(await opened.chat("two")) == TEXT
        assert said(await task) == TEXT
    finally:
        stamina.instrumentation.set_on_retry_hooks(hooks)

    asked = [body["messages"] for body in server.chats]
    assert asked == [[{"role": "user", "content": words}] for words in ("one", "two", "one")]


async def test_no_more_requests_run_at_once_than_the_user_allows(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(endless=True)
    opened = bay(server.base_url, maxConcurrent=1)
    first = opened.stream()
    async with closing(first):
        async for event in first:
            if isinstance(event, TextDelta):
                break
        server.knobs = Knobs()
        second = opened.stream("two")
        async with closing(second):
            waiting = await anext(second)
            assert waiting == Status(
                "queued", message="waiting for a place: maxConcurrent of this provider"
            )
            rest = asyncio.create_task(_all(second))
            await asyncio.sleep(0)
            assert len(server.chats) == 1
            await first.aclose()  # type: ignore[attr-defined]
            await server.wait_until_async(lambda: server.open_streams == 0)
            assert said(await rest) == TEXT


async def _all(events: AsyncIterator[StreamEvent]) -> list[StreamEvent]:
    return [event async for event in events]


async def test_a_cancelled_turn_closes_its_request_and_gives_its_place_back(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(endless=True)
    opened = bay(server.base_url, maxConcurrent=1)
    begun = asyncio.Event()

    async def turn() -> None:
        async for event in opened.stream():
            if isinstance(event, TextDelta):
                begun.set()

    task = asyncio.create_task(turn())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await server.wait_until_async(lambda: server.open_streams == 0)
    server.knobs = Knobs()
    assert said(await opened.chat()) == TEXT


async def test_raw_prompts_count_among_the_requests_at_once(
    server: DeepSeekSimulator, bay: OpenBay
) -> None:
    server.knobs = Knobs(endless=True)
    opened = bay(server.base_url, maxConcurrent=1)
    running = opened.stream()
    async with closing(running):
        await anext(running)
        waiting = opened.backend.complete(CompleteRequest(prompt="x"), opened.model())
        async with closing(waiting):
            assert isinstance(await anext(waiting), Status)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(waiting)
    assert [one.path for one in server.log] == ["/chat/completions"]
