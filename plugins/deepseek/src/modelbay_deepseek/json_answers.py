"""Answers in JSON mode: now and then one says nothing at all, and is asked for once more."""

from collections.abc import AsyncIterator, Sequence

from modelbay.closing import closing
from modelbay.models.events import (
    Finish,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from modelbay_deepseek.attempts import Begun, SaidNothingError, replayed

_SAID = (TextDelta, ToolCall)
_CONTENT = (*_SAID, ReasoningDelta, ToolCallDelta)


class JsonAnswers:
    """The tries for one answer.

    An answer is empty only at an end of its own: one that the limit or a filter has stopped would
    be stopped again. And nothing of it may have been handed on; of a streamed answer its thinking
    has been.

    Args:
        streamed: The caller wants each piece at once.
    """

    __slots__ = ("_spent", "_streamed")

    def __init__(self, *, streamed: bool) -> None:
        self._streamed = streamed
        self._spent: list[Usage] = []

    async def look(self, begun: Begun) -> Begun:
        """The same answer, with what both tries have cost.

        Raises:
            SaidNothingError: It is the first one, and empty.
        """
        if self._streamed and isinstance(begun.first, _CONTENT):
            return Begun(begun.first, self._of_both(begun.rest)) if self._spent else begun
        async with closing(begun.rest) as rest:
            events = [begun.first, *[event async for event in rest]]
        answer = replayed([self._with_earlier(event) for event in events])
        if not self._spent and _is_empty(events):
            self._spent = [event for event in events if isinstance(event, Usage)] or [Usage(0, 0)]
            raise SaidNothingError(answer)
        return answer

    async def _of_both(self, events: AsyncIterator[StreamEvent]) -> AsyncIterator[StreamEvent]:
        async with closing(events):
            async for event in events:
                yield self._with_earlier(event)

    def _with_earlier(self, event: StreamEvent) -> StreamEvent:
        if isinstance(event, Usage):
            for earlier in self._spent:
                event = _sum(earlier, event)
        return event


def _is_empty(events: Sequence[StreamEvent]) -> bool:
    finish = events[-1]
    own_end = isinstance(finish, Finish) and finish.reason == "stop"
    return own_end and not any(isinstance(event, _SAID) for event in events)


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        one.input_tokens + other.input_tokens,
        one.output_tokens + other.output_tokens,
        _known(one.cached_tokens, other.cached_tokens),
        _known(one.reasoning_tokens, other.reasoning_tokens),
    )


def _known(one: int | None, other: int | None) -> int | None:
    return None if one is None and other is None else (one or 0) + (other or 0)
