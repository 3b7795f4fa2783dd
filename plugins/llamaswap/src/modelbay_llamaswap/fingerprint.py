"""What answers at an address instead of llama-swap; llama.cpp proposes the same port."""

from collections.abc import Mapping, Sequence

import msgspec

from modelbay.client.http import open_stream
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import (
    BackendError,
    BackendTimeoutError,
    BackendUnreachableError,
    StreamInterruptedError,
    WrongServerError,
)
from modelbay_llamaswap.config import JSON, URL_VARIABLE, at
from modelbay_llamaswap.wire import Entry

_PEEK_S = 0.5
_PEEK_BYTES = 64 * 1024
_OWNERS: Mapping[str, str] = {
    "llamacpp": "llama.cpp",
    "vllm": "vLLM",
    "sglang": "SGLang",
    "library": "Ollama",
    "organization_owner": "LM Studio",
}


async def is_ours(provider: ProviderContext) -> bool:
    """Whether ``/running`` says so: an object with a list, which no other server has.

    Only asked where the model list is empty or says nothing.
    """
    running = _json(await _peek(provider, "running", JSON))
    return isinstance(running, dict) and isinstance(running.get("running"), list)


async def wrong_server(
    provider: ProviderContext, entries: Sequence[Entry], because: BackendError | None
) -> WrongServerError | None:
    """The error for an address where the model list is not llama-swap's.

    ``None`` if nothing was heard that would tell.
    """
    silent = (BackendUnreachableError, BackendTimeoutError, StreamInterruptedError)
    if isinstance(because, silent):
        return None
    found = next((known for e in entries if (known := _OWNERS.get(e.owned_by or ""))), None)
    if found is None:
        root = await _peek(provider, "")
        page = root[:2000].lower()
        if root.startswith(b"Ollama is running"):
            found = "Ollama"
        elif b"Unexpected endpoint or method" in root:
            found = "LM Studio"
        elif because is not None and because.status is not None and because.status >= 500:
            return None  # ill rather than another one
        elif b"<html" in page or page.startswith(b"<!doctype html"):
            found = "a web page"
        elif because is None:
            found = "an OpenAI-style server that is not llama-swap"
        else:
            found = "something else"
    return WrongServerError(
        f"{provider.base_url} is not llama-swap but {found}",
        found=found,
        status=None if because is None else because.status,
        provider_id=provider.id,
        hint=f'correct "baseUrl" or "kind" of provider "{provider.id}", or {URL_VARIABLE}',
    )


async def _peek(
    provider: ProviderContext, path: str, headers: Mapping[str, str] | None = None
) -> bytes:
    """The beginning of an answer, whatever its status; empty if there is none."""
    head = bytearray()
    try:
        async with (
            open_stream(
                provider, "GET", at(provider, path), headers=headers, deadline_s=_PEEK_S
            ) as response,
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
