"""Waiting that a test ends: delays of `math.inf` seconds, and who stands at which of them."""

import asyncio
import math
from typing import Literal

from modelbay.testing.simulator import Exchange
from modelbay_ollama.simulator.tally import Tally

Place = Literal["load", "unload", "token", "pull"]


class Gates:
    """Places where work is held until a test lets it go on."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._events: dict[tuple[Place, str], asyncio.Event] = {}
        self._standing: dict[tuple[Place, str], int] = {}

    async def wait(self, place: Place, key: str, seconds: float, exchange: Exchange | None) -> None:
        """Let so many seconds pass; `math.inf`: until `release`.

        Raises:
            ClientGone: The client of the exchange left.
        """
        if seconds != math.inf:
            if exchange is None:
                await asyncio.sleep(seconds)
            else:
                await exchange.sleep(seconds)
            return
        event = self._events.setdefault((place, key), asyncio.Event())
        self._standing[place, key] = self._standing.get((place, key), 0) + 1
        self._tally.add("holding", key)
        try:
            if exchange is None:
                await event.wait()
            else:
                await exchange.wait_for(event)
        finally:
            if not event.is_set():  # otherwise `release` has seen to it
                self._standing[place, key] -= 1
                self._tally.add("holding", key, -1)

    def release(self, place: Place, key: str) -> None:
        """Let everybody go on who stands there now; who comes later will wait again.

        Raises:
            LookupError: Nobody stands there, which in a test is a mistake in its order.
        """
        standing = self._standing.pop((place, key), 0)
        if not standing:
            raise LookupError(f"nothing waits at {place} of {key}")
        # Counted at once: who waits for somebody to stand there must not see those who just left.
        self._events.pop((place, key)).set()
        self._tally.add("holding", key, -standing)


class Pulse:
    """A change that several may wait for, each for the next one."""

    def __init__(self) -> None:
        self.next = asyncio.Event()

    def beat(self) -> None:
        beaten, self.next = self.next, asyncio.Event()
        beaten.set()
