"""The lines of an answer to events: chat and raw completion alike. Pure."""

import secrets
from collections.abc import Callable

import msgspec

from modelbay.models.events import (
    Finish,
    FinishReason,
    Notice,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    Timings,
    ToolCall,
    Usage,
)
from modelbay.models.frozen import JsonObject
from modelbay.wire.think_tags import ThinkTagSplitter
from modelbay_ollama.failures import SilentEndError, decode_error, is_half, reported
from modelbay_ollama.schemas import breach

OPEN_TAG = "<think>"
_NS = 1e9  # to a second; every duration is an integer count of nanoseconds


class _Function(msgspec.Struct):
    name: str = ""
    arguments: msgspec.Raw = msgspec.Raw()


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Line(msgspec.Struct):
    """One record. The counts are left out where they are 0 or not known."""

    message: _Message | None = None
    response: str | None = None
    thinking: str | None = None
    done: bool = False
    error: msgspec.Raw = msgspec.Raw()
    model: str | None = None
    done_reason: str | None = None
    tool_calls: list[_Call] | None = None
    total_duration: float | None = None
    load_duration: float | None = None
    prompt_eval_count: int | None = None
    prompt_eval_cached_count: int | None = None
    prompt_eval_duration: float | None = None
    eval_count: int | None = None
    eval_duration: float | None = None


_decode_line = msgspec.json.Decoder(_Line).decode

_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


def _new_id() -> str:
    return f"call_{secrets.token_hex(4)}"


class AnswerDecoder:
    """The lines of one answer to events. `Finish` comes from `close`, as the last one.

    Tool calls are taken from every line, also the last (trap 4); thinking and text may alternate.

    Args:
        schema: What the text has to hold to; empty for any JSON, ``None`` for any text.
        new_id: Makes ids for calls of servers before 0.12.10, which have none.

    Attributes:
        begun: A line of the answer has come, be it empty: nothing may be sent again now.
        finished: The last line has come; without it the answer is not whole.
        prompt_tokens: ``prompt_eval_count``, once finished; ``None`` is not known.
    """

    __slots__ = (
        "_calls",
        "_end",
        "_held",
        "_new_id",
        "_schema",
        "_splitter",
        "_text",
        "_thought",
        "begun",
        "finished",
    )

    def __init__(
        self, schema: JsonObject | None = None, *, new_id: Callable[[], str] = _new_id
    ) -> None:
        self.begun = False
        self.finished = False
        self._held = ""  # text that the splitter has not given back yet
        self._schema = schema
        self._new_id = new_id
        self._text: list[str] = []
        self._thought = False
        self._calls = 0
        self._end = _Line()
        # Old servers and models without native thinking leave it in the text (S4-72). A tag counts
        # at the head of the text alone, so the splitter is done after the first piece of answer.
        self._splitter: ThinkTagSplitter | None = ThinkTagSplitter()

    @property
    def partial(self) -> str:
        """The answer's text as far as it came."""
        return "".join(self._text) or self._held

    @property
    def prompt_tokens(self) -> int | None:
        return self._end.prompt_eval_count

    def decode(self, data: bytes) -> list[StreamEvent]:
        """The events of one line, or of a whole unstreamed answer; a blank line has none.

        Raises:
            ProtocolError: It is no record.
            ReportedFailureError: It is an error, after a part of the answer.
            BackendError: It is an error, before any of it.
        """
        if self.finished or not data.strip():
            return []
        try:
            line = _decode_line(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise decode_error(data, exc, begun=self.begun, partial=self.partial) from exc
        # bytes(Raw()) of an absent field is empty.
        if line.error and bytes(line.error) not in (b"null", b'""'):
            raise reported(data, begun=self.begun, partial=self.partial)
        self.begun = True
        events: list[StreamEvent] = []
        message = line.message
        if message is not None:
            thought, text, calls = message.thinking, message.content, message.tool_calls
        else:
            thought, text, calls = line.thinking, line.response, line.tool_calls
        if thought:
            self._thought = True
            events.append(ReasoningDelta(thought))
        if text:
            if self._splitter is None:
                self._text.append(text)
                events.append(TextDelta(text))
            else:
                self._hold(text)
                self._split(self._splitter.feed(text), events)
        if calls:
            self._hold_no_more(events)
            events += [self._call(call) for call in calls]
        if line.done:
            self.finished = True
            self._end = line
        return events

    def close(self, rest: bytes = b"") -> list[StreamEvent]:
        """The last events of a whole answer: held text, usage, timings, `Finish`.

        Args:
            rest: What came after the last line end; a whole record there is one (section 5.8).

        Raises:
            SilentEndError: The last line never came.
            BackendError: The rest is an error.
        """
        events: list[StreamEvent] = []
        if rest.strip() and not self.finished:
            if is_half(rest):
                raise SilentEndError(_SILENT, partial=self.partial)
            events += self.decode(rest)
        self._hold_no_more(events)
        if not self.finished:
            raise SilentEndError(_SILENT, partial=self.partial)
        end = self._end
        raw = end.done_reason or "stop"  # servers before 0.1.35 give none
        reason = _REASONS.get(raw, "other")
        if self._calls and raw == "stop":
            reason = "tool_calls"  # the server has no word for it (trap 5)
        if notice := self._last_words(reason):
            events.append(notice)
        if usage := _usage(end):
            events.append(usage)
        if timings := _timings(end):
            events.append(timings)
        events.append(
            Finish(reason, raw_reason=None if raw in _REASONS else raw, model=end.model or None)
        )
        return events

    def _hold(self, text: str) -> None:
        """Text that may become a tag; of a thought nothing is text."""
        if not self._thought:
            self._held += text
            if self._held.lstrip().startswith(OPEN_TAG):
                self._held, self._thought = "", True

    def _split(self, pieces: list[TextDelta | ReasoningDelta], events: list[StreamEvent]) -> None:
        for piece in pieces:
            if type(piece) is TextDelta:
                self._text.append(piece.text)
                self._held = ""
                self._splitter = None  # text has begun: from here on a tag is text too
            else:
                self._thought = True
            events.append(piece)

    def _hold_no_more(self, events: list[StreamEvent]) -> None:
        if self._splitter is not None:
            self._split(self._splitter.close(), events)

    def _call(self, call: _Call) -> ToolCall:
        index = self._calls
        self._calls += 1
        return ToolCall(
            call.id or self._new_id(),
            call.function.name or "unnamed",
            _arguments(bytes(call.function.arguments)),
            index,
        )

    def _last_words(self, reason: FinishReason) -> Notice | None:
        text = self.partial
        if reason == "length" and self._thought and not text:
            return Notice(
                "output_limit",
                "the output limit was used up by the model's thinking; raise max_tokens, or lower"
                " reasoning_effort",
            )
        if self._schema is None or self._calls:
            return None
        why = breach(text, self._schema or None)
        if why is None:
            return None
        if reason == "length":
            why = f"{why}, because the output limit cut it off"
        return Notice("format_ignored", f"the answer does not hold to the format asked for: {why}")


_SILENT = "the server ended the answer without its last line; it is not complete"


def _arguments(raw: bytes) -> str:
    """JSON text of an object, as the model wrote it; some clouds send it as a string."""
    text = raw.decode("utf-8", "replace") if raw else ""
    if text.startswith('"'):
        text = str(msgspec.json.decode(raw))
    return text if text.strip() not in ("", "null") else "{}"


def _usage(end: _Line) -> Usage | None:
    """``None`` where the prompt's count is missing: that is not 0 but unknown (trap 31)."""
    if end.prompt_eval_count is None:
        return None
    read = max(0, end.prompt_eval_count)
    cached = end.prompt_eval_cached_count
    return Usage(
        read,
        max(0, end.eval_count or 0),
        cached_tokens=None if cached is None else min(max(0, cached), read),
    )


def _timings(end: _Line) -> Timings | None:
    found = Timings(
        total_s=_seconds(end.total_duration),
        load_s=_seconds(end.load_duration),
        input_s=_seconds(end.prompt_eval_duration),
        input_tokens_per_s=_rate(end.prompt_eval_count, end.prompt_eval_duration),
        output_s=_seconds(end.eval_duration),
        output_tokens_per_s=_rate(end.eval_count, end.eval_duration),
    )
    return None if found == Timings() else found


def _seconds(ns: float | None) -> float | None:
    return None if ns is None else ns / _NS


def _rate(count: int | None, ns: float | None) -> float | None:
    return count * _NS / ns if count and ns and ns > 0 else None
