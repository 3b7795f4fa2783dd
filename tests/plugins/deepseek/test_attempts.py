"""Mirrors modelbay_deepseek/attempts.py."""

from collections.abc import AsyncIterator

import pytest

from modelbay.errors import (
    AuthenticationError,
    BackendBusyError,
    BackendError,
    BackendTimeoutError,
    BackendUnreachableError,
    InvalidRequestError,
    ModelNotFoundError,
    ProtocolError,
    QuotaExceededError,
    RateLimitedError,
    StreamInterruptedError,
)
from modelbay.models.events import StreamEvent, TextDelta
from modelbay_deepseek.attempts import another_try, begin

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
