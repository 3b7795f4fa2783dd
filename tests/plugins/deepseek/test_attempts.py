"""Mirrors modelbay_deepseek/attempts.py."""

import logging
from collections.abc import AsyncIterator

import anyio
import pytest

from modelbay.errors import (
    AuthenticationError,
    BackendBusyError,
    BackendError,
    BackendTimeoutError,
    BackendUnreachableError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    ProtocolError,
    QuotaExceededError,
    RateLimitedError,
    StreamInterruptedError,
)
from modelbay.models.events import StreamEvent, TextDelta
from modelbay_deepseek.attempts import (
    Begun,
    SaidNothingError,
    another_try,
    answering,
    begin,
    replayed,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (RateLimitedError("", status=429), True),
        (RateLimitedError("", status=429, retry_after_s=7), 7),
        (RateLimitedError("", status=429, retry_after_s=0), 0),
        (RateLimitedError("", status=429, retry_after_s=31), False),
        (QuotaExceededError("", status=429), True),
        (QuotaExceededError("", status=402), False),
        (BackendError("", status=500), True),
        (BackendError("", status=501), False),
        (AuthenticationError("", status=500), False),
        (InvalidRequestError("", status=500), False),
        (ContextLengthError("", status=500), False),
        (ModelNotFoundError("", status=500), False),
        (BackendBusyError("", status=503, retry_after_s=2), 2),
        (BackendUnreachableError(""), True),
        (StreamInterruptedError(""), True),
        (BackendTimeoutError(""), False),
        (ProtocolError(""), False),
        (AuthenticationError("", status=401), False),
        (InvalidRequestError("", status=400), False),
        (ModelNotFoundError("", status=400), False),
        (ValueError(), False),
    ],
)
def test_what_passes_is_tried_again_when_the_server_says(
    error: Exception, again: bool | float
) -> None:
    found = another_try(error)

    assert found == again
    assert isinstance(found, bool) is isinstance(again, bool)


class Tries:
    """Fails so many times, then answers."""

    def __init__(self, failures: int) -> None:
        self.left = failures
        self.made = 0

    async def __call__(self) -> AsyncIterator[StreamEvent]:
        self.made += 1
        if self.left:
            self.left -= 1
            raise BackendBusyError("full", status=503)
        yield TextDelta("one")
        yield TextDelta("two")


@pytest.mark.usefixtures("retries")
@pytest.mark.parametrize("failures", [0, 1, 3])
async def test_failures_before_the_first_event_are_hidden(failures: int) -> None:
    tries = Tries(failures)

    begun = await begin(lambda: tries(), 3)

    assert [begun.first, *[event async for event in begun.rest]] == [
        TextDelta("one"),
        TextDelta("two"),
    ]
    assert tries.made == failures + 1


@pytest.mark.usefixtures("retries")
@pytest.mark.parametrize(("retries_", "made"), [(0, 1), (3, 4)])
async def test_tries_are_bounded_and_the_last_error_comes_through(retries_: int, made: int) -> None:
    tries = Tries(99)

    with pytest.raises(BackendBusyError, match="full"):
        await begin(lambda: tries(), retries_)

    assert tries.made == made


@pytest.mark.usefixtures("retries")
async def test_a_place_is_held_by_a_try_and_by_its_answer_but_not_between_two_tries() -> None:
    gate = anyio.Semaphore(1)
    free: list[int] = []
    tries = Tries(2)

    def start() -> AsyncIterator[StreamEvent]:
        free.append(gate.value)
        return tries()

    async with answering(start, 3, gate):
        during = gate.value

    assert (free, during, gate.value) == ([0, 0, 0], 0, 1)


@pytest.mark.usefixtures("retries")
async def test_a_place_is_given_back_when_the_last_try_fails() -> None:
    gate = anyio.Semaphore(1)

    with pytest.raises(BackendBusyError):
        await begin(Tries(99), 1, gate)

    assert gate.value == 1


@pytest.mark.usefixtures("retries")
async def test_an_answer_that_says_nothing_counts_as_a_try_and_the_last_one_is_kept() -> None:
    gate = anyio.Semaphore(1)
    tries = Tries(1)

    async def look(begun: Begun) -> Begun:
        events = [begun.first, *[event async for event in begun.rest]]
        raise SaidNothingError(replayed(events))

    async with answering(tries, 2, gate, look) as begun:
        events = [begun.first, *[event async for event in begun.rest]]

    assert events == [TextDelta("one"), TextDelta("two")]
    assert (tries.made, gate.value) == (3, 1)


def test_what_an_answer_held_is_in_no_words_of_its_error() -> None:
    error = SaidNothingError(replayed([TextDelta("secret")]))

    assert "secret" not in f"{error}{error!r}"


def test_a_program_without_logging_is_not_told_of_retries_on_stderr() -> None:
    assert logging.getLogger("stamina").handlers
