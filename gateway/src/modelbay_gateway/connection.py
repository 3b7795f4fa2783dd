"""One client's connection: HTTP/1.1 requests in, answers out in their order, within our limits.

Why it is our own, and what it saves, says docs/decisions/0009-server-protocol.md.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, cast

import httptools
from starlette.types import ASGIApp, Scope

from modelbay.outbox import Outbox
from modelbay_gateway.exchange import Exchange
from modelbay_gateway.framing import first_lines, refused, target
from modelbay_gateway.limits import Limits
from modelbay_gateway.outgoing import WRITER
from modelbay_gateway.presence import PRESENCE, Presence

if TYPE_CHECKING:
    from modelbay_gateway.call import Header

log = logging.getLogger("modelbay.gateway")

KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so that none is closed under them
PIPELINED = 16  # requests that may wait on one connection for the answer before theirs
LET_PASS_BYTES = 64 * 1024 * 1024  # of a body that nobody reads, so that its sender sees the answer
UNREAD_BYTES = 64 * 1024  # of a body, before its application has asked for them


class State(Protocol):
    """What the connections of one server share.

    Attributes:
        connections: Those that are open.
        tasks: One of each request that is worked on.
        default_headers: Of every answer; a new list whenever it changes.
        total_requests: That were answered.
    """

    connections: set["Connection"]
    tasks: set["asyncio.Task[None]"]
    default_headers: list[tuple[bytes, bytes]]
    total_requests: int


class Connection(asyncio.Protocol):
    """A client's connection, which counts the bytes of a head while they come, and seconds.

    The parser itself collects a head of any length, and waits for one for ever.

    Attributes:
        is_behind: The client has not read what was sent.
    """

    __slots__ = (
        "_announced",
        "_answering",
        "_app",
        "_body",
        "_client",
        "_due",
        "_expects_continue",
        "_freed",
        "_headers",
        "_heads",
        "_is_between",
        "_is_last",
        "_is_open",
        "_is_skipping",
        "_latest",
        "_limits",
        "_outbox",
        "_parser",
        "_presence",
        "_queue",
        "_read_paused",
        "_server",
        "_size",
        "_state",
        "_timer",
        "_transport",
        "_unwanted",
        "_url",
        "_wait_s",
        "is_behind",
        "loop",
    )

    _transport: asyncio.Transport
    _presence: Presence

    def __init__(
        self,
        app: ASGIApp,
        limits: Limits,
        outbox: Outbox,
        state: State,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.loop = loop
        self.is_behind = False
        self._app = app
        self._limits = limits
        self._outbox = outbox  # of all connections
        self._state = state
        self._parser: httptools.HttpRequestParser | None = _parser_for(self)
        self._freed: list[Callable[[], None]] = []  # who waits until the client has read
        self._read_paused = False
        # Of the head that is being read.
        self._url = b""
        self._headers: list[Header] = []
        self._announced = 0  # bytes of its body
        self._expects_continue = False
        self._is_skipping = False  # it has a body that the parser has taken for something else
        # Where in the stream of requests it is.
        self._heads = 0  # how many have begun
        self._size = 0  # bytes of the one that has not ended
        self._is_open = False
        self._is_between = True  # nothing of a message has been read that has not ended
        self._body = 0  # bytes of the body so far
        self._unwanted = 0  # of those, which came after the answer
        self._is_last = False  # the answer ends the connection; the rest of the body is let pass
        self._latest: Exchange | None = None  # of the head that was read last
        self._answering: Exchange | None = None
        self._queue: list[tuple[Exchange, Scope]] = []
        # How long it waits.
        self._due: float | None = None  # on the loop's clock: when what has to come is too late
        self._wait_s = 0.0
        self._timer: asyncio.TimerHandle | None = None  # goes off at `_due` or before

    # --- the transport's words -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._state.connections.add(self)
        self._server = _address(transport.get_extra_info("sockname"))
        self._client = _address(transport.get_extra_info("peername"))
        self._presence = Presence(self.resume_reading)
        if len(self._state.connections) > self._limits.connections:
            self._refuse(503, "overloaded", "too many connections are open", "server_error")
            return
        self._wait(self._limits.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        for exchange in (self._latest, self._answering):
            if exchange is not None and not exchange.is_complete:
                exchange.leave()
        self._latest = self._answering = None
        self._queue.clear()
        self.resume_writing()
        self._presence.gone()
        self._parser = None  # it leads back here

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if parser is None or self._transport.is_closing():
            return
        heads, was_between = self._heads, self._is_between
        try:
            while True:
                try:
                    parser.feed_data(data)
                    break
                except httptools.HttpParserUpgrade as exc:
                    if parser.get_method() == b"CONNECT":
                        break  # what follows is for somebody else
                    parser = self._as_if_not_asked()
                    data = data[exc.args[0] :]
        except httptools.HttpParserError as exc:
            cause = exc.__context__
            if not isinstance(cause, httptools.HttpParserError | UnicodeDecodeError | None):
                log.error("a request could not be read", exc_info=cause)
            self._misunderstood()
            return
        self._wait_on()
        # Also a piece that holds the end of a message before may hold the beginning of a head; how
        # much of it, nobody says. The next piece is counted.
        is_all_of_it = self._heads == heads or (was_between and self._heads == heads + 1)
        if not (self._is_open and is_all_of_it):
            return
        self._size += len(data)
        if self._size > self._limits.head_bytes and not self._transport.is_closing():
            self._refuse(431, "headers_too_large", "the head of the request is too long")

    def _as_if_not_asked(self) -> httptools.HttpRequestParser:
        """A parser for the rest, after a request to change the protocol, which is ours to ignore.

        Java's client asks for HTTP/2 with every request. The parser takes what follows such a head
        for the other protocol, also where it is the request's body.
        """
        parser = self._parser = _parser_for(self)
        if self._is_skipping:
            size = self._announced
            body = b"content-length: %d" % size if size else b"transfer-encoding: chunked"
            parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % body)
            self._is_skipping = False
        return parser

    def eof_received(self) -> None:
        self._outbox.flush()  # the connection is closed behind it

    def pause_writing(self) -> None:
        self.is_behind = True

    def resume_writing(self) -> None:
        self.is_behind = False
        freed, self._freed = self._freed, []
        for call in freed:
            call()

    def when_free(self, call: Callable[[], None]) -> None:
        """Call this once, when the client has read what was sent, or is gone."""
        self._freed.append(call)

    # --- the parser's words ----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._is_skipping:
            self._headers = []
            return
        self._heads += 1
        self._size, self._is_open, self._is_between = 0, True, False
        self._body = self._unwanted = 0
        self._url = b""
        self._headers = []
        self._announced = 0
        self._expects_continue = False
        self._wait(self._limits.head_s)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._headers.append((name, value))
        if name == b"content-length":
            self._announced = int(value[:19]) if value.isdigit() else 0
        elif name == b"expect":
            self._expects_continue |= value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        if self._is_skipping:
            return
        self._is_open = False
        if self._is_last:
            self._close()  # there is no answer to this one any more
            return
        parser, headers = self._parser, self._headers
        assert parser is not None  # it is the one who calls
        version, method = parser.get_http_version(), parser.get_method().decode("ascii")
        if parser.should_upgrade() and method != "CONNECT":
            self._is_skipping = self._announced > 0 or any(
                name == b"transfer-encoding" for name, _ in headers
            )
        path, raw_path, query = target(self._url)
        exchange = Exchange(
            self,
            is_head=method == "HEAD",
            knows_chunks=version != "1.0",
            expects_continue=self._expects_continue,
            keep_alive=(
                version != "1.0"
                and method != "CONNECT"
                and self._announced <= self._limits.body_bytes
                and parser.should_keep_alive()
            ),
        )
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": self._server,
            "client": self._client,
            "scheme": "http",
            "root_path": "",
            "method": method,
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": headers,
            PRESENCE: self._presence,
            WRITER: exchange,
        }
        before, self._latest = self._latest, exchange
        if before is None or before.is_complete:
            self._start(exchange, scope)
        else:
            self._queue.append((exchange, scope))
            if len(self._queue) > PIPELINED:  # until then it is read on, to see the client go
                self._pause_reading()

    def on_body(self, body: bytes) -> None:
        exchange = self._latest
        assert exchange is not None  # its head came before
        self._body += len(body)
        if self._body > self._limits.body_bytes:
            exchange.keep_alive = False  # said with the answer, so that nobody sends a next
        if not exchange.is_complete:
            if exchange.feed(body) > UNREAD_BYTES:
                self._pause_reading()
            return
        self._unwanted += len(body)  # nobody reads it; a short rest is let pass
        if self._unwanted > LET_PASS_BYTES:
            self._close()

    def on_message_complete(self) -> None:
        if self._is_skipping:
            return
        exchange = self._latest
        assert exchange is not None  # its head came before
        self._is_between = True
        if exchange.is_complete:
            self._wait(KEEP_ALIVE_S)
        else:
            self._due = None
            exchange.end()
        if self._is_last:
            self._close()

    # --- answering -------------------------------------------------------------------------------

    def _start(self, exchange: Exchange, scope: Scope) -> None:
        self._answering = exchange
        task = self.loop.create_task(self._answer(exchange, scope))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    async def _answer(self, exchange: Exchange, scope: Scope) -> None:
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception:
            log.exception("the application failed")
        finally:
            if not (exchange.is_complete or exchange.is_gone):
                self._cut(exchange)

    def _cut(self, exchange: Exchange) -> None:
        """There is no end to this answer but that of the connection."""
        if exchange.has_begun:
            exchange.flush()
            self._close()
        else:
            self._refuse(500, "internal_error", "the gateway failed", "server_error")

    def completed(self, exchange: Exchange) -> None:
        """An answer has been sent; the next one may begin."""
        self._state.total_requests += 1
        self._answering = None
        if not exchange.keep_alive:
            self._end()
        if self._transport.is_closing():
            return
        self.resume_reading()
        if self._queue:
            self._start(*self._queue.pop(0))
        elif self._is_between:
            self._wait(KEEP_ALIVE_S)

    def first_lines(self, status: int) -> bytes:
        """What every answer of this status begins with."""
        return first_lines(status, tuple(self._state.default_headers))

    def write(self, data: bytes) -> None:
        """Send this, perhaps together with what other connections send."""
        if not self._transport.is_closing():
            self._outbox.write(self._transport, data, now=len(self._state.tasks) <= 1)

    def shutdown(self) -> None:
        """Close as soon as nothing is left to answer; the server's word for it."""
        self._outbox.flush()
        if self._latest is None or self._latest.is_complete:
            self._transport.close()
        else:
            self._latest.keep_alive = False

    def _close(self) -> None:
        self._outbox.flush()
        self._transport.close()

    def _end(self) -> None:
        """Close once the body has been read: closed before, the answer is lost on its way."""
        if self._is_between or not self._transport.can_write_eof():
            self._close()
            return
        self._is_last = True
        self._queue.clear()
        self._outbox.flush()
        self._transport.write_eof()
        self._wait(self._limits.head_s)

    def _pause_reading(self) -> None:
        if not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on, where it was paused; else nobody sees the client go."""
        if self._read_paused:
            self._read_paused = False
            self._transport.resume_reading()

    # --- what comes too late ---------------------------------------------------------------------

    def _wait_on(self) -> None:
        """Wait for what has to come next."""
        if self._is_last:
            return
        if not self._is_between:
            if not self._is_open:
                self._wait(self._limits.body_idle_s)
        elif self._latest is not None and self._latest.is_complete:
            late = self.loop.time() + self._limits.head_s  # it was empty lines that came
            if self._due is None or late < self._due:
                self._wait(self._limits.head_s)

    def _wait(self, seconds: float) -> None:
        """A timer is moved when it goes off: requests come and go far more often."""
        if self._transport.is_closing():
            return
        self._due, self._wait_s = self.loop.time() + seconds, seconds
        if self._timer is not None and self._timer.when() > self._due:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self.loop.call_at(self._due, self._waited)

    def _waited(self) -> None:
        self._timer = None
        if self._due is None or self._transport.is_closing():
            return
        if self.loop.time() < self._due:
            self._timer = self.loop.call_at(self._due, self._waited)
            return
        self._due = None
        if self._read_paused:  # it is not the client who keeps us waiting
            self._wait(self._wait_s)
        elif self._is_last or self._is_between or self._is_answering():
            self._close()
        else:
            self._refuse(408, "request_timeout", "the request did not come to its end")
            if self._latest is not None and not self._is_open:
                self._latest.leave()
                self._presence.gone()

    # --- refusing --------------------------------------------------------------------------------

    def _is_answering(self) -> bool:
        """Something of an answer has been sent that a word of ours would break."""
        if self._queue:
            return True
        latest = self._latest
        if latest is None or not latest.has_begun:
            return False
        return not (latest.is_complete and (self._is_open or self._is_between))

    def _misunderstood(self) -> None:
        if self._is_last or self._is_answering():
            self._close()
        else:
            self._refuse(400, "invalid_request", "Invalid HTTP request received.")

    def _refuse(
        self, status: int, code: str, message: str, kind: str = "invalid_request_error"
    ) -> None:
        """Answer without the application, and close."""
        if self._is_last or self._transport.is_closing():
            self._close()  # nothing can be said any more
            return
        self._due = None
        if self._latest is not None:
            self._latest.flush()
        self._outbox.flush()
        self._transport.write(refused(status, code, message, kind))
        self._transport.close()


def _parser_for(connection: Connection) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(connection)
    # Else what follows a request that ends its connection would spoil the answer to it.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def _address(told: object) -> tuple[str, int] | None:
    """Host and port of a socket's address; a path has none."""
    match told:
        case (str(host), int(port), *_):
            return host, port
    return None
