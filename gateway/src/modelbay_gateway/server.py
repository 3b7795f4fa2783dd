"""The server under the application: uvicorn, with our limits and our way to stop."""

import asyncio
import contextlib
import os
import signal
import socket
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from modelbay.errors import ConfigError
from modelbay.outbox import Outbox
from modelbay_gateway.app import Gateway
from modelbay_gateway.limits import Limits
from modelbay_gateway.presence import PRESENCE, Presence

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so that none is closed under them
GRACE_S = 5  # after the streams were told to end, what their last bytes may take
BACKLOG = 2048
PIPELINED = 16  # requests that may wait on one connection for the answer before theirs
LET_PASS_BYTES = 64 * 1024 * 1024  # of a body that nobody reads, so that its sender sees the answer


def listen(host: str, port: int) -> socket.socket:
    """A socket at this address; port 0 is any free one.

    Raises:
        ConfigError: Nobody can listen there.
    """
    made = None
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Named, since asyncio switches Nagle's algorithm off only where it stands there. With it
        # on, every answer to a connection in use comes 40 ms late.
        made = socket.socket(family, kind, socket.IPPROTO_TCP)
        if os.name == "posix":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(BACKLOG)
    except OSError as exc:
        if made is not None:
            made.close()
        raise ConfigError(
            f"nothing can listen at {host} port {port}: {exc.strerror or exc}",
            hint="modelbay serve --port 0   # any free port",
        ) from exc
    made.setblocking(False)
    return made


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The loop to serve on: uvloop's on the systems it is made for."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def address_of(listening: socket.socket) -> str:
    """The base address, as people type it."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class Server(uvicorn.Server):
    """Serves one gateway until it is told to stop.

    Told to stop, it takes no new connections and lets running streams go on for
    `Limits.drain_s`; then it ends them with an error.
    """

    def __init__(self, gateway: Gateway, *, on_started: Callable[[], None] = lambda: None) -> None:
        self._gateway = gateway
        self._on_started = on_started
        limits = gateway.bay.limits
        super().__init__(
            uvicorn.Config(
                gateway,
                http=_limited(limits),
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=round(limits.drain_s) + GRACE_S,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        bay = self._gateway.bay
        bay.end_feeds()
        timer = asyncio.get_running_loop().call_later(bay.limits.drain_s, bay.interrupt)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM stop it; the caller goes on afterwards, and can close what it has."""
        loop = asyncio.get_running_loop()
        caught = []
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, self.handle_exit, number, None)
            except (NotImplementedError, RuntimeError, ValueError):
                continue  # not on this system, or not in this thread
            caught.append(number)
        try:
            yield
        finally:
            for number in caught:
                loop.remove_signal_handler(number)


def _limited(limits: Limits) -> type[HttpToolsProtocol]:
    """The protocol, which counts connections, the bytes of a head while they come, and seconds.

    The parser itself collects a head of any length, and waits for one for ever.
    """

    outbox = Outbox()

    class Limited(HttpToolsProtocol):
        _heads = 0  # how many have begun
        _size = 0  # of the one that has not ended
        _is_open = False
        _is_between = True  # nothing of a message has been read that has not ended
        _body = 0  # bytes of the body so far
        _unwanted = 0  # of those, which came after the answer
        _is_last = False  # the answer ends the connection; the rest of the body is let pass
        _answered: RequestResponseCycle | None = None  # the request that is worked on
        _due: float | None = None  # on the loop's clock: when what has to come next is too late
        _wait_s = 0.0
        _timer: asyncio.TimerHandle | None = None  # goes off at `_due` or before

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._presence = Presence(self.flow.resume_reading)
            if len(self.connections) > limits.connections:
                self._refuse(503, "overloaded", "too many connections are open", "server_error")
                return
            self._wait(limits.head_s)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._timer is not None:
                self._timer.cancel()
            super().connection_lost(exc)
            if self._answered is not None:  # with several requests underway uvicorn tells the last
                self._answered.disconnected = True
                self._answered.message_event.set()
            self._presence.gone()

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            heads, was_between = self._heads, self._is_between
            super().data_received(data)
            self._wait_on()
            # Also a piece that holds the end of a message before may hold the beginning of a head;
            # how much of it, nobody says. The next piece is counted.
            is_all_of_it = self._heads == heads or (was_between and self._heads == heads + 1)
            if not (self._is_open and is_all_of_it):
                return
            self._size += len(data)
            if self._size > limits.head_bytes and not self.transport.is_closing():
                self._refuse(431, "headers_too_large", "the head of the request is too long")

        def on_message_begin(self) -> None:
            self._heads += 1
            self._size, self._is_open, self._is_between = 0, True, False
            self._body = self._unwanted = 0
            self._wait(limits.head_s)
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._is_open = False
            self.scope[PRESENCE] = self._presence  # type: ignore[literal-required] # one of ours
            super().on_headers_complete()
            self.cycle.transport = _Outgoing(self._write, self.transport, self._end)
            if 0 < len(self.pipeline) <= PIPELINED:
                self.flow.resume_reading()  # else nobody would see the client go
            if _announced(self.headers) > limits.body_bytes:
                self.cycle.keep_alive = False

        def on_body(self, body: bytes) -> None:
            self._body += len(body)
            if self._body > limits.body_bytes:
                self.cycle.keep_alive = False  # said with the answer, so that nobody sends a next
            if self.cycle.response_complete:  # nobody reads it; a short rest is let pass
                self._unwanted += len(body)
                if self._unwanted > LET_PASS_BYTES:
                    self._close()
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._is_between = True
            if self.cycle.response_complete:
                self._wait(KEEP_ALIVE_S)
            else:
                self._stop_waiting()
            super().on_message_complete()
            if self._is_last:
                self._close()

        def on_response_complete(self) -> None:
            # Uvicorn's own makes a timer for each request.
            self.server_state.total_requests += 1
            if self.transport.is_closing():
                return
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
            elif self._is_between and not self._is_last:
                self._wait(KEEP_ALIVE_S)

        def eof_received(self) -> None:
            outbox.flush()  # the connection is closed behind it
            super().eof_received()

        def shutdown(self) -> None:
            outbox.flush()
            super().shutdown()

        def _write(self, data: bytes) -> None:
            if not self.transport.is_closing():
                outbox.write(self.transport, data, now=len(self.tasks) <= 1)

        def _close(self) -> None:
            outbox.flush()
            self.transport.close()

        def _end(self) -> None:
            """Close once the body has been read: closed before, the answer is lost on its way."""
            if self._is_between or not self.transport.can_write_eof():
                self._close()
                return
            self._is_last = True
            outbox.flush()
            self.transport.write_eof()
            self._wait(limits.head_s)

        def _wait_on(self) -> None:
            """Wait for what has to come next."""
            if self._is_last:
                return
            if not self._is_between:
                if not self._is_open:
                    self._wait(limits.body_idle_s)
            elif self.cycle is not None and self.cycle.response_complete:
                late = self.loop.time() + limits.head_s  # it was empty lines that came
                if self._due is None or late < self._due:
                    self._wait(limits.head_s)

        def _wait(self, seconds: float) -> None:
            """A timer is moved when it goes off: requests come and go far more often."""
            if self.transport.is_closing():
                return
            self._due, self._wait_s = self.loop.time() + seconds, seconds
            if self._timer is not None and self._timer.when() > self._due:
                self._timer.cancel()
                self._timer = None
            if self._timer is None:
                self._timer = self.loop.call_at(self._due, self._waited)

        def _stop_waiting(self) -> None:
            self._due = None

        def _waited(self) -> None:
            self._timer = None
            if self._due is None or self.transport.is_closing():
                return
            if self.loop.time() < self._due:
                self._timer = self.loop.call_at(self._due, self._waited)
                return
            self._due = None
            cycle = self.cycle
            if self.flow.read_paused:  # it is not the client who keeps us waiting
                self._wait(self._wait_s)
            elif self._is_between or self._is_answering():
                self._close()
            else:
                self._refuse(408, "request_timeout", "the request did not come to its end")
                if cycle is not None and not self._is_open:
                    cycle.disconnected = True
                    cycle.message_event.set()
                    self._presence.gone()

        def _start_asgi_task(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
            self._answered = cycle
            super()._start_asgi_task(cycle, app)

        def _is_answering(self) -> bool:
            """Something of an answer has been sent that a word of ours would break."""
            if self.pipeline:
                return True
            cycle = self.cycle
            if cycle is None or not cycle.response_started:
                return False
            return not (cycle.response_complete and (self._is_open or self._is_between))

        def send_400_response(self, msg: str) -> None:
            if self._is_last or self._is_answering():
                self._close()
            else:
                self._refuse(400, "invalid_request", msg)

        def _refuse(
            self, status: int, code: str, message: str, kind: str = "invalid_request_error"
        ) -> None:
            self._stop_waiting()
            if self.cycle is not None and isinstance(self.cycle.transport, _Outgoing):
                self.cycle.transport.flush()
            error = {"message": message, "type": kind, "param": None, "code": code}
            body = msgspec.json.encode({"error": error})
            head = (
                f"HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\n"
                f"x-request-id: {uuid.uuid4().hex}\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            outbox.flush()
            self.transport.write(head.encode() + body)
            self.transport.close()

    return Limited


class _Outgoing(asyncio.Transport):
    """What one answer writes to.

    Its head waits for the first of its body, and both go out as one piece: to send is what costs
    most here. The end of the connection is somebody else's word.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        transport: asyncio.Transport,
        end: Callable[[], None],
    ) -> None:
        self._write = write
        self._transport = transport
        self._end = end
        self._head: bytes | None = None
        self._has_begun = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._head is not None:
            self.flush(bytes(data))
        elif self._has_begun:
            self._write(bytes(data))
        else:
            self._has_begun, self._head = True, bytes(data)
            asyncio.get_running_loop().call_soon(self.flush)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self.flush()
        self._end()

    def flush(self, more: bytes = b"") -> None:
        """Send what waits, and this."""
        head, self._head = self._head, None
        data = more if head is None else head + more
        if data:
            self._write(data)


def _announced(headers: list[tuple[bytes, bytes]]) -> int:
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value[:19])
    return 0
