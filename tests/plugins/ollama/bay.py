"""The plugin as a host holds it: its hooks behind the contract's guard, at one server."""

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pluggy

from modelbay import hookspecs
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.host.backend import Backend
from modelbay.host.resources import HostResources
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest, Tool, user
from modelbay.models.events import StreamEvent
from modelbay.models.manage import Action, ManageEvent
from modelbay.models.media import CompleteRequest
from modelbay.models.provider import ProviderConfig
from modelbay.refs import ModelRef
from modelbay.resolve import Resolver
from modelbay_ollama import plugin

T = TypeVar("T")


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
            {"id": "desk", "kind": "ollama", "baseUrl": base_url, **config}
        )
        self.context = ProviderContext(self.config, resources)
        self.backend = Backend("ollama", manager, self.context)

    async def discover(self) -> dict[str, DiscoveredModel]:
        return {model.wire_id: model for model in await self.backend.discover_models()}

    async def model(self, wire_id: str = "llama3.1:8b") -> ModelInfo:
        """A model as the registry would hand it to the plugin."""
        found = (await self.discover())[wire_id]
        resolver = Resolver(self.config, self.backend.table)
        names = ("state", "origin", "aliases", "loaded_context", "digest", "family", "details")
        return ModelInfo(
            ref=ModelRef(self.config.id, found.wire_id),
            name=found.name,
            kind="ollama",
            capabilities=resolver.capabilities(found),
            **{name: getattr(found, name) for name in names},
        )

    def unlisted(self, wire_id: str) -> ModelInfo:
        """A model the registry does not know by this name, as it would hand it over."""
        resolver = Resolver(self.config, self.backend.table)
        guess = DiscoveredModel(wire_id=wire_id)
        return ModelInfo(
            ref=ModelRef(self.config.id, wire_id),
            name=wire_id,
            kind="ollama",
            capabilities=resolver.capabilities(guess),
        )

    async def chat(
        self, request: ChatRequest | str = "hi", wire_id: str = "llama3.1:8b"
    ) -> list[StreamEvent]:
        """All events of one turn."""
        wanted = ask(request) if isinstance(request, str) else request
        return [e async for e in self.backend.stream_chat(wanted, await self.model(wire_id))]

    async def complete(
        self, request: CompleteRequest, wire_id: str = "llama3.1:8b"
    ) -> list[StreamEvent]:
        return [e async for e in self.backend.complete(request, await self.model(wire_id))]

    async def manage(self, action: Action) -> list[ManageEvent]:
        """All events of one action; those before an error are lost with it."""
        return [event async for event in self.backend.manage(action)]


OpenBay = Callable[..., Bay]


def ask(text: str = "hi", **fields: Any) -> ChatRequest:
    """A request with one user message."""
    return ChatRequest(messages=[user(text)], **fields)


async def first(events: AsyncIterator[T], wanted: type[Any]) -> T:
    """The first event of a type; the stream is closed then."""
    async with closing(events) as stream:
        async for event in stream:
            if isinstance(event, wanted):
                return event
    raise AssertionError(f"no {wanted.__name__}")


WEATHER = Tool(
    name="get_weather",
    description="The weather in a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}},
)
WITH_TOOLS = ask("What is the weather in Oslo?", tools=[WEATHER])
