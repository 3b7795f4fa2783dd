"""Close what was opened, without hiding why."""

import asyncio
import logging
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")

LIMIT_S = 10.0  # what a stream may take to close

log = logging.getLogger("modelbay")


class closing(Generic[T]):  # noqa: N801 - reads like contextlib.aclosing, which it replaces
    """``async with closing(stream) as stream``: the stream is closed at the end, come what may.

    Unlike ``contextlib.aclosing`` it takes an iterator without ``aclose`` (then there is nothing
    to close), and an error raised while closing is logged instead of taking the place of the one
    on its way, a cancellation above all.
    """

    __slots__ = ("_stream",)

    def __init__(self, stream: AsyncIterator[T]) -> None:
        self._stream = stream

    async def __aenter__(self) -> AsyncIterator[T]:
        return self._stream

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        aclose = getattr(self._stream, "aclose", None)
        if aclose is None or getattr(self._stream, "ag_frame", self) is None:
            return  # nothing to close, or a generator that has ended
        try:
            async with asyncio.timeout(LIMIT_S):
                await aclose()
        except Exception:
            log.warning("a stream raised while it was closed", exc_info=True)
