"""Changes of the catalogue, for as long as somebody watches them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from modelbay.closing import closing
from modelbay.errors import ModelbayError
from modelbay.host.handles import ProviderHandle
from modelbay.host.registry import FAILURE_TTL_S, TTL_S, Registry
from modelbay.models.catalog import CatalogChange

log = logging.getLogger("modelbay")

POLL_S = 10.0  # between two looks at a local server that does not say when something changes
RETRY_S = 30.0  # before a plugin whose news ended is asked for them again
WAITING_LIMIT = 1000  # changes a slow watcher may have waiting


class Watching:
    """Looks at the providers while there are watchers, and tells each what has changed.

    Args:
        spawn: Runs a follower as a task that the host owns.
    """

    def __init__(
        self,
        registry: Registry,
        handles: Sequence[ProviderHandle],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._registry = registry
        self._handles = handles
        self._spawn = spawn
        self._watchers: set[asyncio.Queue[CatalogChange]] = set()
        self._followers: list[asyncio.Task[None]] = []

    async def changes(self) -> AsyncIterator[CatalogChange]:
        """Every change from now on. Endless: close it."""
        waiting: asyncio.Queue[CatalogChange] = asyncio.Queue(WAITING_LIMIT)
        self._enter(waiting)
        try:
            while True:
                yield await waiting.get()
        finally:
            await self._leave(waiting)

    def _enter(self, waiting: asyncio.Queue[CatalogChange]) -> None:
        self._watchers.add(waiting)
        if len(self._watchers) == 1:
            self._registry.listener = self._tell
            self._followers = [
                self._spawn(self._follow(handle))
                for handle in self._handles
                if handle.backend is not None
            ]

    async def _leave(self, waiting: asyncio.Queue[CatalogChange]) -> None:
        self._watchers.discard(waiting)
        if self._watchers:
            return
        self._registry.listener = None
        followers, self._followers = self._followers, []
        for follower in followers:
            follower.cancel()
        if followers:
            await asyncio.wait(followers)

    def _tell(self, changes: Sequence[CatalogChange]) -> None:
        for waiting in self._watchers:
            for change in changes:
                if waiting.full():
                    while not waiting.empty():
                        waiting.get_nowait()
                    waiting.put_nowait(CatalogChange(type="lost"))
                    break
                waiting.put_nowait(change)

    async def _follow(self, handle: ProviderHandle) -> None:
        """Look whenever the plugin says so; where it cannot say, look now and then."""
        backend = handle.require()
        await self._registry.refresh([handle.id], force=False)
        while True:
            if backend.offers("watch_models"):
                try:
                    async with closing(backend.watch_models()) as news:
                        async for _ in news:
                            await self._registry.refresh([handle.id], force=True)
                except ModelbayError as exc:
                    log.debug("provider '%s' tells no news: %s", handle.id, exc)
                await self._poll(handle, RETRY_S)
            else:
                await self._poll(handle, TTL_S)

    async def _poll(self, handle: ProviderHandle, for_s: float) -> None:
        spent_s = 0.0
        while spent_s < for_s:
            pause_s = self._pause_s(handle)
            await asyncio.sleep(pause_s)
            spent_s += pause_s
            await self._registry.refresh([handle.id], force=True)

    def _pause_s(self, handle: ProviderHandle) -> float:
        if self._registry.problem_of(handle.id) is not None:
            return FAILURE_TTL_S
        return POLL_S if handle.table is not None and handle.table.local else TTL_S
