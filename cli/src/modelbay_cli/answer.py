"""One answer as it comes: its text on stdout, everything else on stderr."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from modelbay import ChatRequest, Host, ModelRef
from modelbay.host.streams import Fold
from modelbay.models.events import (
    Finish,
    Notice,
    ReasoningDelta,
    RefusalDelta,
    Status,
    StreamEvent,
    TextDelta,
    ToolCall,
    encode_event,
)
from modelbay_cli import figures
from modelbay_cli.output import Screen
from modelbay_cli.waiting import WaitingLine

_REASONS = {
    "length": "the answer was cut off at the token limit; --max-tokens raises it",
    "content_filter": "the server's content filter ended the answer",
    "error": "the server says that the answer ended in an error",
}


class Printer(Protocol):
    """Shows events; leaving its ``with`` block ends what it has begun."""

    def show(self, event: StreamEvent) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class EventLines:
    """Every event as one line of JSON."""

    def __init__(self, out: Screen) -> None:
        self._out = out

    def show(self, event: StreamEvent) -> None:
        self._out.line(encode_event(event).decode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


class Reading:
    """The answer for a reader, a person or a program.

    Args:
        at_once: Hold the text back until the answer is complete, or fails.
    """

    def __init__(
        self,
        out: Screen,
        err: Screen,
        *,
        at_once: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._out = out
        self._err = err
        self._at_once = at_once
        self._waiting = WaitingLine(err, "waiting", clock=clock)
        self._held: list[str] = []
        self._later: list[str] = []
        self._last = ""  # the last character on stdout
        self._thinking = False  # the cursor stands behind a piece of reasoning on stderr
        self._state = ""

    def __enter__(self) -> Self:
        self._waiting.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._waiting.stop()
        if kind is not None and issubclass(kind, BrokenPipeError):
            return  # nobody reads any more
        self._end_thinking()
        if self._held:
            self._print("".join(self._held))
        if self._last not in ("", "\n") or (kind is None and not self._last):
            self._out.write("\n")
        for line in self._later:
            self._err.line(line, style="dim")

    def show(self, event: StreamEvent) -> None:
        match event:
            case TextDelta(text=text) | RefusalDelta(text=text):
                if self._at_once:
                    self._held.append(text)
                else:
                    self._waiting.stop()
                    self._end_thinking()
                    self._print(text)
            case ReasoningDelta(text=text):
                self._waiting.stop()
                self._err.write(text, style="dim")
                self._thinking = not text.endswith("\n")
            case Status():
                self._status(event)
            case Notice(message=message):
                self._tell(f"notice: {message}")
            case ToolCall(name=name):
                self._tell(f"notice: the model wants to call '{name}', and there are no tools here")
            case Finish(reason=reason):
                if reason in _REASONS:
                    self._tell(f"notice: {_REASONS[reason]}")
            case _:
                pass  # counts, times and pieces of tool calls: --json has them

    def _print(self, text: str) -> None:
        if text:
            self._out.write(text)
            self._last = text[-1]

    def _status(self, event: Status) -> None:
        text = event.message or event.state
        if event.progress is not None:
            text = f"{text} {figures.percent(event.progress)}"
        if self._err.is_live:
            self._waiting.say(text)
        elif event.state != self._state:
            self._err.line(f"status: {event.message or event.state}")
        self._state = event.state

    def _tell(self, line: str) -> None:
        """Say it now, or after the answer if that would break into a line of it."""
        if self._out.is_terminal and self._last not in ("", "\n"):
            self._later.append(line)
            return
        self._waiting.clear()
        self._end_thinking()
        self._err.line(line, style="dim")

    def _end_thinking(self) -> None:
        if self._thinking:
            self._err.write("\n")
            self._thinking = False


async def answer(host: Host, request: ChatRequest, printer: Printer, fold: Fold) -> ModelRef:
    """Show one answer and collect it in ``fold``; what came before an error is there too.

    The result is the model that answered.
    """
    with printer:
        async with host.stream(request) as events:
            async for event in events:
                fold.add(event)
                printer.show(event)
        assert events.ref is not None  # resolved before the first event
        return events.ref
