"""A client's connection without a socket: every byte and every pause is in a test's hand."""

import asyncio

from starlette.types import ASGIApp, Receive

from modelbay.outbox import Outbox
from modelbay_gateway.connection import Connection
from modelbay_gateway.limits import Limits

DATE = (b"date", b"today")
FIRST = b"HTTP/1.1 200 OK\r\ndate: today\r\n"


class Shared:
    """What the connections of one server share."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.default_headers = [DATE]
        self.total_requests = 0


class Wire(asyncio.Transport):
    """The other side of a connection: what was written, and whether it was closed.

    Attributes:
        sent: Bytes that were written.
        is_closed: By `close` or `write_eof`.
        is_paused: Nobody reads.
    """

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 80), "peername": ("127.0.0.1", 1234)})
        self.sent: bytes = b""
        self.is_closed = False
        self.has_said_all = False
        self.is_paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert (self.is_closed, self.has_said_all) == (False, False)
        self.sent += data

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.has_said_all = True

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


class Client:
    """A client of an application, with every byte in its hand."""

    def __init__(self, app: ASGIApp, limits: Limits | None = None) -> None:
        self.shared = Shared()
        self.wire = Wire()
        loop = asyncio.get_running_loop()
        self.connection = Connection(app, limits or Limits(), Outbox(), self.shared, loop)
        self.connection.connection_made(self.wire)

    async def send(self, *pieces: bytes) -> bytes:
        """Send these, each by itself; what has been answered since the last time."""
        for piece in pieces:
            self.connection.data_received(piece)
        await at_rest()
        sent = self.wire.sent
        self.wire.sent = b""
        return sent

    def leave(self) -> None:
        self.connection.connection_lost(None)


async def at_rest() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def read(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        body += message["body"]
        if not message["more_body"]:
            return body
