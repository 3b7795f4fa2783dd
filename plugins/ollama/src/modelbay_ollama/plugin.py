"""What Ollama means to modelbay. Read this file first; each hook is one hop from the work."""

from collections.abc import AsyncIterator, Mapping, Sequence

from modelbay.context import ProviderContext
from modelbay.hookspecs import hookimpl
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import StreamEvent
from modelbay.models.manage import Action, ManageEvent
from modelbay.models.media import CompleteRequest, EmbedRequest, EmbedResult
from modelbay.models.provider import ProviderConfig
from modelbay_ollama import client, compat, completion, config, discovery, management, vectors
from modelbay_ollama.table import TABLE


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
    known = discovery.as_listed(provider, model)
    if config.options(provider).api == "openai":
        return compat.stream_chat(provider, request, known)
    return client.chat(provider, request, known)


@hookimpl
def complete(
    provider: ProviderContext, request: CompleteRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    return completion.complete(provider, request, discovery.as_listed(provider, model))


@hookimpl
async def embed(provider: ProviderContext, request: EmbedRequest, model: ModelInfo) -> EmbedResult:
    return await vectors.embed(provider, request, discovery.as_listed(provider, model))


@hookimpl
def manage(provider: ProviderContext, action: Action) -> AsyncIterator[ManageEvent]:
    return management.run(provider, action)
