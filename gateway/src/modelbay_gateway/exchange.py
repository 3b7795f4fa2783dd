"""One request of a connection and its answer, as an application sees them."""

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from starlette.types import Message

if TYPE_CHECKING:
    from modelbay_gateway.call import Header
    from modelbay_gateway.connection import Connection

_NO_BODY = (204, 304)
_FIELDS = re.compile(rb"(?:[!#-'*+.^_`|~0-9A-Za-z-]+: [^\x00-\x08\x0a-\x1f\x7f]*\r\n)*")


class Exchange:
    """One request and its answer, towards an application: ASGI's ``receive`` and ``send``.

    Attributes:
        has_begun: Something of the answer was sent.
        is_complete: All of it was.
        is_gone: Nobody is left to answer.
        keep_alive: Another request may follow on the connection.
    """

    __slots__ = (
        "_arrived",
        "_body",
        "_connection",
        "_expects_continue",
        "_has_news",
        "_head",
        "_is_chunked",
        "_is_head",
        "_is_whole",
        "_knows_chunks",
        "_left",
        "_unread",
        "has_begun",
        "is_complete",
        "is_gone",
        "keep_alive",
    )

    def __init__(
        self,
        connection: "Connection",
        *,
        is_head: bool,
        knows_chunks: bool,
        expects_continue: bool,
        keep_alive: bool,
    ) -> None:
        self.has_begun = False
        self.is_complete = False
        self.is_gone = False
        self.keep_alive = keep_alive
        self._connection = connection
        self._is_head = is_head
        self._knows_chunks = knows_chunks  # HTTP/1.0 does not
        self._expects_continue = expects_continue
        self._body: list[bytes] = []
        self._unread = 0  # bytes of it
        self._is_whole = False
        self._has_news = False  # something of the body, or its end, that was not handed on
        self._arrived: asyncio.Future[None] | None = None
        self._head: bytes | None = None  # waits for the first of the body: one send for both
        self._is_chunked = False
        self._left: int | None = None  # bytes of the body that were announced and are still to come

    # --- in --------------------------------------------------------------------------------------

    def feed(self, part: bytes) -> int:
        """More of the body; how many bytes lie unread."""
        self._body.append(part)
        self._unread += len(part)
        self._tell()
        return self._unread

    def end(self) -> None:
        """The body is there."""
        self._is_whole = True
        self._tell()

    def leave(self) -> None:
        """Nobody is left to answer."""
        self.is_gone = True
        self._tell()

    def _tell(self) -> None:
        self._has_news = True
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def receive(self) -> Message:
        """ASGI's: more of the body, or ``http.disconnect`` once nothing more can be done."""
        if self._expects_continue:
            self._expects_continue = False
            if not (self.has_begun or self.is_gone):
                self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self._has_news or self.is_gone or self.is_complete):
            self._connection.resume_reading()
            if self._arrived is None or self._arrived.done():
                self._arrived = self._connection.loop.create_future()
            await self._arrived
        if self.is_gone or self.is_complete:
            return {"type": "http.disconnect"}
        self._has_news = False
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        self._unread = 0
        return {"type": "http.request", "body": body, "more_body": not self._is_whole}

    # --- out -------------------------------------------------------------------------------------

    @property
    def is_free(self) -> bool:
        return not self._connection.is_behind

    def when_free(self, call: Callable[[], None]) -> None:
        self._connection.when_free(call)

    async def sent(self) -> None:
        """All is on its way, but for what the system sends."""

    async def aclose(self) -> None:
        """Nothing waits here."""

    async def send(self, message: Message) -> None:
        """ASGI's; waits while the client reads slowly."""
        while self._connection.is_behind and not self.is_gone:
            freed = self._connection.loop.create_future()
            self._connection.when_free(partial(_set, freed))
            await freed
        self.write(message)

    def write(self, message: Message) -> None:
        """The same without waiting.

        Raises:
            RuntimeError: The message may not come now, or cannot be sent.
        """
        if self.is_gone:
            return
        if message["type"] == "http.response.body":
            self._send_body(message.get("body", b""), is_last=not message.get("more_body", False))
        elif message["type"] == "http.response.start":
            self._send_head(message["status"], message.get("headers", ()))
        else:
            raise RuntimeError(f"there is nothing to do about {message['type']}")

    def _send_head(self, status: int, headers: "list[Header]") -> None:
        if self.has_begun:
            raise RuntimeError("the answer has begun already")
        lines: list[bytes] = []
        announced: int | None = None
        for name, value in headers:
            lines.append(b"%b: %b" % (name, value))
            if name == b"content-length":
                announced = int(value)
            elif name == b"connection" and value.lower() == b"close":
                self.keep_alive = False
        self._left = announced
        if self._is_head or status in _NO_BODY:
            self._left = 0
        elif announced is None and self._knows_chunks:
            self._is_chunked = True
            lines.append(b"transfer-encoding: chunked")
        elif announced is None:
            self.keep_alive = False  # the end of the connection is the end of the body
        if not (self.keep_alive or (b"connection", b"close") in headers):
            lines.append(b"connection: close")
        lines.append(b"")
        fields = b"\r\n".join(lines)
        if fields.count(b"\n") != len(lines) - 1 or not _FIELDS.fullmatch(fields):
            raise RuntimeError("a header of the answer holds what no header may hold")
        self.has_begun = True
        self._expects_continue = False
        self._head = b"%b%b\r\n" % (self._connection.first_lines(status), fields)
        if announced is None:  # else the body follows at once
            self._connection.loop.call_soon(self.flush)

    def _send_body(self, body: bytes, *, is_last: bool) -> None:
        if not self.has_begun or self.is_complete:
            raise RuntimeError("nothing of a body may come now")
        data = body
        if self._is_chunked:
            data = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if is_last:
                data += b"0\r\n\r\n"
        elif self._is_head:
            data = b""
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (is_last and self._left):
                raise RuntimeError("the body is not as long as was announced")
        self.flush(data)
        if is_last:
            self.is_complete = True
            self._tell()
            self._connection.completed(self)

    def flush(self, more: bytes = b"") -> None:
        """Send the head, if it waits, and this."""
        head, self._head = self._head, None
        data = more if head is None else head + more
        if data:
            self._connection.write(data)


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
