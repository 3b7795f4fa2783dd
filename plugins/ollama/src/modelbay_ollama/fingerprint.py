"""What answers at an address instead of Ollama."""

import msgspec

from modelbay.client.http import open_stream
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import (
    BackendError,
    BackendUnreachableError,
    StreamInterruptedError,
    WrongServerError,
)
from modelbay_ollama.asking import at

ROOT = b"Ollama is running"

_PEEK_S = 0.5
_PEEK_BYTES = 64 * 1024
_OWNERS = {
    "llama-swap": "llama-swap",
    "llamacpp": "llama.cpp",
    "vllm": "vLLM",
    "sglang": "SGLang",
    "organization_owner": "LM Studio",
}


async def wrong_server(provider: ProviderContext, because: BackendError) -> WrongServerError | None:
    """The error for an address where the native API does not answer as it should.

    ``None`` if it is Ollama after all, or if nothing was heard that would tell.
    """
    if isinstance(because, (BackendUnreachableError, StreamInterruptedError)):
        return None
    root = await _peek(provider, "")
    if root.startswith(ROOT):
        return None
    found = await _found(provider, root)
    if found is None:
        if because.status is None or because.status >= 500:
            return None
        found = "something else"
    return WrongServerError(
        f"{provider.base_url} is not Ollama but {found}",
        found=found,
        status=because.status,
        provider_id=provider.id,
        hint=f'correct "baseUrl" or "kind" of provider "{provider.id}", or OLLAMA_HOST',
    )


async def _found(provider: ProviderContext, root: bytes) -> str | None:
    if b"Unexpected endpoint or method" in root:
        return "LM Studio"
    models = _json(await _peek(provider, "v1/models"))
    data = models.get("data") if isinstance(models, dict) else None
    for entry in data if isinstance(data, list) else []:
        owner = entry.get("owned_by") if isinstance(entry, dict) else None
        if isinstance(owner, str) and owner in _OWNERS:
            return _OWNERS[owner]
    if b'"running"' in await _peek(provider, "running"):
        return "llama-swap"
    if isinstance(data, list):
        return "an OpenAI-style server that is not Ollama"
    if b"<html" in root[:2000].lower() or b"<!doctype html" in root[:200].lower():
        return "a web page"
    return None


async def _peek(provider: ProviderContext, path: str) -> bytes:
    """The beginning of an answer, whatever its status; empty if there is none."""
    head = bytearray()
    try:
        async with (
            open_stream(provider, "GET", at(provider, path), deadline_s=_PEEK_S) as response,
            closing(response.blocks()) as blocks,
        ):
            async for block in blocks:
                head += block
                if len(head) >= _PEEK_BYTES:
                    break
    except BackendError:
        return b""  # a sign that is missing; the others decide
    return bytes(head)


def _json(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
