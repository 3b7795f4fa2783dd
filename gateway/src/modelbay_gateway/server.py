"""The server under the application: uvicorn, with our limits and our way to stop."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from modelbay.errors import ConfigError
from modelbay_gateway.app import Gateway
from modelbay_gateway.limits import Limits

KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so that none is closed under them
GRACE_S = 5  # after the streams were told to end, what their last bytes may take
BACKLOG = 2048


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
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=round(limits.drain_s) + GRACE_S,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        bay = self._gateway.bay
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
    """The protocol, which counts the bytes of a head while they come.

    The parser itself collects a head of any length.
    """

    class Limited(HttpToolsProtocol):
        _heads = 0  # how many have begun
        _size = 0  # of the one that has not ended
        _is_open = False
        _is_between = True  # nothing of a message has been read that has not ended

        def data_received(self, data: bytes) -> None:
            heads, was_between = self._heads, self._is_between
            super().data_received(data)
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
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._is_open = False
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._is_between = True
            super().on_message_complete()

        def send_400_response(self, msg: str) -> None:
            self._refuse(400, "invalid_request", msg)

        def _refuse(self, status: int, code: str, message: str) -> None:
            error = {
                "message": message,
                "type": "invalid_request_error",
                "param": None,
                "code": code,
            }
            body = msgspec.json.encode({"error": error})
            head = (
                f"HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
            self.transport.close()

    return Limited
