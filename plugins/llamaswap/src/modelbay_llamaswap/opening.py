"""Wait for the head of an answer, and look at the server meanwhile."""

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Generic, Self, TypeVar

import anyio

from modelbay.context import ProviderContext
from modelbay.errors import BackendError

T = TypeVar("T")

_LEAVE_S = 5.0  # a host that is closing may have ended the work before it began


class Opening(Generic[T]):
    """Enters a context manager as the host's background work; whoever waits can do other things.

    A request for a model that is not in memory gets no byte until it is, which may take minutes.
    A task group in the generator that waits would be open across its ``yield``, so the host lends
    the task.

        async with Opening(provider, open_stream(...)) as opening:
            while not await opening.ready(1.0):
                ...
            response = opening.result()
    """

    def __init__(self, provider: ProviderContext, manager: AbstractAsyncContextManager[T]) -> None:
        self._provider = provider
        self._manager = manager
        self._scope = anyio.CancelScope()
        self._ended = anyio.Event()
        self._news = anyio.Event()
        self._value: list[T] = []
        self._error: Exception | None = None

    async def __aenter__(self) -> Self:
        self._provider.resources.start_soon(self._enter)
        return self

    async def ready(self, seconds: float) -> bool:
        """Wait, at most so long or until a `nudge`. True if `result` can be had."""
        with anyio.move_on_after(seconds):
            await self._news.wait()
        if not self._ended.is_set():
            self._news = anyio.Event()
        return self._ended.is_set()

    def nudge(self) -> None:
        """Whoever waits shall look at the server now."""
        self._news.set()

    def result(self) -> T:
        """What was entered, or the error it raised."""
        if self._error is not None:
            raise self._error
        if not self._value:
            raise BackendError("the host was closed", provider_id=self._provider.id)
        return self._value[0]

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._ended.is_set():
            self._scope.cancel()
            with anyio.move_on_after(_LEAVE_S, shield=True):
                await self._ended.wait()
        if self._value:
            await self._manager.__aexit__(kind, error, trace)

    async def _enter(self) -> None:
        try:
            with self._scope:
                self._value.append(await self._manager.__aenter__())
        except Exception as exc:
            self._error = exc
        finally:
            self._ended.set()
            self._news.set()
