"""One accepted socket of a simulator: bytes in, bytes out, and the moment the client goes away."""

import asyncio
import socket
import struct
from collections.abc import Callable

_RST_ON_CLOSE = struct.pack("ii", 1, 0)  # l_onoff, l_linger: close() sends RST instead of FIN


class ClientGone(Exception):  # noqa: N818 - an outcome, not a mistake
    """The client closed its side, or the connection is over for another reason.

    Raised by every reader and writer. A route may let it pass: the simulator expects it.
    """


class MalformedRequestError(Exception):
    """The client sent something that is not HTTP/1.1."""


class Connection(asyncio.Protocol):
    """Buffers what arrives and tells at once when the client is gone, also while nobody reads.

    A client that shuts down only its sending side counts as gone, as it does for most servers.
    """

    def __init__(self, opened: Callable[["Connection"], None]) -> None:
        self.gone = asyncio.Event()
        self.lost = asyncio.Event()
        self.on_gone: Callable[[], None] | None = None
        self._opened = opened
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    # what the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a simulator listens on stream sockets only")
        self._transport = transport
        # asyncio does it only for sockets made with an explicit protocol number. Without it every
        # answer on a kept connection is 40 ms late.
        raw = transport.get_extra_info("socket")
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._arrived.set()

    def eof_received(self) -> bool:
        self._mark_gone()
        return False  # the loop closes our side too

    def connection_lost(self, exc: Exception | None) -> None:
        self._mark_gone()
        self.lost.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _mark_gone(self) -> None:
        self.gone.set()
        self._arrived.set()
        self._writable.set()
        if self.on_gone is not None:
            self.on_gone()

    # what the simulator calls

    async def wait_for_data(self, idle_s: float | None) -> bool:
        """Wait for the first byte of a request. False: none came in time, or the client left."""
        try:
            async with asyncio.timeout(idle_s):
                await self._more()
        except (TimeoutError, ClientGone):
            return False
        return True

    async def read_until(self, mark: bytes, limit: int) -> bytes:
        """Bytes up to and without `mark`.

        Raises:
            MalformedRequestError: No mark within `limit` bytes.
            ClientGone: The client left before the mark came.
        """
        while (at := self._buffer.find(mark)) < 0:
            if len(self._buffer) > limit:
                raise MalformedRequestError(f"no {mark!r} within {limit} bytes")
            await self._more(len(self._buffer))
        data = bytes(self._buffer[:at])
        del self._buffer[: at + len(mark)]
        return data

    async def read_exactly(self, size: int) -> bytes:
        """Raises ClientGone when the client leaves before `size` bytes have come."""
        while len(self._buffer) < size:
            await self._more(len(self._buffer))
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    async def _more(self, than: int = 0) -> None:
        while len(self._buffer) <= than:
            if self.gone.is_set():
                raise ClientGone
            self._arrived.clear()
            await self._arrived.wait()

    async def write(self, data: bytes) -> None:
        """Hand bytes to the socket; waits while the client does not read.

        Raises:
            ClientGone: Before, or while waiting.
        """
        if self.gone.is_set() or self._transport is None:
            raise ClientGone
        self._transport.write(data)
        await self._writable.wait()
        if self._transport.is_closing():  # the write failed; asyncio says so only in its log
            await self.lost.wait()
        if self.gone.is_set():
            raise ClientGone

    def close(self) -> None:
        """Send what is buffered, then FIN."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Forget what is buffered and close."""
        # One that is lost cannot be aborted: asyncio's transport has forgotten its loop by then.
        if self._transport is not None and not self.lost.is_set():
            self._transport.abort()

    def reset(self) -> None:
        """Close with RST: the client gets ECONNRESET."""
        if self._transport is None or self.lost.is_set():
            return
        raw = self._transport.get_extra_info("socket")
        if raw is not None and not self.gone.is_set():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
        self._transport.abort()
