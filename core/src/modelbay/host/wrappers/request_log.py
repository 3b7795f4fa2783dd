"""The wrapper ``request-log``: one line of JSON for each request, without secrets and prompts.

Settings, with commas between: ``file=PATH`` appends the lines to a file that only its owner may
read; ``text=80`` keeps the first 80 characters of each text, secrets taken out first. Each line
also goes to the logger ``modelbay.requests`` at level INFO.
"""

import asyncio
import inspect
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import ModelbayError
from modelbay.hookspecs import hookimpl
from modelbay.host.wrappers.redaction import redactor, shaped
from modelbay.models.catalog import ModelInfo
from modelbay.models.events import Finish, Status, Usage

E = TypeVar("E")
T = TypeVar("T")

log = logging.getLogger("modelbay.requests")

_MEMO = "modelbay.wrappers.request-log"


def configure(settings: str) -> "RequestLog":
    """Read the settings.

    Raises:
        ValueError: One is unknown, or no number where one belongs.
    """
    file: Path | None = None
    text = 0
    for part in filter(None, (part.strip() for part in settings.split(","))):
        name, _, value = part.partition("=")
        if name == "file" and value:
            file = Path(value).expanduser()
        elif name == "text" and value.isdecimal():
            text = int(value)
        else:
            raise ValueError(f"'{part}' is neither file=PATH nor text=NUMBER")
    return RequestLog(file=file, text=text)


@dataclass(slots=True)
class _Entry:
    """One request while it runs."""

    hook: str
    provider: ProviderContext
    redact: Callable[[str], str]
    model: str | None
    request: object
    began_at: float
    began: float
    first: float | None = None
    events: int = 0
    outcome: str = ""
    error: str | None = None
    usage: dict[str, int] = field(default_factory=dict)

    def see(self, event: object, now: float) -> None:
        if self.first is None and not isinstance(event, Status):
            self.first = now
        self.events += 1
        if isinstance(event, Usage):
            self.usage = {
                "input_tokens": event.input_tokens,
                "output_tokens": event.output_tokens,
            }
        elif isinstance(event, Finish):
            self.outcome = event.reason

    def fail(self, exc: BaseException) -> None:
        if isinstance(exc, ModelbayError):
            self.outcome, self.error = exc.code, self.redact(exc.message)
        elif isinstance(exc, asyncio.CancelledError):
            self.outcome = "cancelled"
        elif isinstance(exc, GeneratorExit):
            self.outcome = "closed"
        else:  # the text of a foreign exception may hold anything; its type is enough
            self.outcome, self.error = "plugin_contract_error", type(exc).__name__


class _Once(Awaitable[T]):
    """Awaits through a coroutine that is made when it is; until then both can be given up."""

    def __init__(self, answer: Awaitable[T], begin: Callable[[], Coroutine[object, None, T]]):
        self._answer = answer
        self._begin = begin

    def __await__(self) -> Generator[object, None, T]:
        return self._begin().__await__()

    def close(self) -> None:
        close = getattr(self._answer, "close", None)
        if close is not None:
            close()


class RequestLog:
    """Writes a line when a request has ended, however it ended."""

    def __init__(
        self,
        *,
        file: Path | None = None,
        text: int = 0,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._file = file
        self._text = text
        self._clock = clock
        self._timer = timer
        self._complained = False

    @hookimpl(wrapper=True)
    def stream_chat(
        self, provider: ProviderContext, request: BaseModel, model: ModelInfo
    ) -> Generator[None, AsyncIterator[E], AsyncIterator[E]]:
        entry = self._entry("stream_chat", provider, request, str(model.ref))
        return self._streamed(entry, (yield from self._called(entry)))

    @hookimpl(wrapper=True)
    def complete(
        self, provider: ProviderContext, request: BaseModel, model: ModelInfo
    ) -> Generator[None, AsyncIterator[E], AsyncIterator[E]]:
        entry = self._entry("complete", provider, request, str(model.ref))
        return self._streamed(entry, (yield from self._called(entry)))

    @hookimpl(wrapper=True)
    def manage(
        self, provider: ProviderContext, action: BaseModel
    ) -> Generator[None, AsyncIterator[E], AsyncIterator[E]]:
        entry = self._entry("manage", provider, action, getattr(action, "model", None))
        return self._streamed(entry, (yield from self._called(entry)))

    @hookimpl(wrapper=True)
    def embed(
        self, provider: ProviderContext, request: BaseModel, model: ModelInfo
    ) -> Generator[None, Awaitable[T], Awaitable[T]]:
        entry = self._entry("embed", provider, request, str(model.ref))
        return self._awaited(entry, (yield from self._called(entry)))

    @hookimpl(wrapper=True)
    def generate_image(
        self, provider: ProviderContext, request: BaseModel, model: ModelInfo
    ) -> Generator[None, Awaitable[T], Awaitable[T]]:
        entry = self._entry("generate_image", provider, request, str(model.ref))
        return self._awaited(entry, (yield from self._called(entry)))

    @hookimpl(wrapper=True)
    def rerank(
        self, provider: ProviderContext, request: BaseModel, model: ModelInfo
    ) -> Generator[None, Awaitable[T], Awaitable[T]]:
        entry = self._entry("rerank", provider, request, str(model.ref))
        return self._awaited(entry, (yield from self._called(entry)))

    # --- around the call -------------------------------------------------------------------------

    def _called(self, entry: _Entry) -> Generator[None, T, T]:
        """What the plugin gives; one that raises at once is written down at once."""
        try:
            return (yield)
        except BaseException as exc:
            entry.fail(exc)
            self._write(entry)
            raise

    def _streamed(self, entry: _Entry, stream: AsyncIterator[E]) -> AsyncIterator[E]:
        if not hasattr(stream, "__aiter__"):
            return stream  # the host tells the plugin what it should have given
        return self._noted(entry, stream)

    async def _noted(self, entry: _Entry, stream: AsyncIterator[E]) -> AsyncIterator[E]:
        try:
            async with closing(stream) as events:
                async for event in events:
                    entry.see(event, self._timer())
                    yield event
            entry.outcome = entry.outcome or "done"
        except BaseException as exc:
            entry.fail(exc)
            raise
        finally:
            self._write(entry)

    def _awaited(self, entry: _Entry, answer: Awaitable[T]) -> Awaitable[T]:
        if not inspect.isawaitable(answer):
            return answer
        return _Once(answer, lambda: self._answered(entry, answer))

    async def _answered(self, entry: _Entry, answer: Awaitable[T]) -> T:
        try:
            result = await answer
        except BaseException as exc:
            entry.fail(exc)
            raise
        else:
            entry.outcome = "done"
            return result
        finally:
            self._write(entry)

    # --- the line --------------------------------------------------------------------------------

    def _entry(
        self, hook: str, provider: ProviderContext, request: BaseModel, model: str | None
    ) -> _Entry:
        redact = provider.memo.get(_MEMO)
        if not callable(redact):
            redact = provider.memo[_MEMO] = redactor(provider)
        shape = shaped(_document(request), redact, text=self._text)
        return _Entry(hook, provider, redact, model, shape, self._clock(), self._timer())

    def _write(self, entry: _Entry) -> None:
        now = self._timer()
        document = {
            "time": datetime.fromtimestamp(entry.began_at, UTC).isoformat(timespec="milliseconds"),
            "provider": entry.provider.id,
            "kind": entry.provider.config.kind,
            "model": None if entry.model is None else entry.redact(entry.model),
            "hook": entry.hook,
            "outcome": entry.outcome,
            "error": entry.error,
            "first_s": None if entry.first is None else round(entry.first - entry.began, 6),
            "took_s": round(now - entry.began, 6),
            "events": entry.events,
            "usage": entry.usage or None,
            "request": entry.request,
        }
        line = json.dumps(document, ensure_ascii=False)
        log.info("%s", line)
        if self._file is not None:
            self._append(self._file, line)

    def _append(self, file: Path, line: str) -> None:
        """A request goes on when its log cannot be written; that is said once."""
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            place = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(place, f"{line}\n".encode("utf-8", "replace"))
            finally:
                os.close(place)
        except OSError as exc:
            if not self._complained:
                log.warning("the log of requests cannot be written to %s: %s", file, exc)
            self._complained = True


def _document(request: BaseModel) -> dict[str, object]:
    """A request as JSON, without what it leaves open; of tools and schemas no more than names."""
    document = request.model_dump(mode="json", exclude_defaults=True, exclude={"model"})
    if isinstance(tools := document.get("tools"), list):
        document["tools"] = [tool["name"] for tool in tools]
    if isinstance(wanted := document.get("response_format"), dict):
        document["response_format"] = wanted["type"]
    return document
