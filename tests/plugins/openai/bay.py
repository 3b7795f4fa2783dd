"""The plugin as a host holds it: its hooks behind the contract's guard, at one server."""

from collections.abc import Callable
from typing import Any, cast

import importlib_metadata
import pluggy
from importlib_metadata import Distribution

from modelbay import hookspecs
from modelbay.context import ProviderContext
from modelbay.host.backend import Backend
from modelbay.host.loader import Installed, load_plugins
from modelbay.host.resources import HostResources
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest, Tool, user
from modelbay.models.events import StreamEvent
from modelbay.models.manage import Action, ManageEvent
from modelbay.models.media import CompleteRequest
from modelbay.models.provider import ProviderConfig
from modelbay.refs import ModelRef
from modelbay.resolve import Resolver
from modelbay_openai import plugin


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
            {"id": "desk", "kind": "openai", "baseUrl": base_url, **config}
        )
        self.context = ProviderContext(self.config, resources)
        self.backend = Backend("openai", manager, self.context)

    async def discover(self) -> dict[str, DiscoveredModel]:
        return {model.wire_id: model for model in await self.backend.discover_models()}

    async def model(self, wire_id: str = "tiny") -> ModelInfo:
        """A model as the registry would hand it to the plugin."""
        found = (await self.discover())[wire_id]
        resolver = Resolver(self.config, self.backend.table)
        names = ("state", "origin", "aliases", "loaded_context", "digest", "family", "details")
        return ModelInfo(
            ref=ModelRef(self.config.id, found.wire_id),
            name=found.name,
            kind="openai",
            capabilities=resolver.capabilities(found),
            **{name: getattr(found, name) for name in names},
        )

    async def chat(
        self, request: ChatRequest | str = "hi", wire_id: str = "tiny"
    ) -> list[StreamEvent]:
        """All events of one turn."""
        wanted = ask(request) if isinstance(request, str) else request
        return [e async for e in self.backend.stream_chat(wanted, await self.model(wire_id))]

    async def complete(self, request: CompleteRequest, wire_id: str = "tiny") -> list[StreamEvent]:
        return [e async for e in self.backend.complete(request, await self.model(wire_id))]

    async def manage(self, action: Action) -> list[ManageEvent]:
        """All events of one action; those before an error are lost with it."""
        return [event async for event in self.backend.manage(action)]


OpenBay = Callable[..., Bay]


def only_ours() -> Installed:
    """This plugin as the only installed one, by its own distribution."""
    ours = cast(Distribution, importlib_metadata.distribution("modelbay-openai"))
    return load_plugins({}, distributions=lambda: [ours])


def ask(text: str = "hi", **fields: Any) -> ChatRequest:
    """A request with one user message."""
    return ChatRequest(messages=[user(text)], **fields)


WEATHER = Tool(
    name="get_weather",
    description="The weather in a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}},
)
WITH_TOOLS = ask("What is the weather in Oslo?", tools=[WEATHER])
