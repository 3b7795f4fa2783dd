"""Core events and results to the native API's lines and objects. Pure, but for the clocks given."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import msgspec

from modelbay.models.chat import ChatResult
from modelbay.models.events import (
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    Timings,
    ToolCall,
    Usage,
)
from modelbay.models.frozen import JsonObject
from modelbay.models.media import EmbedResult
from modelbay_gateway.answer import Encoder
from modelbay_gateway.json_line import framed, to_json
from modelbay_gateway.openai.encode import call_id
from modelbay_gateway.refusal import Refusal, ended_badly

NDJSON = b"application/x-ndjson"

Form: TypeAlias = Literal["chat", "generate"]
Clock: TypeAlias = Callable[[], float]

_NS = 1_000_000_000  # every duration of this protocol is an integer count of nanoseconds

# There is no word for tool calls in it, nor for a filter.
_REASONS: dict[FinishReason, str] = {"length": "length"}
_NOT_FOUND = frozenset({"unknown_model", "unknown_provider", "routing_error", "model_not_found"})


def stamp(seconds: float) -> str:
    """A time as Go writes it.

    Args:
        seconds: Since 1970.
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def nanoseconds(seconds: float) -> int:
    return max(round(seconds * _NS), 0)


def arguments_of(text: str) -> JsonObject:
    """The arguments of a call as an object; what is none stays readable under one name."""
    try:
        value = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"arguments": text}


class Stopwatch:
    """When an answer began, and when its first piece came, for servers that do not tell."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock()
        self._first: float | None = None

    def piece(self) -> None:
        """A piece of the answer came."""
        if self._first is None:
            self._first = self._clock()

    def metrics(self, usage: Usage | None, timings: Timings | None) -> JsonObject:
        """Counts, and durations in nanoseconds: the server's own, else as measured here."""
        now = self._clock()
        first = now if self._first is None else self._first
        told = timings or Timings()
        body: JsonObject = {"total_duration": nanoseconds(_or(told.total_s, now - self._began))}
        if told.load_s is not None:
            body["load_duration"] = nanoseconds(told.load_s)
        if usage is not None:
            body["prompt_eval_count"] = usage.input_tokens
        body["prompt_eval_duration"] = nanoseconds(_or(told.input_s, first - self._began))
        if usage is not None:
            body["eval_count"] = usage.output_tokens
        body["eval_duration"] = nanoseconds(_or(_output_s(usage, told), now - first))
        return body


def _or(told: float | None, measured: float) -> float:
    return measured if told is None else told


def _output_s(usage: Usage | None, timings: Timings) -> float | None:
    speed = timings.output_tokens_per_s
    if timings.output_s is None and speed and usage is not None:
        return usage.output_tokens / speed
    return timings.output_s


# --- streams --------------------------------------------------------------------------------------


class LineEncoder(Encoder):
    """Events to lines. Calls come whole, each in a line of its own.

    Args:
        form: ``chat`` puts pieces into ``message``, ``generate`` into ``response``.
        wall_clock: Seconds since 1970.
    """

    content_type = NDJSON

    def __init__(self, *, model: str, form: Form, clock: Clock, wall_clock: Clock) -> None:
        self._model = model
        self._form = form
        self._wall_clock = wall_clock
        self._watch = Stopwatch(clock)
        self._usage: Usage | None = None
        self._timings: Timings | None = None
        self._calls = 0
        self._head = b'{"model":' + to_json(model) + b',"created_at":"'
        opening = to_json(piece(form, "", "", ()))
        # The object of a piece without text, cut open where its text goes.
        before, _, after = opening.rpartition(b'""')
        self._open = b'",' + before[1:]
        self._close = after[:-1] + b',"done":false}\n'
        # Clients read every line as JSON, so what keeps a connection alive is an empty piece.
        self.heartbeat = self._lines([""])

    def begin(self) -> bytes:
        return b""

    def encode(self, event: StreamEvent) -> bytes:
        match event:
            case TextDelta(text=text) | RefusalDelta(text=text):
                self._watch.piece()
                return self._lines([text]) if text else b""
            case ReasoningDelta(text=text):
                self._watch.piece()
                return self._line(thinking=text) if text else b""
            case ToolCall():
                self._watch.piece()
                call = tool_call(event, self._calls)
                self._calls += 1
                return self._line(calls=[call])
            case Usage():
                self._usage = event
            case Timings():
                self._timings = event
            case Finish(reason="error"):
                return self.fail(ended_badly())
            case Finish(reason=reason):
                return self._end(reason)
            case _:
                pass  # pieces of calls, states and notices have no place in it
        return b""

    def fail(self, refusal: Refusal) -> bytes:
        return refuse(refusal) + b"\n"

    def encode_texts(self, pieces: list[str]) -> bytes:
        self._watch.piece()
        return self._lines(pieces)

    def _lines(self, pieces: list[str]) -> bytes:
        """Lines of text alone: most lines are."""
        created_at = stamp(self._wall_clock()).encode()
        return framed(self._head + created_at + self._open, pieces, self._close)

    def _line(self, *, thinking: str = "", calls: Sequence[JsonObject] = ()) -> bytes:
        body = {
            "model": self._model,
            "created_at": stamp(self._wall_clock()),
            **piece(self._form, "", thinking, calls),
            "done": False,
        }
        return to_json(body) + b"\n"

    def _end(self, reason: FinishReason) -> bytes:
        body = {
            "model": self._model,
            "created_at": stamp(self._wall_clock()),
            **piece(self._form, "", "", ()),
            "done": True,
            "done_reason": done_reason(reason),
            **self._watch.metrics(self._usage, self._timings),
        }
        return to_json(body) + b"\n"


def piece(form: Form, text: str, thinking: str, calls: Sequence[JsonObject]) -> JsonObject:
    """The part of a line, or of a whole answer, that holds what was said."""
    said: JsonObject = {"thinking": thinking} if thinking else {}
    if calls:
        said["tool_calls"] = [*calls]
    if form == "generate":
        return {"response": text, **said}
    return {"message": {"role": "assistant", "content": text, **said}}


def tool_call(call: ToolCall, index: int) -> JsonObject:
    return {
        "id": call_id(call.id),
        "function": {
            "index": index,
            "name": call.name,
            "arguments": arguments_of(call.arguments),
        },
    }


def done_reason(reason: FinishReason) -> str:
    return _REASONS.get(reason, "stop")


# --- whole answers --------------------------------------------------------------------------------


def whole(
    result: ChatResult, *, model: str, form: Form, watch: Stopwatch, created_at: float
) -> bytes:
    """The body of an answer that is not streamed."""
    calls = [tool_call(call, index) for index, call in enumerate(result.tool_calls)]
    return to_json(
        {
            "model": model,
            "created_at": stamp(created_at),
            **piece(form, result.text + result.refusal, result.reasoning, calls),
            "done": True,
            "done_reason": done_reason(result.finish_reason),
            **watch.metrics(result.usage, result.timings),
        }
    )


def nothing_said(*, model: str, form: Form, reason: str, created_at: float) -> bytes:
    """The answer to a request that only loads a model, or frees it."""
    return to_json(
        {
            "model": model,
            "created_at": stamp(created_at),
            **piece(form, "", "", ()),
            "done": True,
            "done_reason": reason,
        }
    )


def vectors(result: EmbedResult | None, *, model: str, total_s: float) -> bytes:
    """The body of ``/api/embed``; ``None`` if there was nothing to embed."""
    body: JsonObject = {
        "model": model,
        "embeddings": [[*vector] for vector in result.vectors] if result is not None else [],
    }
    if result is not None:
        body["total_duration"] = nanoseconds(total_s)
        if result.usage is not None:
            body["prompt_eval_count"] = result.usage.input_tokens
    return to_json(body)


def refuse(refusal: Refusal, request_id: str = "") -> bytes:
    """The error object: one text, which is all that this protocol's programs show."""
    message = refusal.message
    if refusal.code in _NOT_FOUND and refusal.model is not None:
        message = f"model '{refusal.model}' not found: {message}"
    if refusal.hint is not None:
        message = f"{message} ({refusal.hint})"
    return to_json({"error": message})
