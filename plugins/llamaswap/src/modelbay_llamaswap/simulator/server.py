"""A simulated llama-swap: one process that owns others, behind one port.

with LlamaSwapSimulator([SimulatedModel("tiny", answer="hi", load_s=2)]) as sim:
    ...  # point a client at sim.base_url

It is asked as the real one is; what a test wants to see beside the answers are its properties, and
what a test makes happen are its methods.
"""

import asyncio
import base64
import binascii
import re
from collections.abc import Mapping, Sequence

from modelbay.testing.simulator import Exchange, Simulator
from modelbay_llamaswap.simulator import following, management, passthrough
from modelbay_llamaswap.simulator.call import Call
from modelbay_llamaswap.simulator.clock import Clock, ManualClock, ScaledClock
from modelbay_llamaswap.simulator.dialect import Dialect, Release
from modelbay_llamaswap.simulator.forwarding import routed
from modelbay_llamaswap.simulator.generation import (
    Forwarded,
    Generation,
    LogSource,
    Machine,
    Settings,
)
from modelbay_llamaswap.simulator.management import OwnRoute
from modelbay_llamaswap.simulator.model import Group, Peer, Profile, Selector, SimulatedModel
from modelbay_llamaswap.simulator.process import State
from modelbay_llamaswap.simulator.refusal import Refusal
from modelbay_llamaswap.simulator.routes import Entry, find

_OWN: dict[tuple[str, str], OwnRoute] = {
    ("GET", "/v1/models"): management.models,
    ("GET", "/models"): management.models,
    ("GET", "/running"): management.running_models,
    ("GET", "/unload"): management.unload_all_old,
    ("POST", "/api/models/unload"): management.unload_all,
    ("POST", "/api/models/unload/{id...}"): management.unload_one,
    ("GET", "/upstream"): passthrough.start_page,
    ("ANY", "/upstream/{rest...}"): passthrough.passthrough,
    ("ANY", "/comfyui"): passthrough.comfyui,
    ("ANY", "/comfyui/{rest...}"): passthrough.comfyui,
    ("GET", "/api/events"): following.events,
    ("GET", "/api/version"): management.version,
    ("GET", "/api/metrics"): management.old_metrics,
    ("GET", "/api/metrics/activity"): management.activity,
    ("GET", "/api/metrics/stats"): management.stats,
    ("GET", "/api/captures/{id}"): management.capture,
    ("POST", "/api/inflight/{id}/cancel"): management.cancel,
    ("GET", "/api/performance"): management.performance,
    ("GET", "/metrics"): management.prometheus,
    ("GET", "/api/profiles"): management.profiles,
    ("PUT", "/api/profiles/active"): management.activate,
    ("GET", "/api/hardware"): management.hardware,
    ("GET", "/logs"): following.logs,
    ("GET", "/logs/stream"): following.log_stream,
    ("GET", "/logs/stream/{id...}"): following.log_stream,
    ("GET", "/health"): management.health,
    ("GET", "/wol-health"): management.health,
    ("GET", "/"): management.root,
    ("GET", "/favicon.ico"): management.icon,
    ("GET", "/ui"): management.user_interface,
    ("GET", "/ui/{rest...}"): management.user_interface,
}
_CORS = (
    ("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE, OPTIONS"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Max-Age", "86400"),
)
_ASKED_HEADERS = "Content-Type, Authorization, Accept, X-Requested-With"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REALM = ("Www-Authenticate", 'Basic realm="llama-swap"')


class LlamaSwapSimulator(Simulator):
    """A llama-swap on 127.0.0.1.

    All times, those of the models too, are in the server's seconds. Tests usually want them short,
    so a second lasts a hundredth of a real one unless `second_s` says otherwise.

    Args:
        models: The ``models:`` of its configuration.
        dialect: Its version.
        groups: Models in none of them form one more, in which one runs at a time.
        keys: ``apiKeys``; without any all may do everything.
        loading_state: ``sendLoadingState`` for models that say nothing else.
        list_aliases: ``includeAliasesInList``
        ttl_s: ``globalTTL``; 0 is never.
        health_check_timeout_s: The longest a load may take.
        unload_timeout_s: How long an unload waits before it kills.
        start_port: The first ``${PORT}``.
        info_lines: False: as with ``logLevel: warn``, and its own log stays empty.
        log_to_stdout: What ``/logs`` holds.
        capture_bytes: How much of requests and answers is kept; 0 nothing.
        performance, hardware: Whether these can be asked for.
        gpu: Whether there is one to be seen.
        version: What ``/api/version`` says; "": what the dialect does, "0" as a plain build does.
        second_s: How long one of its seconds lasts, in real seconds.
        clock: In place of that; a `ManualClock` stands still until `advance`.
    """

    def __init__(
        self,
        models: Sequence[SimulatedModel] = (SimulatedModel("tiny"),),
        dialect: Dialect = "head",
        *,
        groups: Mapping[str, Group] | None = None,
        selectors: Sequence[Selector] = (),
        profiles: Sequence[Profile] = (),
        peers: Sequence[Peer] = (),
        keys: Sequence[str] = (),
        loading_state: bool = False,
        list_aliases: bool = False,
        ttl_s: int = 0,
        health_check_timeout_s: float = 120.0,
        unload_timeout_s: float = 10.0,
        start_port: int = 5800,
        info_lines: bool = True,
        log_to_stdout: LogSource = "proxy",
        capture_bytes: int = 5_000_000,
        performance: bool = True,
        hardware: bool = True,
        gpu: bool = False,
        version: str = "",
        second_s: float = 0.01,
        clock: Clock | None = None,
        port: int = 0,
    ) -> None:
        # Go says nothing about how long it keeps a connection.
        super().__init__(port=port, keep_alive_s=None, max_requests=None)
        self.release = Release.of(dialect)
        self._models = tuple(models)
        self._clock: Clock = ScaledClock(second_s) if clock is None else clock
        self._settings = Settings(
            groups=groups or {},
            selectors=tuple(selectors),
            profiles=tuple(profiles),
            peers=tuple(peers),
            keys=frozenset(keys),
            loading_state=loading_state,
            list_aliases=list_aliases,
            ttl_s=ttl_s,
            health_check_timeout_s=health_check_timeout_s,
            unload_timeout_s=unload_timeout_s,
            start_port=start_port,
            info_lines=info_lines,
            log_to_stdout=log_to_stdout,
            capture_bytes=capture_bytes,
            performance=performance,
            hardware=hardware,
            gpu=gpu,
            version=version,
        )
        self._machine = self._new_machine()
        self._generation = Generation(self._machine, self._settings, self._models)

    def _new_machine(self) -> Machine:
        return Machine(self.release, self._clock, self.spawn, self._changed)

    async def on_start(self) -> None:
        self._own_loop = asyncio.get_running_loop()
        self._machine = self._new_machine()
        self._generation = Generation(self._machine, self._settings, self._models)
        self._generation.tell("GPU monitoring not available: no GPU monitoring tool available")
        self._generation.tell(f"llama-swap listening on {self.base_url}")

    def _changed(self) -> None:
        with self.ledger.changing():
            pass

    # what tests look at

    @property
    def starts(self) -> dict[str, int]:
        """How often each model was started so far; those that never were are missing."""
        return dict(self._machine.starts)

    @property
    def states(self) -> dict[str, State]:
        """The state of every model, stopped ones included."""
        return {name: p.state for name, p in self._generation.processes.items()}

    @property
    def waiting(self) -> int:
        """Requests in the queue, those for a model that is being started included."""
        return self._generation.router.waiting

    @property
    def active(self) -> dict[str, int]:
        """Requests that are being proxied, by model; idle models are missing."""
        return {n: p.running for n, p in self._generation.processes.items() if p.running}

    @property
    def holding(self) -> int:
        """Answers that wait at `hold_after`."""
        return sum(upstream.engine.holding for upstream in self._generation.upstreams)

    @property
    def listeners(self) -> int:
        """Who listens to ``/api/events``."""
        return self._generation.hub.listeners

    @property
    def inflight(self) -> list[str]:
        """Ids of requests to models that are not answered yet."""
        return self._generation.inflight.ids

    @property
    def forwarded(self) -> list[Forwarded]:
        """What children and peers were asked, oldest first."""
        return list(self._machine.forwarded)

    # what tests do

    def finish_load(self, model: str) -> None:
        """Let a load of `math.inf` seconds come to its end."""
        self.call(lambda: self._generation.processes[model].finished.set())

    def release_held(self) -> None:
        """Let all answers go on that wait at `hold_after`; later ones will wait again."""
        self.call(self._release_held)

    def _release_held(self) -> None:
        for upstream in self._generation.upstreams:
            upstream.engine.releases += 1
            upstream.engine.wake()

    def kill(self, model: str) -> None:
        """The child of a model is gone at once."""
        self.call(lambda: self._generation.processes[model].kill())

    def advance(self, seconds: float) -> None:
        """Let time pass, on a `ManualClock`."""
        clock = self._clock
        if not isinstance(clock, ManualClock):
            raise TypeError("only a ManualClock is moved by hand")
        asyncio.run_coroutine_threadsafe(clock.advance(seconds), self._own_loop).result()

    def close_events(self) -> None:
        """End all streams of events; nothing else changes."""
        self.call(lambda: self._generation.hub.close())

    def reload(self, models: Sequence[SimulatedModel] | None = None) -> None:
        """Read the configuration anew, with these models if any are given.

        The new generation serves at once; the old one's children are stopped, streams of events
        end, captures and the active profile are lost.
        """
        self.call(lambda: self._reload(models))

    def _reload(self, models: Sequence[SimulatedModel] | None) -> None:
        old = self._generation
        self._models = self._models if models is None else tuple(models)
        self._generation = Generation(self._machine, self._settings, self._models)
        self.spawn(old.end())

    def terminate(self) -> None:
        """As on SIGTERM: nobody is let in any more, running requests may finish."""
        self.call(self._terminate)

    def _terminate(self) -> None:
        if self._server is not None:
            self._server.close()
        self._generation.hub.close()

    # every request

    async def admit(self, exchange: Exchange) -> bool:
        """Answer everything but what a test has registered a route of its own for."""
        request = exchange.request
        for method, pattern, _ in self._routes:
            if method == request.method and self._match(pattern, request.raw_path) is not None:
                return True
        call = Call(exchange, self.release)
        generation, began = self._generation, self._clock.now()
        try:
            await self._respond(generation, call)
        finally:
            self._note(generation, call, began)
        return False

    def _note(self, generation: Generation, call: Call, began: float) -> None:
        request, took_s = call.request, self._clock.now() - began
        agent = request.headers.get("user-agent", "")
        shown = f"{took_s * 1e6:g}\u00b5s" if took_s < 0.001 else f"{took_s * 1000:g}ms"
        generation.tell(
            f'Request 127.0.0.1 "{request.method} {request.path} HTTP/1.1" '
            f'{call.status} {len(call.body)} "{agent}" {shown}'
        )

    async def _respond(self, generation: Generation, call: Call) -> None:
        request = call.request
        if request.method == "OPTIONS":
            await self._preflight(call)
            return
        path, mark, query = request.target.partition("?")
        if "//" in path:
            await call.redirect(re.sub("/+", "/", path) + mark + query, 307)
            return
        found = find(self.release.number, request.raw_path)
        method = "GET" if request.method == "HEAD" else request.method
        for entry, params in found:
            if entry.method in (method, "ANY"):
                await self._answer(generation, call, entry, params)
                return
        if found:
            await call.not_allowed({entry.method for entry, _ in found})
        else:
            await call.not_found()

    async def _answer(
        self, generation: Generation, call: Call, entry: Entry, params: Mapping[str, str]
    ) -> None:
        try:
            if not entry.public:
                self._check_key(call)
            if entry.kind == "model":
                await routed(generation, call, call.request.raw_path.removeprefix(entry.cut))
            else:
                await _OWN[entry.method, entry.path](generation, call, params)
        except Refusal as refusal:
            await call.refuse(refusal)

    async def _preflight(self, call: Call) -> None:
        asked = call.request.headers.get("access-control-request-headers", "")
        names = [name.strip() for name in asked.split(",") if _TOKEN.fullmatch(name.strip())]
        shown = ", ".join(names) or _ASKED_HEADERS
        headers = [("Access-Control-Allow-Headers", shown), *_CORS]
        await call.send(b"", None, 204, headers)

    def _check_key(self, call: Call) -> None:
        """The first credential that is there decides: Basic, Bearer, ``x-api-key``.

        Raises:
            Refusal: 401.
        """
        if not self._settings.keys or not self.release.has(179):
            return
        headers = call.request.headers
        scheme, space, value = headers.get("authorization", "").partition(" ")
        key = headers.get("x-api-key", "")
        if space and scheme.lower() == "basic" and self.release.has(181):
            key = _password(value)
        elif space and scheme.lower() == "bearer":
            key = value.strip()
        if key not in self._settings.keys:
            message = "unauthorized: invalid or missing API key"
            raise Refusal(401, message, headers=[_REALM])


def _password(value: str) -> str:
    try:
        pair = base64.b64decode(value, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
    return pair.partition(":")[2]
