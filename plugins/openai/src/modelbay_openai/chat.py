"""Chat and raw completion, in the dialect of the server at hand."""

from collections.abc import AsyncIterator
from dataclasses import replace

from modelbay.client import openai_compat
from modelbay.context import ProviderContext
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import StreamEvent
from modelbay.models.media import CompleteRequest
from modelbay.wire.openai_chat import Dialect
from modelbay_openai.address import at, by_host, is_local
from modelbay_openai.config import options
from modelbay_openai.dialects import BY_NAME, UNKNOWN, Server
from modelbay_openai.failures import classify, explain
from modelbay_openai.memory import memory, recall

# Fields that `extra` cannot say anything else about than the request does.
_ITS_OWN = {
    name: f"the request's own {name} decides"
    for name in ("messages", "model", "stream", "stream_options")
}


def server_of(provider: ProviderContext) -> Server:
    """The server as the last look recognised it; before the first one, by name or address."""
    known = memory(provider).server
    if known is not UNKNOWN:
        return known
    told = options(provider).server
    return BY_NAME[told] if told is not None else by_host(provider.base_url)


def dialect(provider: ProviderContext, model: ModelInfo, server: Server) -> Dialect:
    """The server's row, with the user's switches over it.

    A limit that nobody asked for is sent only if the user wrote it down: these servers stop at
    the end of the context by themselves, refuse a limit that does not fit into what is left of it
    (vLLM), or want it covered by the account (OpenRouter).
    """
    origin = model.capabilities.provenance.get("max_output_tokens")
    limit_is_wanted = origin is not None and origin.layer == "user"
    known = memory(provider)
    key = (server.name, known.version, limit_is_wanted)
    found = known.dialects.get(key)
    if found is None:
        row = server.dialect_of(known.version)
        found = known.dialects[key] = _switched(provider, row, limit_is_wanted)
    return found


def _switched(provider: ProviderContext, row: Dialect, limit_is_wanted: bool) -> Dialect:
    chosen = options(provider)
    local = is_local(provider.base_url) if chosen.local is None else chosen.local
    found = replace(
        row,
        fixed_at_start={**row.fixed_at_start, **_ITS_OWN},
        default_limit=limit_is_wanted,
        # A server of one's own would fetch addresses inside its network for whoever can chat.
        image_urls=not local,
        calls_may_stop=True,
    )
    switches = chosen.dialect.model_dump(exclude_none=True, exclude_defaults=True)
    if "reasoning_history" in switches:
        switches["reasoning_history"] = switches["reasoning_history"] or None
        switches["reasoning_wanted"] = False
    if "reasoning_effort" in switches:
        switches["reasoning_effort"] = switches["reasoning_effort"] != "none"
    return replace(found, **switches)


def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Answer one chat turn."""
    recall(provider, model)
    server = server_of(provider)
    effort = options(provider).dialect.reasoning_effort or server.effort
    if effort == "object" and request.reasoning_effort is not None:
        request = request.model_copy(
            update={
                "reasoning_effort": None,
                "extra": {"reasoning": {"effort": request.reasoning_effort}, **request.extra},
            }
        )
    return openai_compat.stream_chat(
        provider,
        request,
        model,
        dialect=dialect(provider, model, server),
        path=at(provider, "chat/completions"),
        classify=classify,
        pings=server.pings,
        explain=explain,
    )


def complete(
    provider: ProviderContext, request: CompleteRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    """Continue a raw prompt."""
    recall(provider, model)
    return openai_compat.complete(
        provider,
        request,
        model,
        path=at(provider, "completions"),
        classify=classify,
        pings=server_of(provider).pings,
        explain=explain,
    )
