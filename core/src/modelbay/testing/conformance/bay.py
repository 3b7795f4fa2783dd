"""A host with the plugin under test alone in it, and the turns that checks make."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import NoReturn

import importlib_metadata
import pytest

from modelbay.client.pool import Pool
from modelbay.context import ProviderContext
from modelbay.errors import ModelbayError
from modelbay.host.backend import Backend
from modelbay.host.host import Host
from modelbay.host.loader import Installed, load_plugins
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest, user
from modelbay.models.events import StreamEvent
from modelbay.models.provider import ProviderConfig
from modelbay.refs import ModelRef
from modelbay.testing.conformance.target import Peculiarity, Target
from modelbay.testing.request import Request

PROMPT = "Say what you always say."
HANGS_S = 20.0  # a check that takes this long has found a plugin that waits for ever


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule the running check is about; knows how to say that it is broken.

    Attributes:
        name: Of the check.
        text: The rule in words, from the check's docstring.
        read: Where a plugin's author finds more.
    """

    name: str
    text: str
    read: str

    def broken(self, seen: object) -> NoReturn:
        pytest.fail(f"{self.name}: {self.text}\n  seen: {seen}\n  read: {self.read}", pytrace=False)

    def holds(self, condition: object, seen: object) -> None:
        if not condition:
            self.broken(seen)


@dataclass
class Outcome:
    """What a turn came to.

    Attributes:
        events: All that came, up to the error if there was one.
        took_s: Seconds it took.
    """

    events: list[StreamEvent] = field(default_factory=list)
    error: BaseException | None = None
    took_s: float = 0.0

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.events[-3:])) or "none"
        if self.error is None:
            return f"no error; the last events: {shown}"
        return f"{self.error!r} after {self.took_s:.2f} s; the last events: {shown}"


class _Module(importlib_metadata.Distribution):
    """A module as if it were installed, so that the host's own loader takes it."""

    def __init__(self, kind: str, module: str) -> None:
        self._files = {
            "METADATA": f"Metadata-Version: 2.1\nName: modelbay-under-test\nVersion: 0\n"
            f"Requires-Dist: modelbay-core>=0\n\n{module}\n",
            "entry_points.txt": f"[modelbay]\n{kind} = {module}\n",
        }

    def read_text(self, filename: str) -> str | None:
        return self._files.get(str(filename))

    def locate_file(self, path: object) -> importlib_metadata.SimplePath:
        raise FileNotFoundError(path)


def install(target: Target) -> Installed:
    """The plugin under test as the only installed one."""
    module = _Module(target.config.kind, target.module)
    return load_plugins({}, distributions=lambda: [module])


class Bay:
    """An open host around the target's plugin.

    Attributes:
        provider_id: Of the first provider, the one most checks talk to.
    """

    def __init__(self, target: Target, host: Host, provider_id: str) -> None:
        self.target = target
        self.host = host
        self.provider_id = provider_id
        self._seen = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls, target: Target, *configs: ProviderConfig, env: Mapping[str, str] | None = None
    ) -> "AsyncIterator[Bay]":
        """A host with these providers, the target's own by default."""
        installed = install(target)
        for plugin in installed.plugins:
            if plugin.error is not None:
                pytest.fail(f"the plugin does not load: {plugin.error}", pytrace=False)
        providers = configs or (target.config,)
        async with Host.open(providers=providers, env=env or {}, installed=installed) as host:
            bay = cls(target, host, providers[0].id)
            bay.mark()
            yield bay

    # what there is

    def backend(self, provider_id: str | None = None) -> Backend:
        return self.host.registry.handle(provider_id or self.provider_id).require()

    def context(self, provider_id: str | None = None) -> ProviderContext:
        return self.backend(provider_id).context

    def see_each_chunk(self) -> None:
        """From now on a stream comes in the server's own chunks, however many arrive at once."""
        for handle in self.host.providers:
            context = handle.require().context
            connections = context.resources.connections(context.config.base_url or "http://none")
            if isinstance(connections, Pool):
                connections.joined = False
                for connection in connections._open:  # those that are kept for the next turn too
                    connection.joined = False

    def hook(self, name: str) -> Callable[..., object]:
        """The plugin's own hook, past everything the host does around it."""
        manager = self.host.plugins[0].manager
        assert manager is not None  # `open` refuses a plugin that is not loaded
        called: Callable[..., object] = getattr(manager.hook, name)
        return called

    async def model(self, wire_id: str | None = None, provider_id: str | None = None) -> ModelInfo:
        """A model as the host resolves it; asks the server."""
        provider_id = provider_id or self.provider_id
        wire_id = wire_id or self.target.model
        return await self.host.resolve(ModelRef(provider_id, wire_id))

    def made_up(self, wire_id: str, provider_id: str | None = None) -> ModelInfo:
        """A model nobody listed, with what the table says of its name; asks nobody."""
        handle = self.host.registry.handle(provider_id or self.provider_id)
        assert handle.resolver is not None  # it stands beside the backend
        return ModelInfo(
            ref=ModelRef(handle.id, wire_id),
            name=wire_id,
            kind=handle.kind,
            capabilities=handle.resolver.capabilities(DiscoveredModel(wire_id=wire_id)),
        )

    def keeps(self, rule: Rule, peculiarity: Peculiarity, kept: object, seen: object) -> None:
        """The rule holds; or else, where the target says that it differs, it does differ."""
        reason = self.target.differs.get(peculiarity)
        if reason is None:
            rule.holds(kept, seen)
        else:
            rule.holds(
                not kept, f"it keeps to the rule; declared in Target.differs: '{peculiarity}'"
            )

    # turns

    def request(self, wire_id: str | None = None, /, **fields: object) -> ChatRequest:
        """A chat turn with this model; `fields` are those of `ChatRequest`."""
        ref = ModelRef(self.provider_id, wire_id or self.target.model)
        return ChatRequest.model_validate({"model": ref, "messages": [user(PROMPT)], **fields})

    async def chat(
        self,
        request: ChatRequest | None = None,
        *,
        info: ModelInfo | None = None,
        deadline_s: float | None = None,
    ) -> Outcome:
        """One turn through the host's guard, to its end or its error.

        Args:
            info: Ask for this model instead of resolving the request's, so that no look at the
                server comes before.
        """
        request = request or self.request()
        outcome = Outcome()
        began = time.monotonic()
        try:
            async with asyncio.timeout(HANGS_S):
                if info is None:
                    async with self.host.stream(request, deadline_s=deadline_s) as stream:
                        async for event in stream:
                            outcome.events.append(event)
                else:
                    backend = self.backend(info.ref.provider_id)
                    async for event in backend.stream_chat(request, info, deadline_s):
                        outcome.events.append(event)
        except (ModelbayError, TimeoutError) as exc:
            outcome.error = exc
        outcome.took_s = time.monotonic() - began
        return outcome

    async def answer(self, request: ChatRequest | None = None) -> list[StreamEvent]:
        """The events of a turn that has to work.

        Raises:
            ModelbayError: It did not.
        """
        outcome = await self.chat(request)
        if outcome.error is not None:
            raise outcome.error
        return outcome.events

    # what the server saw

    def mark(self) -> None:
        """Forget the requests so far."""
        if self.target.has("requests"):
            self._seen = len(self.target.requests())

    def seen(self) -> list[Request]:
        """Requests since the last `mark`."""
        return list(self.target.requests())[self._seen :]

    def chats(self) -> list[Request]:
        """Chat turns among them."""
        return [r for r in self.seen() if r.path.endswith(self.target.chat_path)]


def values(request: Request) -> list[object]:
    """Every value the body of a request holds, at any depth, and the parts of its address."""
    found: list[object] = [*request.raw_path.split("/"), request.path, *request.query.values()]
    with suppress(ValueError):  # without a body, or in another format: its address has to do
        found += _scalars(request.json())
    return found


def _scalars(value: object) -> Iterator[object]:
    match value:
        case dict():
            for inner in value.values():
                yield from _scalars(inner)
        case list():
            for inner in value:
                yield from _scalars(inner)
        case _:
            yield value


def shown(requests: Sequence[Request]) -> str:
    """Requests as a failed check shows them."""
    return "; ".join(f"{r.method} {r.target} {r.body[:300]!r}" for r in requests) or "no request"


async def until(condition: Callable[[], bool], limit_s: float) -> bool:
    """Whether this comes true within so many seconds."""
    ends = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > ends:
            return False
        await asyncio.sleep(0.005)
    return True


def put(value: object, change: Callable[[object], object]) -> object:
    """A JSON value with every scalar changed."""
    match value:
        case dict():
            return {key: put(inner, change) for key, inner in value.items()}
        case list():
            return [put(inner, change) for inner in value]
        case _:
            return change(value)


def as_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
