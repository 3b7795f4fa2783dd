"""Vectors, ranked documents and images: llama-swap picks the model and passes the request on."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from modelbay.client import openai_compat
from modelbay.context import ProviderContext
from modelbay.errors import BackendError
from modelbay.models.catalog import ModelInfo
from modelbay.models.frozen import Frozen
from modelbay.models.media import (
    EmbedRequest,
    EmbedResult,
    ImageRequest,
    ImageResult,
    RerankRequest,
    RerankResult,
)
from modelbay_llamaswap import sidecar
from modelbay_llamaswap.explaining import raise_explained
from modelbay_llamaswap.memory import memory
from modelbay_llamaswap.sidecar import Endpoint
from modelbay_llamaswap.waiting import patiently
from modelbay_llamaswap.wire import classify

T = TypeVar("T")


async def embed(provider: ProviderContext, request: EmbedRequest, model: ModelInfo) -> EmbedResult:
    """Vectors for texts, over ``/v1/embeddings``."""
    return await _passed_on(
        provider,
        request,
        model,
        lambda place: openai_compat.embed(
            provider, request, model, path=place.at("v1/embeddings"), classify=classify
        ),
    )


async def rerank(
    provider: ProviderContext, request: RerankRequest, model: ModelInfo
) -> RerankResult:
    """Documents, the best first, over ``/v1/rerank`` (v143)."""
    return await _passed_on(
        provider,
        request,
        model,
        lambda place: openai_compat.rerank(
            provider, request, model, path=place.at("v1/rerank"), classify=classify
        ),
    )


async def generate_image(
    provider: ProviderContext, request: ImageRequest, model: ModelInfo
) -> ImageResult:
    """Images, over ``/v1/images/generations`` (v180); with an image to edit ``/edits`` (v181)."""
    return await _passed_on(
        provider,
        request,
        model,
        lambda place: openai_compat.generate_image(
            provider,
            request,
            model,
            path=place.at("v1/images/generations"),
            edit_path=place.at("v1/images/edits"),
            classify=classify,
            fetch=False,  # the address would be llama-swap's, and /unload is a GET
        ),
    )


async def _passed_on(
    provider: ProviderContext,
    request: Frozen,
    model: ModelInfo,
    ask: Callable[[Endpoint], Awaitable[T]],
) -> T:
    place = sidecar.endpoint(provider, request)
    with memory(provider).using(model.wire_id):
        try:
            return await patiently(provider, lambda: ask(place))
        except BackendError as exc:
            raise_explained(provider, exc, model.wire_id, place)
