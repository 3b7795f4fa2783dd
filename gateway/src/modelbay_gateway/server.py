"""The server under the application: uvicorn, with our connections and our way to stop."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import cast

import uvicorn

from modelbay.errors import ConfigError
from modelbay.outbox import Outbox
from modelbay_gateway.app import Gateway
from modelbay_gateway.connection import Connection, State

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
                http=_connections(gateway),
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


def _connections(gateway: Gateway) -> type[asyncio.Protocol]:
    """What uvicorn makes a connection with; it asks for a class, and calls it."""
    outbox = Outbox()

    def made(*, server_state: State, **_: object) -> Connection:
        loop = asyncio.get_running_loop()
        return Connection(gateway, gateway.bay.limits, outbox, server_state, loop)

    return cast("type[asyncio.Protocol]", made)
