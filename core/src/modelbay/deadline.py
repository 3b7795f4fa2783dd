"""Limits of time on a stream: one timer for the whole of it, never one per event."""

import asyncio
from types import TracebackType
from typing import Literal

from modelbay.errors import BackendTimeoutError

AGAIN_S = 1.0

Limit = Literal["total", "first", "idle"]


class Watchdog:
    """Interrupt whatever a stream waits for when one of its limits has passed.

    Use it as a context manager around each single wait, never across a ``yield``: then a timer
    that goes off can only cancel the wait, not the caller the stream has handed an event to.

    Args:
        total_s: Seconds from now for everything.
        first_s: Seconds from now until `progress` is called for the first time.
        idle_s: Seconds between two calls of `progress`, from the first one on.
        what: What is waited for, in words, for the error's message.
    """

    __slots__ = (
        "_begun",
        "_cancelled",
        "_first",
        "_handle",
        "_idle_s",
        "_last",
        "_loop",
        "_requests",
        "_started",
        "_task",
        "_total",
        "_what",
        "expired",
    )

    def __init__(
        self,
        *,
        total_s: float | None = None,
        first_s: float | None = None,
        idle_s: float | None = None,
        what: str = "the server",
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._started = self._last = self._loop.time()
        self._total = None if total_s is None else self._started + total_s
        self._first = None if first_s is None else self._started + first_s
        self._idle_s = idle_s
        self._what = what
        self._begun = False
        self._task: asyncio.Task[object] | None = None
        self._requests = 0
        self._cancelled = 0
        self.expired: Limit | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._set_timer()

    def __enter__(self) -> None:
        if self.expired is not None:
            raise self.error()
        self._task = asyncio.current_task()
        if self._task is not None:
            self._requests = self._task.cancelling()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        ours, self._cancelled = self._cancelled, 0
        if not ours or task is None:
            return
        left = min(task.uncancel() for _ in range(ours))
        # Ours alone becomes a timeout, whatever the wait made of it; if somebody else cancelled as
        # well, theirs goes on.
        if left <= self._requests and kind is not None:
            raise self.error() from error

    def progress(self) -> None:
        """Something came: the first-byte limit is met and the idle limit begins anew."""
        self._last = self._loop.time()
        if not self._begun:
            self._begun = True
            self._first = None
            self._set_timer()

    def close(self) -> None:
        """Stop the timer."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def error(self) -> BackendTimeoutError:
        """What to raise for the limit that passed."""
        took = self._loop.time() - self._started
        reason = {
            "total": f"{self._what} did not finish within {took:.1f} s",
            "first": f"{self._what} sent nothing for {took:.1f} s",
            "idle": f"{self._what} stopped sending: nothing for {self._idle_s:g} s"
            if self._idle_s is not None
            else "",
        }[self.expired or "total"]
        return BackendTimeoutError(reason, hint="give it more time with --deadline SECONDS")

    def _next(self) -> tuple[float, Limit] | None:
        limits: list[tuple[float, Limit]] = []
        if self._total is not None:
            limits.append((self._total, "total"))
        if self._first is not None:
            limits.append((self._first, "first"))
        elif self._idle_s is not None and self._begun:
            limits.append((self._last + self._idle_s, "idle"))
        return min(limits, default=None)

    def _set_timer(self) -> None:
        self.close()
        upcoming = self._next()
        if upcoming is not None:
            self._handle = self._loop.call_at(upcoming[0], self._fire)

    def _fire(self) -> None:
        self._handle = None
        if self._cancelled and self._task is None:
            return
        upcoming = self._next()
        if upcoming is None:
            return
        when, limit = upcoming
        if when > self._loop.time():  # progress since: the timer is moved lazily, not per event
            self._set_timer()
            return
        self.expired = limit
        if self._task is not None:
            self._cancelled += 1
            self._task.cancel()
            # Whoever swallowed it and waits on is told again.
            self._handle = self._loop.call_later(AGAIN_S, self._fire)
