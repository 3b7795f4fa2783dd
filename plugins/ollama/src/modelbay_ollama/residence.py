"""Whether a model is in memory now, and with which window: one look at ``/api/ps``."""

from modelbay.context import ProviderContext
from modelbay.errors import ModelbayError
from modelbay.models.capabilities import Capabilities
from modelbay.models.catalog import ModelInfo
from modelbay_ollama import config
from modelbay_ollama.answers import Loaded, Running
from modelbay_ollama.asking import ask
from modelbay_ollama.memory import memory
from modelbay_ollama.names import identity
from modelbay_ollama.window import granted_window, wished_window

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
    entry = known.runner(entries, model.wire_id, model.digest)
    remember_window(provider, model.wire_id, entry)
    if entry is None:
        return True
    has = entry.context_length
    # Another window than the one it has means another load. So does none, after one of our own:
    # the server reuses only what it chose itself.
    if num_ctx is None:
        last = known.last_asked(model.wire_id)
        return last is not None and has == granted_window(last, model.capabilities)
    return has is not None and has != granted_window(num_ctx, model.capabilities)


def wished(provider: ProviderContext, wire_id: str, known: Capabilities) -> tuple[int | None, str]:
    """The window our requests to a model want, and who wants it; ``None`` leaves it to the server.

    What an explicit load asked for counts until the model is unloaded. The compatibility layer has
    no place for a window, and a request of another kind that named one would be undone there.
    """
    chosen = config.options(provider)
    if chosen.api == "openai":
        return None, ""
    held = memory(provider).held.get(identity(wire_id), {}).get("num_ctx")
    if isinstance(held, int):
        return held, "num_ctx of an explicit load"
    return wished_window(known, chosen.num_ctx)


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
        return granted_window(num_ctx, model.capabilities)
    if model.origin == "remote":
        return model.capabilities.context_window
    return memory(provider).windows.get(identity(model.wire_id))


async def look_at_window(provider: ProviderContext, model: ModelInfo) -> int | None:
    """The effective window of a model that has just answered; ``None`` if nobody says."""
    entries = await running_or_none(provider)
    if entries is None:
        return None
    known = memory(provider)
    remember_window(provider, model.wire_id, known.runner(entries, model.wire_id, model.digest))
    return known.windows.get(identity(model.wire_id))
