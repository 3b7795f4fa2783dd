"""llama-swap's logs: its own, and what each model's process writes."""

import re
from collections.abc import AsyncIterator

from modelbay.client.http import open_stream, raise_for_status
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import BackendError, BackendTimeoutError, ModelNotFoundError
from modelbay.models.manage import Done, LogLine, Logs, ManageEvent
from modelbay.wire.lines import LineDecoder
from modelbay_llamaswap.config import at
from modelbay_llamaswap.inventory import list_models
from modelbay_llamaswap.memory import memory
from modelbay_llamaswap.wire import classify, in_path, known_names

_HISTORY_S = 2.0  # a log that is empty sends not even its head
_PAUSE_S = 0.5  # history comes at once; what follows is news
_TAIL = 8
_STREAM = "logs/stream"
_UPSTREAM = "logs/stream/upstream"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-Z\\-_]|[\x00-\x08\x0b-\x1f\x7f]")


async def logs(provider: ProviderContext, action: Logs) -> AsyncIterator[ManageEvent]:
    """The log so far, and with `follow` what is added to it until the caller goes.

    Without a model it is llama-swap's combined log, which by default holds no line of any model
    (``logToStdout: proxy``); with one, what that model's process writes (trap 17). The streams
    send nothing while nothing is logged, so there is no limit on silence (trap 18).

    Raises:
        ModelNotFoundError: No log has this name.
    """
    if not action.follow:
        lines = await _history(provider, action.model)
        for line in lines:
            yield LogLine(text=line)
        yield Done(message="" if lines else "nothing is logged", changed=False)
        return
    added = _lines(provider, _STREAM if action.model is None else _of(action.model), action.model)
    async with closing(added):
        async for line in added:
            yield LogLine(text=line)
    yield Done(message="the server ended its log", changed=False)


async def tail(provider: ProviderContext, wire_id: str) -> list[str]:
    """The last lines of a model's log, to explain a failure; none if they cannot be had."""
    try:
        return (await _history(provider, wire_id))[-_TAIL:]
    except BackendError:
        return []


def _of(model: str) -> str:
    return f"{_STREAM}/{in_path(model)}"


async def _history(provider: ProviderContext, model: str | None) -> list[str]:
    """What a log holds. A model's log is only to be had as a stream, whose pause is its end."""
    kept: list[str] = []
    if model is None:
        lines = _lines(provider, "logs", None)
    else:
        lines = _lines(provider, _of(model), model, first_s=_HISTORY_S, pause_s=_PAUSE_S)
    try:
        async with closing(lines):
            async for line in lines:
                kept.append(line)
    except BackendTimeoutError:
        if model is None:
            raise
    return kept


async def _lines(
    provider: ProviderContext,
    path: str,
    model: str | None,
    *,
    first_s: float | None = None,
    pause_s: float | None = None,
) -> AsyncIterator[str]:
    async with open_stream(
        provider,
        "GET",
        at(provider, path),
        headers={"Accept": "application/json"},  # with text/html it would redirect to its page
        first_byte_s=first_s,
        idle_s=pause_s,
    ) as response:
        if response.status in (400, 404) and model is not None and path != _UPSTREAM:
            await _require_listed(provider, model)
            fallback = True
        else:
            await raise_for_status(provider, response, model=model, classify=classify)
            fallback = False
            lines = LineDecoder()
            async with closing(response.blocks()) as blocks:
                async for block in blocks:
                    for line in lines.feed(block):
                        yield _plain(provider, line)
            if rest := lines.close():
                yield _plain(provider, rest)
    if fallback:  # before v177 all models shared one log
        older = _lines(provider, _UPSTREAM, model, first_s=first_s, pause_s=pause_s)
        async with closing(older):
            async for text in older:
                yield text


async def _require_listed(provider: ProviderContext, model: str) -> None:
    """Raises ModelNotFoundError: the server refused a name that is no model of its list."""
    await list_models(provider)
    names = memory(provider).real_ids
    if model not in names:
        raise ModelNotFoundError(
            f"there is no log of '{model}' here",
            provider_id=provider.id,
            model=model,
            hint=f"this server lists: {known_names(names)}",
        )


def _plain(provider: ProviderContext, line: bytes) -> str:
    """Without what would colour or clear a terminal, and without our own key."""
    return provider.redact(_ESCAPES.sub("", line.decode("utf-8", "replace").rstrip("\r")))
