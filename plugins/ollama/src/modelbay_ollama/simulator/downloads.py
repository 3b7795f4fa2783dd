"""Layers on their way to the disk: shared by whoever pulls them, kept when a pull stops."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from modelbay.testing.simulator import Exchange
from modelbay_ollama.simulator.gates import Gates, Pulse
from modelbay_ollama.simulator.knobs import Knobs
from modelbay_ollama.simulator.model import Layer
from modelbay_ollama.simulator.tally import Tally


@dataclass
class _Download:
    """One layer. The oldest listener moves it on, the others look on; the last to leave stops it.

    Attributes:
        steps: Amounts that are still to come, in bytes.
        completed: What is on the disk.
    """

    steps: list[int]
    completed: int = 0
    listeners: list[object] = field(default_factory=list)
    moved: Pulse = field(default_factory=Pulse)


class Downloads:
    """All layers that somebody pulls, and the parts of those that nobody does any more."""

    def __init__(self, knobs: Knobs, gates: Gates, tally: Tally) -> None:
        self._knobs = knobs
        self._gates = gates
        self._tally = tally
        self._running: dict[str, _Download] = {}
        self.partial: dict[str, int] = {}
        self.done: set[str] = set()

    async def follow(
        self, exchange: Exchange, digest: str, layer: Layer, key: str
    ) -> AsyncGenerator[int, None]:
        """Completed bytes, tick by tick; nothing when another pull has just finished it.

        Raises:
            ClientGone: The client left. Its part stays on the disk.
        """
        download = self._running.get(digest)
        if download is None:
            start = self.partial.pop(digest, 0)
            download = self._running[digest] = _Download(_plan(layer, start), start)
        me = object()
        download.listeners.append(me)
        self._tally.add("listening", key)
        try:
            while download.steps:
                if download.listeners[0] is me:
                    await self._gates.wait("pull", key, self._knobs.pull_tick_s, exchange)
                    if not download.steps:
                        break
                    download.completed = download.steps.pop(0)
                    download.moved.beat()
                else:
                    await exchange.wait_for(download.moved.next)
                yield download.completed
            self.done.add(digest)
        finally:
            download.listeners.remove(me)
            self._tally.add("listening", key, -1)
            download.moved.beat()  # the next listener takes over
            if not download.listeners:
                self._running.pop(digest, None)
                if digest not in self.done:
                    self.partial[digest] = download.completed

    def forget(self, digest: str) -> None:
        """The layer is no longer on the disk."""
        self.done.discard(digest)
        self.partial.pop(digest, None)


def _plan(layer: Layer, start: int) -> list[int]:
    """Amounts at each tick: what is there at first, then equal steps."""
    total, steps = layer.size_bytes, max(1, layer.steps)
    plan = [start, *(max(start, total * at // steps) for at in range(1, steps + 1))]
    plan = [amount for at, amount in enumerate(plan) if at == 0 or amount > plan[at - 1]]
    if layer.backward and len(plan) > 2:
        # A part that failed is thrown away: what counted as completed is so no longer.
        middle = len(plan) // 2
        plan.insert(middle + 1, (plan[middle - 1] + plan[middle]) // 2)
    return plan
