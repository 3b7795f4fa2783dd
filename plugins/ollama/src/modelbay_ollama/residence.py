"""Whether a model is in memory now, and with which window: one look at ``/api/ps``."""

from modelbay.context import ProviderContext
from modelbay.errors import ModelbayError
from modelbay.models.catalog import ModelInfo
from modelbay_ollama.answers import Loaded, Running, find_loaded
from modelbay_ollama.asking import ask
from modelbay_ollama.memory import memory
from modelbay_ollama.names import identity

LOOK_S = 1.0  # a look must not hold up the request it is for
RUNNING_LIMIT = 1024 * 1024


async def is_cold(provider: ProviderContext, model: ModelInfo, num_ctx: int | None) -> bool:
    """Whether the next request to a model has to wait for a load.

    Asked are our own memory of the last minute, then the server, then the list as it was last seen.
    """
    if model.origin == "remote":
        return False
    known = memory(provider)
    if known.is_resident(model.wire_id, provider.resources.monotonic(), num_ctx):
        return False
    entries = await running_or_none(provider)
    if entries is None:
        return model.state == "unloaded"
    entry = find_loaded(entries, model.wire_id, model.digest)
    remember_window(provider, model.wire_id, entry)
    if entry is None:
        return True
    # Another window than the one it has means another load.
    return None not in (num_ctx, entry.context_length) and num_ctx != entry.context_length


async def running(provider: ProviderContext, deadline_s: float | None = 15.0) -> list[Loaded]:
    """The runners.

    Raises:
        BackendError: It cannot be asked; servers before 0.1.38 have no such route.
    """
    answer = await ask(
        provider, "GET", "api/ps", into=Running, deadline_s=deadline_s, limit=RUNNING_LIMIT
    )
    return answer.models or []


async def running_or_none(provider: ProviderContext) -> list[Loaded] | None:
    """The runners; ``None`` if the server does not say in time. Whoever asks can do without."""
    try:
        return await running(provider, LOOK_S)
    except ModelbayError:
        return None


def remember_window(provider: ProviderContext, wire_id: str, entry: Loaded | None) -> None:
    known = memory(provider)
    if entry is not None and entry.context_length:
        known.windows[identity(wire_id)] = entry.context_length
    else:
        known.windows.pop(identity(wire_id), None)


def known_window(provider: ProviderContext, model: ModelInfo, num_ctx: int | None) -> int | None:
    """The window a request has had, without asking anybody."""
    if num_ctx is not None:
        trained = model.capabilities.trained_context
        return num_ctx if trained is None else min(num_ctx, trained)
    if model.origin == "remote":
        return model.capabilities.context_window
    return memory(provider).windows.get(identity(model.wire_id))


async def look_at_window(provider: ProviderContext, model: ModelInfo) -> int | None:
    """The effective window of a model that has just answered; ``None`` if nobody says."""
    entries = await running_or_none(provider)
    if entries is None:
        return None
    remember_window(provider, model.wire_id, find_loaded(entries, model.wire_id, model.digest))
    return memory(provider).windows.get(identity(model.wire_id))
