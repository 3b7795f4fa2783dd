"""Who may ask a provider now, and who waits: fair between clients, and separate for providers."""

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from modelbay.errors import BackendBusyError, RateLimitedError
from modelbay_gateway.limits import Limits

_RETRY_ACTION_S = 5.0


@dataclass(slots=True)
class _Gate:
    """One provider's places, and the queues of the clients that wait for one."""

    active: int = 0
    waiting: int = 0
    queues: "OrderedDict[str, deque[asyncio.Future[None]]]" = field(default_factory=OrderedDict)


class Admission:
    """Places at providers.

    A provider at its limit lets requests wait. Places that come free go round the clients in turn,
    so that one with a thousand requests does not keep another's first one waiting. Providers share
    nothing here: a slow one fills its own queue.

    Management takes no place of these: a download may go on for hours. It has a few of its own, and
    nobody waits for one, since what was to be loaded a minute ago may not be wanted any more.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._gates: dict[str, _Gate] = {}
        self._managing: dict[str, Counter[str]] = {}  # by provider, then by client

    def active(self, provider_id: str) -> int:
        """How many requests the provider works on."""
        gate = self._gates.get(provider_id)
        return 0 if gate is None else gate.active

    def waiting(self, provider_id: str) -> int:
        """How many requests wait for it."""
        gate = self._gates.get(provider_id)
        return 0 if gate is None else gate.waiting

    def managing(self, provider_id: str) -> int:
        """How many management actions are at work at the provider."""
        return self._managing.get(provider_id, Counter()).total()

    @contextmanager
    def action(self, provider_id: str, client: str) -> Iterator[None]:
        """Hold one of the few places for management for as long as the block runs.

        Raises:
            RateLimitedError: This client has too many actions at work there already (429).
            BackendBusyError: All of them together are too many (503).
        """
        clients = self._managing.setdefault(provider_id, Counter())
        if clients[client] >= self._limits.managing_per_client:
            raise RateLimitedError(
                f"{clients[client]} of your actions are at work at provider '{provider_id}'",
                provider_id=provider_id,
                retry_after_s=_RETRY_ACTION_S,
                hint="wait until one of them has ended",
            )
        if clients.total() >= self._limits.managing:
            raise BackendBusyError(
                f"{clients.total()} actions are at work at provider '{provider_id}'",
                provider_id=provider_id,
                retry_after_s=_RETRY_ACTION_S,
                hint="send the action again later",
            )
        clients[client] += 1
        try:
            yield
        finally:
            clients[client] -= 1
            if not clients[client]:
                del clients[client]
            if not clients:
                del self._managing[provider_id]

    @asynccontextmanager
    async def place(self, provider_id: str, client: str) -> AsyncIterator[None]:
        """Hold a place for as long as the block runs; errors as in `enter`."""
        await self.enter(provider_id, client)
        try:
            yield
        finally:
            self.leave(provider_id)

    async def enter(self, provider_id: str, client: str) -> None:
        """Take a place; whoever has one gives it back with `leave`.

        Raises:
            RateLimitedError: This client has too many requests waiting already (429).
            BackendBusyError: The queue is full, or the wait was too long (503).
        """
        gate = self._gates.get(provider_id)
        if gate is None:
            gate = self._gates[provider_id] = _Gate()
        if gate.active < self._limits.active:
            gate.active += 1
        else:
            await self._wait(gate, provider_id, client)

    async def _wait(self, gate: _Gate, provider_id: str, client: str) -> None:
        """Return with a place taken."""
        limits = self._limits
        if gate.waiting >= limits.waiting:
            raise BackendBusyError(
                f"{gate.waiting} requests wait for provider '{provider_id}' already",
                provider_id=provider_id,
                retry_after_s=_patience(limits),
                hint="send the request again later",
            )
        own = gate.queues.get(client)
        if own is not None and len(own) >= limits.waiting_per_client:
            raise RateLimitedError(
                f"{len(own)} of your requests wait for provider '{provider_id}' already",
                provider_id=provider_id,
                retry_after_s=_patience(limits),
                hint="send fewer requests at the same time",
            )
        if own is None:
            own = gate.queues[client] = deque()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        own.append(turn)
        gate.waiting += 1
        try:
            async with asyncio.timeout(limits.waiting_s):
                await turn
        except BaseException as exc:
            if turn.done() and not turn.cancelled():
                self.leave(provider_id)  # the place came in the moment the wait ended
            else:
                gate.waiting -= 1
                self._forget(gate, client, turn)
            if isinstance(exc, TimeoutError):
                raise BackendBusyError(
                    f"provider '{provider_id}' had no place free for {limits.waiting_s:g} s",
                    provider_id=provider_id,
                    retry_after_s=_patience(limits),
                    hint="send the request again later",
                ) from None
            raise

    def leave(self, provider_id: str) -> None:
        """Give the place to the next client's oldest request, or back."""
        gate = self._gates[provider_id]
        while gate.queues:
            client, queue = gate.queues.popitem(last=False)
            turn = queue.popleft()
            if queue:
                gate.queues[client] = queue  # its next one comes after everybody else's
            if not turn.done():
                gate.waiting -= 1
                turn.set_result(None)
                return
        gate.active -= 1
        if not gate.active:
            del self._gates[provider_id]

    @staticmethod
    def _forget(gate: _Gate, client: str, turn: "asyncio.Future[None]") -> None:
        queue = gate.queues.get(client)
        if queue is None or turn not in queue:
            return  # it was passed over already, since nobody waited there any more
        queue.remove(turn)
        if not queue:
            del gate.queues[client]


def _patience(limits: Limits) -> float:
    return min(5.0, limits.waiting_s)
