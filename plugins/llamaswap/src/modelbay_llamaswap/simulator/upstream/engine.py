"""A model in memory: its slots, its prompt cache, and its pace."""

import asyncio
import itertools
import secrets
import string
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from modelbay_llamaswap.simulator.clock import Clock
from modelbay_llamaswap.simulator.model import SimulatedModel
from modelbay_llamaswap.simulator.upstream.request import UpstreamError
from modelbay_llamaswap.simulator.upstream.script import Delta, Script

_LETTERS = string.ascii_letters + string.digits
_REMEMBERED = 32  # prompts


class Engine:
    """What all requests of one process share.

    Attributes:
        frozen: It was told to stop: no more tokens.
        releases: How often a hold was lifted.
    """

    def __init__(
        self,
        model: SimulatedModel,
        clock: Clock,
        *,
        changed: Callable[[], None],
        died: Callable[[], None],
    ) -> None:
        self.model = model
        self.clock = clock
        self.frozen = False
        self.releases = 0
        self.holding = 0
        self.streams = 0
        self.busy = 0
        self._changed = changed
        self._died = died
        self._slots = asyncio.Semaphore(model.slots)
        self._seen: list[list[int]] = []
        self._moved = asyncio.Event()

    def wake(self) -> None:
        """Something changed that answers may wait for."""
        self._moved.set()
        self._moved = asyncio.Event()
        self._changed()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a slot while an answer is made."""
        async with self._slots:
            self.busy += 1
            self._changed()
            try:
                yield
            finally:
                self.busy -= 1
                self._changed()

    def remember(self, prompt: list[int]) -> int:
        """Take a prompt in; how many of its tokens were known from earlier ones.

        Raises:
            UpstreamError: 400 `exceed_context_size_error`.
        """
        n_ctx = self.model.n_ctx
        if len(prompt) >= n_ctx:
            raise UpstreamError(
                400,
                f"request ({len(prompt)} tokens) exceeds the available context size "
                f"({n_ctx} tokens), try increasing it",
                "exceed_context_size_error",
                n_prompt_tokens=len(prompt),
                n_ctx=n_ctx,
            )
        known = max((_same(old, prompt) for old in self._seen), default=0)
        self._seen = [*self._seen[1 - _REMEMBERED :], prompt]
        return min(known, max(0, len(prompt) - 1))

    async def pause(self, seconds: float) -> None:
        """Work for so long; for ever once frozen."""
        if seconds > 0:
            await self.clock.sleep(seconds)
        else:
            await asyncio.sleep(0)
        while self.frozen:
            await self._moved.wait()

    async def hold(self) -> None:
        """Wait for `release`."""
        after = self.releases
        self.holding += 1
        self._changed()
        try:
            while self.releases == after:
                await self._moved.wait()
        finally:
            self.holding -= 1
            self._changed()

    def die(self) -> None:
        """The process ends here; whoever is being answered is cancelled."""
        self._died()

    def random_id(self) -> str:
        return "".join(secrets.choice(_LETTERS) for _ in range(32))


def _same(old: Sequence[int], new: Sequence[int]) -> int:
    pairs = zip(old, new, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


class Run:
    """One answer in the making: pull `step` until it gives None.

    Attributes:
        finish: None until the end.
        completed: Tokens made; the end token counts.
    """

    def __init__(self, engine: Engine, script: Script, prompt: list[int], limit: int) -> None:
        self._engine = engine
        self._script = script
        self._limit = limit
        self._prompt_n = len(prompt)
        self.cached = engine.remember(prompt)
        self.completed = 0
        self.finish: str | None = None

    async def step(self) -> Delta | None:
        """The next visible bit."""
        engine, model, said = self._engine, self._engine.model, self.completed
        await engine.pause(model.prompt_s if said == 0 else model.token_s)
        if model.hold_after is not None and said == model.hold_after:
            await engine.hold()
            await engine.pause(0)
        if model.die_after is not None and said >= model.die_after:
            engine.die()
            await asyncio.Event().wait()  # until cancelled
        deltas = self._script.deltas
        if 0 <= self._limit <= said:
            self.finish = "length"
            return None
        if said >= len(deltas) and (self._script.ends or not deltas):
            self.completed += 1
            self.finish = self._script.finish
            return None
        self.completed += 1
        return deltas[said % len(deltas)]

    async def all(self) -> list[Delta]:
        deltas = []
        while (delta := await self.step()) is not None:
            deltas.append(delta)
        return deltas

    def usage(self) -> dict[str, object]:
        return {
            "completion_tokens": self.completed,
            "prompt_tokens": self._prompt_n,
            "total_tokens": self.completed + self._prompt_n,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }

    def timings(self) -> dict[str, object]:
        """Made-up speeds: 10 000 tokens/s of prompt, 2 000 of answer."""
        fresh, spoken = self._prompt_n - self.cached, max(0, self.completed - 1)
        return {
            "cache_n": self.cached,
            "prompt_n": fresh,
            "prompt_ms": fresh / 10,
            "prompt_per_token_ms": 0.1,
            "prompt_per_second": 10_000.0,
            "predicted_n": self.completed,
            "predicted_ms": max(0.001, spoken / 2),
            "predicted_per_token_ms": 0.5 if spoken else 0.0,
            "predicted_per_second": 2_000.0 if spoken else 0.0,
        }
