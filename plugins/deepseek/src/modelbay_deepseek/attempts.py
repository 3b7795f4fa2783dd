"""Asking again, while nothing of an answer has come."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import stamina

from modelbay.errors import (
    BackendBusyError,
    BackendError,
    BackendUnreachableError,
    QuotaExceededError,
    RateLimitedError,
    StreamInterruptedError,
)
from modelbay.models.events import StreamEvent

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 8.0
JITTER_S = 0.5
# A server that wants a longer pause tells the caller so, in the error.
LONGEST_RETRY_AFTER_S = 30.0

Start = Callable[[], AsyncIterator[StreamEvent]]


@dataclass(frozen=True, slots=True)
class Begun:
    """An answer whose first event has come.

    Attributes:
        rest: The events after it; to be closed.
    """

    first: StreamEvent
    rest: AsyncIterator[StreamEvent]


async def begin(start: Start, retries: int) -> Begun:
    """The first answer that gets as far as an event.

    Args:
        start: Makes a new request; called once for each try.
        retries: How often to try again.

    Raises:
        BackendError: The last try failed, or one for a reason that does not pass.
    """

    async def attempt() -> Begun:
        events = start()
        return Begun(await anext(events), events)

    again = stamina.AsyncRetryingCaller(
        attempts=retries + 1,
        timeout=None,  # the caller's deadline is the limit
        wait_initial=FIRST_PAUSE_S,
        wait_max=LONGEST_PAUSE_S,
        wait_jitter=JITTER_S,
    )
    return await again(another_try, attempt)


def another_try(exc: Exception) -> bool | float:
    """Whether the same request may succeed in a moment; or in how many seconds."""
    if not isinstance(exc, BackendError) or not _passes(exc):
        return False
    if exc.retry_after_s is None:
        return True
    return exc.retry_after_s if exc.retry_after_s <= LONGEST_RETRY_AFTER_S else False


def _passes(exc: BackendError) -> bool:
    if isinstance(exc, QuotaExceededError):
        # Too many at once for this balance: others end. An empty account (402) stays empty.
        return exc.status == 429
    return exc.status == 500 or isinstance(
        exc,
        (RateLimitedError, BackendBusyError, BackendUnreachableError, StreamInterruptedError),
    )
