"""Embeddings, reranking and images."""

import msgspec

from modelbay.client import openai_compat
from modelbay.client.http import fetch_json
from modelbay.context import ProviderContext
from modelbay.errors import BackendError
from modelbay.models.catalog import ModelInfo
from modelbay.models.media import (
    EmbedRequest,
    EmbedResult,
    ImageRequest,
    ImageResult,
    RankedDocument,
    RerankRequest,
    RerankResult,
)
from modelbay.wire.openai_misc import encode_rerank
from modelbay_openai.address import at
from modelbay_openai.chat import server_of
from modelbay_openai.failures import classify, explain
from modelbay_openai.memory import recall


class _Scored(msgspec.Struct):
    """SGLang's entry: a bare list of these is its whole answer."""

    index: int
    score: float


async def embed(provider: ProviderContext, request: EmbedRequest, model: ModelInfo) -> EmbedResult:
    """Vectors for texts."""
    recall(provider, model)
    try:
        return await openai_compat.embed(
            provider, request, model, path=at(provider, "embeddings"), classify=classify
        )
    except BackendError as exc:
        explain(provider, exc)
        raise


async def rerank(
    provider: ProviderContext, request: RerankRequest, model: ModelInfo
) -> RerankResult:
    """Documents, the best first. Offered by vLLM, SGLang, llama.cpp, OpenRouter and others."""
    recall(provider, model)
    path = at(provider, "rerank")
    try:
        if not server_of(provider).ranks_in_a_list:
            return await openai_compat.rerank(
                provider, request, model, path=path, classify=classify
            )
        body = await fetch_json(
            provider,
            "POST",
            path,
            into=list[_Scored],
            json=encode_rerank(request, model.wire_id),
            model=str(model.ref),
            deadline_s=None,
            classify=classify,
        )
    except BackendError as exc:
        explain(provider, exc)
        raise
    ranked = sorted(body, key=lambda item: -item.score)
    return RerankResult(results=[RankedDocument(index=r.index, score=r.score) for r in ranked])


async def generate_image(
    provider: ProviderContext, request: ImageRequest, model: ModelInfo
) -> ImageResult:
    """Images from a text, or with an image a changed one."""
    recall(provider, model)
    # OpenAI's GPT image models know nothing but base64 and refuse to be asked for it.
    asks = not model.wire_id.rpartition("/")[2].startswith("gpt-image")
    try:
        return await openai_compat.generate_image(
            provider,
            request,
            model,
            path=at(provider, "images/generations"),
            edit_path=at(provider, "images/edits"),
            classify=classify,
            response_format=asks,
        )
    except BackendError as exc:
        explain(provider, exc)
        raise
