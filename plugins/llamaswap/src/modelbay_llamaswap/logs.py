"""llama-swap's logs: its own, and what each model's process writes."""

import re
from collections import deque
from collections.abc import AsyncIterator

from modelbay.client.http import open_stream, raise_for_status
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import BackendError, BackendTimeoutError, ModelNotFoundError
from modelbay.models.manage import Done, LogLine, Logs, ManageEvent
from modelbay.wire.lines import LineDecoder
from modelbay_llamaswap.config import JSON, at
from modelbay_llamaswap.inventory import list_models
from modelbay_llamaswap.memory import memory
from modelbay_llamaswap.wire import classify, in_path, known_names

_HEAD_S = 2.0  # a log that is empty sends not even its head
_PAUSE_S = 0.5  # history comes at once; what follows is news
_HISTORY_S = 5.0  # a model that goes on logging leaves no pause
_HISTORY_BYTES = 128 * 1024  # the server keeps 100 KiB of each log
_DEADLINE_S = 15.0
_TAIL = 8
_STREAM = "logs/stream"
_UPSTREAM = "logs/stream/upstream"
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # colours, movements of the cursor
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # titles, links
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c]*(?:\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)


async def logs(provider: ProviderContext, action: Logs) -> AsyncIterator[ManageEvent]:
    """The log so far, and with `follow` what is added to it until the caller goes.

    Without a model it is llama-swap's combined log, which by default holds no line of any model
    (``logToStdout: proxy``); with one, what that model's process writes (trap 17). The streams
    send nothing while nothing is logged, so there is no limit on silence (trap 18).

    Raises:
        ModelNotFoundError: No log has this name.
    """
    if action.follow:
        path = _STREAM if action.model is None else _of(action.model)
        added, last = _lines(provider, path, action.model), "the server ended its log"
    else:
        added, last = _history(provider, action.model), "nothing is logged"
    said = False
    async with closing(added):
        async for line in added:
            said = True
            yield LogLine(text=line)
    yield Done(message="" if said and not action.follow else last, changed=False)


async def tail(provider: ProviderContext, wire_id: str) -> list[str]:
    """The last lines of a model's log, to explain a failure; none if they cannot be had."""
    kept: deque[str] = deque(maxlen=_TAIL)
    lines = _history(provider, wire_id)
    try:
        async with closing(lines):
            async for line in lines:
                kept.append(line)
    except BackendError:
        return []
    return list(kept)


def _of(model: str) -> str:
    return f"{_STREAM}/{in_path(model)}"


async def _history(provider: ProviderContext, model: str | None) -> AsyncIterator[str]:
    """What a log holds, as it comes.

    A model's log is only to be had as a stream without an end. Its history ends where it pauses,
    or else with as much as the server keeps, or when its time is up.
    """
    if model is None:
        lines = _lines(provider, "logs", None, most=_HISTORY_BYTES, deadline_s=_DEADLINE_S)
    else:
        lines = _lines(
            provider,
            _of(model),
            model,
            first_s=_HEAD_S,
            pause_s=_PAUSE_S,
            most=_HISTORY_BYTES,
            deadline_s=_HISTORY_S,
        )
    try:
        async with closing(lines):
            async for line in lines:
                yield line
    except BackendTimeoutError:
        if model is None:
            raise


async def _lines(
    provider: ProviderContext,
    path: str,
    model: str | None,
    *,
    first_s: float | None = None,
    pause_s: float | None = None,
    most: int | None = None,
    deadline_s: float | None = None,
) -> AsyncIterator[str]:
    """The lines of a log.

    Args:
        most: Stop after so many bytes, a line that is then unfinished left out.
    """
    async with open_stream(
        provider,
        "GET",
        at(provider, path),
        headers=JSON,  # with text/html it would redirect to its page
        deadline_s=deadline_s,
        first_byte_s=first_s,
        idle_s=pause_s,
        own_limits=True,
    ) as response:
        if response.status in (400, 404) and model is not None and path != _UPSTREAM:
            await _require_listed(provider, model)
            fallback = True
        else:
            await raise_for_status(provider, response, model=model, classify=classify)
            fallback = False
            lines, size = LineDecoder(), 0
            async with closing(response.blocks()) as blocks:
                async for block in blocks:
                    for line in lines.feed(block):
                        yield _plain(provider, line)
                    size += len(block)
                    if most is not None and size >= most:
                        return
            if rest := lines.close():
                yield _plain(provider, rest)
    if fallback:  # before v177 all models shared one log
        older = _lines(
            provider,
            _UPSTREAM,
            model,
            first_s=first_s,
            pause_s=pause_s,
            most=most,
            deadline_s=deadline_s,
        )
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
    """Without what would colour or clear a terminal, and without our own key.

    Of a line that was written over again and again, as programs show their progress, the last.
    """
    text = _ESCAPES.sub("", line.decode("utf-8", "replace")).rstrip("\r")
    return provider.redact(text.rpartition("\r")[2])
