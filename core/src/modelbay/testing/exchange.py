"""One request and its answer: what a route of a simulator holds in its hand."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus

from modelbay.testing.connection import ClientGone, Connection
from modelbay.testing.fault import Fault
from modelbay.testing.ledger import Ledger
from modelbay.testing.request import Request

HeaderFields = Iterable[tuple[str, str]]
Route = Callable[["Exchange"], Awaitable[None]]


def dump_json(value: object) -> str:
    """JSON as servers written in C++ or Go send it: no spaces, UTF-8 as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Exchange:
    """One request, and the writers that answer it.

    An answer is either one of `json`, `text`, `send`, or a stream: `start_stream`, any number of
    `sse`, `sse_comment`, `ndjson`, `raw`, then `end` (which also happens when the route returns).

    Every writer raises `ClientGone` once the client is away; a route may let it pass.

    Attributes:
        request: What the client sent.
        params: Values of the ``{name}`` parts of the route's path, percent-decoded.
        headers: More header fields for the head of the answer, whoever writes it.
        disconnected: Set at the moment the client closes, also while the route sleeps.
        head_sent: Whether the status line is out.
    """

    def __init__(
        self,
        request: Request,
        connection: Connection,
        ledger: Ledger,
        *,
        keep_alive: str | None,
        fault: Fault | None = None,
    ) -> None:
        self.request = request
        self.params: Mapping[str, str] = {}
        self.headers: list[tuple[str, str]] = []
        self.disconnected = connection.gone
        self.head_sent = False
        self.complete = False
        self._connection = connection
        self._ledger = ledger
        self._keep_alive = keep_alive
        self._fault = fault if fault is not None else Fault()
        self._streaming = False
        self._chunked = False
        self._body_bytes = 0

    # whole answers

    async def json(
        self, value: object, status: int = 200, headers: HeaderFields = (), *, chunked: bool = False
    ) -> None:
        """Answer with JSON. `chunked`: without Content-Length, in one chunk."""
        body = dump_json(value).encode()
        await self.send(body, status, "application/json; charset=utf-8", headers, chunked=chunked)

    async def text(
        self, value: str, status: int = 200, content_type: str = "text/plain; charset=utf-8"
    ) -> None:
        await self.send(value.encode(), status, content_type)

    async def send(
        self,
        body: bytes,
        status: int = 200,
        content_type: str | None = None,
        headers: HeaderFields = (),
        *,
        chunked: bool = False,
    ) -> None:
        """Answer with these bytes.

        Raises:
            ClientGone: The client left.
        """
        self._chunked = chunked
        framing = [] if chunked else [("Content-Length", str(len(body)))]
        await self._send_head(status, content_type, [*headers, *framing])
        await self._send_body(body)
        await self._finish()

    # streams

    async def start_stream(
        self,
        content_type: str | None,
        chunked: bool = True,
        status: int = 200,
        headers: HeaderFields = (),
        length: int | None = None,
    ) -> None:
        """Send the head of a stream. Not `chunked`: the body ends where the connection does.

        Args:
            length: Bytes of the whole body, announced in the head; it is then not chunked.
        """
        self._chunked = chunked and length is None
        if length is not None:
            headers = [*headers, ("Content-Length", str(length))]
        elif not chunked:
            self._keep_alive = None
        await self._send_head(status, content_type, headers)
        self._streaming = True
        with self._ledger.changing():
            self._ledger.add("open_streams")
            self._ledger.add("streams_opened")
        self._connection.on_gone = self._lost_client

    async def sse(self, data: object, event: str | None = None) -> None:
        """Send one server-sent event; anything but a string goes out as JSON."""
        text = data if isinstance(data, str) else dump_json(data)
        name = "" if event is None else f"event: {event}\n"
        await self.raw(f"{name}data: {text}\n\n".encode())

    async def sse_comment(self, text: str = "") -> None:
        await self.raw(f":{text}\n\n".encode())

    async def ndjson(self, value: object) -> None:
        await self.raw(dump_json(value).encode() + b"\n")

    async def raw(self, data: bytes) -> None:
        """Send bytes of the body as they are (one chunk, if the stream is chunked)."""
        if not self.head_sent:
            raise RuntimeError("start_stream comes first")
        await self._send_body(data)

    async def end(self) -> None:
        """End the stream properly. A second call does nothing."""
        if not self.complete:
            await self._finish()

    def abort(self, *, reset: bool = False) -> None:
        """Break off: close without the last chunk, by FIN or RST. The server died, so to say."""
        self._close_stream(by_client=False)
        self._keep_alive = None
        if reset:
            self._connection.reset()
        else:
            self._connection.close()

    def leave(self) -> None:
        """The route is over, in whatever way: nothing of it stays counted."""
        self._close_stream(by_client=False)

    # waiting

    async def sleep(self, seconds: float) -> None:
        """Wait; `math.inf` is until the client goes.

        Raises:
            ClientGone: As soon as it does.
        """
        if seconds <= 0:
            await asyncio.sleep(0)
        else:
            try:
                async with asyncio.timeout(None if seconds == math.inf else seconds):
                    await self.disconnected.wait()
            except TimeoutError:
                return
        if self.disconnected.is_set():
            raise ClientGone

    async def wait_for(self, event: asyncio.Event) -> None:
        """Wait for an event.

        Raises:
            ClientGone: The client left first.
        """
        waits = [asyncio.ensure_future(e.wait()) for e in (event, self.disconnected)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not event.is_set():
            raise ClientGone

    # below: bytes

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request."""
        return self.complete and self._keep_alive is not None and not self.disconnected.is_set()

    async def _send_head(
        self, status: int, content_type: str | None, headers: HeaderFields
    ) -> None:
        if self.head_sent:
            raise RuntimeError("this exchange has its answer already")
        content_type = self._fault.content_type or content_type
        fields = [*self.headers, *headers]
        if content_type is not None:
            fields.append(("Content-Type", content_type))
        if self._chunked:
            if self.request.version == "HTTP/1.0":
                self._chunked, self._keep_alive = False, None
            else:
                fields.append(("Transfer-Encoding", "chunked"))
        if self._keep_alive is None:
            fields.append(("Connection", "close"))
        elif self._keep_alive:
            fields.append(("Keep-Alive", self._keep_alive))
        self.head_sent = True
        lines = [f"HTTP/1.1 {status} {_phrase(status)}", *(f"{n}: {v}" for n, v in fields)]
        await self._connection.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def _send_body(self, data: bytes) -> None:
        if self.request.method == "HEAD":
            return
        cut = self._fault.cut_after_bytes
        if cut is not None and self._body_bytes + len(data) > cut:
            await self._send_pieces(data[: cut - self._body_bytes])
            self._cut()
        await self._send_pieces(data)

    async def _send_pieces(self, data: bytes) -> None:
        rate = self._fault.drip_bytes_per_s
        size = self._fault.rechunk_bytes or len(data)
        if rate is not None and self._fault.rechunk_bytes is None:
            size = max(1, round(rate / 100))  # a piece each hundredth of a second
        for start in range(0, len(data), size or 1):
            piece = data[start : start + size]
            if rate is not None:
                await self.sleep(len(piece) / rate)
            self._body_bytes += len(piece)
            await self._connection.write(_chunk(piece) if self._chunked else piece)
            if rate is None and self._fault.rechunk_bytes is not None:
                await asyncio.sleep(0)

    async def _finish(self) -> None:
        if self._fault.cut_after_bytes is not None and self.request.method != "HEAD":
            self._cut()
        self._close_stream(by_client=False)
        if self._chunked and self.request.method != "HEAD":
            await self._connection.write(b"0\r\n\r\n")
        self.complete = True

    def _cut(self) -> None:
        self.abort(reset=self._fault.reset)
        raise ClientGone("cut by a fault")

    def _lost_client(self) -> None:
        self._close_stream(by_client=True)

    def _close_stream(self, *, by_client: bool) -> None:
        if not self._streaming:
            return
        self._streaming = False
        self._connection.on_gone = None
        with self._ledger.changing():
            self._ledger.add("open_streams", -1)
            if by_client:
                self._ledger.add("streams_closed_by_client")


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
