"""Connections to servers without TLS, kept for the next request and never shared by two.

What needs TLS or a proxy goes through the HTTP library; see docs/decisions/0006-transport.md.
"""

import asyncio
import base64
import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, unquote, urlsplit

from modelbay.client.connection import Connection, ConnectionBrokenError, request_head
from modelbay.outbox import Outbox

CONNECT_S = 5.0
# Some servers close an idle connection after 5 s; ours must be gone before that.
KEEPALIVE_S = 4.0
IDLE_LIMIT = 100  # connections kept for each server
HAPPY_EYEBALLS_S = 0.25

Origin = tuple[str, int]
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_ADDRESS = re.compile(r"[0-9.]+|.*:.*")  # of IPv4, of IPv6
_TARGET = re.compile(r"[!-~]*")


@lru_cache(maxsize=1024)
def _taken_apart(url: str) -> tuple[Origin, str, str, str]:
    """Where to connect, what stands in the Host header, the target, and who the address names.

    Raises:
        ValueError: It has no host, or a port that is none.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("the address has no host")
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    if not _TARGET.fullmatch(target):
        target = quote(target, safe=_PRINTABLE)
    user = ""
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        user = f"Basic {base64.b64encode(pair.encode()).decode()}"
    host = parts.netloc.rpartition("@")[2]
    return (parts.hostname, parts.port or 80), host, target, user


class ConnectTimeoutError(Exception):
    """No connection in time."""


class UnreachableError(Exception):
    """No connection; says why."""


class Answer:
    """An answer whose head has come; close it."""

    __slots__ = ("_connection", "_origin", "_pool")

    def __init__(self, pool: "Pool", origin: Origin, connection: Connection) -> None:
        self._pool = pool
        self._origin = origin
        self._connection = connection

    @property
    def status(self) -> int:
        return self._connection.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._connection.headers

    @property
    def ended(self) -> bool:
        return self._connection.done and not self._connection.parts

    async def block(self) -> bytes:
        """The next of the body, as much as has arrived; empty at its end.

        Raises:
            ConnectionBrokenError: It ended before its end.
            NotHttpError: What came is no HTTP.
        """
        connection = self._connection
        while True:
            block = connection.take()
            if block:
                return block
            if connection.broken is not None:
                raise connection.broken
            if connection.done:
                return b""
            await connection.wait()

    def close(self) -> None:
        """Give the connection back, or end it if the answer was not read to its end."""
        connection = self._connection
        if self.ended and connection.reusable:
            self._pool.give_back(self._origin, connection)
        else:
            connection.close()


class Pool:
    """Idle connections by server, and how to make more. Belongs to one event loop.

    Attributes:
        joined: What has arrived is handed over as one block. A test of where a stream may be cut
            turns it off, and sees the server's own chunks.
    """

    def __init__(self) -> None:
        self.joined = True
        self._idle: dict[Origin, list[Connection]] = {}
        self._open: set[Connection] = set()
        self._outbox = Outbox()
        self._timer: asyncio.TimerHandle | None = None

    async def request(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> Answer:
        """Send a request and wait for the head of its answer.

        It is sent a second time only if a connection that was kept turned out to be closed before
        the first byte of an answer.

        Raises:
            UnreachableError, ConnectTimeoutError: No connection.
            ConnectionBrokenError: It ended before an answer came.
            NotHttpError: What came is no HTTP.
            ValueError: The address or a header cannot be sent.
        """
        origin, host, target, user = _taken_apart(url)
        if user and "authorization" not in {name.lower() for name in headers}:
            headers = {**headers, "Authorization": user}
        length = len(content) if content is not None else 0 if method in ("POST", "PUT") else None
        head = request_head(method, target, host, headers, length)
        while True:
            connection, reused = self._take(origin), True
            if connection is None:
                connection, reused = await self._connect(origin), False
            try:
                await connection.send(method, head, content, self._outbox, now=self._is_alone)
                while not connection.status:
                    if connection.broken is not None:
                        raise connection.broken
                    await connection.wait()
            except ConnectionBrokenError:
                connection.close()
                if reused and not connection.used:
                    continue
                raise
            except BaseException:
                connection.close()
                raise
            return Answer(self, origin, connection)

    @property
    def _is_alone(self) -> bool:
        """One connection at most is in use."""
        return len(self._open) - sum(map(len, self._idle.values())) <= 1

    def _take(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        if not idle:
            return None
        now = asyncio.get_running_loop().time()
        while idle:
            connection = idle.pop()
            if connection.is_open and now - connection.idle_since < KEEPALIVE_S:
                return connection
            connection.close()
        return None

    async def _connect(self, origin: Origin) -> Connection:
        loop = asyncio.get_running_loop()
        host, port = origin

        def make() -> Connection:
            return Connection(loop)

        # To race for one address is waste; and one cancelled as it is won loses its socket.
        is_name = _ADDRESS.fullmatch(host) is None
        if is_name and isinstance(loop, asyncio.BaseEventLoop):
            connecting = loop.create_connection(
                make, host, port, happy_eyeballs_delay=HAPPY_EYEBALLS_S
            )
        else:  # uvloop tries the addresses of a name in turn, and does not know the argument
            connecting = loop.create_connection(make, host, port)
        try:
            async with asyncio.timeout(CONNECT_S):
                _, connection = await connecting
        except TimeoutError as exc:
            raise ConnectTimeoutError from exc
        except (OSError, UnicodeError) as exc:
            raise UnreachableError(str(exc) or type(exc).__name__) from exc
        connection.joined = self.joined
        self._open.add(connection)
        connection.on_closed = self._open.discard
        return connection

    def give_back(self, origin: Origin, connection: Connection) -> None:
        """Keep a connection for the next request."""
        idle = self._idle.setdefault(origin, [])
        if not connection.is_open or len(idle) >= IDLE_LIMIT:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        idle.append(connection)
        if self._timer is None:
            self._timer = loop.call_later(KEEPALIVE_S, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for too long."""
        self._timer = None
        loop = asyncio.get_running_loop()
        oldest: float | None = None
        for origin, idle in list(self._idle.items()):
            fresh = [c for c in idle if c.is_open and loop.time() - c.idle_since < KEEPALIVE_S]
            for connection in idle:
                if connection not in fresh:
                    connection.close()
            if fresh:
                self._idle[origin] = fresh
                oldest = min([c.idle_since for c in fresh] + ([] if oldest is None else [oldest]))
            else:
                del self._idle[origin]
        if oldest is not None:
            self._timer = loop.call_at(oldest + KEEPALIVE_S, self._sweep)

    async def aclose(self) -> None:
        """Close every connection, also of answers that are still being read."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._idle.clear()
        for connection in list(self._open):
            connection.close()
        for _ in range(3):  # abort() calls connection_lost in the loop's next turn
            if not self._open:
                break
            await asyncio.sleep(0)
