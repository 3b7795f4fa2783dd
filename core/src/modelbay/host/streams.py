"""What callers hold while events come, and what a whole stream folds into."""

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

from modelbay.closing import closing
from modelbay.errors import ModelbayError
from modelbay.models.chat import ChatResult
from modelbay.models.events import (
    ErrorEvent,
    Finish,
    Notice,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    Timings,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from modelbay.refs import ModelRef

T = TypeVar("T")


class EventStream(Generic[T]):
    """A stream somebody can close: ``async with host.stream(...) as events``, then ``async for``.

    Leaving the block closes the request towards the server, also in the middle of an answer.

    Attributes:
        ref: The model that answers, once it has been resolved: after the first event at the latest.
    """

    __slots__ = ("_events", "ref")

    def __init__(self) -> None:
        self.ref: ModelRef | None = None
        self._events: AsyncIterator[T] | None = None

    def over(self, events: AsyncIterator[T]) -> Self:
        """The events this stream is made of; given once, by the host."""
        self._events = events
        return self

    def __aiter__(self) -> AsyncIterator[T]:
        assert self._events is not None  # the host gives it before anybody has the stream
        return self._events

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close it now; closing twice is harmless."""
        aclose = getattr(self._events, "aclose", None)
        if aclose is not None:
            await aclose()


class Fold:
    """Collects the events of one answer into a `ChatResult`."""

    __slots__ = (
        "_growing",
        "_notices",
        "_reasoning",
        "_refusal",
        "_text",
        "_timings",
        "_tool_calls",
        "_usage",
        "finish",
    )

    def __init__(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._growing: dict[int, list[ToolCallDelta]] = {}
        self._tool_calls: list[ToolCall] = []
        self._notices: list[Notice] = []
        self._usage: Usage | None = None
        self._timings: Timings | None = None
        self.finish: Finish | None = None

    def add(self, event: StreamEvent) -> None:
        if type(event) is TextDelta:  # nearly all of them
            self._text.append(event.text)
            return
        match event:
            case ReasoningDelta(text=text):
                self._reasoning.append(text)
            case RefusalDelta(text=text):
                self._refusal.append(text)
            case ToolCallDelta(index=index):
                self._growing.setdefault(index, []).append(event)
            case ToolCall():
                self._growing.pop(event.index, None)
                self._tool_calls.append(event)
            case Notice():
                self._notices.append(event)
            case Usage():
                self._usage = event
            case Timings():
                self._timings = event
            case Finish():
                self.finish = event
            case _:
                pass  # what the server is doing: nothing of it stays

    @property
    def text(self) -> str:
        return "".join(self._text)

    def result(self, ref: ModelRef) -> ChatResult:
        """The whole answer; call it after `Finish`."""
        finish = cast("Finish", self.finish)
        return ChatResult.assembled(
            {
                "ref": ref,
                "text": self.text,
                "reasoning": "".join(self._reasoning),
                "refusal": "".join(self._refusal),
                "tool_calls": self._tool_calls,
                "cut_off_calls": [_grown(pieces) for pieces in self._growing.values()],
                "finish_reason": finish.reason,
                "usage": self._usage,
                "timings": self._timings,
                "notices": self._notices,
                "endpoint": finish.endpoint,
            }
        )


def _grown(pieces: list[ToolCallDelta]) -> ToolCallDelta:
    """The pieces of one call as one."""
    return ToolCallDelta(
        pieces[0].index,
        "".join(piece.arguments for piece in pieces),
        next((piece.id for piece in pieces if piece.id), None),
        next((piece.name for piece in pieces if piece.name), None),
    )


def error_event(exc: ModelbayError) -> ErrorEvent:
    """An error of the tree as the last event of a stream."""
    return ErrorEvent(
        code=exc.code,
        message=exc.message,
        hint=exc.hint,
        provider_id=exc.provider_id,
        model=exc.model,
        retryable=exc.retryable,
        status=getattr(exc, "status", None),
        retry_after_s=getattr(exc, "retry_after_s", None),
        partial=getattr(exc, "partial", None),
    )


async def errors_as_events(answer: AsyncIterator[StreamEvent]) -> AsyncIterator[StreamEvent]:
    """The same, where an error of the tree is the last event instead of being raised."""
    try:
        async with closing(answer) as events:
            async for event in events:
                yield event
    except ModelbayError as exc:
        yield error_event(exc)
