"""Which models run together, who waits for whom, and who is stopped for whom."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Mapping, Sequence

from modelbay.testing.simulator import ClientGone, Exchange
from modelbay_llamaswap.simulator.clock import Clock
from modelbay_llamaswap.simulator.dialect import Release
from modelbay_llamaswap.simulator.model import Group
from modelbay_llamaswap.simulator.process import Aborted, Process, failed
from modelbay_llamaswap.simulator.refusal import Refusal, too_many

Spawn = Callable[[Coroutine[object, object, None]], object]

_TTL_LOOK_S = 1.0


class Cancelled(Exception):  # noqa: N818 - an outcome, not a mistake
    """The request was cancelled through the in-flight list."""


class Ticket:
    """A request that waits for its model."""

    def __init__(self, process: Process, number: int) -> None:
        self.process = process
        self.number = number
        self.settled = asyncio.Event()
        self.error: Refusal | None = None
        self.granted = False

    def settle(self, error: Refusal | None = None) -> None:
        self.error = error
        self.granted = error is None
        self.settled.set()


class Router:
    """The router ``group`` and the scheduler ``fifo``.

    Since v218 whoever asks for a model that is ready jumps the queue, and those who wait for the
    same model are served together. Before, the order of arrival was strict, and the request that
    caused a swap kept the others out until it was answered.
    """

    def __init__(
        self,
        release: Release,
        processes: Mapping[str, Process],
        groups: Mapping[str, Group],
        clock: Clock,
        spawn: Spawn,
        *,
        health_check_timeout_s: float,
        changed: Callable[[], None],
    ) -> None:
        self._release = release
        self._processes = processes
        self._clock = clock
        self._spawn = spawn
        self._stop_bound_s = health_check_timeout_s
        self._changed = changed
        self._numbers = itertools.count(1)
        self._queue: list[Ticket] = []
        self._locks = 0
        self._leader: Ticket | None = None  # up to v217: who caused the last swap
        grouped = {member for group in groups.values() for member in group.members}
        rest = [name for name in processes if name not in grouped]
        self._groups = [*groups.values(), Group(rest)]

    @property
    def waiting(self) -> int:
        return len(self._queue)

    # admission

    def admit(self, process: Process) -> None:
        """Count a request in.

        Raises:
            Refusal: 429; those who wait count too.
        """
        if process.reserved >= process.limit:
            raise too_many(self._release)
        process.reserved += 1

    def leave(self, process: Process) -> None:
        process.reserved -= 1
        self._changed()

    def ticket(self, process: Process) -> Ticket:
        """Join the queue, or be served at once."""
        ticket = Ticket(process, next(self._numbers))
        if self._release.rewritten and self._locks == 0 and process.state == "ready":
            self._grant(ticket)
        else:
            self._queue.append(ticket)
            self.pump()
        self._changed()
        return ticket

    async def wait(self, ticket: Ticket, exchange: Exchange, cancel: asyncio.Event) -> None:
        """Wait for the grant; afterwards `done` has to be called.

        Raises:
            Refusal: The load failed, or the model was unloaded.
            Cancelled: `cancel` was set.
            ClientGone: The client left. A load that has begun goes on.
        """
        waits = [
            asyncio.ensure_future(event.wait())
            for event in (ticket.settled, exchange.disconnected, cancel)
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            if cancel.is_set() or not ticket.settled.is_set():
                self.abandon(ticket)
        if ticket.error is not None:
            raise ticket.error
        if cancel.is_set():
            raise Cancelled
        if not ticket.granted:
            raise ClientGone

    def abandon(self, ticket: Ticket) -> None:
        """Nobody waits for it any more."""
        if ticket in self._queue:
            self._queue.remove(ticket)
        if ticket.granted:
            self.done(ticket)
        self.pump()

    def done(self, ticket: Ticket) -> None:
        """A granted request is over."""
        process = ticket.process
        process.running -= 1
        process.last_use = self._clock.now()
        if self._leader is ticket:
            self._leader = None
        self.pump()
        self._changed()

    def position(self, ticket: Ticket) -> int:
        """The place in the queue, from 1; 0 once its model is being loaded."""
        if ticket not in self._queue or ticket.process.state == "starting":
            return 0
        if ticket.process.pending:
            return 0
        return self._ordered().index(ticket) + 1

    # the queue

    def _ordered(self) -> list[Ticket]:
        if not self._release.rewritten:
            return list(self._queue)
        return sorted(self._queue, key=lambda t: (-t.process.model.priority, t.number))

    def pump(self) -> None:
        """Serve and start whatever can be."""
        if self._locks:
            return
        for ticket in self._ordered():
            process = ticket.process
            if self._leader is not None:
                return
            if process.state == "ready":
                self._queue.remove(ticket)
                self._grant(ticket)
            elif process.state == "stopped" and not process.pending and self._may_start(process):
                self._begin_swap(process)
            if not self._release.rewritten and not ticket.granted:
                return  # nobody overtakes the first

    def _grant(self, ticket: Ticket) -> None:
        process = ticket.process
        fresh = process.last_use is None and process.running == 0
        if fresh and not self._release.rewritten and self._group(process).swap:
            self._leader = ticket
        process.running += 1
        ticket.settle()

    def conflicts(self, process: Process) -> list[Process]:
        """All that may not run beside it, once it has been started."""
        own = self._group(process)
        names: set[str] = set()
        if own.swap:
            names |= set(own.members)
        if own.exclusive:
            others = [g for g in self._groups if g is not own and not g.persistent]
            names |= {member for group in others for member in group.members}
        names.discard(process.model.id)
        return [p for name, p in self._processes.items() if name in names]

    def _group(self, process: Process) -> Group:
        return next(g for g in self._groups if process.model.id in g.members)

    def _may_start(self, process: Process) -> bool:
        for other in self.conflicts(process):
            if other.pending or other.state in ("starting", "stopping") or other.running:
                return False
        coming = (p for p in self._processes.values() if p.pending or p.state == "starting")
        return not any(process in self.conflicts(other) for other in coming)

    def _begin_swap(self, process: Process) -> None:
        victims = [p for p in self.conflicts(process) if p.state == "ready"]
        process.pending = True
        if victims:
            self._spawn(self._swap(process, victims))
        else:
            self._spawn(self._start(process))

    async def _swap(self, process: Process, victims: Sequence[Process]) -> None:
        await asyncio.gather(*(victim.stop(self._stop_bound_s) for victim in victims))
        await self._start(process)

    async def _start(self, process: Process) -> None:
        if not process.pending:  # unloaded meanwhile
            self.pump()
            return
        process.pending = False
        try:
            await process.start()
        except Refusal as error:
            self._fail(process, error)
        except Aborted:
            pass
        else:
            if process.ttl_s > 0:
                self._spawn(self._expire(process, process.starts))
        self.pump()
        self._changed()

    def _fail(self, process: Process, error: Refusal) -> None:
        for ticket in [t for t in self._queue if t.process is process]:
            self._queue.remove(ticket)
            ticket.settle(error)

    # unload

    async def unload(
        self,
        processes: Sequence[Process],
        *,
        why: str = "group: model unloaded",
        patience_s: float | None = None,
    ) -> None:
        """Stop these; nothing else is routed meanwhile. Who waits for them gets 500.

        Those with the shortest `unload_timeout_s` go first. `patience_s`: in place of it.
        """
        self._locks += 1
        try:
            for process in processes:
                process.pending = False
                self._fail(process, failed(why))
            for timeout_s in sorted({p.unload_timeout_s for p in processes}):
                chosen = [p for p in processes if p.unload_timeout_s == timeout_s]
                bound_s = timeout_s if patience_s is None else patience_s
                await asyncio.gather(*(p.stop(bound_s) for p in chosen))
        finally:
            self._locks -= 1
            self.pump()
            self._changed()

    async def _expire(self, process: Process, start: int) -> None:
        """Look each second whether it was idle for longer than its TTL."""
        while True:
            await self._clock.sleep(_TTL_LOOK_S)
            if process.starts != start or process.state != "ready":
                return
            if process.running:
                continue
            if process.last_use is None or self._clock.now() - process.last_use > process.ttl_s:
                await process.stop(process.unload_timeout_s)
                self.pump()
                return
