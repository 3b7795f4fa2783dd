"""Pretended parts for tests of the core: plugins, providers, requests, and a clock that jumps."""

import asyncio
import logging
import selectors
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from types import ModuleType
from typing import Any

import pluggy

from modelbay import hookspecs
from modelbay.context import ProviderContext
from modelbay.host.host import Host
from modelbay.host.loader import Installed, Plugin
from modelbay.host.resources import HostResources
from modelbay.models.capabilities import Capabilities, CapabilityTable
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest, user
from modelbay.models.events import Finish, StreamEvent, TextDelta
from modelbay.models.manage import Done, ManageEvent
from modelbay.models.provider import ProviderConfig
from modelbay.refs import ModelRef

ANSWER: list[StreamEvent] = [TextDelta("hello"), Finish("stop")]


# --- plugins --------------------------------------------------------------------------------------


def _capabilities() -> CapabilityTable:
    return CapabilityTable()


async def _discover_models() -> list[DiscoveredModel]:
    return [DiscoveredModel(wire_id="m")]


async def _stream_chat() -> AsyncIterator[StreamEvent]:
    for event in ANSWER:
        yield event


async def _manage() -> AsyncIterator[ManageEvent]:
    yield Done()


def plugin(**hooks: Callable[..., object]) -> ModuleType:
    """A plugin: a module of hooks. Hooks that are not given do the simplest right thing."""
    module = ModuleType("pretended_plugin")
    known: dict[str, Callable[..., object]] = {
        "capabilities": _capabilities,
        "discover_models": _discover_models,
        "stream_chat": _stream_chat,
        "manage": _manage,
    }
    for name, hook in (known | hooks).items():
        setattr(module, name, hookspecs.hookimpl(hook))
    return module


def manager(module: object, *wrappers: object) -> pluggy.PluginManager:
    """The small manager of one kind."""
    made = pluggy.PluginManager(hookspecs.PROJECT)
    made.add_hookspecs(hookspecs)
    for part in (module, *wrappers):
        made.register(part)
    return made


def installed(*plugins: Plugin, **modules: ModuleType) -> Installed:
    """What the loader finds when these are installed; a keyword is the kind."""
    rows = [
        Plugin(
            kind=kind,
            dist=f"modelbay-{kind}",
            version="1.0",
            entry_point=f"modelbay_{kind}.plugin",
            manager=manager(module),
        )
        for kind, module in modules.items()
    ]
    return Installed(tuple(sorted((*plugins, *rows), key=lambda row: row.kind)), ())


# --- providers, models, requests ------------------------------------------------------------------


def config(id: str = "desk", kind: str = "acme", **fields: Any) -> ProviderConfig:
    return ProviderConfig.model_validate({"id": id, "kind": kind, **fields})


def context(base_url: str = "", *, id: str = "desk", **fields: Any) -> ProviderContext:
    """A provider outside a host; its connections are closed by `lent`."""
    return ProviderContext(config(id, base_url=base_url, **fields), HostResources({}))


@asynccontextmanager
async def lent(base_url: str = "", **fields: Any) -> AsyncIterator[ProviderContext]:
    """A provider with the host's own HTTP client, closed at the end."""
    resources = HostResources({})
    try:
        yield ProviderContext(config(base_url=base_url, **fields), resources)
    finally:
        await resources.aclose()


def model(wire_id: str = "m", provider: str = "desk", **facts: object) -> ModelInfo:
    return ModelInfo(
        ref=ModelRef(provider, wire_id),
        name=wire_id,
        kind="acme",
        capabilities=Capabilities.model_validate(facts),
    )


def chat(text: str = "hi", **fields: object) -> ChatRequest:
    return ChatRequest.model_validate({"messages": [user(text)], **fields})


def lists(*wire_ids: str, **fields: object) -> Callable[[], object]:
    """A `discover_models` that lists these."""

    async def discover_models() -> list[DiscoveredModel]:
        return [DiscoveredModel.model_validate({"wire_id": name, **fields}) for name in wire_ids]

    return discover_models


def fails(error: Exception) -> Callable[[], object]:
    """A `discover_models` that raises."""

    async def discover_models() -> list[DiscoveredModel]:
        raise error

    return discover_models


def host(
    providers: Sequence[ProviderConfig] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    clock: Callable[[], float] | None = None,
    **modules: ModuleType,
) -> Host:
    """A host over pretended plugins, with nothing of this machine's environment."""
    env = {"MODELBAY_HOME": "/nonexistent", **(env or {})}
    found = installed(**modules)
    if clock is None:
        return Host.open(providers=providers, env=env, installed=found)
    return Host.open(providers=providers, env=env, installed=found, clock=clock)


# --- time -----------------------------------------------------------------------------------------


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class _Jumping(selectors.DefaultSelector):
    """Instead of waiting for a time, make it come."""

    jump: Callable[[float], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            return super().select(None)
        self.jump(timeout)
        return []


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps to the next timer when nothing else is to be done.

    Limits of minutes are tested in no time and to the second. For tests without sockets:
    ``@pytest.fixture def anyio_backend(): return JUMPING``.
    """

    def __init__(self) -> None:
        selector = _Jumping()
        super().__init__(selector)
        self.now = 0.0
        self.timers = 0
        selector.jump = self._jump

    def time(self) -> float:
        # The base class asks while it is being made.
        return getattr(self, "now", 0.0)

    def call_at(  # type: ignore[override] # the same, with looser types
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self.timers += 1
        return super().call_at(when, callback, *args, context=context)

    def _jump(self, seconds: float) -> None:
        self.now += seconds


JUMPING = ("asyncio", {"loop_factory": JumpingLoop})


def jumping() -> JumpingLoop:
    """The loop of this test."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, JumpingLoop)
    return loop


class Records(logging.Handler):
    """What was logged, as ``level message`` lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")
