"""Mirrors modelbay/deadline.py, on a loop whose clock jumps: limits of minutes cost no time."""

import asyncio
import contextlib

import pytest

from modelbay.deadline import Watchdog
from modelbay.errors import BackendTimeoutError
from pretend import JUMPING, jumping

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return JUMPING


async def for_ever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("limits", "limit", "after_s", "message"),
    [
        ({"total_s": 60.0}, "total", 60, "it did not finish within 60.0 s"),
        ({"first_s": 30.0}, "first", 30, "it sent nothing for 30.0 s"),
        ({"total_s": 60.0, "first_s": 30.0}, "first", 30, "it sent nothing for 30.0 s"),
        ({"total_s": 20.0, "first_s": 30.0}, "total", 20, "it did not finish within 20.0 s"),
    ],
)
async def test_the_first_limit_that_passes_ends_the_wait(
    limits: dict[str, float], limit: str, after_s: float, message: str
) -> None:
    watchdog = Watchdog(**limits, what="it")

    with pytest.raises(BackendTimeoutError) as caught, watchdog:
        await for_ever()

    assert (watchdog.expired, jumping().time(), str(caught.value), caught.value.hint) == (
        limit,
        after_s,
        message,
        "give it more time with --deadline SECONDS",
    )
    watchdog.close()


async def test_the_idle_limit_begins_anew_with_every_progress() -> None:
    watchdog = Watchdog(first_s=5, idle_s=90, what="it")
    for pause_s in (4, 80, 89, 1):
        with watchdog:
            await asyncio.sleep(pause_s)
        watchdog.progress()

    with pytest.raises(BackendTimeoutError, match="it stopped sending: nothing for 90 s"), watchdog:
        await for_ever()

    assert (watchdog.expired, jumping().time()) == ("idle", 4 + 80 + 89 + 1 + 90)


async def test_the_idle_limit_does_not_count_before_the_first_progress() -> None:
    watchdog = Watchdog(idle_s=90)  # a cold model may take minutes until it sends a head

    with watchdog:
        await asyncio.sleep(600)
    watchdog.progress()
    with pytest.raises(BackendTimeoutError), watchdog:
        await for_ever()

    assert (watchdog.expired, jumping().time()) == ("idle", 690)


async def test_the_total_limit_counts_from_the_beginning_whatever_comes() -> None:
    watchdog = Watchdog(total_s=100, first_s=50, idle_s=50)
    with pytest.raises(BackendTimeoutError):  # noqa: PT012 - where in the loop it comes is the rule
        while True:
            with watchdog:
                await asyncio.sleep(30)
            watchdog.progress()

    assert (watchdog.expired, jumping().time()) == ("total", 100)


async def test_without_limits_it_never_goes_off() -> None:
    watchdog = Watchdog()

    with watchdog:
        await asyncio.sleep(1_000_000)
    watchdog.progress()

    assert (watchdog.expired, jumping().timers) == (None, 1)  # the sleep's own


async def test_a_limit_that_passes_between_waits_cancels_nobody_and_ends_the_next_wait() -> None:
    watchdog = Watchdog(total_s=10)
    with watchdog:
        await asyncio.sleep(1)

    await asyncio.sleep(100)  # the caller's own time, outside
    task = asyncio.current_task()
    assert task is not None
    assert (task.cancelling(), watchdog.expired) == (0, "total")
    with pytest.raises(BackendTimeoutError), watchdog:
        pytest.fail("nothing is waited for after the limit")


async def test_what_came_before_the_limit_is_kept() -> None:
    watchdog = Watchdog(total_s=10)
    with watchdog:
        got = await asyncio.sleep(9, "in time")

    assert got == "in time"
    watchdog.close()


async def test_a_timeout_leaves_no_cancellation_behind() -> None:
    watchdog = Watchdog(total_s=1)
    with pytest.raises(BackendTimeoutError), watchdog:
        await for_ever()

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(1)  # would raise if one were pending


async def test_a_cancellation_from_outside_passes_through() -> None:
    watchdog = Watchdog(total_s=100)

    async def wait() -> None:
        with watchdog:
            await for_ever()

    task = asyncio.create_task(wait())
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait({task})

    assert (task.cancelled(), watchdog.expired) == (True, None)
    watchdog.close()


async def test_a_cancellation_from_outside_wins_over_a_limit_at_the_same_moment() -> None:
    watchdog = Watchdog(total_s=10)

    async def wait() -> None:
        with watchdog:
            await for_ever()

    task = asyncio.create_task(wait())
    asyncio.get_running_loop().call_at(10, task.cancel)
    await asyncio.wait({task})

    assert (task.cancelled(), watchdog.expired) == (True, "total")


async def test_a_wait_that_answers_the_interruption_with_an_error_of_its_own_timed_out() -> None:
    watchdog = Watchdog(total_s=10)

    async def stubborn() -> None:
        try:
            await for_ever()
        except asyncio.CancelledError:
            raise RuntimeError("cleaning up failed") from None

    with pytest.raises(BackendTimeoutError) as caught, watchdog:
        await stubborn()

    assert isinstance(caught.value.__cause__, RuntimeError)


async def test_a_wait_that_swallows_the_interruption_times_out_at_the_next() -> None:
    watchdog = Watchdog(total_s=10)
    with watchdog, contextlib.suppress(asyncio.CancelledError):
        await for_ever()

    with pytest.raises(BackendTimeoutError), watchdog:
        await for_ever()

    assert jumping().time() == 10


async def test_it_waits_inside_a_timeout_of_the_callers_own() -> None:
    watchdog = Watchdog(total_s=100)

    async def limited() -> None:
        async with asyncio.timeout(10):
            with watchdog:
                await for_ever()

    with pytest.raises(TimeoutError):
        await limited()

    assert (watchdog.expired, jumping().time()) == (None, 10)
    watchdog.close()


async def test_a_thousand_events_cost_no_timer_each() -> None:
    watchdog = Watchdog(total_s=1000, first_s=10, idle_s=10)
    before = jumping().timers
    for _ in range(1000):
        with watchdog:
            await asyncio.sleep(0)
        watchdog.progress()

    assert jumping().timers - before <= 1  # from the first-byte limit to the others
    watchdog.close()


async def test_closed_it_never_goes_off() -> None:
    watchdog = Watchdog(total_s=10)
    watchdog.close()

    await asyncio.sleep(100)

    assert watchdog.expired is None
