"""What the embedded engine means to modelbay. Read this file first; each hook is one hop away."""

from collections.abc import AsyncIterator, Sequence

from modelbay.context import ProviderContext
from modelbay.hookspecs import hookimpl
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import StreamEvent
from modelbay.models.manage import Action, ManageEvent
from modelbay.models.media import (
    CompleteRequest,
    EmbedRequest,
    EmbedResult,
    RerankRequest,
    RerankResult,
)
from modelbay.models.provider import ProviderConfig
from modelbay_embedded import chat, config, discovery, management
from modelbay_embedded.table import TABLE


@hookimpl
def capabilities(provider: ProviderContext) -> CapabilityTable:
    provider.options(
        config.EmbeddedOptions
    )  # a misspelt key is told at once, not at the first chat
    return TABLE


@hookimpl
def default_providers() -> Sequence[ProviderConfig]:
    return [config.bundled_provider()]


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
    return chat.complete(provider, request, model)


@hookimpl
async def embed(provider: ProviderContext, request: EmbedRequest, model: ModelInfo) -> EmbedResult:
    return await chat.embed(provider, request, model)


@hookimpl
async def rerank(
    provider: ProviderContext, request: RerankRequest, model: ModelInfo
) -> RerankResult:
    return await chat.rerank(provider, request, model)


@hookimpl
def manage(provider: ProviderContext, action: Action) -> AsyncIterator[ManageEvent]:
    return management.run(provider, action)
