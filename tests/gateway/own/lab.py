"""A pretended backend that loads and deletes models when it is told, and readers of its events."""

import asyncio
import json
from collections.abc import AsyncIterator, Generator
from types import ModuleType
from typing import Any

import httpx2 as httpx

import pretend
from gateway.serving import HELLO, Reply, acme
from modelbay.errors import ModelNotFoundError
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.catalog import DiscoveredModel, ModelState
from modelbay.models.manage import (
    AccountBalance,
    Action,
    Balance,
    Copy,
    Delete,
    Done,
    Load,
    LogLine,
    Logs,
    ManageEvent,
    Progress,
    Unload,
)


class Lab:
    """What its server holds. The gateway's loop alone touches it, but for the test that reads it.

    Attributes:
        models: State by wire id.
        done: The actions it was asked for, in order.
        looks: How often its models were asked for.
        gate: A load waits here, half-way; open at the start.
        error: Raised by the next action instead of doing it.
    """

    def __init__(self, **models: ModelState) -> None:
        self.models: dict[str, ModelState] = {"a": "unloaded", "b": "unloaded", **models}
        self.done: list[Action] = []
        self.looks = 0
        self.cancelled = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self._news: set[asyncio.Queue[None]] = set()

    def plugin(self, reply: Reply = HELLO) -> ModuleType:
        table = CapabilityTable(
            actions=frozenset(("load", "unload", "delete", "copy", "logs", "balance")),
            hints={"pull": "put the file there"},
        )
        return acme(
            reply,
            capabilities=lambda: table,
            discover_models=lambda: self._discover(),
            manage=lambda action: self._manage(action),
            watch_models=lambda: self._watch(),
        )

    def news(self) -> None:
        for queue in self._news:
            queue.put_nowait(None)

    async def _discover(self) -> list[DiscoveredModel]:
        self.looks += 1
        return [DiscoveredModel(wire_id=name, state=now) for name, now in self.models.items()]

    async def _watch(self) -> AsyncIterator[None]:
        queue: asyncio.Queue[None] = asyncio.Queue()
        self._news.add(queue)
        try:
            while True:
                await queue.get()
                yield
        finally:
            self._news.discard(queue)

    async def _manage(self, action: Action) -> AsyncIterator[ManageEvent]:
        self.done.append(action)
        if self.error is not None:
            raise self.error
        name = getattr(action, "model", None)
        if name is not None and name not in self.models:
            raise ModelNotFoundError("there is no such model")
        match action:
            case Load(model=name):
                self._set(name, "loading")
                yield Progress(status="loading", fraction=0.5)
                try:
                    await self.gate.wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
                    raise
                self._set(name, "loaded")
            case Unload(model=name):
                self._set(name or "a", "unloaded")
            case Delete(model=name):
                del self.models[name]
            case Copy(model=name, to=target):
                self.models[target] = self.models[name]
            case Logs():
                yield LogLine(text="one\u2028line")
            case Balance():
                yield AccountBalance(available=True)
                return
        yield Done()

    def _set(self, name: str, state: ModelState) -> None:
        self.models[name] = state
        self.news()


def lab_host(lab: Lab, **options: Any) -> Any:
    return pretend.host([pretend.config()], acme=lab.plugin(**options))


def events(answer: httpx.Response) -> Generator[dict[str, Any]]:
    """The documents of a stream of server-sent events; comments are passed over."""
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))
        else:
            assert not line or line.startswith(":"), line


def posted(client: httpx.Client, path: str, body: object) -> list[dict[str, Any]]:
    """All events of an answer that succeeds."""
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    return list(events(answer))
