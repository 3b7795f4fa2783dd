"""What DeepSeek means to modelbay. Read this file first; each hook is one hop from the work."""

from collections.abc import AsyncIterator, Mapping, Sequence

from modelbay.context import ProviderContext
from modelbay.hookspecs import hookimpl
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import StreamEvent
from modelbay.models.manage import Action, ManageEvent
from modelbay.models.media import CompleteRequest
from modelbay.models.provider import ProviderConfig
from modelbay_deepseek import chat, completion, config, discovery, management
from modelbay_deepseek.table import TABLE


@hookimpl
def capabilities(provider: ProviderContext) -> CapabilityTable:
    config.options(provider)  # a misspelt key is told at once, not at the first chat
    return TABLE


@hookimpl
def default_providers(env: Mapping[str, str]) -> Sequence[ProviderConfig]:
    return config.default_providers(env)


@hookimpl
async def discover_models(provider: ProviderContext) -> Sequence[DiscoveredModel]:
    return await discovery.discover(provider)


@hookimpl
def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    return chat.stream_chat(provider, request, model)


@hookimpl
def complete(
    provider: ProviderContext, request: CompleteRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    return completion.complete(provider, request, model)


@hookimpl
def manage(provider: ProviderContext, action: Action) -> AsyncIterator[ManageEvent]:
    return management.run(provider, action)
