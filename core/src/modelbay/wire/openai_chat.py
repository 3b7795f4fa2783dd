"""OpenAI-style chat completions: a request to its body, chunks to events.

What servers do differently is a `Dialect`: data that a plugin states, not code that it repeats.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from modelbay.errors import (
    BackendError,
    ProtocolError,
    StreamInterruptedError,
    UnsupportedFeatureError,
)
from modelbay.models.chat import (
    ChatRequest,
    JsonSchema,
    NamedTool,
    Tool,
)
from modelbay.models.events import (
    Finish,
    FinishReason,
    Notice,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCall,
)
from modelbay.models.frozen import JsonObject
from modelbay.wire.errors import Classify, error_class, parse_error_body, shorten, without_keys
from modelbay.wire.openai_chunk import (
    CallPiece,
    Choice,
    Chunk,
    Delta,
    Measured,
    Tokens,
    decode_chunk,
    is_bare_error,
    is_error,
    is_filled,
    progress_event,
    read_odd,
    says,
    says_call,
    timings_event,
    usage_event,
)
from modelbay.wire.openai_messages import encode_message
from modelbay.wire.text_frame import TextFrame, framed_texts, text_frame
from modelbay.wire.think_tags import ThinkTagSplitter
from modelbay.wire.tool_pieces import CallPieces


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one server differs from the others.

    Attributes:
        max_tokens_field: The field's name for the limit of the answer.
        default_limit: A request without a limit is sent with the one its caller passes as default.
        stream_usage: It understands ``stream_options.include_usage``.
        named_tool_choice: ``object`` sends the standard object; ``single`` sends that one tool
            alone with ``required``, for servers that read the object as ``auto``.
        tools_with_format: Tools and a response format may be sent together.
        reasoning_history: The message field that takes earlier reasoning; ``None`` sends none.
        reasoning_wanted: Earlier reasoning that is not sent is missed, and a notice says so; not
            where the server refuses it or the user has switched it off.
        reasoning_effort: It understands ``reasoning_effort``.
        top_k: It understands ``top_k``.
        developer_role: It knows the role ``developer``; elsewhere ``system`` is sent.
        refusals: It takes an earlier refusal back as one; elsewhere it is sent as text.
        image_urls: It may be told to fetch an image by itself.
        think_tags: Text may begin with reasoning between tags.
        calls_may_stop: It may give ``stop`` as the reason under a call; ``tool_calls`` is told
            then, or who loops on calls would end too early.
        renamed: Fields of `ChatRequest.extra` that this server calls something else.
        fixed_at_start: Fields of `extra` that cannot be set per request, with the reason.
    """

    max_tokens_field: str = "max_tokens"
    default_limit: bool = True
    stream_usage: bool = True
    named_tool_choice: Literal["object", "single"] = "object"
    tools_with_format: bool = True
    reasoning_history: str | None = None
    reasoning_wanted: bool = True
    reasoning_effort: bool = True
    top_k: bool = True
    developer_role: bool = False
    refusals: bool = False
    image_urls: bool = True
    think_tags: bool = False
    calls_may_stop: bool = False
    renamed: dict[str, str] = field(default_factory=dict)
    fixed_at_start: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EncodedChat:
    """A request's body, and what had to be left out of it."""

    body: JsonObject
    notices: tuple[Notice, ...] = ()


def encode_chat(
    request: ChatRequest, wire_id: str, dialect: Dialect, *, max_tokens: int | None = None
) -> EncodedChat:
    """The body of ``POST .../chat/completions``.

    Args:
        wire_id: The model's bare name.
        max_tokens: Sent when the request sets no limit of its own.

    Raises:
        UnsupportedFeatureError: Something that would change the answer's meaning cannot be sent.
    """
    body: JsonObject = {
        "model": wire_id,
        "messages": [encode_message(message, dialect) for message in request.messages],
        "stream": request.stream,
    }
    notices: list[Notice] = []
    if request.stream and dialect.stream_usage:
        body["stream_options"] = {"include_usage": True}
    limit = request.max_tokens or (max_tokens if dialect.default_limit else None)
    if limit is not None:
        body[dialect.max_tokens_field] = limit
    for name in ("temperature", "top_p", "seed"):
        value = getattr(request, name)
        if value is not None:
            body[name] = value
    if request.top_k is not None:
        if dialect.top_k:
            body["top_k"] = request.top_k
        else:
            notices.append(_dropped("top_k", "this server does not know it"))
    if request.stop:
        body["stop"] = list(request.stop)
    if request.reasoning_effort is not None:
        if dialect.reasoning_effort:
            body["reasoning_effort"] = request.reasoning_effort
        else:
            notices.append(_dropped("reasoning_effort", "this server does not know it"))
    is_missed = dialect.reasoning_wanted and not dialect.reasoning_history
    if is_missed and any(message.reasoning for message in request.messages):
        notices.append(_dropped("earlier reasoning", "this server is not known to read it"))
    _tools_and_format(request, dialect, body)
    for name, value in request.extra.items():
        if name == "n" and value not in (None, 1):
            raise UnsupportedFeatureError(
                "one request gives one answer; n cannot be set",
                hint="send the request n times",
                stage="encode",
            )
        if name in dialect.fixed_at_start:
            notices.append(_dropped(name, dialect.fixed_at_start[name]))
        else:
            body[dialect.renamed.get(name, name)] = value
    return EncodedChat(body, tuple(notices))


def _dropped(name: str, why: str) -> Notice:
    return Notice("dropped_field", f"{name} was left out: {why}")


def _tools_and_format(request: ChatRequest, dialect: Dialect, body: JsonObject) -> None:
    tools = request.tools
    choice = request.tool_choice
    if tools and request.response_format is not None and not dialect.tools_with_format:
        raise UnsupportedFeatureError(
            "this server cannot hold an answer to a format and offer tools in one request",
            hint="send either tools or response_format",
            stage="encode",
        )
    if isinstance(choice, NamedTool):
        wanted = [tool for tool in tools if tool.name == choice.name]
        if not wanted:
            raise UnsupportedFeatureError(
                f"tool_choice names '{choice.name}', which is not among the tools",
                hint="add the tool, or change tool_choice",
                stage="encode",
            )
        if dialect.named_tool_choice == "single":
            tools = wanted
            body["tool_choice"] = "required"
        else:
            body["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice is not None and tools:
        body["tool_choice"] = choice
    if tools:
        body["tools"] = [_tool(tool) for tool in tools]
    match request.response_format:
        case None:
            pass
        case JsonSchema() as schema:
            inner: JsonObject = {"name": schema.name, "schema": schema.schema_}
            if schema.description is not None:
                inner["description"] = schema.description
            if schema.strict is not None:
                inner["strict"] = schema.strict
            body["response_format"] = {"type": "json_schema", "json_schema": inner}
        case _:
            body["response_format"] = {"type": "json_object"}


def _tool(tool: Tool) -> JsonObject:
    function: JsonObject = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters or {"type": "object", "properties": {}},
    }
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


# --- decoding -----------------------------------------------------------------------------------


_STATUS = re.compile(r"[45][0-9][0-9]")
_SHOWN = 80  # characters of what is no chunk
_SHOWN_BYTES = 4 * _SHOWN + 4
_ENDED_BADLY = b'"the server ended its answer with an error"'
_NO_FRAME: TextFrame = (b"", b"")
_TEXTS_PER_FRAME = 4  # at least, or looking for frames costs more than it saves

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class ChatDecoder:
    """The chunks of one answer to events. `Finish` comes from `close`, as the last one.

    Attributes:
        finished: A finish reason was seen. Without it the answer is not whole: ``[DONE]`` alone
            proves nothing, and its absence after a finish reason is harmless.
        done: ``[DONE]`` was seen. Nothing follows it; what comes all the same is passed over, and
            nobody need wait for the end of the body.
        failed: `decode` has raised; also after a finish reason the answer is not whole then.
    """

    __slots__ = (
        "_calls",
        "_calls_may_stop",
        "_classify",
        "_failure",
        "_frame",
        "_framed",
        "_model",
        "_other",
        "_raw_reason",
        "_response_id",
        "_splitter",
        "_text",
        "_timings",
        "_usage",
        "done",
        "failed",
        "finished",
    )

    def __init__(self, dialect: Dialect, classify: Classify | None = None) -> None:
        self.finished = False
        self.done = False
        self.failed = False
        self._classify = classify
        self._calls_may_stop = dialect.calls_may_stop
        self._splitter = ThinkTagSplitter() if dialect.think_tags else None
        self._text: list[str] = []
        self._other = False  # thoughts or a refusal have been handed on
        self._failure = b""
        self._frame: TextFrame = _NO_FRAME  # of the chunk that was read last
        self._framed = 0  # chunks whose frame was looked for
        self._calls = CallPieces()
        self._raw_reason = ""
        self._model: str | None = None
        self._response_id: str | None = None
        self._usage: Tokens | None = None
        self._timings: Measured | None = None

    @property
    def partial(self) -> str:
        """The answer's text as far as it came."""
        return "".join(self._text)

    def decode(self, data: bytes) -> list[StreamEvent]:
        """The events of one chunk, or of one whole unstreamed answer.

        Raises:
            ProtocolError: It is not a chunk.
            BackendError: It is an error; under status 200 servers report failures this way.
        """
        return list(self.events((data,)))

    def events(self, chunks: Sequence[bytes]) -> Iterator[StreamEvent]:
        """The events of several chunks, each found when it is asked for; raises as `decode`."""
        before, _ = self._frame
        count, position, ahead = len(chunks), 0, True
        while position < count:
            data = chunks[position]
            if before and data.startswith(before) and not self.done:
                end = count if ahead else position + 1
                texts = framed_texts(self._frame, chunks, position, end)
                ahead = len(texts) > 1  # or what cannot be read at once would be tried ever again
                if texts:
                    position += len(texts)
                    self._text += texts
                    for text in texts:
                        if text:
                            yield TextDelta(text)
                    continue
            position += 1
            if data == b"[DONE]" or self.done:
                self.done = True
                return
            try:
                chunk = decode_chunk(data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                odd = self._odd(data)
                if odd is None:
                    continue
                chunk = odd
            if chunk.error and is_error(chunk):
                raise self._reported(data)
            if not chunk.choices and is_bare_error(chunk, data):
                raise self._reported(data)
            for choice in chunk.choices or ():
                if choice.index:
                    continue
                delta = choice.delta
                whole = choice.message
                if whole is not None and (delta is None or not (says(delta) or self._began)):
                    delta = whole
                if delta is not None:
                    thought = delta.reasoning_content or delta.reasoning
                    if thought:
                        self._other = True
                        yield ReasoningDelta(thought)
                    if delta.content:
                        if self._splitter is None:  # most chunks; a call less for each
                            self._text.append(delta.content)
                            yield TextDelta(delta.content)
                        else:
                            yield from self._content(delta.content)
                    if delta.tool_calls or delta.function_call is not None:
                        yield from self._call_pieces(delta)
                    if delta.refusal:
                        self._other = True
                        yield RefusalDelta(delta.refusal)
                elif choice.text:
                    yield from self._content(choice.text)
                if choice.finish_reason:
                    self._end(choice)
            if chunk.model is not None:
                self._model = chunk.model
                self._response_id = chunk.id
            if chunk.usage is not None:
                self._usage = chunk.usage
            if chunk.timings is not None:
                self._timings = chunk.timings
            if chunk.prompt_progress is not None:
                yield progress_event(chunk.prompt_progress)
            before, _ = self._frame = self._frame_of(data, chunk)

    def close(self) -> list[StreamEvent]:
        """The last events of a whole answer: tool calls, usage, timings, `Finish`.

        Raises:
            StreamInterruptedError: No finish reason was seen, or the server's was that it failed.
            ProtocolError: A tool call has no name.
            BackendError: It failed before anything of the answer came.
        """
        if self._raw_reason == "error":
            raise self._reported(self._failure)
        if not self.finished:
            raise StreamInterruptedError(
                "the stream ended before the answer was complete", partial=self.partial
            )
        events: list[StreamEvent] = []
        if self._splitter is not None:
            events += self._splitter.close()
        reason = _FINISH.get(self._raw_reason, "other")
        calls = self._calls.close(cut_off=reason == "length")
        events += calls
        if (usage := usage_event(self._usage, self._timings)) is not None:
            events.append(usage)
        if self._timings is not None:
            events.append(timings_event(self._timings))
        known = self._raw_reason in _FINISH
        is_called = any(type(call) is ToolCall for call in calls)
        if is_called and reason == "stop" and self._calls_may_stop:
            reason, known = "tool_calls", False
        events.append(
            Finish(
                reason,
                raw_reason=None if known else self._raw_reason,
                model=self._model,
                response_id=self._response_id,
            )
        )
        return events

    @property
    def _began(self) -> bool:
        """Something of the answer has been handed on."""
        return bool(self._text or self._other or self._calls)

    def _frame_of(self, data: bytes, chunk: Chunk) -> TextFrame:
        """The frame of this chunk; empty if it has none, or is seldom seen a second time."""
        if self._splitter is not None or len(self._text) < self._framed * _TEXTS_PER_FRAME:
            return _NO_FRAME
        self._framed += 1
        return text_frame(data, chunk) or _NO_FRAME

    def _odd(self, data: bytes) -> Chunk | None:
        """A chunk that does not fit; ``None`` for one that says nothing, and for a late end."""
        if data.strip() == b"[DONE]":
            self.done = True
            return None
        try:
            odd = read_odd(data)
            if odd is None and data.strip() and not self._began and self._model is None:
                raise msgspec.ValidationError("expected an object, got null")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise self._not_a_chunk(data, exc) from exc
        return odd

    def _content(self, text: str) -> Iterator[StreamEvent]:
        if self._splitter is None:
            self._text.append(text)
            yield TextDelta(text)
            return
        for event in self._splitter.feed(text):
            if type(event) is TextDelta:
                self._text.append(event.text)
            else:
                self._other = True
            yield event

    def _call_pieces(self, delta: Delta) -> Iterator[StreamEvent]:
        if delta.tool_calls:
            for position, call in enumerate(delta.tool_calls):
                yield self._calls.add(call, position)
        elif delta.function_call is not None and says_call(delta.function_call):
            yield self._calls.add(CallPiece(0, function=delta.function_call), 0)

    def _end(self, choice: Choice) -> None:
        self.finished = True
        self._raw_reason = choice.finish_reason or ""
        if choice.finish_reason == "error":
            error = bytes(choice.error)
            self._failure = b'{"error":%b}' % (error if is_filled(error) else _ENDED_BADLY)

    def _reported(self, data: bytes) -> BackendError:
        """The error object inside an answer that began as a success."""
        self.failed = True
        body = parse_error_body(data)
        # Some servers repeat the status they would have answered with as the code.
        status = int(body.code) if _STATUS.fullmatch(body.code) else 500
        error = error_class(status, body, self._classify)
        message = body.message or "the server reported an error in the middle of the answer"
        if self._began:
            return StreamInterruptedError(message, partial=self.partial, status=status)
        return error(message, status=status, stage="decode")

    def _not_a_chunk(self, data: bytes, exc: Exception) -> BackendError:
        self.failed = True
        shown = shorten(without_keys(data[:_SHOWN_BYTES].decode("utf-8", "replace")), _SHOWN)
        message = f"expected a chat chunk, got {shown!r} ({exc})"
        if self._began:
            return StreamInterruptedError(message, partial=self.partial)
        return ProtocolError(message, stage="decode")
