"""The host for callers without an event loop: one thread with a loop, and a thin face."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from modelbay.errors import ModelbayError
from modelbay.host.host import Explanation, Host
from modelbay.host.streams import EventStream
from modelbay.models.catalog import Catalog, ModelInfo
from modelbay.models.chat import ChatRequest, ChatResult, Tool
from modelbay.models.events import StreamEvent, ToolCall
from modelbay.models.manage import Action, ManageEvent
from modelbay.models.media import (
    CompleteRequest,
    EmbedRequest,
    EmbedResult,
    ImageRequest,
    ImageResult,
    RerankRequest,
    RerankResult,
)
from modelbay.models.provider import ProviderConfig
from modelbay.refs import ModelRef

T = TypeVar("T")

BATCH_LIMIT = 1024  # events that may wait for a slow reader before the server is held back


class SyncHost:
    """`Host` for synchronous callers: ``with SyncHost.open() as host``.

    Every method is the one of `Host`; a stream is a context manager over a plain iterator. Any
    thread may call, except the host's own; a forked child must open a host of its own.
    """

    def __init__(self, make: Callable[[], Host]) -> None:
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="modelbay", daemon=True)
        self._thread.start()
        self._closed = False
        self._streams: set[SyncStream[Any]] = set()
        try:
            self._host = self._run(_made(make))
        except BaseException:
            self._stop()
            raise

    @classmethod
    def open(
        cls,
        *,
        providers: Sequence[ProviderConfig] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Self:
        """As `Host.open`."""
        return cls(lambda: Host.open(providers=providers, env=env))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the host and end its thread. Closing twice is harmless."""
        if self._closed:
            return
        for stream in tuple(self._streams):
            stream.close()
        self._run(self._host.aclose())
        self._closed = True
        self._stop()

    @property
    def catalog(self) -> Catalog:
        return self._host.catalog

    def refresh(self, provider_id: str | None = None, *, force: bool = False) -> Catalog:
        return self._run(self._host.refresh(provider_id, force=force))

    def resolve(self, model: ModelRef | str | None = None) -> ModelInfo:
        return self._run(self._host.resolve(model))

    def explain(self, model: ModelRef | str) -> Explanation:
        return self._run(self._host.explain(model))

    def chat(self, request: ChatRequest, *, deadline_s: float | None = None) -> ChatResult:
        return self._run(self._host.chat(request, deadline_s=deadline_s))

    def stream(
        self, request: ChatRequest, *, deadline_s: float | None = None
    ) -> "SyncStream[StreamEvent]":
        return SyncStream(self, lambda: self._host.stream(request, deadline_s=deadline_s))

    def complete(
        self, request: CompleteRequest, *, deadline_s: float | None = None
    ) -> "SyncStream[StreamEvent]":
        return SyncStream(self, lambda: self._host.complete(request, deadline_s=deadline_s))

    def manage(
        self, provider_id: str, action: Action, *, deadline_s: float | None = None
    ) -> "SyncStream[ManageEvent]":
        return SyncStream(
            self, lambda: self._host.manage(provider_id, action, deadline_s=deadline_s)
        )

    def tools(self) -> list[Tool]:
        return self._host.tools()

    def call_tool(self, call: ToolCall) -> str:
        return self._run(self._host.call_tool(call))

    def embed(self, request: EmbedRequest) -> EmbedResult:
        return self._run(self._host.embed(request))

    def rerank(self, request: RerankRequest) -> RerankResult:
        return self._run(self._host.rerank(request))

    def generate_image(self, request: ImageRequest) -> ImageResult:
        return self._run(self._host.generate_image(request))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run on the host's loop and wait; an interrupted wait cancels the work.

        Raises:
            ModelbayError: Called from the host's own thread, after a fork, or after `close`.
        """
        problem = None
        if self._closed:
            problem = "this host is closed"
        elif os.getpid() != self._pid:
            problem = "this host was opened before the process forked; open another in the child"
        elif threading.current_thread() is self._thread:
            problem = "a synchronous call in the host's own thread would wait for itself"
        if problem is not None:
            work.close()
            raise ModelbayError(problem, hint="use modelbay.Host where there is an event loop")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _made(make: Callable[[], Host]) -> Host:
    return make()


class SyncStream(Generic[T]):
    """A stream for a ``for`` loop; leaving the ``with`` block closes the request.

    Events cross the threads in batches: all that has come since the reader last looked.

    Attributes:
        ref: The model that answers, once it has been resolved.
    """

    def __init__(self, host: SyncHost, make: Callable[[], EventStream[T]]) -> None:
        self._host = host
        self._make = make
        self._stream: EventStream[T] | None = None
        self._pump: asyncio.Task[None] | None = None
        self._ready: list[T] = []
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._error: BaseException | None = None
        self._ended = False

    @property
    def ref(self) -> ModelRef | None:
        return None if self._stream is None else self._stream.ref

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        while True:
            batch = self._host._run(self._batch())
            if batch is None:
                return
            yield from batch

    def close(self) -> None:
        """Close the request towards the server."""
        if self._pump is not None and self in self._host._streams:
            self._host._run(self._aclose())

    async def _batch(self) -> list[T] | None:
        if self._pump is None:
            self._pump = asyncio.ensure_future(self._read())
            self._host._streams.add(self)
        while not self._ready and not self._ended:
            self._wake.clear()
            await self._wake.wait()
        if self._ready:
            batch, self._ready = self._ready, []
            self._room.set()
            return batch
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return None

    async def _read(self) -> None:
        try:
            self._stream = self._make()
            async with self._stream as events:
                async for event in events:
                    self._ready.append(event)
                    self._wake.set()
                    if len(self._ready) >= BATCH_LIMIT:
                        self._room.clear()
                        await self._room.wait()
        except Exception as exc:
            self._error = exc
        finally:
            self._ended = True
            self._host._streams.discard(self)
            self._wake.set()

    async def _aclose(self) -> None:
        assert self._pump is not None  # close looked
        self._host._streams.discard(self)
        self._pump.cancel()
        await asyncio.wait({self._pump})
