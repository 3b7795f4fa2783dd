"""The plugin as a host holds it: its hooks behind the contract's guard, at one account."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, TypeVar

import pluggy

from modelbay import hookspecs
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import ModelbayError
from modelbay.host.backend import Backend
from modelbay.host.host import Host
from modelbay.host.resources import HostResources
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest, Message, Tool, user
from modelbay.models.events import Notice, ReasoningDelta, StreamEvent, TextDelta, ToolCall
from modelbay.models.manage import Action, ManageEvent
from modelbay.models.media import CompleteRequest
from modelbay.models.provider import ProviderConfig
from modelbay.refs import ModelRef
from modelbay.resolve import Resolver
from modelbay.testing.conformance.bay import install
from modelbay.testing.conformance.target import Target
from modelbay_deepseek import plugin
from modelbay_deepseek.simulator import KEY

T = TypeVar("T")
FLASH, PRO = "deepseek-flash", "deepseek-v4-pro"


class Clock:
    """A clock that a test moves.

    Attributes:
        step_s: How far it goes on by itself each time somebody looks at it.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.step_s = 0.0

    def __call__(self) -> float:
        self.now += self.step_s
        return self.now


class Bay:
    """One provider of this kind.

    Attributes:
        backend: Its hooks, guarded as in a host.
    """

    def __init__(self, base_url: str, resources: HostResources, **config: object) -> None:
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(plugin)
        self.config = ProviderConfig.model_validate(
            {"id": "cloud", "kind": "deepseek", "baseUrl": base_url, "apiKey": KEY, **config}
        )
        self.context = ProviderContext(self.config, resources)
        self.backend = Backend("deepseek", manager, self.context)

    async def discover(self) -> dict[str, DiscoveredModel]:
        return {model.wire_id: model for model in await self.backend.discover_models()}

    def model(self, wire_id: str = FLASH) -> ModelInfo:
        """A model as the host hands it over, from the table alone."""
        resolver = Resolver(self.config, self.backend.table)
        return ModelInfo(
            ref=ModelRef(self.config.id, wire_id),
            name=wire_id,
            kind="deepseek",
            capabilities=resolver.capabilities(DiscoveredModel(wire_id=wire_id, origin="remote")),
        )

    def stream(
        self, request: ChatRequest | str = "hi", wire_id: str = FLASH
    ) -> AsyncIterator[StreamEvent]:
        wanted = ask(request) if isinstance(request, str) else request
        return self.backend.stream_chat(wanted, self.model(wire_id))

    async def chat(
        self, request: ChatRequest | str = "hi", wire_id: str = FLASH
    ) -> list[StreamEvent]:
        """All events of one turn."""
        return [event async for event in self.stream(request, wire_id)]

    async def complete(self, request: CompleteRequest, wire_id: str = FLASH) -> list[StreamEvent]:
        return [event async for event in self.backend.complete(request, self.model(wire_id))]

    async def manage(self, action: Action) -> list[ManageEvent]:
        return [event async for event in self.backend.manage(action)]


OpenBay = Callable[..., Bay]


def open_host(base_url: str, **config: object) -> Host:
    """A host with this plugin alone."""
    provider = ProviderConfig.model_validate(
        {"id": "deepseek", "kind": "deepseek", "baseUrl": base_url, "apiKey": KEY, **config}
    )
    target = Target(plugin=plugin, config=provider, model=FLASH)
    return Host.open(providers=[provider], env={}, installed=install(target))


def ask(text: str = "hi", **fields: Any) -> ChatRequest:
    """A request with one user message."""
    return ChatRequest(messages=[user(text)], **fields)


async def failure(
    events: AsyncIterator[StreamEvent], wanted: type[T]
) -> tuple[list[StreamEvent], T]:
    """What came before the error, and the error."""
    seen: list[StreamEvent] = []
    error: ModelbayError | None = None
    try:
        async with closing(events) as stream:
            async for event in stream:
                seen.append(event)
    except ModelbayError as exc:
        error = exc
    assert type(error) is wanted, f"{error!r} after {seen}"
    return seen, error


def said(events: Iterable[object]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def thought(events: Iterable[object]) -> str:
    return "".join(event.text for event in events if isinstance(event, ReasoningDelta))


def calls(events: Iterable[object]) -> list[ToolCall]:
    return [event for event in events if isinstance(event, ToolCall)]


def notices(events: Iterable[object]) -> list[str]:
    """Their codes."""
    return [event.code for event in events if isinstance(event, Notice)]


def answered(
    history: Sequence[Message], made: Sequence[ToolCall], reasoning: str | None = None
) -> list[Message]:
    """The conversation with calls and their results at its end."""
    results = [Message(role="tool", content="sunny", tool_call_id=call.id) for call in made]
    turn = Message(role="assistant", tool_calls=list(made), reasoning=reasoning)
    return [*history, turn, *results]


WEATHER = Tool(
    name="get_weather",
    description="The weather in a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}},
)
