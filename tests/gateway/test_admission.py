"""Mirrors modelbay_gateway/admission.py."""

import asyncio
from contextlib import AbstractAsyncContextManager, ExitStack

import pytest

from modelbay.errors import BackendBusyError, RateLimitedError
from modelbay_gateway.admission import Admission
from modelbay_gateway.limits import Limits
from pretend import JUMPING

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return JUMPING


class Line:
    """Requests that come to a place of one, and the order they get it in."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.order: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def join(self, name: str, client: str) -> "asyncio.Task[None]":
        async def ask() -> None:
            async with self.admission.place("desk", client):
                self.order.append(name)

        task = asyncio.create_task(ask())
        self.tasks.append(task)
        await asyncio.sleep(0)
        return task

    async def all(self) -> list[str]:
        await asyncio.gather(*self.tasks, return_exceptions=True)
        return self.order


async def held(admission: Admission) -> AbstractAsyncContextManager[None]:
    place = admission.place("desk", "first")
    await place.__aenter__()
    return place


async def test_places_go_round_the_clients() -> None:
    admission = Admission(Limits(active=1))
    line = Line(admission)
    place = await held(admission)
    for name in ("a1", "a2", "a3"):
        await line.join(name, "a")
    await line.join("b1", "b")
    await line.join("b2", "b")
    await line.join("c1", "c")

    await place.__aexit__(None, None, None)

    assert await line.all() == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert (admission.active("desk"), admission.waiting("desk")) == (0, 0)


async def test_a_provider_at_its_limit_delays_no_other() -> None:
    admission = Admission(Limits(active=1))
    place = await held(admission)

    async with asyncio.timeout(1), admission.place("lab", "a"):
        assert admission.active("lab") == 1

    await place.__aexit__(None, None, None)


async def test_past_the_queue_the_provider_is_busy() -> None:
    admission = Admission(Limits(active=1, waiting=2))
    line = Line(admission)
    place = await held(admission)
    await line.join("a1", "a")
    await line.join("b1", "b")

    with pytest.raises(BackendBusyError) as caught:
        async with admission.place("desk", "c"):
            pass

    assert str(caught.value) == "2 requests wait for provider 'desk' already"
    assert caught.value.retry_after_s == 5.0
    await place.__aexit__(None, None, None)
    assert await line.all() == ["a1", "b1"]


async def test_past_its_own_share_a_client_is_told_to_send_less() -> None:
    admission = Admission(Limits(active=1, waiting_per_client=1))
    line = Line(admission)
    place = await held(admission)
    await line.join("a1", "a")

    with pytest.raises(RateLimitedError):
        async with admission.place("desk", "a"):
            pass
    await line.join("b1", "b")

    await place.__aexit__(None, None, None)
    assert await line.all() == ["a1", "b1"]


async def test_a_wait_that_is_too_long_ends_and_leaves_no_trace() -> None:
    admission = Admission(Limits(active=1, waiting_s=60))
    place = await held(admission)

    with pytest.raises(BackendBusyError, match="had no place free for 60 s"):
        async with admission.place("desk", "a"):
            pass

    assert (admission.active("desk"), admission.waiting("desk")) == (1, 0)
    await place.__aexit__(None, None, None)
    assert admission.active("desk") == 0


async def test_who_gives_up_waiting_keeps_no_place() -> None:
    admission = Admission(Limits(active=1))
    line = Line(admission)
    place = await held(admission)
    gives_up = await line.join("a1", "a")
    await line.join("b1", "b")

    gives_up.cancel()
    await place.__aexit__(None, None, None)

    assert await line.all() == ["b1"]
    assert (admission.active("desk"), admission.waiting("desk")) == (0, 0)


async def test_a_place_that_comes_as_its_waiter_gives_up_goes_to_the_next() -> None:
    admission = Admission(Limits(active=1))
    line = Line(admission)
    place = await held(admission)
    gives_up = await line.join("a1", "a")
    await line.join("b1", "b")

    await place.__aexit__(None, None, None)  # a1's turn is set, and it has not run yet
    gives_up.cancel()

    assert await line.all() == ["b1"]
    assert (admission.active("desk"), admission.waiting("desk")) == (0, 0)


async def test_a_failure_gives_the_place_back() -> None:
    admission = Admission(Limits(active=1))

    with pytest.raises(ValueError, match="broken"):
        async with admission.place("desk", "a"):
            raise ValueError("broken")

    assert admission.active("desk") == 0


async def test_who_gives_up_as_a_place_comes_free_takes_nothing_from_the_next() -> None:
    admission = Admission(Limits(active=1))
    line = Line(admission)
    place = await held(admission)
    gives_up = await line.join("a1", "a")
    await line.join("a2", "a")
    await line.join("a3", "a")

    gives_up.cancel()  # and before it has run, its place in the queue is looked at
    await place.__aexit__(None, None, None)

    assert await line.all() == ["a2", "a3"]
    assert [task.done() and not task.cancelled() for task in line.tasks] == [False, True, True]
    assert (admission.active("desk"), admission.waiting("desk")) == (0, 0)
    with pytest.raises(asyncio.CancelledError):
        await gives_up


# --- management -----------------------------------------------------------------------------------


def taken(admission: Admission, number: int, client: str, provider_id: str = "desk") -> ExitStack:
    stack = ExitStack()
    for _ in range(number):
        stack.enter_context(admission.action(provider_id, client))
    return stack


async def test_one_client_has_a_few_actions_at_work_and_leaves_some_to_others() -> None:
    admission = Admission(Limits(managing=3, managing_per_client=2))
    mine = taken(admission, 2, "a")

    with pytest.raises(RateLimitedError) as caught, admission.action("desk", "a"):
        pass
    assert str(caught.value) == "2 of your actions are at work at provider 'desk'"
    assert (caught.value.retry_after_s, caught.value.hint) == (
        5.0,
        "wait until one of them has ended",
    )

    others = taken(admission, 1, "b")
    with pytest.raises(BackendBusyError) as busy, admission.action("desk", "b"):
        pass
    assert str(busy.value) == "3 actions are at work at provider 'desk'"
    assert busy.value.retry_after_s == 5.0

    mine.close()
    assert admission.managing("desk") == 1
    others.close()
    assert admission.managing("desk") == 0
    taken(admission, 2, "a").close()


async def test_actions_take_no_place_of_chats_and_none_at_other_providers() -> None:
    admission = Admission(Limits(active=1, managing=1, managing_per_client=1))
    with taken(admission, 1, "a"):
        async with asyncio.timeout(1), admission.place("desk", "a"):
            assert (admission.active("desk"), admission.managing("desk")) == (1, 1)
        with admission.action("lab", "a"):
            assert admission.managing("lab") == 1


async def test_an_action_that_fails_gives_its_place_back() -> None:
    admission = Admission(Limits(managing=1))

    with pytest.raises(ValueError, match="broken"), admission.action("desk", "a"):
        raise ValueError("broken")

    assert admission.managing("desk") == 0
