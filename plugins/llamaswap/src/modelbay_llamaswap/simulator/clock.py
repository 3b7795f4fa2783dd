"""The server's time: scaled, or moved by hand."""

import asyncio
import heapq
import itertools
import math
import time
from typing import Protocol

_SETTLING_TURNS = 25  # of the loop, in which what woke up may go on to its next sleep


class Clock(Protocol):
    """Seconds as the simulated server counts them."""

    def now(self) -> float:
        """Seconds since some moment of its own."""
        ...

    async def sleep(self, seconds: float) -> None: ...


class ScaledClock:
    """Runs by itself.

    Args:
        second_s: How long one of the server's seconds lasts, in real ones; above 0.
    """

    def __init__(self, second_s: float = 1.0) -> None:
        if second_s <= 0:
            raise ValueError("second_s has to be above 0")
        self._second_s = second_s
        self._began = time.monotonic()

    def now(self) -> float:
        return (time.monotonic() - self._began) / self._second_s

    async def sleep(self, seconds: float) -> None:
        if seconds == math.inf:
            await asyncio.Event().wait()
        await asyncio.sleep(max(0.0, seconds) * self._second_s)


class ManualClock:
    """Stands still until `LlamaSwapSimulator.advance`."""

    def __init__(self) -> None:
        self._now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let time pass; sleepers wake in order, each at its moment. In the simulator's thread."""
        until = self._now + seconds
        await _settle()
        while self._sleepers and self._sleepers[0][0] <= until:
            self._now, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
            await _settle()
        self._now = until
        await _settle()


async def _settle() -> None:
    for _ in range(_SETTLING_TURNS):
        await asyncio.sleep(0)
