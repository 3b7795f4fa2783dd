"""What a stream of events may look like, as pure functions: for the kit, and for tests of your own.

assert check_events(events) == []
"""

import json
from collections.abc import Iterable, Sequence
from typing import get_args

from modelbay.models.events import (
    EVENT_TYPES,
    ErrorEvent,
    Finish,
    FinishReason,
    Notice,
    ReasoningDelta,
    RefusalDelta,
    Status,
    StreamEvent,
    TextDelta,
    Timings,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from modelbay.models.manage import OUTCOMES, LogLine, Progress

_REASONS = frozenset(get_args(FinishReason))


def check_events(events: Iterable[object], *, whole: bool = True) -> list[str]:
    """What is wrong with one chat stream, a sentence for each breach; nothing if it is sound.

    Args:
        whole: The stream ran to its end; ``False`` for one that was closed early or that raised,
            which may stop anywhere but still not go on after its `Finish`.
    """
    seen = list(events)
    broken: list[str] = []
    ends = [at for at, event in enumerate(seen) if isinstance(event, Finish)]
    for at, event in enumerate(seen):
        if isinstance(event, ErrorEvent):
            broken.append(f"event {at} is an ErrorEvent; plugins raise, the host makes these")
        elif type(event) not in EVENT_TYPES:
            broken.append(f"event {at} is {type(event).__name__}, which is no event of a chat")
        else:
            broken += [f"event {at}: {what}" for what in _values(event)]
    if len(ends) > 1:
        broken.append(f"there are {len(ends)} Finish, at {ends}; exactly one ends a stream")
    elif not ends and whole:
        broken.append("there is no Finish; a stream that ends without one is not whole")
    if ends and ends[0] != len(seen) - 1:
        late = ", ".join(type(event).__name__ for event in seen[ends[0] + 1 :])
        broken.append(f"after Finish came {late}; nothing follows it")
    for once in (Usage, Timings):
        count = sum(isinstance(event, once) for event in seen)
        if count > 1:
            broken.append(f"{once.__name__} came {count} times; it comes at most once")
    return broken + _calls(seen, whole=whole and bool(ends))


def check_manage_events(events: Iterable[object]) -> list[str]:
    """The same for the events of one management action, run to its end."""
    seen = list(events)
    broken: list[str] = []
    ends = [at for at, event in enumerate(seen) if isinstance(event, OUTCOMES)]
    if len(ends) != 1:
        names = [type(seen[at]).__name__ for at in ends]
        broken.append(f"there are {len(ends)} outcomes {names}; exactly one ends an action")
    if ends and ends[0] != len(seen) - 1:
        broken.append(f"{type(seen[ends[0]]).__name__} is not the last event")
    highest = 0.0
    for at, event in enumerate(seen):
        if not isinstance(event, (*OUTCOMES, Progress, LogLine)):
            broken.append(f"event {at} is {type(event).__name__}, none of management's events")
        if isinstance(event, Progress) and event.fraction is not None:
            if not 0 <= event.fraction <= 1:
                broken.append(f"event {at}: a fraction of {event.fraction}")
            if event.fraction < highest:
                broken.append(f"event {at}: progress fell from {highest} to {event.fraction}")
            highest = max(highest, event.fraction)
    return broken


def joined(events: Iterable[StreamEvent]) -> list[StreamEvent]:
    """The same stream with neighbouring deltas of one sort made one, for comparisons.

    Left out is what differs from run to run on the same server: `Status`, `Timings`, ids, and what
    a prompt cache saved.
    """
    kept: list[StreamEvent] = []
    for event in events:
        last = kept[-1] if kept else None
        match event:
            case Status() | Timings():
                continue
            case TextDelta() if isinstance(last, TextDelta):
                kept[-1] = TextDelta(last.text + event.text)
            case ReasoningDelta() if isinstance(last, ReasoningDelta):
                kept[-1] = ReasoningDelta(last.text + event.text)
            case RefusalDelta() if isinstance(last, RefusalDelta):
                kept[-1] = RefusalDelta(last.text + event.text)
            case ToolCallDelta() if isinstance(last, ToolCallDelta) and last.index == event.index:
                name = last.name or event.name
                kept[-1] = ToolCallDelta(event.index, last.arguments + event.arguments, name=name)
            case ToolCallDelta():
                kept.append(ToolCallDelta(event.index, event.arguments, name=event.name))
            case ToolCall():
                kept.append(ToolCall("", event.name, event.arguments, event.index))
            case Usage():
                kept.append(Usage(event.input_tokens, event.output_tokens))
            case Finish():
                kept.append(Finish(event.reason, event.raw_reason, event.model))
            case _:
                kept.append(event)
    return kept


def text_of(events: Iterable[object]) -> str:
    """The answer's text."""
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def reasoning_of(events: Iterable[object]) -> str:
    """The answer's reasoning."""
    return "".join(event.text for event in events if isinstance(event, ReasoningDelta))


def json_object(text: str) -> dict[str, object] | None:
    """The text as a JSON object; ``None`` if it is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _values(event: object) -> list[str]:
    match event:
        case TextDelta(text=text) | ReasoningDelta(text=text) | RefusalDelta(text=text) if (
            not isinstance(text, str)
        ):
            return [f"a text of type {type(text).__name__}"]
        case Status(progress=float(progress)) if not 0 <= progress <= 1:
            return [f"a progress of {progress}; it goes from 0 to 1"]
        case Finish(reason=reason) if reason not in _REASONS:
            return [f"the finish reason {reason!r} is none of {sorted(_REASONS)}"]
        case Usage():
            return _counts(event)
        case _:
            return []


def _counts(usage: Usage) -> list[str]:
    counts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }
    broken = [f"{name} is {n}" for name, n in counts.items() if n is not None and n < 0]
    if (usage.cached_tokens or 0) > usage.input_tokens:
        broken.append("cached_tokens is more than input_tokens, which includes it")
    if (usage.reasoning_tokens or 0) > usage.output_tokens:
        broken.append("reasoning_tokens is more than output_tokens, which includes it")
    return broken


def _calls(seen: Sequence[object], *, whole: bool) -> list[str]:
    broken: list[str] = []
    deltas: dict[int, list[ToolCallDelta]] = {}
    called: set[int] = set()
    for at, event in enumerate(seen):
        if isinstance(event, ToolCallDelta):
            if event.index in called:
                broken.append(f"event {at}: a ToolCallDelta of call {event.index} after its call")
            deltas.setdefault(event.index, []).append(event)
        elif isinstance(event, ToolCall):
            if event.index in called:
                broken.append(f"event {at}: call {event.index} came twice")
            called.add(event.index)
            broken += [f"event {at}: {what}" for what in _call(event, deltas.get(event.index, []))]
    if not whole:
        return broken
    last = next(event for event in seen if isinstance(event, Finish))
    noticed = any(isinstance(event, Notice) for event in seen)
    for index in sorted(deltas.keys() - called):
        if not noticed:
            broken.append(f"the deltas of call {index} became no ToolCall, and no Notice says why")
    if last.reason == "tool_calls" and not called:
        broken.append("the finish reason is tool_calls and there was no ToolCall")
    return broken


def _call(call: ToolCall, deltas: Sequence[ToolCallDelta]) -> list[str]:
    broken: list[str] = []
    if not call.id:
        broken.append("a ToolCall without an id; its result could not be sent back")
    if not call.name:
        broken.append("a ToolCall without a name")
    if json_object(call.arguments) is None:
        broken.append(f"the arguments are no JSON object: {call.arguments[:80]!r}")
    if not deltas:
        return broken
    grown = "".join(delta.arguments for delta in deltas)
    if grown != call.arguments and (json_object(grown or "{}") != json_object(call.arguments)):
        broken.append(f"the deltas give {grown[:80]!r}, the call has {call.arguments[:80]!r}")
    for name in ("id", "name"):
        given = [value for delta in deltas if (value := getattr(delta, name))]
        if len(given) > 1:
            broken.append(f"the {name} was given {len(given)} times; it comes with the first piece")
        elif given and given[0] != getattr(call, name):
            broken.append(f"the deltas' {name} is {given[0]!r}, the call's is another")
    return broken
