"""Asking again, while nothing of an answer has come."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import anyio
import stamina

from modelbay.closing import closing
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

# A retry is told as a warning. Where nobody has set up logging, warnings go to stderr, and a
# hidden failure is no news there.
logging.getLogger("stamina").addHandler(logging.NullHandler())

Start = Callable[[], AsyncIterator[StreamEvent]]


@dataclass(frozen=True, slots=True)
class Begun:
    """An answer whose first event has come.

    Attributes:
        rest: The events after it; to be closed.
        place: Where it holds a place that others may wait for; to be released.
    """

    first: StreamEvent
    rest: AsyncIterator[StreamEvent]
    place: anyio.Semaphore | None = None


class SaidNothingError(Exception):
    """A whole answer without a word. Another try may bring one; the last one's is handed on."""

    def __init__(self, answer: Begun) -> None:
        super().__init__("the answer says nothing")
        self.answer = answer


# Sees an answer before anybody else does, and may refuse it with a SaidNothingError.
Look = Callable[[Begun], Awaitable[Begun]]


@asynccontextmanager
async def answering(
    start: Start, retries: int, gate: anyio.Semaphore | None = None, look: Look | None = None
) -> AsyncIterator[Begun]:
    """An answer, as long as it is read; see `begin`."""
    begun = await begin(start, retries, gate, look)
    try:
        async with closing(begun.rest):
            yield begun
    finally:
        if begun.place is not None:
            begun.place.release()


async def begin(
    start: Start, retries: int, gate: anyio.Semaphore | None = None, look: Look | None = None
) -> Begun:
    """The first answer that gets as far as an event.

    Args:
        start: Makes a new request; called once for each try.
        retries: How often to try again.
        gate: A place in it is held during each try and by the answer, not in the pauses between.
        look: Has to like the answer too.

    Raises:
        BackendError: The last try failed, or one for a reason that does not pass.
    """

    async def attempt() -> Begun:
        if gate is not None:
            await gate.acquire()
        try:
            events = start()
            begun = Begun(await anext(events), events)
            if look is not None:
                begun = await look(begun)
            return replace(begun, place=gate)
        except BaseException:
            if gate is not None:
                gate.release()
            raise

    again = stamina.AsyncRetryingCaller(
        attempts=retries + 1,
        timeout=None,  # the caller's deadline is the limit
        wait_initial=FIRST_PAUSE_S,
        wait_max=LONGEST_PAUSE_S,
        wait_jitter=JITTER_S,
    )
    try:
        return await again(another_try, attempt)
    except SaidNothingError as exc:
        return exc.answer


def replayed(events: Sequence[StreamEvent]) -> Begun:
    """An answer of which all events are here; at least one."""
    return Begun(events[0], _each(events[1:]))


async def _each(events: Sequence[StreamEvent]) -> AsyncIterator[StreamEvent]:
    for event in events:
        yield event


def another_try(exc: Exception) -> bool | float:
    """Whether the same request may succeed in a moment; or in how many seconds."""
    if isinstance(exc, SaidNothingError):
        return True
    if not isinstance(exc, BackendError) or not _passes(exc):
        return False
    if exc.retry_after_s is None:
        return True
    return exc.retry_after_s if exc.retry_after_s <= LONGEST_RETRY_AFTER_S else False


def _passes(exc: BackendError) -> bool:
    if isinstance(exc, QuotaExceededError):
        # Too many at once for this balance: others end. An empty account (402) stays empty.
        return exc.status == 429
    # An error inside a stream has the status 500 too, whatever it is about: its class decides.
    return (type(exc) is BackendError and exc.status == 500) or isinstance(
        exc,
        (RateLimitedError, BackendBusyError, BackendUnreachableError, StreamInterruptedError),
    )
