"""A router's events, read beside a management call that waits for one of them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from modelbay.client.http import open_stream
from modelbay.context import ProviderContext
from modelbay.errors import BackendError
from modelbay.wire.sse import SSEDecoder
from modelbay_llamacpp.config import at
from modelbay_llamacpp.memory import memory
from modelbay_llamacpp.waiting import Pauses
from modelbay_llamacpp.wire import ModelEvent, decode_event

ROUTE = "models/sse"
_SUBSCRIBE_S = 2.0  # an answer's head takes milliseconds; polling does without it
_KEPT = 256  # events nobody has fetched yet; older ones are of no use to anybody

Concerns = Callable[[str], bool]


class Following:
    """Wakes whoever waits when the router says something, at the latest when a poll is due.

    Events are reasons to read the list again, never the outcome: some are lost, and one says
    ``download_finished`` of a repository that does not exist (trap 31).

    Args:
        concerns: Whether a model's events matter here.
    """

    def __init__(self, provider: ProviderContext, concerns: Concerns) -> None:
        self.scope = anyio.CancelScope()
        self._provider = provider
        self._concerns = concerns
        self._clock = provider.resources.monotonic
        self._pauses = Pauses()
        self._next_look = self._clock()
        self._pending: list[ModelEvent] = []
        self._news = anyio.Event()
        self._subscribed = anyio.Event()

    async def wait(self) -> tuple[list[ModelEvent], bool]:
        """What came since the last call, and whether it is time to read the list.

        Waits for an event, but no longer than until the next poll. Progress alone is no reason to
        read the list, or a download would be polled as often as it progresses.
        """
        if not self._pending:
            with anyio.move_on_after(self._next_look - self._clock()):
                await self._news.wait()
        self._news = anyio.Event()
        taken, self._pending = self._pending, []
        due = self._clock() >= self._next_look or not all(event.is_progress for event in taken)
        if due:
            self._next_look = self._clock() + self._pauses.next_s()
        return taken, due

    async def subscribed(self) -> None:
        """Wait until events arrive, or until it is clear that none will."""
        with anyio.move_on_after(_SUBSCRIBE_S):
            await self._subscribed.wait()

    async def read(self) -> None:
        """Subscribe and listen until the scope is cancelled or the server ends it."""
        provider = self._provider
        with self.scope:
            try:
                async with open_stream(
                    provider, "GET", at(provider, ROUTE), own_limits=True
                ) as response:
                    if response.status == 404:
                        memory(provider).lacking.add(ROUTE)  # a router older than June 2026
                    if response.status != 200:
                        return
                    self._subscribed.set()
                    sse = SSEDecoder()
                    async for block in response.blocks():
                        for data in sse.feed(block):
                            self._heard(decode_event(data))
            except BackendError:
                pass  # polling goes on without events, and meets the same server
            finally:
                self._subscribed.set()

    def _heard(self, event: ModelEvent | None) -> None:
        if event is not None and (event.model == "*" or self._concerns(event.model)):
            self._pending = [*self._pending[1 - _KEPT :], event]
            self._news.set()


@asynccontextmanager
async def following(provider: ProviderContext, concerns: Concerns) -> AsyncIterator[Following]:
    """Events from now on; on a router without them every `Following.wait` is a pause.

    The reader runs as the host's background work: reading here would mean a task group open across
    the caller's ``yield``, and a read that is cut off by a time limit loses its stream.
    """
    events = Following(provider, concerns)
    if ROUTE not in memory(provider).lacking:
        provider.resources.start_soon(events.read)
        await events.subscribed()
    try:
        yield events
    finally:
        events.scope.cancel()
