"""One loaded model: its slots, its queue, and the making of tokens."""

import asyncio
import itertools
import math
import secrets
import string
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from modelbay.testing.simulator import ClientGone, Exchange
from modelbay_llamacpp.simulator.answer import CONTEXT_FULL, ApiError
from modelbay_llamacpp.simulator.model import SimulatedModel
from modelbay_llamacpp.simulator.script import Delta, Script

BUILD = "b1-0c1e570"
_ANSWER_TOKEN = 10_000  # ids of generated tokens; no prompt has them
_LETTERS = string.ascii_letters + string.digits

Pause = Callable[[float], Awaitable[None]]
"""Let so many seconds pass; raises `ClientGone` if that ends the work."""


class ProcessDied(Exception):  # noqa: N818 - an outcome that a knob asked for
    """The process of this model is gone."""


@dataclass(frozen=True, slots=True)
class EngineFlags:
    """Command line flags of the process that runs a model.

    Attributes:
        slots: Requests at once; None: four that share one context.
        ping_interval_s: Silence after which a stream gets a comment line; -1 never.
        second_s: What a second named in a request lasts, in real seconds.
    """

    slots: int | None = None
    metrics: bool = False
    props: bool = False
    slots_endpoint: bool = True
    slot_save: bool = False
    ping_interval_s: float = 30.0
    second_s: float = 1.0


@dataclass
class Slot:
    """A place for one sequence, and what its cache holds."""

    id: int
    busy: bool = False
    cache: list[int] = field(default_factory=list)
    cached: int = 0
    task: int | None = None
    last_used: int = 0
    cells: int = 0
    settings: dict[str, object] = field(default_factory=dict)


class Engine:
    """A model in memory.

    Attributes:
        dead: Set when the process has gone.
        streams: Streamed answers in progress.
        counters: What ``/metrics`` shows.
    """

    def __init__(
        self, model: SimulatedModel, flags: EngineFlags, changed: Callable[[], None]
    ) -> None:
        self.model = model
        self.flags = flags
        self.dead = asyncio.Event()
        self.releases = 0
        self.streams = 0
        self.asleep = False
        self.runs: dict[str, list[Run]] = {}
        self.saved: dict[str, list[int]] = {}
        self.counters = {"prompt": 0, "cached": 0, "predicted": 0, "decodes": 0, "longest": 0}
        self.slots = [Slot(at) for at in range(flags.slots or 4)]
        self._shared = flags.slots is None
        self._changed = changed
        self._queue: deque[tuple[int, int, asyncio.Event, list[Slot]]] = deque()
        self._task_ids = itertools.count()
        self._uses = itertools.count(1)

    @property
    def busy_slots(self) -> int:
        return sum(slot.busy for slot in self.slots)

    @property
    def holding(self) -> int:
        """Answers that wait at `hold_after`."""
        return sum(run.holding for runs in tuple(self.runs.values()) for run in runs)

    @property
    def queued(self) -> int:
        return len(self._queue)

    def changed(self) -> None:
        self._changed()

    # slots

    async def acquire(self, count: int, pin: int, exchange: Exchange | None) -> list[Slot]:
        """Wait in line for so many slots; first come, first served.

        Raises:
            ClientGone: The client left the line.
        """
        granted, got = asyncio.Event(), list[Slot]()
        ticket = (count, pin, granted, got)
        self._queue.append(ticket)
        self._grant()
        self.changed()
        try:
            if exchange is None:
                await granted.wait()
            else:
                await exchange.wait_for(granted)
        except BaseException:
            if granted.is_set():
                self.release(got)
            else:
                self._queue.remove(ticket)
                self._grant()
            raise
        return got

    def _grant(self) -> None:
        while self._queue:
            count, pin, granted, got = self._queue[0]
            # The least recently used one; of equals the last, as the real server picks.
            free = sorted(
                (slot for slot in self.slots if not slot.busy),
                key=lambda slot: (slot.id != pin, slot.last_used, -slot.id),
            )
            if len(free) < count:
                return
            self._queue.popleft()
            for slot in free[:count]:
                slot.busy = True
                slot.last_used = next(self._uses)
                got.append(slot)
            granted.set()

    def release(self, slots: list[Slot]) -> None:
        for slot in slots:
            slot.busy, slot.cells = False, 0
        self._grant()
        self.changed()

    def prepare(self, slot: Slot, prompt: list[int], settings: dict[str, object]) -> None:
        """Give the slot a prompt.

        Raises:
            ApiError: 400 `exceed_context_size_error`.
        """
        n_ctx = self.model.n_ctx
        if len(prompt) >= n_ctx:
            raise ApiError(
                400,
                f"request ({len(prompt)} tokens) exceeds the available context size "
                f"({n_ctx} tokens), try increasing it",
                "exceed_context_size_error",
                n_prompt_tokens=len(prompt),
                n_ctx=n_ctx,
            )
        same = sum(
            1
            for _ in itertools.takewhile(
                lambda ab: ab[0] == ab[1], zip(slot.cache, prompt, strict=False)
            )
        )
        slot.cached = min(same, max(0, len(prompt) - 1))
        slot.cache = list(prompt)
        slot.cells = len(prompt)
        slot.task = next(self._task_ids)
        slot.settings = settings
        self.counters["prompt"] += len(prompt) - slot.cached
        self.counters["cached"] += slot.cached

    def grow(self, slot: Slot) -> None:
        """Take room for one more token.

        Raises:
            ApiError: 500: the shared context is full. All who run at that moment get it.
        """
        slot.cells += 1
        slot.cache.append(_ANSWER_TOKEN + slot.cells)
        self.counters["predicted"] += 1
        self.counters["decodes"] += 1
        self.counters["longest"] = max(self.counters["longest"], slot.cells)
        if self._shared and sum(s.cells for s in self.slots) > self.model.n_ctx:
            for runs in self.runs.values():
                for run in runs:
                    run.failed = True
            raise ApiError(500, CONTEXT_FULL)

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """Count a streamed answer while it lasts."""
        self.streams += 1
        self.changed()
        try:
            yield
        finally:
            self.streams -= 1
            self.changed()

    # process

    def die(self) -> None:
        """The process ends; whoever waits for it learns it from `dead`."""
        self.dead.set()
        self.changed()

    def random_id(self) -> str:
        return "".join(secrets.choice(_LETTERS) for _ in range(32))


class Run:
    """One sequence in the making: pull `step` until `done`."""

    def __init__(
        self,
        engine: Engine,
        slot: Slot,
        script: Script,
        *,
        limit: int,
        stop: list[str],
        endless: bool = False,
        reasoning_control: bool = False,
    ) -> None:
        self.engine = engine
        self.slot = slot
        self.script = script
        self.prompt_n = len(slot.cache)
        self.cached = slot.cached
        self.n = 0
        self.raw = ""
        self.finish: Literal["stop", "length", "tool_calls", ""] = ""
        self.stop_type: Literal["none", "eos", "limit", "word"] = "none"
        self.stopping_word = ""
        self.truncated = False
        self.failed = False
        self.holding = False
        self.reasoning_control = reasoning_control
        self._ends = script.ends and not endless
        self._limit = limit if limit > 0 else -1
        self._stop = stop
        self._at = 0
        self._held: list[Delta] = []
        self._call_open = False
        self._hidden = ""

    @property
    def done(self) -> bool:
        return bool(self.finish)

    def end_reasoning(self) -> None:
        """Go straight to the end of the thought."""
        steps = self.script.steps
        while self._at < len(steps) and steps[self._at].thought:
            self._at += 1

    async def step(self, pause: Pause) -> list[Delta]:
        """Make one token. Returns what there is to show; the last call sets `finish`.

        Raises:
            ClientGone: From `pause`.
            ApiError: A compute error.
            ProcessDied: A knob said so.
        """
        model = self.engine.model
        await pause(model.prompt_s if self.n == 0 else model.token_s)
        if self.n == model.die_after:
            self.engine.die()
            raise ProcessDied
        if self.failed or self.n == model.fail_after:
            raise ApiError(500, CONTEXT_FULL)
        if self.n == model.hold_after:
            await self._hold(pause)
        steps = self.script.steps
        if self._at >= len(steps):
            if self._ends:
                self.n += 1
                return self._finish(self.script.finish, "eos")
            self._at = 0
        self.engine.grow(self.slot)
        now = steps[self._at]
        self._at += 1
        self.n += 1
        self.raw += now.raw
        shown = self._show(now.deltas, now.raw)
        if self.finish:
            return shown
        full = self.prompt_n + self.n >= model.n_ctx
        if self.n == self._limit or full:
            self.truncated = full and self.n != self._limit
            shown += self._finish("length", "limit")
        return shown

    async def _hold(self, pause: Pause) -> None:
        before = self.engine.releases
        self.holding = True
        self.engine.changed()
        while self.engine.releases == before:
            await pause(0.001)
        self.holding = False

    def _finish(
        self, reason: Literal["stop", "length", "tool_calls"], stop_type: Literal["eos", "limit"]
    ) -> list[Delta]:
        self.finish, self.stop_type = reason, stop_type
        shown, self._held = self._held, []
        if reason == "length" and self._hidden and not self._call_open:
            # A call cut before its name is complete is not recognised: it stays text.
            shown.append(Delta("content", self._hidden))
        return shown

    def _show(self, deltas: Sequence[Delta], raw: str) -> list[Delta]:
        found = list(deltas)
        if raw == "<tool_call>" and not found:
            self._hidden, self._call_open = raw, False
        elif self._hidden and not found and not self._call_open:
            self._hidden += raw
        if any(d.part == "call" for d in found):
            self._call_open = True
        if not self._stop or not found:
            return found
        return self._hold_back(found)

    def _hold_back(self, deltas: list[Delta]) -> list[Delta]:
        """Keep text back that may be the beginning of a stop string; cut at a whole one."""
        self._held += deltas
        text = "".join(d.text for d in self._held if d.part == "content")
        for word in self._stop:
            if word in text:
                kept = text[: text.index(word)]
                self._held = []
                self.finish, self.stop_type, self.stopping_word = "stop", "word", word
                return [Delta("content", kept)] if kept else []
        if any(text.endswith(w[:k]) for w in self._stop for k in range(1, len(w))):
            return []
        shown, self._held = self._held, []
        return shown

    def timings(self) -> dict[str, object]:
        """Made-up times with the real proportions; one token has no speed."""
        n, fresh = self.n, self.prompt_n - self.cached
        prompt_ms, ms = round(fresh * 0.1, 3), 0.001 if n == 1 else round(n * 0.5, 3)
        return {
            "cache_n": self.cached,
            "prompt_n": fresh,
            "prompt_ms": prompt_ms,
            "prompt_per_token_ms": prompt_ms / fresh,
            "prompt_per_second": 1000.0 * fresh / prompt_ms,
            "predicted_n": n,
            "predicted_ms": ms,
            "predicted_per_token_ms": 0.0 if n < 2 else ms / (n - 1),
            "predicted_per_second": 0.0 if n < 2 else 1000.0 * (n - 1) / ms,
        }

    def usage(self) -> dict[str, object]:
        return {
            "completion_tokens": self.n,
            "prompt_tokens": self.prompt_n,
            "total_tokens": self.prompt_n + self.n,
            "prompt_tokens_details": {"cached_tokens": self.cached},
        }


class Patience:
    """Passing time on behalf of one client: pings into a silent stream, and leaving with it.

    Args:
        ping: Sends a comment line; None for answers that are not streamed.
        interval_s: Silence before it, -1 for never.
    """

    def __init__(
        self,
        engine: Engine,
        exchange: Exchange | None,
        ping: Callable[[], Awaitable[None]] | None,
        interval_s: float,
    ) -> None:
        self._engine = engine
        self._exchange = exchange
        self._ping = ping
        self._interval_s = interval_s if interval_s > 0 else math.inf
        self._spoke = time.monotonic()

    def spoke(self) -> None:
        self._spoke = time.monotonic()

    async def pause(self, seconds: float) -> None:
        """Wait on behalf of a client.

        A streamed answer ends with its client. One that is not streamed ends only if nobody
        else is being served, since a busy server never notices (source: recorded).

        Raises:
            ClientGone: The work shall end.
        """
        until = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            left = until - now
            due = self._spoke + self._interval_s - now
            if self._ping is not None and due <= 0:
                await self._ping()
                self.spoke()
                continue
            await self._sleep(min(left, due) if self._ping is not None else left)
            if time.monotonic() >= until:
                return

    async def _sleep(self, seconds: float) -> None:
        exchange = self._exchange
        if exchange is None:
            await asyncio.sleep(max(0.0, seconds))
            return
        try:
            await exchange.sleep(seconds)
        except ClientGone:
            if self._ping is not None or self._engine.busy_slots <= 1:
                raise
            await asyncio.sleep(max(0.0, seconds))
