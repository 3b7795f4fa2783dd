"""Router mode: the known models, who is running, who has to go, and the events about it."""

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from modelbay.testing.simulator import Exchange, Simulator
from modelbay_llamacpp.simulator.answer import ApiError
from modelbay_llamacpp.simulator.engine import Engine, EngineFlags
from modelbay_llamacpp.simulator.entry import Entry
from modelbay_llamacpp.simulator.info import child_entry
from modelbay_llamacpp.simulator.model import SimulatedModel

Fields = dict[str, object]
EventStyle = Literal["server", "readme"]

_PROGRESS_STEPS = (0.0, 0.25, 0.5, 0.75, 1.0)
_BYTES = 253_664


class ProxyError(Exception):
    """The router could not talk to the child; the client gets it as text labelled JSON."""


@dataclass(frozen=True, slots=True)
class FleetFlags:
    """Command line flags of the router.

    Attributes:
        models_max: Most models running at once; 0 without limit.
        autoload: A request loads the model it names.
        stop_timeout_s: How long a busy model may go on after an unload.
        sleep_idle_s: Idle time before a model sleeps; None for never.
        event_style: "server": names as they are; "readme": every status event is called
            `model_status` and carries what is in `progress` one level higher.
    """

    models_max: int = 4
    autoload: bool = True
    stop_timeout_s: float = 0.0
    sleep_idle_s: float | None = None
    event_style: EventStyle = "server"


class Fleet:
    """All models of a router. Lives in the simulator's thread."""

    def __init__(
        self,
        sim: Simulator,
        models: Sequence[SimulatedModel],
        hub: Sequence[SimulatedModel],
        flags: FleetFlags,
        engine_flags: EngineFlags,
    ) -> None:
        self.entries = {model.id: Entry(model) for model in models}
        self.loads: dict[str, int] = {}
        self._sim = sim
        self._hub = {model.id: model for model in hub}
        self._late: list[SimulatedModel] = []
        self._flags = flags
        self._engine_flags = engine_flags
        self._queue: list[object] = []
        self._change = asyncio.Event()
        self._listeners: list[asyncio.Queue[Fields]] = []
        self._posts = itertools.count(1)
        self._ports = itertools.count(34_000)

    @property
    def queued(self) -> int:
        """Requests in line for a place."""
        return len(self._queue)

    def find(self, name: str) -> Entry | None:
        """By id or alias, exactly as spelt."""
        for entry in self.entries.values():
            if name in entry.model.names:
                return entry
        return None

    # the list

    def listing(self) -> Fields:
        """``GET /models``"""
        if any(entry.state == "downloaded" for entry in self.entries.values()):
            self.reload()
        known = sorted(self.entries.values(), key=lambda entry: entry.model.id)
        return {"data": [self._entry_fields(entry) for entry in known], "object": "list"}

    def add_late(self, model: SimulatedModel) -> None:
        """A model that appears with the next reload."""
        self._late.append(model)

    def reload(self) -> None:
        """Look again at what is there."""
        for entry in tuple(self.entries.values()):
            if entry.state == "downloaded":
                if entry.real:
                    entry.state = "unloaded"
                else:
                    del self.entries[entry.model.id]
        for model in self._late:
            self.entries.setdefault(model.id, Entry(model))
        self._late.clear()
        self._emit("*", "models_reload")
        self.changed()

    def _entry_fields(self, entry: Entry) -> Fields:
        model = entry.model.shown
        status: Fields = {"value": entry.state, "args": self._args(entry)}
        if entry.state != "downloading":
            status["preset"] = f"[{model.id}]\nctx-size = {model.n_ctx}\nmodel = {model.file}\n\n"
        if entry.state == "unloaded" and entry.exit_code:
            status |= {"exit_code": entry.exit_code, "failed": True}
        inputs = ["text", *["image"] * model.vision, *["audio"] * model.audio]
        fields: Fields = {
            "id": model.id,
            "aliases": sorted(model.aliases),
            "tags": list(model.tags),
            "object": "model",
            "owned_by": "llamacpp",
            "created": int(time.time()),
            "status": status,
            "architecture": {"input_modalities": inputs, "output_modalities": ["text"]},
            "source": model.source,
            "can_remove": model.source == "cache",
        }
        if entry.state in ("loaded", "sleeping"):
            fields["meta"] = model.meta()
        return fields

    def _args(self, entry: Entry) -> list[str]:
        model = entry.model.shown
        head = ["/usr/bin/llama-server", "--host", "127.0.0.1", "--port", str(entry.port)]
        if entry.state == "downloading":
            return [*head, "--alias", model.id]
        where = ["--hf-repo", model.id] if model.source == "cache" else ["--model", model.file]
        sizes = ["--ctx-size", str(model.n_ctx * (self._engine_flags.slots or 1))]
        if self._engine_flags.slots is not None:
            sizes += ["--parallel", str(self._engine_flags.slots)]
        return [*head, "--alias", model.id, *sizes, *where, *model.args]

    # events

    def listen(self) -> asyncio.Queue[Fields]:
        queue: asyncio.Queue[Fields] = asyncio.Queue()
        self._listeners.append(queue)
        return queue

    def unlisten(self, queue: asyncio.Queue[Fields]) -> None:
        self._listeners.remove(queue)

    def _emit(self, model: str, event: str, data: Fields | None = None) -> None:
        fields: Fields = {"model": model, "event": event}
        if data is not None:
            fields["data"] = data
        if self._flags.event_style == "readme":
            if event == "status_change":
                fields["event"] = "model_status"
            progress = data.get("progress") if data is not None else None
            if isinstance(progress, dict):
                rest = {k: v for k, v in (data or {}).items() if k != "progress"}
                fields["data"] = {**rest, **progress}
        for queue in self._listeners:
            queue.put_nowait(fields)

    def _status(self, entry: Entry, status: str, **more: object) -> None:
        self._emit(entry.model.id, "status_change", {"status": status, **more})

    def changed(self) -> None:
        """Wake everybody who waits for another state."""
        self._change.set()
        self._change = asyncio.Event()
        with self._sim.ledger.changing():
            pass

    async def _until(self, holds: Callable[[], bool], exchange: Exchange | None = None) -> None:
        while not holds():
            if exchange is None:
                await self._change.wait()
            else:
                await exchange.wait_for(self._change)

    # load

    async def load(self, name: str) -> None:
        """``POST /models/load``: returns when the load has begun.

        Raises:
            ApiError: 404 unknown, 400 running, 500 no place.
        """
        entry = self.find(name)
        if entry is None:
            raise ApiError(404, "model is not found", "not_found_error")
        if entry.running:
            raise ApiError(400, "model is already running")
        while self._full():
            victim = self._victim()
            if victim is None:
                raise ApiError(500, "model limit reached, try again later")
            await self._stop(victim)
        if not entry.running:
            self._begin(entry)

    def _full(self) -> bool:
        running = sum(entry.running for entry in self.entries.values())
        return 0 < self._flags.models_max <= running

    def _victim(self) -> Entry | None:
        """The idle model that was POSTed to longest ago; one on its way out comes first."""
        idle = [
            entry
            for entry in self.entries.values()
            if entry.stopping
            or (entry.state in ("loaded", "sleeping") and not entry.busy and not entry.wanted)
        ]
        return min(idle, key=lambda entry: (not entry.stopping, entry.last_post), default=None)

    def _begin(self, entry: Entry) -> None:
        entry.state, entry.exit_code, entry.listening = "loading", None, False
        entry.port = next(self._ports)
        entry.gate = asyncio.Event()
        self.loads[entry.model.id] = self.loads.get(entry.model.id, 0) + 1
        self._emit(entry.model.id, "model_status", {"status": "loading"})
        entry.load = self._sim.spawn(self._load(entry))
        self.changed()

    async def _load(self, entry: Entry) -> None:
        model = entry.model
        if model.listen_s == math.inf:
            await entry.gate.wait()
        else:
            await asyncio.sleep(model.listen_s)
        entry.listening = True
        self.changed()
        left_s = (
            model.load_s if model.load_s == math.inf else max(0.0, model.load_s - model.listen_s)
        )
        for value in _PROGRESS_STEPS:
            progress = {"stages": ["text_model"], "current": "text_model", "value": value}
            self._status(entry, "loading", progress=progress)
            if left_s == math.inf:
                await entry.gate.wait()
            elif value < 1.0:
                await asyncio.sleep(left_s / (len(_PROGRESS_STEPS) - 1))
        if model.exit_code:
            self._gone(entry, model.exit_code)
            return
        entry.state = "loaded"
        entry.engine = Engine(model, self._engine_flags, self.changed)
        self._status(entry, "loaded", info=child_entry(model))
        self.changed()
        self._sim.spawn(self._watch(entry, entry.engine))
        self.rested(entry)

    async def _watch(self, entry: Entry, engine: Engine) -> None:
        """A process that dies by itself leaves a failed entry."""
        await engine.dead.wait()
        if entry.engine is engine and not entry.stopping:
            self._gone(entry, 1)

    async def until_settled(self, entry: Entry) -> None:
        """Wait until a load is over, one way or the other."""
        await self._until(lambda: entry.state != "loading")

    async def until_gone(self, entry: Entry) -> None:
        """Wait until a model is not running any more."""
        await self._until(lambda: not entry.running)

    def _gone(self, entry: Entry, exit_code: int) -> None:
        entry.state, entry.stopping, entry.engine = "unloaded", False, None
        entry.exit_code = exit_code
        self._status(entry, "unloaded", exit_code=exit_code)
        self.changed()

    # unload

    async def unload(self, name: str) -> None:
        """``POST /models/unload``: returns at once; the state changes when the child is gone.

        Raises:
            ApiError: 400 unknown or not running.
        """
        entry = self.find(name)
        if entry is None:
            raise ApiError(400, "model is not found")
        if entry.state == "downloading":
            if entry.load is not None:
                entry.load.cancel()
            del self.entries[entry.model.id]
            self._emit(entry.model.id, "download_failed")
            self.changed()
        elif entry.state == "loading":
            if entry.load is not None:
                entry.load.cancel()
            self._sim.spawn(self._kill(entry))
        elif entry.running:
            entry.stopping = True
            self._sim.spawn(self._stop(entry))
        else:
            raise ApiError(400, "model is not running")

    async def _kill(self, entry: Entry) -> None:
        """A load that is cancelled looks like one that failed."""
        await asyncio.sleep(entry.model.unload_s)
        self._gone(entry, 1)

    async def _stop(self, entry: Entry) -> None:
        """Stop a child: let it finish for `stop_timeout_s`, then break its streams."""
        engine = entry.engine
        if engine is None:
            await self._until(lambda: not entry.running)
            return
        entry.stopping = True
        if entry.busy:
            try:
                async with asyncio.timeout(self._flags.stop_timeout_s):
                    await self._until(lambda: not entry.busy)
            except TimeoutError:
                pass
        # Also when it is zero: the state stays "loaded" for a moment after the answer.
        await asyncio.sleep(entry.model.unload_s)
        if entry.engine is engine:
            self._gone(entry, 0)
            engine.die()

    # requests

    async def ready(self, name: str, exchange: Exchange, *, autoload: bool) -> Entry:
        """The entry of a model that a request names, running; counted as busy from now on.

        Raises:
            ApiError: In the router's words.
            ProxyError: The child does not listen yet, and nobody wants to wait.
            ClientGone: The client gave up; a load goes on.
        """
        if not name:
            raise ApiError(400, "model name is missing from the request")
        entry = self.find(name)
        if entry is None:
            raise ApiError(400, f"model '{name}' not found")
        if entry.state in ("downloading", "downloaded"):
            raise ApiError(400, f"model name={entry.model.id} is not running")
        if not autoload:
            self._check_running(entry)
        elif entry.state != "loaded" or entry.stopping:
            entry.wanted += 1
            try:
                await self._make_ready(entry, exchange)
            finally:
                entry.wanted -= 1
        entry.busy += 1
        if exchange.request.method == "POST":
            entry.last_post = next(self._posts)
        return entry

    def _check_running(self, entry: Entry) -> None:
        if not entry.running:
            raise ApiError(400, "model is not loaded")
        if entry.state == "loading" and not entry.listening:
            raise ProxyError("Could not establish connection")

    async def _make_ready(self, entry: Entry, exchange: Exchange) -> None:
        while entry.stopping or entry.state not in ("loaded", "sleeping"):
            if entry.stopping:
                await self._until(lambda: not entry.stopping, exchange)
            elif entry.down:
                await self._take_place(entry, exchange)
            else:
                await self._until(lambda: entry.state != "loading", exchange)
                if entry.down and entry.exit_code:
                    raise ApiError(500, f"model name={entry.model.id} failed to load")

    async def _take_place(self, entry: Entry, exchange: Exchange) -> None:
        """Stand in line for one of the places; first come, first served."""
        ticket = object()
        self._queue.append(ticket)
        self.changed()
        try:
            while entry.down:
                if self._queue[0] is ticket:
                    if not self._full():
                        self._begin(entry)
                        return
                    victim = self._victim()
                    if victim is not None:
                        await self._stop(victim)
                        continue
                await exchange.wait_for(self._change)
        finally:
            self._queue.remove(ticket)
            self.changed()

    def done(self, entry: Entry) -> None:
        """A request is over."""
        entry.busy -= 1
        self.changed()
        self.rested(entry)

    # sleep

    def rested(self, entry: Entry) -> None:
        """Begin to count idle time."""
        if self._flags.sleep_idle_s is not None and not entry.busy:
            loop = asyncio.get_running_loop()
            loop.call_later(self._flags.sleep_idle_s, self._sleep, entry, entry.last_post)

    def _sleep(self, entry: Entry, last_post: int) -> None:
        if entry.state == "loaded" and not entry.busy and entry.last_post == last_post:
            self.fall_asleep(entry)

    def fall_asleep(self, entry: Entry) -> None:
        if entry.state == "loaded" and entry.engine is not None:
            entry.state, entry.engine.asleep = "sleeping", True
            self._status(entry, "sleeping")
            self.changed()

    def woke(self, entry: Entry) -> None:
        if entry.state == "sleeping":
            entry.state = "loaded"
            self._status(entry, "loaded")
            self.changed()

    # download, delete

    def download(self, name: str) -> None:
        """``POST /models``: begins, whether or not the hub has it.

        Raises:
            ApiError: 400 without a name, or for a model that is there.
        """
        if not name:
            raise ApiError(400, "model must be a non-empty string")
        if self.find(name) is not None:
            raise ApiError(400, f"model '{name}' already exists")
        known = self._hub.get(name)
        entry = Entry(known or SimulatedModel(name, source="cache"), "downloading")
        entry.real, entry.port = known is not None, next(self._ports)
        self.entries[name] = entry
        self._emit(name, "model_status", {"status": "downloading"})
        entry.load = self._sim.spawn(self._download(entry))
        self.changed()

    async def _download(self, entry: Entry) -> None:
        name = entry.model.id
        if entry.real:
            url = f"http://hub.example/{name.split(':')[0]}/resolve/main/model.gguf"
            for part in _PROGRESS_STEPS:
                done = {url: {"done": int(_BYTES * part), "total": _BYTES}}
                self._emit(name, "download_progress", {"progress": done})
                if entry.model.download_s == math.inf:
                    await entry.gate.wait()
                elif part < 1.0:
                    await asyncio.sleep(entry.model.download_s / (len(_PROGRESS_STEPS) - 1))
        else:
            await asyncio.sleep(0)
        entry.state = "downloaded"
        self._emit(name, "download_finished")
        self.changed()

    async def delete(self, name: str) -> None:
        """``DELETE /models``: a running one is stopped first.

        Raises:
            ApiError: 400 without a name, 500 for what cannot be removed.
        """
        if not name:
            raise ApiError(400, "model must be a non-empty string")
        entry = self.find(name)
        if entry is None:
            raise ApiError(500, f"model name={name} is not found")
        if entry.model.source != "cache":
            raise ApiError(500, f"model name={name} is not removable (not from cache)")
        if entry.running:
            await self._stop(entry)
        self.entries.pop(entry.model.id, None)
        self._emit(entry.model.id, "model_remove")
        self.changed()
