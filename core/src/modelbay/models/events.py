"""The events of a chat stream: one discriminated union, by `type`.

Slotted dataclasses, read-only to a type checker but not frozen at run time: a frozen one costs
three times as much to make, a Pydantic model nine times (docs/decisions/0003-event-types.md).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def _event(cls: type[T]) -> type[T]:
    made = dataclass(slots=True)(cls)
    # Read back from JSON an event's `type` is one argument too many: it is always the same.
    made.__pydantic_config__ = {"extra": "ignore"}  # type: ignore[attr-defined]
    return made


FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "error", "other"]
StatusState = Literal["queued", "loading", "processing"]


@_event
class TextDelta:
    """The next piece of the answer."""

    text: str
    type: Literal["text"] = field(default="text", init=False)


@_event
class ReasoningDelta:
    """The next piece of the model's thinking; not part of the answer."""

    text: str
    type: Literal["reasoning"] = field(default="reasoning", init=False)


@_event
class RefusalDelta:
    """The next piece of why the model will not answer; comes in place of the answer's text."""

    text: str
    type: Literal["refusal"] = field(default="refusal", init=False)


@_event
class ToolCallDelta:
    """A piece of a tool call, for those who show it as it grows.

    Attributes:
        index: Tells the calls of one answer apart.
        id, name: Given once, with the first piece.
        arguments: The next piece of the JSON text.
    """

    index: int
    arguments: str = ""
    id: str | None = None
    name: str | None = None
    type: Literal["tool_call_delta"] = field(default="tool_call_delta", init=False)


@_event
class ToolCall:
    """A whole tool call. Comes after its deltas; a call that was cut off never becomes one.

    Attributes:
        arguments: JSON text of an object, as the model wrote it.
    """

    id: str
    name: str
    arguments: str
    index: int = 0
    type: Literal["tool_call"] = field(default="tool_call", init=False)


@_event
class Status:
    """What the server is doing while no text comes.

    Attributes:
        progress: From 0 to 1, where the server says.
    """

    state: StatusState
    progress: float | None = None
    message: str | None = None
    type: Literal["status"] = field(default="status", init=False)


@_event
class Notice:
    """Something the caller should know and that is not part of the text.

    Attributes:
        code: Stable, snake_case: ``dropped_field``, ``truncated``, ``weak_tools``,
            ``incomplete_tool_call``, ...
    """

    code: str
    message: str
    type: Literal["notice"] = field(default="notice", init=False)


@_event
class Usage:
    """Token counts. ``input_tokens`` includes ``cached_tokens``, ``output_tokens`` reasoning."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    type: Literal["usage"] = field(default="usage", init=False)


@_event
class Timings:
    """Times in seconds and speeds in tokens per second, as the server measured them."""

    total_s: float | None = None
    load_s: float | None = None
    input_s: float | None = None
    input_tokens_per_s: float | None = None
    output_s: float | None = None
    output_tokens_per_s: float | None = None
    type: Literal["timings"] = field(default="timings", init=False)


@_event
class Finish:
    """The end of a complete answer; nothing follows.

    Attributes:
        raw_reason: The server's own word, where it is another one.
        model: The name the server gives the model that answered.
        endpoint: The address that served it, where a provider has several.
    """

    reason: FinishReason
    raw_reason: str | None = None
    model: str | None = None
    response_id: str | None = None
    endpoint: str | None = None
    type: Literal["finish"] = field(default="finish", init=False)


@_event
class ErrorEvent:
    """The end of a failed answer, for callers who asked for ``errors="event"``. Host only."""

    code: str
    message: str
    hint: str | None = None
    provider_id: str | None = None
    model: str | None = None
    retryable: bool = False
    status: int | None = None
    retry_after_s: float | None = None
    partial: str | None = None
    type: Literal["error"] = field(default="error", init=False)


StreamEvent: TypeAlias = (
    TextDelta
    | ReasoningDelta
    | RefusalDelta
    | ToolCallDelta
    | ToolCall
    | Status
    | Notice
    | Usage
    | Timings
    | Finish
    | ErrorEvent
)

EVENT_TYPES: tuple[type[StreamEvent], ...] = (
    TextDelta,
    ReasoningDelta,
    RefusalDelta,
    ToolCallDelta,
    ToolCall,
    Status,
    Notice,
    Usage,
    Timings,
    Finish,
    ErrorEvent,
)


@cache
def event_adapter() -> "TypeAdapter[StreamEvent]":
    """Describes the union to Pydantic: JSON Schema, and reading events back."""
    from typing import Annotated

    from pydantic import Field, TypeAdapter

    return TypeAdapter(Annotated[StreamEvent, Field(discriminator="type")])


@cache
def _encode() -> Callable[[object], bytes]:
    import msgspec

    return msgspec.json.Encoder().encode


def encode_event(event: StreamEvent) -> bytes:
    """One event as a JSON object, without a line end."""
    return _encode()(event)
