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
from modelbay.models.chat import ChatRequest, user
from modelbay.models.events import Status, StreamEvent, TextDelta
from modelbay.models.manage import Action, ManageEvent
from modelbay.models.provider import ProviderConfig
from modelbay.refs import ModelRef
from modelbay.resolve import Resolver
from modelbay_llamaswap import plugin

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
            {"id": "desk", "kind": "llama-swap", "baseUrl": base_url, "pollS": 5, **config}
        )
        self.context = ProviderContext(self.config, resources)
        self.backend = Backend("llama-swap", manager, self.context)

    async def discover(self) -> dict[str, DiscoveredModel]:
        return {model.wire_id: model for model in await self.backend.discover_models()}

    async def model(self, wire_id: str = "tiny") -> ModelInfo:
        """A model as the registry would hand it to the plugin; one that is not listed too."""
        found = (await self.discover()).get(wire_id) or DiscoveredModel(wire_id=wire_id)
        resolver = Resolver(self.config, self.backend.table)
        return ModelInfo(
            ref=ModelRef(self.config.id, wire_id),
            name=found.name or wire_id,
            kind="llama-swap",
            capabilities=resolver.capabilities(found),
            **{
                name: getattr(found, name)
                for name in ("state", "origin", "aliases", "loaded_context", "problem", "details")
            },
        )

    async def chat(
        self,
        request: ChatRequest | str = "hi",
        wire_id: str = "tiny",
        *,
        deadline_s: float | None = None,
    ) -> list[StreamEvent]:
        """All events of one turn."""
        wanted = ask(request) if isinstance(request, str) else request
        model = await self.model(wire_id)
        return [e async for e in self.backend.stream_chat(wanted, model, deadline_s)]

    async def manage(self, action: Action) -> list[ManageEvent]:
        """All events of one action; those before an error are lost with it."""
        return [event async for event in self.backend.manage(action)]


OpenBay = Callable[..., Bay]


def ask(text: str = "hi", **fields: Any) -> ChatRequest:
    """A request with one user message."""
    return ChatRequest(messages=[user(text)], **fields)


async def collect(events: AsyncIterator[T], into: list[T]) -> None:
    """All events; those before an error are kept."""
    async with closing(events):
        async for event in events:
            into.append(event)


def text_of(events: list[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def statuses(events: list[StreamEvent]) -> list[tuple[str, str | None]]:
    return [(event.state, event.message) for event in events if isinstance(event, Status)]
