"""Mirrors modelbay/closing.py."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Self

import pytest

from modelbay.closing import closing
from pretend import Records

pytestmark = pytest.mark.anyio


@pytest.fixture
def logged() -> Iterator[list[str]]:
    records = Records()
    logger = logging.getLogger("modelbay")
    logger.addHandler(records)
    yield records.lines
    logger.removeHandler(records)


class Plain:
    """An async iterator without `aclose`."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        return 1


class Raising(Plain):
    """One whose `aclose` raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    async def aclose(self) -> None:
        raise self.error


async def test_leaving_closes_the_stream() -> None:
    closed = []

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    async with closing(numbers()) as stream:
        async for _ in stream:
            break

    assert closed == [True]


async def test_an_iterator_without_aclose_is_taken_as_it_is() -> None:
    async with closing(Plain()) as stream:
        assert await anext(stream) == 1


async def test_an_error_while_closing_is_logged_and_not_raised(logged: list[str]) -> None:
    async with closing(Raising(RuntimeError("late"))):
        pass

    assert logged == ["WARNING a stream raised while it was closed"]


async def test_an_error_while_closing_does_not_replace_the_one_on_its_way(
    logged: list[str],
) -> None:
    with pytest.raises(ValueError, match="first"):
        async with closing(Raising(RuntimeError("late"))):
            raise ValueError("first")

    assert logged == ["WARNING a stream raised while it was closed"]


async def test_an_error_while_closing_does_not_replace_a_cancellation(logged: list[str]) -> None:
    async def work() -> None:
        async with closing(Raising(RuntimeError("late"))):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})

    assert (task.cancelled(), logged) == (True, ["WARNING a stream raised while it was closed"])


async def test_a_cancellation_that_comes_while_closing_goes_on() -> None:
    with pytest.raises(asyncio.CancelledError):
        async with closing(Raising(asyncio.CancelledError())):
            pass


async def test_a_stream_that_has_ended_is_closed_without_a_word(logged: list[str]) -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    async with closing(numbers()) as stream:
        assert [number async for number in stream] == [1]

    assert logged == []
