"""A pretended server for tests: real HTTP/1.1 on a real loopback socket, routes in a few lines.

    with Simulator() as sim:

        @sim.route("GET", "/v1/models")
        async def models(exchange: Exchange) -> None:
            await exchange.json({"object": "list", "data": []})

        ...  # point a client at sim.base_url

It runs in a thread of its own with an event loop of its own, so a client that blocks its loop does
not block the server, and sync tests, async tests and command-line programs can all talk to it.

Subclass it for a server with behaviour: register routes in ``__init__``, override `admit` for
checks that come before routing and `no_route` for the answer to an unknown path. All state that
routes use is then touched by one thread only; tests reach it through `call`.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import unquote

from modelbay.testing.connection import Connection
from modelbay.testing.exchange import Exchange, Route
from modelbay.testing.fault import ArmedFault, Fault
from modelbay.testing.ledger import Ledger
from modelbay.testing.request import ClientGone, MalformedRequestError, Request, read_request

__all__ = ["ClientGone", "Exchange", "Fault", "Request", "Route", "Simulator", "SimulatorError"]

_T = TypeVar("_T")
_MEGABYTE = 1_000_000
_PATIENCE_S = 10.0  # for our own thread; only a bug makes it wait


class SimulatorError(Exception):
    """A route failed; the cause is what it raised."""


class Simulator:
    """A server on 127.0.0.1.

    Args:
        port: A fixed port, or 0 for any free one. A simulator that is started again takes the same
            port as before, so reconnecting can be tested.
        prefix: Path under which all routes live, such as "/llm"; part of `base_url`.
        keep_alive_s: How long an idle connection is kept, in seconds; None for ever, 0 not at all.
        max_requests: Requests on one connection before it is closed; None without limit.

    Leaving a ``with`` block raises `SimulatorError` if a route raised anything but `ClientGone`.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        prefix: str = "",
        keep_alive_s: float | None = 5.0,
        max_requests: int | None = 100,
    ) -> None:
        self._port = port
        self._prefix = prefix.rstrip("/")
        self._keep_alive_s = keep_alive_s
        self._max_requests = max_requests
        self._routes: list[tuple[str, list[str], Route]] = []
        self._faults: list[ArmedFault] = []
        self._faults_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.ledger = Ledger()

    # start and stop

    def start(self) -> Self:
        """Open the port and serve. Returns itself, ready.

        Raises:
            OSError: The port is taken.
            RuntimeError: It is running already.
        """
        if self._thread is not None:
            raise RuntimeError("the simulator is running")
        listener = socket.create_server(("127.0.0.1", self._port), backlog=256)
        self._port = int(listener.getsockname()[1])
        ready = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listener, ready)),
            name=f"{type(self).__name__}:{self._port}",
            daemon=True,  # a test that forgets to stop it must not hang the whole run
        )
        self._thread.start()
        if not ready.wait(_PATIENCE_S):
            raise RuntimeError("the simulator's thread did not come up")
        return self

    def stop(self) -> None:
        """Close port, connections, running routes and thread. A second call does nothing."""
        thread, loop, stopping = self._thread, self._loop, self._stopping
        if thread is None or loop is None or stopping is None:
            return
        loop.call_soon_threadsafe(stopping.set)
        thread.join(_PATIENCE_S)
        if thread.is_alive():
            raise RuntimeError("the simulator's thread did not end")
        self._thread = self._loop = self._stopping = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if error is None and self.errors:
            raise SimulatorError(f"a route raised {self.errors[0]!r}") from self.errors[0]

    async def __aenter__(self) -> Self:
        return self.start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    @property
    def port(self) -> int:
        """The port, once started."""
        return self._port

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:PORT`` plus the prefix, without a slash at the end."""
        if not self._port:
            raise RuntimeError("start the simulator first: it has no port yet")
        return f"http://127.0.0.1:{self._port}{self._prefix}"

    # routes

    def route(self, method: str, path: str) -> Callable[[Route], Route]:
        """Register a route, as a decorator or by calling the result.

        ``{name}`` stands for one part of the path, ``{name...}`` at the end for all that remain;
        `Exchange.params` has the values. Of two routes that match, the younger one answers, so a
        test may replace a route of a ready-made simulator. HEAD is answered by GET routes.
        """

        def register(route: Route) -> Route:
            self._routes.append((method, path.strip("/").split("/"), route))
            return route

        return register

    async def admit(self, exchange: Exchange) -> bool:
        """Called before routing. Return False after answering; then no route is asked."""
        return True

    async def no_route(self, exchange: Exchange, *, path_known: bool) -> None:
        """Answer what nothing is registered for; `path_known`: only the method is wrong."""
        await exchange.json({"error": "not found"}, 405 if path_known else 404)

    # faults

    def inject(
        self,
        fault: Fault,
        *,
        method: str | None = None,
        path: str | None = None,
        times: int | None = None,
        after: int = 0,
    ) -> None:
        """Arm a fault for requests with this method and decoded path (prefix included).

        None matches all. Of several armed faults the oldest that matches is taken.

        Args:
            path: As a route has it: ``{name}`` stands for one part, ``{name...}`` for the rest.
            times: For how many requests, None for every one until `clear_faults`.
            after: How many that match are left alone first: ``after=2, times=1`` is the third.
        """
        with self._faults_lock:
            self._faults.append(ArmedFault(fault, method, path, times, after))

    def clear_faults(self) -> None:
        with self._faults_lock:
            self._faults.clear()

    def _take_fault(self, request: Request) -> Fault | None:
        with self._faults_lock:
            for at, armed in enumerate(self._faults):
                if not armed.matches(request.method, request.path):
                    continue
                if armed.after:
                    self._faults[at] = armed.spared()
                    continue
                left = armed.used()
                self._faults[at : at + 1] = [] if left is None else [left]
                return armed.fault
        return None

    # what was seen

    @property
    def requests(self) -> list[Request]:
        """All requests so far, oldest first, with headers and bodies."""
        return self.ledger.requests

    @property
    def errors(self) -> list[Exception]:
        """What routes raised, `ClientGone` aside."""
        return self.ledger.errors

    @property
    def open_connections(self) -> int:
        return self.ledger.count("open_connections")

    @property
    def open_streams(self) -> int:
        """Streams begun and neither ended nor left by their client."""
        return self.ledger.count("open_streams")

    @property
    def streams_opened(self) -> int:
        return self.ledger.count("streams_opened")

    @property
    def streams_closed_by_client(self) -> int:
        """Streams whose client went away before the end."""
        return self.ledger.count("streams_closed_by_client")

    def wait_until(self, predicate: Callable[[], bool], timeout_s: float = 5.0) -> None:
        """Block the calling thread until the predicate holds; it is asked after every change.

        Raises:
            TimeoutError: It did not hold in time.
        """
        self.ledger.wait_until(predicate, timeout_s)

    async def wait_until_async(self, predicate: Callable[[], bool], timeout_s: float = 5.0) -> None:
        """`wait_until` for a coroutine under asyncio; its loop stays free.

        Raises:
            TimeoutError: It did not hold in time.
        """
        await self.ledger.wait_until_async(predicate, timeout_s)

    def call(self, function: Callable[[], _T]) -> _T:
        """Run a function in the simulator's thread, where routes run, and return its result."""
        if self._loop is None:
            raise RuntimeError("the simulator is not running")

        async def run() -> _T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(_PATIENCE_S)

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run something beside the routes, at most until the simulator stops. From routes only."""
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Ended before its first step, it would complain that nobody had awaited it.
        task.add_done_callback(lambda _: work.close())
        return task

    def crash(self) -> None:
        """Close port and connections, as a dying process does. From routes, or by `call`."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self._connections):
            connection.on_gone = None
            connection.abort()

    # below: the simulator's own thread

    async def _serve(self, listener: socket.socket, ready: threading.Event) -> None:
        loop = asyncio.get_running_loop()
        self._loop, self._stopping = loop, asyncio.Event()
        self._server = await loop.create_server(lambda: Connection(self._opened), sock=listener)
        await self.on_start()
        ready.set()
        await self._stopping.wait()
        for task in tuple(self._tasks):
            task.cancel()
        self.crash()  # before waiting: a client that does not read would hold its task for ever
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def on_start(self) -> None:
        """Called in the simulator's thread when the port is open, before `start` returns."""

    def _opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        self.ledger.add("open_connections")
        self.spawn(self._attend(connection))

    async def _guarded(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except ClientGone:
            pass
        except Exception as exc:  # whatever it is, the test must hear of it
            self.ledger.failed(exc)

    async def _attend(self, connection: Connection) -> None:
        """All requests of one connection, one after the other."""
        try:
            served = 0
            while await connection.wait_for_data(self._keep_alive_s or None):
                served += 1
                if not await self._exchange(connection, served):
                    break
        except MalformedRequestError as exc:
            await connection.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            self.ledger.failed(exc)
        finally:
            connection.close()
            await connection.lost.wait()
            self._connections.discard(connection)
            self.ledger.add("open_connections", -1)

    async def _exchange(self, connection: Connection, served: int) -> bool:
        request = await read_request(connection)
        fault = self._take_fault(request)
        exchange = Exchange(
            request,
            connection,
            self.ledger,
            keep_alive=self._keep_alive_header(request, served),
            fault=fault,
        )
        self.ledger.saw(request)
        try:
            if fault is None or not await _play(fault, exchange, connection):
                await self._dispatch(exchange)
            if exchange.head_sent:
                await exchange.end()
            else:
                raise RuntimeError(f"the route of {request.method} {request.path} gave no answer")
        except ClientGone:
            return False
        except Exception as exc:  # the test hears of it at the end, the client at once
            self.ledger.failed(exc)
            if exchange.head_sent:
                exchange.abort()
            else:
                await exchange.text(f"simulator: {exc!r}", 500)
        finally:
            exchange.leave()
        return exchange.reusable

    def _keep_alive_header(self, request: Request, served: int) -> str | None:
        """The Keep-Alive field; "" to keep silently, None to close after this answer."""
        if request.wants_close or self._keep_alive_s == 0 or served == self._max_requests:
            return None
        if self._keep_alive_s is None or self._max_requests is None:
            return ""
        return f"timeout={self._keep_alive_s:g}, max={self._max_requests}"

    async def _dispatch(self, exchange: Exchange) -> None:
        if not await self.admit(exchange):
            return
        method = "GET" if exchange.request.method == "HEAD" else exchange.request.method
        path_known = False
        for known_method, pattern, route in reversed(self._routes):
            params = self._match(pattern, exchange.request.raw_path)
            if params is None:
                continue
            path_known = True
            if known_method == method:
                exchange.params = params
                await route(exchange)
                return
        await self.no_route(exchange, path_known=path_known)

    def _match(self, pattern: list[str], raw_path: str) -> dict[str, str] | None:
        if not raw_path.startswith(f"{self._prefix}/"):
            return None
        parts = raw_path[len(self._prefix) :].strip("/").split("/")
        params: dict[str, str] = {}
        for at, want in enumerate(pattern):
            if want.endswith("...}"):
                params[want[1:-4]] = unquote("/".join(parts[at:]))
                return params
            if at >= len(parts):
                return None
            if want.startswith("{"):
                params[want[1:-1]] = unquote(parts[at])
            elif want != unquote(parts[at]):
                return None
        return params if len(parts) == len(pattern) else None


async def _play(fault: Fault, exchange: Exchange, connection: Connection) -> bool:
    """Do what a fault says about the answer as a whole. False: the route shall answer."""
    if fault.delay_head_s:
        await exchange.sleep(fault.delay_head_s)
    if fault.hang:
        await exchange.disconnected.wait()
        raise ClientGone
    if fault.closes_early:
        exchange.abort(reset=fault.reset)
        raise ClientGone
    if fault.garbage is not None:
        await connection.write(fault.garbage)
        exchange.abort()
        raise ClientGone
    if fault.huge_mb:
        await _send_huge(fault, exchange)
        return True
    if fault.status is not None or fault.body is not None:
        status = 200 if fault.status is None else fault.status
        await exchange.send(fault.body or b"", status, "text/plain; charset=utf-8")
        return True
    return False


async def _send_huge(fault: Fault, exchange: Exchange) -> None:
    left = round(fault.huge_mb * _MEGABYTE)
    await exchange.start_stream("application/octet-stream", status=fault.status or 200)
    block = b"x" * 65_536
    while left > 0:
        await exchange.raw(block[:left])
        left -= len(block)
