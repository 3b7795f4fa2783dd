"""The ledger of a simulator: what was seen and what is open, for any thread to wait on."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from modelbay.testing.request import Request

Count = Literal["open_connections", "open_streams", "streams_opened", "streams_closed_by_client"]


class Ledger:
    """Requests, counts and failures of one simulator.

    Written by the simulator's own thread, read by tests in any other. Every change wakes all
    waiters, so that nobody polls.
    """

    def __init__(self) -> None:
        # Re-entrant, because a predicate reads properties that take the lock again.
        self._changed = threading.Condition(threading.RLock())
        self._watchers: list[Callable[[], None]] = []
        self._counts: dict[Count, int] = {
            "open_connections": 0,
            "open_streams": 0,
            "streams_opened": 0,
            "streams_closed_by_client": 0,
        }
        self._requests: list[Request] = []
        self._errors: list[Exception] = []

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock for a change and wake everybody who waits once it is made."""
        with self._changed:
            yield
            self._changed.notify_all()
            for wake in self._watchers:
                wake()

    def add(self, count: Count, by: int = 1) -> None:
        with self.changing():
            self._counts[count] += by

    def saw(self, request: Request) -> None:
        with self.changing():
            self._requests.append(request)

    def failed(self, error: Exception) -> None:
        with self.changing():
            self._errors.append(error)

    def count(self, count: Count) -> int:
        with self._changed:
            return self._counts[count]

    @property
    def requests(self) -> list[Request]:
        with self._changed:
            return list(self._requests)

    @property
    def errors(self) -> list[Exception]:
        with self._changed:
            return list(self._errors)

    def wait_until(self, predicate: Callable[[], bool], timeout_s: float) -> None:
        """Block until the predicate holds.

        Raises:
            TimeoutError: It did not hold within `timeout_s`; the message gives the counts.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while not predicate():
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError(self._describe(timeout_s))
                self._changed.wait(left_s)

    async def wait_until_async(self, predicate: Callable[[], bool], timeout_s: float) -> None:
        """The same for a coroutine under asyncio; the loop stays free meanwhile."""
        loop = asyncio.get_running_loop()
        flag = asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(flag.set)

        with self._changed:
            self._watchers.append(wake)
        try:
            async with asyncio.timeout(timeout_s):
                while not self._holds(predicate):
                    await flag.wait()
                    flag.clear()
        except TimeoutError:
            raise TimeoutError(self._describe(timeout_s)) from None
        finally:
            with self._changed:
                self._watchers.remove(wake)

    def _holds(self, predicate: Callable[[], bool]) -> bool:
        with self._changed:
            return predicate()

    def _describe(self, timeout_s: float) -> str:
        with self._changed:
            seen = ", ".join(f"{r.method} {r.target}" for r in self._requests[-5:]) or "none"
            return f"not true within {timeout_s:g} s; counts {self._counts}; last requests: {seen}"
