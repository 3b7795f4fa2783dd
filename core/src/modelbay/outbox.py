"""What several connections send in one turn of the event loop, sent one right after the other."""

import asyncio
import logging

log = logging.getLogger("modelbay")

LARGE = 64 * 1024  # bytes; what is larger goes out at once, so that its connection can hold it back


class Outbox:
    """Holds small writes back until the loop's turn ends.

    A send wakes whoever reads at the other end, and that is most of its price. Between the work for
    other requests each would wake them anew; one right after the other they find them awake.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.WriteTransport, bytes]] = []

    def write(self, transport: asyncio.WriteTransport, data: bytes, *, now: bool) -> None:
        """Send this, and what was written before it first.

        Args:
            now: Nothing else is on its way that it could go out with.
        """
        if now or len(data) > LARGE:
            self.flush()
            transport.write(data)
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append((transport, data))

    def flush(self) -> None:
        """Send what waits; call it before a connection is closed."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for transport, data in waiting:
            if transport.is_closing():
                continue
            try:
                transport.write(data)
            except Exception:  # the others' must not be lost with it
                log.exception("a connection cannot be written to")
                transport.abort()
