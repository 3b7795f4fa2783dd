"""Whether a client is still there, for those who work for it."""

import asyncio
from collections.abc import Callable

from starlette.types import Receive

PRESENCE = "modelbay.presence"  # where our own server puts it in the scope


class Presence:
    """One client's connection, as those see it who work for it.

    Attributes:
        is_gone: Nobody is left to answer.

    Args:
        resume: Makes sure that the connection is read: else its end is not seen.
    """

    __slots__ = ("_leavers", "_resume", "is_gone")

    def __init__(self, resume: Callable[[], None] | None = None) -> None:
        self.is_gone = False
        self._resume = resume or _nothing
        self._leavers: list[Callable[[], None]] = []

    def watch(self, leave: Callable[[], None]) -> None:
        """Call this when the client goes, at once if it has gone."""
        if self.is_gone:
            leave()
            return
        self._leavers.append(leave)
        self._resume()

    def unwatch(self, leave: Callable[[], None]) -> None:
        if leave in self._leavers:
            self._leavers.remove(leave)

    def gone(self) -> None:
        """The client has gone."""
        self.is_gone = True
        self._resume = _nothing  # it leads to the connection, which leads here
        leavers, self._leavers = self._leavers, []
        for leave in leavers:
            leave()


def _nothing() -> None:
    pass


class Listening(Presence):
    """The same behind a server that tells an application of it by ``receive`` alone."""

    __slots__ = ("_receive", "_task")

    def __init__(self, receive: Receive) -> None:
        super().__init__()
        self._receive = receive
        self._task: asyncio.Task[None] | None = None

    def watch(self, leave: Callable[[], None]) -> None:
        super().watch(leave)
        if self._leavers and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._listen())

    def unwatch(self, leave: Callable[[], None]) -> None:
        super().unwatch(leave)
        if not self._leavers and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._task = None
        self.gone()
