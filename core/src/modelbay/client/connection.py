"""One plain HTTP/1.1 connection: a request out, an answer in, as it comes off the socket.

The body is handed over in blocks, each as much as has arrived: nothing is done per chunk but what
the parser does in C. Reading stops while a caller is behind.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import cast

import httptools

from modelbay.outbox import Outbox

HEAD_LIMIT = 64 * 1024  # bytes of an answer's head; also of 1xx answers before it, and of trailers
BUFFER_LIMIT = 256 * 1024  # bytes of body that may wait for the caller
_SENDABLE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_NO_BODY = (204, 304)


class ConnectionBrokenError(Exception):
    """The connection ended before the answer did."""


class NotHttpError(Exception):
    """What came is no HTTP/1.1, or more of it than anybody needs."""


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time.

    Attributes:
        status: Of the answer; 0 until its head has come.
        headers: By lower-case name; several of one name are joined with a comma.
        parts: Body that nobody has taken yet.
        done: The answer is complete.
        used: Something has come since `send`.
        broken: Why nothing more will come.
        reusable: Another request may follow on this connection.
        idle_since: On the loop's clock; set by the pool.
        joined: What has arrived is handed over as one block; else one chunk at a time.
    """

    __slots__ = (
        "_drained",
        "_fields_size",
        "_head_size",
        "_is_head",
        "_is_lost",
        "_loop",
        "_parser",
        "_paused",
        "_raw_headers",
        "_size",
        "_until_close",
        "_waiter",
        "broken",
        "done",
        "headers",
        "idle_since",
        "joined",
        "on_body",
        "on_closed",
        "parts",
        "reusable",
        "status",
        "transport",
        "used",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.transport: asyncio.Transport | None = None
        self.on_closed: Callable[[Connection], None] | None = None
        self.broken: Exception | None = None
        self.parts: list[bytes] = []
        # The parser calls this for each chunk: straight into the list, without a frame of Python.
        self.on_body = self.parts.append
        self.idle_since = 0.0
        self.joined = True
        self.reusable = False
        self._waiter: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._paused = False
        self._is_lost = False
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._reset("")

    def _reset(self, method: str) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.done = False
        self.used = False
        self._raw_headers: list[tuple[bytes, bytes]] = []
        self._head_size = 0
        self._fields_size = 0
        self._size = 0
        self._is_head = method == "HEAD"
        self._until_close = False

    # --- out -------------------------------------------------------------------------------------

    async def send(
        self, method: str, head: bytes, content: bytes | None, outbox: Outbox, *, now: bool
    ) -> None:
        """Write a request; waits while the server takes its time reading it."""
        self._reset(method)
        transport = self.transport
        assert transport is not None  # connected before it is handed out
        outbox.write(transport, head if content is None else head + content, now=now)
        if self._drained is not None:
            await self._drained

    def pause_writing(self) -> None:
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    # --- in --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        if self.done or self.broken is not None:
            # Nobody asked for more: what comes now would be taken for the next answer.
            self._break(NotHttpError("bytes after the end of the answer"))
            return
        self.used = True
        if not self.status:
            self._head_size += len(data)
        assert self._parser is not None  # until it is lost
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._break(NotHttpError("the server wants to change the protocol"))
        except NotHttpError as exc:
            self._break(exc)
        except httptools.HttpParserCallbackError as exc:
            cause = exc.__context__
            self._break(cause if isinstance(cause, NotHttpError) else NotHttpError(str(exc)))
        except httptools.HttpParserError as exc:
            self._break(NotHttpError(str(exc)))
        else:
            if not self.status and self._head_size > HEAD_LIMIT:
                self._break(NotHttpError(f"a head of more than {HEAD_LIMIT} bytes"))
            elif self.parts and not self.done:
                self._size += len(data)
                if self._size > BUFFER_LIMIT and self.joined and not self._paused:
                    self._paused = True
                    assert self.transport is not None
                    self.transport.pause_reading()
        if self._is_head:
            self.parts.clear()  # nothing behind such a head is a body
        self._wake()

    def eof_received(self) -> None:
        if self._until_close and not self.done and self.broken is None:
            self.done = True
            self.reusable = False
        # Else `connection_lost` says what is missing.

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done and self.broken is None:
            reason = str(exc) if exc is not None else "the server closed it"
            self.broken = ConnectionBrokenError(reason)
        self.reusable = False
        self._is_lost = True
        self._parser = None  # it leads back here
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._wake()
        if self.on_closed is not None:
            self.on_closed(self)

    # --- what the parser finds -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.done:
            raise NotHttpError("a second answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields_size += len(name) + len(value) + 4
        if self._fields_size > HEAD_LIMIT:
            raise NotHttpError(f"header fields of more than {HEAD_LIMIT} bytes")
        if not self.status:  # else it is a trailer, which nobody asked for
            self._raw_headers.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None  # it is the one who calls
        status = self._parser.get_status_code()
        if status < 200:
            return
        headers: dict[str, str] = {}
        for raw_name, raw_value in self._raw_headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self.headers = headers
        self.status = status
        if self._is_head or status in _NO_BODY:
            # The parser would wait for a body that never comes.
            self.done = True
            self.reusable = False
            return
        self._until_close = "content-length" not in headers and (
            "chunked" not in headers.get("transfer-encoding", "").lower()
        )

    def on_message_complete(self) -> None:
        if not self.status:  # 100 Continue, 103 Early Hints
            self._raw_headers.clear()
            return
        if not self._is_head and self.status not in _NO_BODY:
            self.done = True
            assert self._parser is not None  # it is the one who calls
            self.reusable = self._parser.should_keep_alive() and not self._until_close

    # --- for the reader --------------------------------------------------------------------------

    def take(self) -> bytes:
        """The body that has arrived, as one block; empty if there is none."""
        parts = self.parts
        if not parts:
            return b""
        if not self.joined:
            return parts.pop(0)
        block = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._size = 0
        if self._paused:
            self._paused = False
            if self.transport is not None and not self.transport.is_closing():
                self.transport.resume_reading()
        return block

    async def wait(self) -> None:
        """Until something has come, or nothing will any more."""
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def close(self) -> None:
        """Close at once; the server sees the connection go."""
        self.reusable = False
        # One that is lost cannot be aborted: asyncio's transport has forgotten its loop by then.
        if self.transport is not None and not self._is_lost:
            self.transport.abort()

    @property
    def is_open(self) -> bool:
        return self.transport is not None and not self.transport.is_closing()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _break(self, exc: Exception) -> None:
        if not self.done and self.broken is None:
            self.broken = exc
        self.close()


def request_head(
    method: str, target: str, host: str, headers: Mapping[str, str], length: int | None
) -> bytes:
    """The head of a request.

    Raises:
        ValueError: A header cannot be sent. The text never shows its value.
    """
    fixed = _fixed_head(method, target, host, tuple(headers.items()))
    return fixed + b"\r\n" if length is None else b"%bContent-Length: %d\r\n\r\n" % (fixed, length)


@lru_cache(maxsize=256)
def _fixed_head(method: str, target: str, host: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    """What the requests of one provider to one address have in common; checked once."""
    lines = [f"{method} {target} HTTP/1.1"]
    if "host" not in {name.lower() for name, _ in headers}:  # the user's own wins
        lines.append(f"Host: {host}")
    for name, value in headers:
        if not _SENDABLE.fullmatch(value) or not _SENDABLE.fullmatch(name):
            raise ValueError(f"the header {name!r} holds a character that cannot be sent")
        lines.append(f"{name}: {value}")
    try:
        return "\r\n".join((*lines, "")).encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("the address holds a character that cannot be sent") from None
