"""Core events and results to what Anthropic's clients read. Pure."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from modelbay.models.chat import ChatResult
from modelbay.models.events import (
    Finish,
    FinishReason,
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
from modelbay.models.frozen import JsonObject
from modelbay_gateway.answer import Encoder
from modelbay_gateway.anthropic.blocks import SIGNATURE
from modelbay_gateway.anthropic.envelope import refuse
from modelbay_gateway.anthropic.estimate import tokens_of
from modelbay_gateway.json_line import to_json
from modelbay_gateway.openai.encode import EVENT_STREAM, call_id, new_id, own_of
from modelbay_gateway.refusal import Refusal, ended_badly

_STOP: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}

NewId = Callable[[str], str]


def tool_id(given: str | None, new: NewId = new_id) -> str:
    """The server's own id of a call, unless it is none, or the same in every turn."""
    return call_id(given, lambda prefix: new("toolu_"))


def stop_word(reason: FinishReason, *, has_calls: bool, has_refused: bool = False) -> str:
    """A stop reason of theirs. Whatever the server said, calls that are there must be made."""
    if has_refused:
        return "refusal"
    if has_calls and reason in ("stop", "other"):
        return "tool_use"
    return _STOP.get(reason, "end_turn")


def usage_of(usage: Usage | None, *, input_tokens: int, output_bytes: int) -> JsonObject:
    """Token counts; ``input_tokens`` is without the cached ones in this protocol.

    Args:
        input_tokens: The estimate, for a server that counts nothing; then ``estimated`` is set.
        output_bytes: What the answer has in UTF-8, for the same.
    """
    if usage is None:
        estimated = _usage(input_tokens, 0, tokens_of(output_bytes))
        return {**estimated, "estimated": True}
    cached = usage.cached_tokens or 0
    body = _usage(max(usage.input_tokens - cached, 0), cached, usage.output_tokens)
    if usage.reasoning_tokens is not None:
        body["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return body


def _usage(inputs: int, cached: int, outputs: int) -> JsonObject:
    return {
        "input_tokens": inputs,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": outputs,
    }


# --- whole answers --------------------------------------------------------------------------------


def whole_message(
    result: ChatResult,
    *,
    id: str,
    model: str,
    input_tokens: int,
    thinks: bool,
    notices: Sequence[Notice] = (),
    new: NewId = new_id,
) -> bytes:
    """The body of an answer that is not streamed.

    Args:
        input_tokens: The prompt's, estimated.
        thinks: Thoughts are shown.
    """
    content = content_of(result, thinks=thinks, new=new)
    said = (
        result.text,
        result.refusal,
        result.reasoning,
        *(call.arguments for call in result.tool_calls),
    )
    body: JsonObject = {
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [*content],
        "stop_reason": stop_word(
            result.finish_reason,
            has_calls=bool(result.tool_calls),
            has_refused=bool(result.refusal),
        ),
        "stop_sequence": None,
        "usage": usage_of(
            result.usage, input_tokens=input_tokens, output_bytes=sum(map(_size, said))
        ),
    }
    own = own_of((*notices, *result.notices), result.timings)
    if own:
        body["modelbay"] = own
    return to_json(body)


def content_of(result: ChatResult, *, thinks: bool, new: NewId = new_id) -> list[JsonObject]:
    """The blocks of an answer: thought, text, calls. A refusal is text; the stop reason tells.

    A call that was cut off is none: its input would have to be an object, and is none yet.
    """
    content: list[JsonObject] = []
    if result.reasoning and thinks:
        content.append({"type": "thinking", "thinking": result.reasoning, "signature": SIGNATURE})
    for text in (result.text, result.refusal):
        if text:
            content.append({"type": "text", "text": text})
    content += [
        {
            "type": "tool_use",
            "id": tool_id(call.id, new),
            "name": call.name,
            "input": input_of(call.arguments),
        }
        for call in result.tool_calls
    ]
    return content


def input_of(arguments: str) -> JsonObject:
    """The arguments of a call as an object; what is none stays readable under one name."""
    try:
        value = msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}


# --- streams --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Block:
    """One content block, as far as it has been sent."""

    kind: Literal["text", "thinking", "tool_use"]
    id: str | None = None
    name: str | None = None
    pieces: list[str] = field(default_factory=list)
    is_started: bool = False
    is_whole: bool = False
    has_pieces: bool = False


class MessageEncoder(Encoder):
    """Events to their event stream.

    A block is closed before the next one opens. Where a server sends two calls side by side, the
    later one waits until the first is whole.

    Args:
        input_tokens: The prompt's, estimated: they are told before the server has counted.
        thinks: Thoughts are shown.
        notices: Reported at the end, with those of the answer.
    """

    content_type = EVENT_STREAM
    heartbeat = b'event: ping\ndata: {"type":"ping"}\n\n'

    def __init__(
        self,
        *,
        id: str,
        model: str,
        input_tokens: int,
        thinks: bool,
        notices: Sequence[Notice] = (),
        new: NewId = new_id,
    ) -> None:
        self._start: JsonObject = {
            "id": id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage(input_tokens, 0, 0),
        }
        self._id = id
        self._input_tokens = input_tokens
        self._thinks = thinks
        self._notices = list(notices)
        self._usage: Usage | None = None
        self._timings: Timings | None = None
        self._queue: deque[_Block] = deque()  # the first one is open, or the next to be
        self._calls: dict[int, _Block] = {}
        self._index = 0
        self._has_calls = False
        self._has_refused = False
        self._output_bytes = 0
        self._new = new

    def begin(self) -> bytes:
        return _event("message_start", {"message": self._start})

    def encode(self, event: StreamEvent) -> bytes:
        match event:
            case TextDelta(text=text):
                return self._said("text", text)
            case RefusalDelta(text=text):
                self._has_refused = self._has_refused or bool(text)
                return self._said("text", text)
            case ReasoningDelta(text=text):
                if self._thinks:
                    return self._said("thinking", text)
                self._output_bytes += _size(text)
            case ToolCallDelta():
                return self._call_piece(event)
            case ToolCall():
                return self._whole_call(event)
            case Notice():
                self._notices.append(event)
            case Usage():
                self._usage = event
            case Timings():
                self._timings = event
            case Finish(reason="error"):
                return self.fail(ended_badly())
            case Finish(reason=reason):
                return self._end(reason)
            case _:
                pass  # what a server does meanwhile shows nowhere; pings tell that it lives
        return b""

    def fail(self, refusal: Refusal) -> bytes:
        return b"event: error\ndata: " + refuse(refusal) + b"\n\n"

    def _said(self, kind: Literal["text", "thinking"], text: str) -> bytes:
        if not text:
            return b""
        last = self._queue[-1] if self._queue else None
        if last is None or last.kind != kind:
            last = self._opened(_Block(kind))
        last.pieces.append(text)
        return self._flush()

    def _opened(self, block: _Block) -> _Block:
        """The block at the end of the queue; only a call before it may still grow."""
        if self._queue and self._queue[-1].kind != "tool_use":
            self._queue[-1].is_whole = True
        self._queue.append(block)
        return block

    def _call(self, index: int) -> _Block:
        block = self._calls.get(index)
        if block is None:
            block = self._calls[index] = self._opened(_Block("tool_use"))
        return block

    def _call_piece(self, event: ToolCallDelta) -> bytes:
        block = self._call(event.index)
        block.id = block.id or event.id
        block.name = block.name or event.name
        if event.arguments:
            block.pieces.append(event.arguments)
            block.has_pieces = True
        return self._flush()

    def _whole_call(self, event: ToolCall) -> bytes:
        block = self._call(event.index)
        block.id, block.name = block.id or event.id, block.name or event.name
        if not block.has_pieces and event.arguments:
            block.pieces.append(event.arguments)
            block.has_pieces = True
        block.is_whole = True
        return self._flush()

    def _flush(self) -> bytes:
        """What of the first block is new, and the next ones where it is whole."""
        data: list[bytes] = []
        while self._queue:
            block = self._queue[0]
            if block.kind == "tool_use" and block.name is None:
                break
            if not block.is_started:
                block.is_started = True
                data.append(
                    _event("content_block_start", self._at(content_block=self._opening(block)))
                )
            if block.pieces:
                data.append(self._delta(block))
            if not block.is_whole:
                break
            if block.kind == "thinking":
                delta: JsonObject = {"type": "signature_delta", "signature": SIGNATURE}
                data.append(_event("content_block_delta", self._at(delta=delta)))
            data.append(_event("content_block_stop", self._at()))
            self._index += 1
            self._queue.popleft()
        return b"".join(data)

    def _at(self, **more: JsonObject) -> JsonObject:
        return {"index": self._index, **more}

    def _opening(self, block: _Block) -> JsonObject:
        match block.kind:
            case "text":
                return {"type": "text", "text": ""}
            case "thinking":
                return {"type": "thinking", "thinking": "", "signature": ""}
            case "tool_use":
                self._has_calls = True
                id = tool_id(block.id, self._new)
                return {"type": "tool_use", "id": id, "name": block.name, "input": {}}

    def _delta(self, block: _Block) -> bytes:
        text = block.pieces[0] if len(block.pieces) == 1 else "".join(block.pieces)
        block.pieces.clear()
        self._output_bytes += _size(text)
        kind, name = _DELTAS[block.kind]
        return b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,' % (
            self._index
        ) + b'"delta":{"type":"%b","%b":%b}}\n\n' % (kind, name, to_json(text))

    def _end(self, reason: FinishReason) -> bytes:
        for block in tuple(self._queue):
            block.is_whole = True
            if block.kind == "tool_use" and not block.is_started:
                self._queue.remove(block)  # cut off before anything of it could be sent
        data = self._flush()
        body: JsonObject = {
            "delta": {
                "stop_reason": stop_word(
                    reason, has_calls=self._has_calls, has_refused=self._has_refused
                ),
                "stop_sequence": None,
            },
            "usage": usage_of(
                self._usage, input_tokens=self._input_tokens, output_bytes=self._output_bytes
            ),
        }
        own = own_of(self._notices, self._timings)
        if own:
            body["modelbay"] = own
        return data + _event("message_delta", body) + _event("message_stop", {})


_DELTAS = {
    "text": (b"text_delta", b"text"),
    "thinking": (b"thinking_delta", b"thinking"),
    "tool_use": (b"input_json_delta", b"partial_json"),
}


def _event(name: str, body: JsonObject) -> bytes:
    data = to_json({"type": name, **body})
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
