"""Everything that a reload of the configuration replaces."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from modelbay_llamaswap.simulator.activity import Activity, Capture, Row
from modelbay_llamaswap.simulator.clock import Clock
from modelbay_llamaswap.simulator.dialect import Release
from modelbay_llamaswap.simulator.events import EventHub
from modelbay_llamaswap.simulator.inflight import InFlightList
from modelbay_llamaswap.simulator.listing import inventory
from modelbay_llamaswap.simulator.logs import Log
from modelbay_llamaswap.simulator.model import Group, Peer, Profile, Selector, SimulatedModel
from modelbay_llamaswap.simulator.naming import Directory
from modelbay_llamaswap.simulator.process import Process
from modelbay_llamaswap.simulator.router import Router, Spawn
from modelbay_llamaswap.simulator.upstream import Upstream, UpstreamRequest

_SHUTDOWN_S = 30.0  # for a busy child of a generation that is replaced

LogSource = Literal["proxy", "upstream", "both", "none"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration, models aside; `LlamaSwapSimulator` says what each means."""

    groups: Mapping[str, Group] = field(default_factory=dict)
    selectors: Sequence[Selector] = ()
    profiles: Sequence[Profile] = ()
    peers: Sequence[Peer] = ()
    keys: frozenset[str] = frozenset()
    loading_state: bool = False
    list_aliases: bool = False
    ttl_s: int = 0
    health_check_timeout_s: float = 120.0
    unload_timeout_s: float = 10.0
    start_port: int = 5800
    info_lines: bool = True
    log_to_stdout: LogSource = "proxy"
    capture_bytes: int = 5_000_000
    performance: bool = True
    hardware: bool = True
    gpu: bool = False
    version: str = ""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A request as a child or a peer got it; `to` is ``model`` or ``peer/model``."""

    to: str
    request: UpstreamRequest


class Machine:
    """What outlives a reload: time, logs, rows of activity.

    Attributes:
        changed: Wakes whoever waits for the simulator's state.
    """

    def __init__(
        self, release: Release, clock: Clock, spawn: Spawn, changed: Callable[[], None]
    ) -> None:
        self.release = release
        self.clock = clock
        self.spawn = spawn
        self.changed = changed
        self.began = datetime.now(UTC)
        self.began_s = clock.now()
        self.proxy_log = Log()
        self.upstream_log = Log()
        self.combined_log = Log()
        self.activity = Activity()
        self.forwarded: list[Forwarded] = []
        self.starts: dict[str, int] = {}

    def count_start(self, model_id: str) -> None:
        self.starts[model_id] = self.starts.get(model_id, 0) + 1


class Generation:
    """One reading of the configuration, and what runs by it."""

    def __init__(
        self, machine: Machine, settings: Settings, models: Sequence[SimulatedModel]
    ) -> None:
        self.machine = machine
        self.release = machine.release
        self.clock = machine.clock
        self.settings = settings
        self.hub = EventHub()
        self.inflight = InFlightList(self.release, self.hub, self.clock)
        self.model_logs = {model.id: Log() for model in models}
        self.closed = asyncio.Event()
        self._captures: dict[int, Capture] = {}
        self._captured_bytes = 0
        self._peers: dict[str, Upstream] = {}
        by_id = {model.id: model for model in models}
        self.processes = {
            name: self._process(by_id[name], settings.start_port + at)
            for at, name in enumerate(sorted(by_id))  # ports go by the sorted ids
        }
        self.directory = Directory(
            self.release, self.processes, settings.selectors, settings.profiles, settings.peers
        )
        self.router = Router(
            self.release,
            self.processes,
            settings.groups,
            self.clock,
            machine.spawn,
            health_check_timeout_s=settings.health_check_timeout_s,
            changed=machine.changed,
        )

    def _process(self, model: SimulatedModel, port: int) -> Process:
        return Process(
            model,
            port,
            self.clock,
            health_check_timeout_s=self.settings.health_check_timeout_s,
            unload_timeout_s=self.settings.unload_timeout_s,
            ttl_s=self.settings.ttl_s,
            log=lambda text: self._child_said(model.id, text),
            tell=self.tell,
            started=lambda: self.machine.count_start(model.id),
            state_changed=self._state_changed,
            changed=self.machine.changed,
            died=self._died,
        )

    def _died(self, process: Process) -> None:
        self.router.pump()
        self.machine.changed()

    def _state_changed(self) -> None:
        self.hub.emit("modelStatus", self.status())
        self.machine.changed()

    def status(self) -> list[dict[str, object]]:
        """`modelStatus` of the events."""
        return inventory(self.release, self.processes.values(), self.settings.peers)

    # logs

    def tell(self, text: str) -> None:
        """A line of llama-swap's own log."""
        if not self.settings.info_lines:
            return
        line = f"[INFO] {text}\n"
        self.machine.proxy_log.write(line)
        if self.settings.log_to_stdout in ("proxy", "both"):
            self.machine.combined_log.write(line)
        self.hub.emit("logData", {"data": line, "source": "proxy"})

    def _child_said(self, model_id: str, text: str) -> None:
        self.machine.upstream_log.write(text)
        self.model_logs[model_id].write(text)
        if self.settings.log_to_stdout in ("upstream", "both"):
            self.machine.combined_log.write(text)
        self.hub.emit("logData", {"data": text, "source": "upstream"})

    # activity

    def recorded(self, row: Row, capture: Capture | None) -> None:
        """A request is over: its row, and what was captured of it."""
        if capture is not None:
            self._captures[row.id] = capture
            self._captured_bytes += _size(capture)
            while self._captured_bytes > self.settings.capture_bytes:
                oldest = self._captures.pop(next(iter(self._captures)))
                self._captured_bytes -= _size(oldest)
        if self.release.has(236):
            self.hub.emit("activity", {"id": row.id})
        elif self.release.has(140):
            self.hub.emit("metrics", [row.nested() if self.release.has(209) else row.flat()])

    def capture(self, key: int) -> Capture | None:
        return self._captures.get(key)

    # peers

    def peer_upstream(self, peer: Peer, model: SimulatedModel) -> Upstream:
        """What answers for a model of a peer."""
        name = f"{peer.id}/{model.id}"
        if name not in self._peers:
            self._peers[name] = Upstream(model, self.clock, changed=self.machine.changed)
        return self._peers[name]

    # engines, for tests

    @property
    def upstreams(self) -> list[Upstream]:
        local = [p.upstream for p in self.processes.values() if p.upstream is not None]
        return [*local, *self._peers.values()]

    async def end(self) -> None:
        """Stop all children; streams of events end at once."""
        self.closed.set()
        self.hub.close()
        await self.router.unload(
            list(self.processes.values()),
            why="group is shutting down",
            patience_s=_SHUTDOWN_S,
        )


def _size(capture: Capture) -> int:
    return len(capture.request_body) + len(capture.response_body)
