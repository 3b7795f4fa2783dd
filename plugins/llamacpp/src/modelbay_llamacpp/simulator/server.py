"""A pretended ``llama-server``, single-model or router mode, knob by knob.

    with LlamaCppSimulator([SimulatedModel("tiny", answer="Hi.")]) as sim:
        ...  # a client at sim.base_url

    with LlamaCppSimulator([SimulatedModel("a"), SimulatedModel("b")], mode="router", models_max=1):
        ...

What it does is what a real one was recorded doing; the replay tests hold it to that.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from modelbay.testing.simulator import ClientGone, Exchange, Simulator
from modelbay_llamacpp.simulator.answer import (
    FILE_NOT_FOUND,
    INVALID_KEY,
    LOADING,
    ApiError,
    Call,
    parse_object,
    text_of,
)
from modelbay_llamacpp.simulator.chat import chat
from modelbay_llamacpp.simulator.conversation import Conversations
from modelbay_llamacpp.simulator.engine import BUILD, Engine, EngineFlags, ProcessDied
from modelbay_llamacpp.simulator.entry import Entry, State
from modelbay_llamacpp.simulator.fleet import EventStyle, Fleet, FleetFlags, ProxyError
from modelbay_llamacpp.simulator.info import single_list
from modelbay_llamacpp.simulator.model import SimulatedModel
from modelbay_llamacpp.simulator.routes import CHAT, MODEL_ROUTES, ModelRoute

Mode = Literal["single", "router"]

_ALLOWED = (
    ("Access-Control-Allow-Credentials", "true"),
    ("Access-Control-Allow-Methods", "GET, POST, DELETE, OPTIONS"),
    ("Access-Control-Allow-Headers", "*"),
)
_PUBLIC = ("/health", "/v1/health", "/")


class LlamaCppSimulator(Simulator):
    """llama.cpp's server.

    Args:
        models: In single mode exactly one.
        mode: Which of the two servers to be.
        hub: Models that can be downloaded. Any other name can be asked for too, and never arrives.
        slots: Requests at once for each model; None: four that share one context, as without
            ``-np``.
        ping_interval_s: Silence in a stream before a comment line; -1 never.
        second_s: What a second that a request names lasts (`sse_ping_interval`), in real seconds.
        models_max: Most models running in a router, 0 without limit.
        autoload: Whether a request loads the model it names.
        stop_timeout_s: How long a busy model goes on after an unload before its streams break.
        sleep_idle_s: Idle seconds before a model sleeps; None for never.
        event_style: "server": ``/models/sse`` as it is; "readme": as the README has it.
        keys: API keys; empty: none is asked for.
        prefix: What ``--api-prefix`` moves every route under.
        metrics, props, slots_endpoint, slot_save: Optional routes, on or off.
        keep_alive_s, max_requests: Of connections; the real ones are 5 and 100.
        port: As for `Simulator`.
    """

    def __init__(
        self,
        models: Sequence[SimulatedModel] = (SimulatedModel("tiny"),),
        mode: Mode = "single",
        *,
        hub: Sequence[SimulatedModel] = (),
        slots: int | None = 2,
        ping_interval_s: float = 30.0,
        second_s: float = 1.0,
        models_max: int = 4,
        autoload: bool = True,
        stop_timeout_s: float = 0.0,
        sleep_idle_s: float | None = None,
        event_style: EventStyle = "server",
        keys: Sequence[str] = (),
        prefix: str = "",
        metrics: bool = False,
        props: bool = False,
        slots_endpoint: bool = True,
        slot_save: bool = False,
        keep_alive_s: float | None = 5.0,
        max_requests: int | None = 100,
        port: int = 0,
    ) -> None:
        super().__init__(
            port=port, prefix=prefix, keep_alive_s=keep_alive_s, max_requests=max_requests
        )
        if mode == "single" and len(models) != 1:
            raise ValueError("a server in single-model mode has one model")
        self.mode: Mode = mode
        self._keys = frozenset(keys)
        self._engine_flags = EngineFlags(
            slots, metrics, props, slots_endpoint, slot_save, ping_interval_s, second_s
        )
        self._fleet_flags = FleetFlags(
            models_max, autoload, stop_timeout_s, sleep_idle_s, event_style
        )
        self._models = tuple(models)
        self._hub = tuple(hub)
        self._proxy_failures: list[str] = []
        self._fleet = self._new_fleet()
        self._register()

    def _new_fleet(self) -> Fleet:
        return Fleet(self, self._models, self._hub, self._fleet_flags, self._engine_flags)

    async def on_start(self) -> None:
        self._fleet = self._new_fleet()
        self._conversations = Conversations(self.spawn)
        if self.mode == "single":
            # The one model of a single-model server is a fleet of one that loads at once.
            await self._fleet.load(self._models[0].id)
            if self._models[0].load_s <= 0:
                await self._fleet.until_settled(self._only)
            self.spawn(self._exit_with(self._only))

    @property
    def _only(self) -> Entry:
        return self._fleet.entries[self._models[0].id]

    async def _exit_with(self, entry: Entry) -> None:
        """The process of a single-model server ends when its model cannot be loaded, or dies."""
        await self._fleet.until_gone(entry)
        self.crash()

    # what tests look at

    @property
    def loads(self) -> dict[str, int]:
        """How many loads of each model have begun so far."""
        return dict(self._fleet.loads)

    @property
    def states(self) -> dict[str, State]:
        """`status.value` of every model."""
        return {key: entry.state for key, entry in dict(self._fleet.entries).items()}

    @property
    def active_streams(self) -> int:
        """Streamed answers being made at this moment."""
        return sum(engine.streams for engine in self._engines())

    @property
    def busy_slots(self) -> int:
        return sum(engine.busy_slots for engine in self._engines())

    @property
    def queued(self) -> int:
        """Requests that wait for a slot, or in a router for a place."""
        return self._fleet.queued + sum(engine.queued for engine in self._engines())

    @property
    def completions(self) -> list[str]:
        """Ids of the chat completions being made at this moment."""
        return [key for engine in self._engines() for key in tuple(engine.runs)]

    @property
    def holding(self) -> int:
        """Answers that wait at `hold_after`."""
        return sum(engine.holding for engine in self._engines())

    def _engines(self) -> list[Engine]:
        entries = tuple(self._fleet.entries.values())
        return [entry.engine for entry in entries if entry.engine is not None]

    # what tests do

    def finish_load(self, model: str) -> None:
        """Let a load or download with `math.inf` seconds come to its end."""
        self.call(lambda: self._fleet.entries[model].gate.set())

    def release(self, model: str) -> None:
        """Let answers go on that wait at `hold_after`; later ones will wait again."""
        self.call(lambda: self._release(model))

    def _release(self, model: str) -> None:
        engine = self._fleet.entries[model].engine
        if engine is not None:
            engine.releases += 1

    def sleep_now(self, model: str) -> None:
        """Put an idle model to sleep."""
        self.call(lambda: self._fleet.fall_asleep(self._fleet.entries[model]))

    def die(self, model: str) -> None:
        """End the process of a model."""
        self.call(lambda: self._die(model))

    def _die(self, model: str) -> None:
        engine = self._fleet.entries[model].engine
        if engine is not None:
            engine.die()

    def add_model(self, model: SimulatedModel) -> None:
        """Put a model where a router finds it at the next ``?reload=``."""
        self.call(lambda: self._fleet.add_late(model))

    def fail_proxy(self, reason: str = "Could not establish connection", times: int = 1) -> None:
        """Let the next proxied requests fail with text that is labelled JSON."""
        self.call(lambda: self._proxy_failures.extend([reason] * times))

    # checks that come before routing

    async def admit(self, exchange: Exchange) -> bool:
        request = exchange.request
        origin = request.headers.get("origin", "")
        exchange.headers += [("Server", "llama.cpp"), ("Access-Control-Allow-Origin", origin)]
        if request.method == "OPTIONS":
            await exchange.send(b"", 200, "text/html", _ALLOWED)
        elif self.mode == "single" and self._only.state == "loading":
            await exchange.json(LOADING, 503)
        elif self._keys and request.path not in _PUBLIC and not self._has_key(exchange):
            await exchange.json(INVALID_KEY, 401)
        else:
            return True
        return False

    def _has_key(self, exchange: Exchange) -> bool:
        headers = exchange.request.headers
        given = headers.get("authorization")
        if given is None:
            return headers.get("x-api-key") in self._keys
        return given.removeprefix("Bearer ") in self._keys

    async def no_route(self, exchange: Exchange, *, path_known: bool) -> None:
        await exchange.json(FILE_NOT_FOUND, 404)

    # routes

    def _register(self) -> None:
        for path in ("/health", "/v1/health"):
            self._own("GET", path, self._health)
        for path in ("/models", "/v1/models"):
            self._own("GET", path, self._list)
        for path in ("/tools", "/cors-proxy"):
            self._own("GET", path, self._disabled)
            self._own("POST", path, self._disabled)
        self._own("GET", "/v1/stream", lambda call: self._conversations.replay(call))
        self._own("DELETE", "/v1/stream", lambda call: self._conversations.delete(call))
        self._own("POST", "/v1/streams/lookup", lambda call: self._conversations.lookup(call))
        for (method, path), (answer, wakes) in MODEL_ROUTES.items():
            self._of_model(method, path, answer, wakes=wakes)
        for path in CHAT:
            self._of_model("POST", path, self._chat, wakes=True)
        if self.mode == "router":
            self._own("POST", "/models/load", self._load)
            self._own("POST", "/models/unload", self._unload)
            self._own("GET", "/models/sse", self._events)
            self._own("POST", "/models", self._download)
            self._own("DELETE", "/models", self._delete)

    def _own(self, method: str, path: str, answer: Callable[[Call], Awaitable[None]]) -> None:
        """A route of the server itself."""

        async def route(exchange: Exchange) -> None:
            call = Call(exchange)
            try:
                if method == "POST":
                    call.body = parse_object(exchange.request)
                await answer(call)
            except ApiError as error:
                await call.error(error)

        self.route(method, path)(route)

    def _of_model(self, method: str, path: str, answer: ModelRoute, *, wakes: bool) -> None:
        """A route of a model's process: directly in single mode, else through the router."""

        async def route(exchange: Exchange) -> None:
            call = Call(exchange)
            try:
                if method == "POST":
                    call.body = parse_object(exchange.request)
                if self.mode == "single":
                    await self._direct(call, answer, wakes=wakes)
                elif path == "/props" and method == "GET" and "model" not in exchange.request.query:
                    await self._router_props(call)
                else:
                    await self._proxied(call, answer, wakes=wakes)
            except ApiError as error:
                await call.error(error)

        self.route(method, path)(route)

    async def _direct(self, call: Call, answer: ModelRoute, *, wakes: bool) -> None:
        entry = self._only
        engine = entry.engine
        if engine is None:
            raise ClientGone  # the process is on its way out
        entry.busy += 1
        entry.last_post += 1
        try:
            await self._wake(entry, engine, wakes)
            if not await _unless_dead(engine, answer(engine, call)):
                call.exchange.abort()
        finally:
            self._fleet.done(entry)

    async def _wake(self, entry: Entry, engine: Engine, wakes: bool) -> None:
        if wakes and engine.asleep:
            load_s = entry.model.load_s
            await asyncio.sleep(0.0 if load_s == math.inf else load_s)
            engine.asleep = False
            self._fleet.woke(entry)

    async def _proxied(self, call: Call, answer: ModelRoute, *, wakes: bool) -> None:
        """Forward to the child named in the body of a POST or the query of a GET."""
        exchange = call.exchange
        query = exchange.request.query
        name = (
            text_of(call.body, "model")
            if exchange.request.method == "POST"
            else query.get("model", "")
        )
        autoload = self._fleet_flags.autoload
        if "autoload" in query:
            autoload = query["autoload"] in ("true", "1")  # anything else means no
        try:
            entry = await self._fleet.ready(name, exchange, autoload=autoload)
        except ProxyError as error:
            await self._proxy_error(call, str(error))
            return
        call.proxied = True
        try:
            await self._forward(call, entry, answer, wakes=wakes)
        finally:
            self._fleet.done(entry)

    async def _forward(self, call: Call, entry: Entry, answer: ModelRoute, *, wakes: bool) -> None:
        if self._proxy_failures:
            await self._proxy_error(call, self._proxy_failures.pop(0))
            return
        engine = entry.engine
        if engine is None:
            await call.json(LOADING, 503)  # the child's own answer
            return
        await self._wake(entry, engine, wakes)
        if not await _unless_dead(engine, answer(engine, call)):
            await self._proxy_error(call, "Failed to read connection")

    async def _proxy_error(self, call: Call, reason: str) -> None:
        """Text labelled JSON; in a stream a line without ``data:``, then a proper end."""
        body = f"proxy error: {reason}".encode()
        if call.exchange.head_sent:
            await call.exchange.raw(body)
            await call.exchange.end()
        else:
            await call.exchange.send(
                body,
                500,
                "application/json; charset=utf-8",
                [("X-Accel-Buffering", "no")],
                chunked=True,
            )

    # the server's own answers

    async def _chat(self, engine: Engine, call: Call) -> None:
        await chat(engine, call, self._conversations)

    async def _health(self, call: Call) -> None:
        await call.json({"status": "ok"})

    async def _disabled(self, call: Call) -> None:
        body = {"error": {"message": "this feature is disabled", "type": "feature_disabled"}}
        await call.json(body, 403)

    async def _list(self, call: Call) -> None:
        if self.mode == "single":
            await call.json(single_list(self._models[0]))
            return
        if call.exchange.request.query.get("reload"):  # "0" too
            self._fleet.reload()
        await call.json(self._fleet.listing())

    async def _router_props(self, call: Call) -> None:
        await call.json(
            {
                "role": "router",
                "max_instances": self._fleet_flags.models_max,
                "models_autoload": self._fleet_flags.autoload,
                "model_alias": "llama-server",
                "model_path": "none",
                "default_generation_settings": {"params": None, "n_ctx": 0},
                "ui_settings": {},
                "build_info": BUILD,
                "cors_proxy_enabled": False,
            }
        )

    async def _load(self, call: Call) -> None:
        await self._fleet.load(text_of(call.body, "model"))
        await call.json({"success": True})

    async def _unload(self, call: Call) -> None:
        await self._fleet.unload(text_of(call.body, "model"))
        await call.json({"success": True})

    async def _download(self, call: Call) -> None:
        self._fleet.download(text_of(call.body, "model"))
        await call.json({"success": True})

    async def _delete(self, call: Call) -> None:
        await self._fleet.delete(call.exchange.request.query.get("model", ""))
        await call.json({"success": True})

    async def _events(self, call: Call) -> None:
        """No snapshot first, no pings, no end."""
        queue = self._fleet.listen()
        await call.start_stream()
        gone = asyncio.ensure_future(call.exchange.disconnected.wait())
        try:
            while True:
                fresh = asyncio.ensure_future(queue.get())
                await asyncio.wait({fresh, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not fresh.done():
                    fresh.cancel()
                    raise ClientGone
                await call.exchange.sse(fresh.result())
        finally:
            gone.cancel()
            self._fleet.unlisten(queue)


async def _unless_dead(engine: Engine, answer: Awaitable[None]) -> bool:
    """Let the answer run as long as the process lives. False: it died first."""
    work = asyncio.ensure_future(answer)
    dead = asyncio.ensure_future(engine.dead.wait())
    try:
        await asyncio.wait({work, dead}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            return False
        await work
    except ProcessDied:
        return False
    finally:
        dead.cancel()
        work.cancel()
    return True
