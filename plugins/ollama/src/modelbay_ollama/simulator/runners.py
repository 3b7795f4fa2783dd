"""Loaded models: when they are loaded, reloaded, shared, kept and let go."""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from modelbay.testing.simulator import Exchange
from modelbay_ollama.simulator.answer import ApiError, Json
from modelbay_ollama.simulator.gates import Gates, Pulse
from modelbay_ollama.simulator.knobs import Knobs
from modelbay_ollama.simulator.lifetimes import Clock
from modelbay_ollama.simulator.options import LOAD_OPTIONS
from modelbay_ollama.simulator.store import Installed
from modelbay_ollama.simulator.tally import Tally

Spawn = Callable[[Coroutine[object, object, None]], asyncio.Task[None]]

_BUSY = "server busy, please try again.  maximum pending requests exceeded"


@dataclass(frozen=True, slots=True)
class Want:
    """What a request needs a runner for.

    Attributes:
        options: The request's own over the Modelfile's, typed.
        keep_alive_s: None: as the runner has it.
    """

    entry: Installed
    window: int
    options: Json
    shift: bool
    keep_alive_s: float | None

    @property
    def load_key(self) -> tuple[object, ...]:
        """What a runner is loaded with; any difference means another load."""
        return (self.window, self.shift, *(self.options.get(name) for name in LOAD_OPTIONS))


@dataclass(eq=False)
class Runner:
    """One loaded model.

    Attributes:
        claims: Requests that use it or wait for it.
        settled: Set when the load has ended, well or not.
        leaving: It goes as soon as nobody claims it.
        cache: What the last prompt left in memory: a mark and the tokens for each part.
    """

    entry: Installed
    window: int
    load_key: tuple[object, ...]
    keep_alive_s: float
    expires_at: float
    parallel: int
    claims: int = 0
    running: int = 0
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    error: ApiError | None = None
    leaving: bool = False
    loading: asyncio.Task[None] | None = None
    cache: Sequence[tuple[int, int]] = ()
    line: deque[asyncio.Event] = field(default_factory=deque)

    async def enter(self, exchange: Exchange) -> None:
        """Wait for a slot, in line.

        Raises:
            ClientGone: The client left the line.
        """
        if self.running < self.parallel:
            self.running += 1
            return
        turn = asyncio.Event()
        self.line.append(turn)
        try:
            await exchange.wait_for(turn)
        except BaseException:
            if turn.is_set():
                self.leave()
            else:
                self.line.remove(turn)
            raise

    def leave(self) -> None:
        if self.line:
            self.line.popleft().set()  # the slot goes straight to the next one
        else:
            self.running -= 1


class Runners:
    """All of them, keyed by weights: two names over the same file share one."""

    def __init__(self, knobs: Knobs, clock: Clock, tally: Tally, gates: Gates, spawn: Spawn):
        self._knobs = knobs
        self._clock = clock
        self._tally = tally
        self._gates = gates
        self._spawn = spawn
        self._runners: dict[str, Runner] = {}
        self._changed = Pulse()
        self._waiting = 0

    def listed(self) -> list[Runner]:
        """Loaded and loading ones, the longest lifetime first."""
        self._sweep()
        return sorted(self._runners.values(), key=lambda runner: -runner.expires_at)

    @asynccontextmanager
    async def use(self, exchange: Exchange, want: Want) -> AsyncIterator[tuple[Runner, bool]]:
        """A loaded runner with a slot in it, and whether this request began the load.

        Raises:
            ApiError: 503 when too many wait, 500 when the load fails.
            ClientGone: The client left; a load that nobody else waits for is given up.
        """
        runner, began = await self._claimed(exchange, want)
        try:
            await runner.enter(exchange)
            try:
                if want.keep_alive_s is not None:
                    runner.keep_alive_s = want.keep_alive_s
                yield runner, began
            finally:
                runner.leave()
        finally:
            self._unclaim(runner)

    def unload(self, entry: Installed) -> None:
        """Mark for unloading; it goes when it is idle. Nothing to do if it is not loaded."""
        runner = self._runners.get(entry.model.weights_id)
        if runner is not None:
            runner.keep_alive_s = 0
            self._let_go(runner)

    def abandon_all(self) -> None:
        """Forget all runners at once, as an engine that ran out of memory makes the server do."""
        for runner in list(self._runners.values()):
            self._remove(runner)

    # getting one

    async def _claimed(self, exchange: Exchange, want: Want) -> tuple[Runner, bool]:
        self._sweep()
        runner = self._fitting(want)
        if runner is not None and runner.settled.is_set():
            runner.claims += 1
            return runner, False
        if self._waiting >= self._knobs.max_queue:
            raise ApiError(503, _BUSY)
        self._waiting += 1
        try:
            return await self._in_line(exchange, want)
        finally:
            self._waiting -= 1

    async def _in_line(self, exchange: Exchange, want: Want) -> tuple[Runner, bool]:
        began = False
        while True:
            changed = self._changed.next
            runner = self._fitting(want)
            if runner is None:
                runner = self._make_room(want)
                began = runner is not None
            if runner is None:
                await exchange.wait_for(changed)
                continue
            runner.claims += 1
            try:
                await exchange.wait_for(runner.settled)
                if runner.error is not None:
                    raise runner.error
            except BaseException:
                self._unclaim(runner)
                raise
            return runner, began

    def _fitting(self, want: Want) -> Runner | None:
        runner = self._runners.get(want.entry.model.weights_id)
        if runner is None or runner.leaving or runner.load_key != want.load_key:
            return None
        return runner

    def _make_room(self, want: Want) -> Runner | None:
        """Begin to load; None: something must go first, and is told to."""
        weights = want.entry.model.weights_id
        standing = self._runners.get(weights)
        if standing is not None:
            if not standing.leaving:
                self._tally.add("reloads", want.entry.display)
                self._let_go(standing)
            return None
        if len(self._runners) < self._knobs.max_loaded:
            return self._begin(want)
        if not any(runner.leaving for runner in self._runners.values()):
            idle = [runner for runner in self._runners.values() if not runner.claims]
            if idle:
                self._let_go(min(idle, key=lambda runner: runner.expires_at))
        return None

    def _begin(self, want: Want) -> Runner:
        now, knobs = self._clock.now, self._knobs
        keep = knobs.default_keep_alive_s if want.keep_alive_s is None else want.keep_alive_s
        runner = Runner(
            want.entry, want.window, want.load_key, keep, now + keep, max(1, knobs.num_parallel)
        )
        self._runners[want.entry.model.weights_id] = runner
        self._tally.add("loads", want.entry.display)
        runner.loading = self._spawn(self._load(runner))
        return runner

    async def _load(self, runner: Runner) -> None:
        model = runner.entry.model
        seconds = self._knobs.load_delay_s if model.load_delay_s is None else model.load_delay_s
        await self._gates.wait("load", runner.entry.display, seconds, None)
        if model.load_error:
            self._tally.add("failed_loads", runner.entry.display)
            runner.error = ApiError(500, model.load_error)
            self._remove(runner)
        runner.settled.set()
        self._changed.beat()

    # letting one go

    def _unclaim(self, runner: Runner) -> None:
        runner.claims -= 1
        if runner.claims:
            return
        if not runner.settled.is_set():
            if runner.loading is not None:
                runner.loading.cancel()
            self._remove(runner)
            self._tally.add("aborted_loads", runner.entry.display)
        elif runner.error is None and runner.keep_alive_s == 0:
            self._let_go(runner)
        else:
            keep = runner.keep_alive_s
            runner.expires_at = math.inf if keep == math.inf else self._clock.now + keep
        self._changed.beat()

    def _let_go(self, runner: Runner) -> None:
        if not runner.leaving:
            runner.leaving = True
            self._spawn(self._go(runner))

    async def _go(self, runner: Runner) -> None:
        while runner.claims:
            await self._changed.next.wait()
        await self._gates.wait("unload", runner.entry.display, self._knobs.unload_delay_s, None)
        if self._remove(runner):  # otherwise its load was given up meanwhile
            self._tally.add("unloads", runner.entry.display)
        self._changed.beat()

    def _sweep(self) -> None:
        """Drop what has expired; done whenever somebody looks, as good as by timers."""
        for runner in list(self._runners.values()):
            idle = runner.settled.is_set() and not runner.claims and not runner.leaving
            if idle and runner.expires_at <= self._clock.now:
                self._remove(runner)
                self._tally.add("unloads", runner.entry.display)

    def _remove(self, runner: Runner) -> bool:
        """Forget it. False: it was forgotten before."""
        weights = runner.entry.model.weights_id
        if self._runners.get(weights) is not runner:
            return False
        del self._runners[weights]
        return True
