"""``GET /api/events``: frames that hold JSON in a JSON string."""

import asyncio
from collections.abc import Callable, Iterable

from modelbay_llamaswap.simulator.gojson import go_json

Opening = Callable[[], Iterable[tuple[str, object]]]
_BUFFER = 1024  # messages; slow readers lose what does not fit


def frame(kind: str, data: object) -> bytes:
    """One frame, byte for byte: no space after the colons, no id, no retry."""
    envelope = {"type": kind, "data": go_json(data).decode()}
    return b"event:message\ndata:" + go_json(envelope) + b"\n\n"


class EventHub:
    """Everybody who listens."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Queue[bytes | None]] = set()

    @property
    def listeners(self) -> int:
        return len(self._listeners)

    def emit(self, kind: str, data: object) -> None:
        if not self._listeners:
            return
        message = frame(kind, data)
        for queue in self._listeners:
            if queue.qsize() < _BUFFER:
                queue.put_nowait(message)

    def close(self) -> None:
        """End all streams, as a reload does."""
        for queue in self._listeners:
            queue.put_nowait(None)

    def listen(self) -> "asyncio.Queue[bytes | None]":
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._listeners.add(queue)
        return queue

    def unlisten(self, queue: "asyncio.Queue[bytes | None]") -> None:
        self._listeners.discard(queue)
