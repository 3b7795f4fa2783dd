"""Core events and results to what OpenAI's clients read. Pure."""

import re
import secrets
from collections.abc import Callable, Sequence

from pydantic import JsonValue

from modelbay.models.chat import ChatResult
from modelbay.models.events import (
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
from modelbay.models.frozen import JsonObject
from modelbay_gateway.answer import Encoder
from modelbay_gateway.json_line import framed, to_json
from modelbay_gateway.refusal import Refusal, ended_badly
from modelbay_gateway.style import ReasoningField

Header = tuple[bytes, bytes]

DONE = b"data: [DONE]\n\n"
EVENT_STREAM = b"text/event-stream; charset=utf-8"
# Not ": ping": a comment that begins so ends the stream in one well-known client.
KEEP_ALIVE = b": keep-alive\n\n"

_FINISH: dict[FinishReason, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "other": "stop",
}
# What a plugin writes when its server gave no id: the same in every turn, so not unique.
_COUNTED_ID = re.compile(r"(call_?)?[0-9]{0,4}")


def new_id(prefix: str) -> str:
    """24 characters nobody guesses, after the prefix."""
    return prefix + secrets.token_hex(12)


def call_id(given: str | None, new: Callable[[str], str] = new_id) -> str:
    """The id of a tool call: the server's own, unless it is none, or the same in every turn."""
    if not given or _COUNTED_ID.fullmatch(given):
        return new("call_")
    return given


def usage_of(usage: Usage) -> JsonObject:
    body: JsonObject = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    if usage.cached_tokens is not None:
        body["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens is not None:
        body["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return body


def own_of(notices: Sequence[Notice], timings: Timings | None) -> JsonObject:
    """What OpenAI has no field for, under one name of our own; empty if there is nothing."""
    own: JsonObject = {}
    if notices:
        own["notices"] = [{"code": n.code, "message": n.message} for n in notices]
    if timings is not None:
        measured: JsonObject = {
            name: value
            for name in ("total_s", "load_s", "input_s", "input_tokens_per_s")
            if (value := getattr(timings, name)) is not None
        }
        for name in ("output_s", "output_tokens_per_s"):
            value = getattr(timings, name)
            if value is not None:
                measured[name] = value
        if measured:
            own["timings"] = measured
    return own


def finish_word(reason: FinishReason, *, has_calls: bool) -> str:
    """A finish reason of theirs. Whatever the server said, calls that are there must be made."""
    if has_calls and reason in ("stop", "other"):
        return "tool_calls"
    return _FINISH.get(reason, "stop")


# --- whole answers --------------------------------------------------------------------------------


def whole_chat(
    result: ChatResult,
    *,
    id: str,
    model: str,
    created: int,
    reasoning_field: ReasoningField,
    notices: Sequence[Notice] = (),
    new: Callable[[str], str] = new_id,
) -> bytes:
    """The body of an answer that is not streamed."""
    text, thought = result.text, result.reasoning
    message: JsonObject = {
        "role": "assistant",
        "content": None if result.refusal and not text else text,
        "refusal": result.refusal or None,
    }
    if thought:
        if reasoning_field == "think_tags":
            message["content"] = f"<think>\n{thought}\n</think>\n\n{text}"
        for name in _reasoning_names(reasoning_field):
            message[name] = thought
    calls = _calls_of(result, new)
    if calls:
        if not message["content"]:
            message["content"] = None
        message["tool_calls"] = calls
    body: JsonObject = {
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                "finish_reason": finish_word(result.finish_reason, has_calls=bool(calls)),
            }
        ],
        "system_fingerprint": None,
    }
    if result.usage is not None:
        body["usage"] = usage_of(result.usage)
    own = own_of((*notices, *result.notices), result.timings)
    if own:
        body["modelbay"] = own
    return to_json(body)


def _calls_of(result: ChatResult, new: Callable[[str], str]) -> list[JsonValue]:
    """The calls of an answer; one that was cut off is among them as far as it came, as at OpenAI.

    The finish reason says that it is not whole.
    """
    calls: list[ToolCall | ToolCallDelta] = [*result.tool_calls]
    calls += [call for call in result.cut_off_calls if call.name]
    return [
        {
            "id": call_id(call.id, new),
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in sorted(calls, key=lambda call: call.index)
    ]


def _reasoning_names(field: ReasoningField) -> tuple[str, ...]:
    match field:
        case "reasoning_content" | "reasoning":
            return (field,)
        case "both":
            return ("reasoning_content", "reasoning")
        case _:
            return ()


# --- streams --------------------------------------------------------------------------------------


class _OpenCall:
    """One tool call of a stream, as far as it has been sent."""

    __slots__ = ("held", "id", "index", "name", "sent")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id: str | None = None
        self.name: str | None = None
        self.held: list[str] = []  # arguments that came before the name
        self.sent = 0


class ChatEncoder(Encoder):
    """Events to chunks: the role first, every call's id and name once, one finish, ``[DONE]``.

    Args:
        id, model, created: The same in every chunk, whatever the server said.
        include_usage: End with a chunk of token counts; until then ``usage`` is null.
        notices: Reported in the last chunk, with those of the answer.
    """

    content_type = EVENT_STREAM
    heartbeat = KEEP_ALIVE

    def __init__(
        self,
        *,
        id: str,
        model: str,
        created: int,
        include_usage: bool,
        reasoning_field: ReasoningField,
        notices: Sequence[Notice] = (),
        new: Callable[[str], str] = new_id,
    ) -> None:
        head = to_json(
            {"id": id, "object": "chat.completion.chunk", "created": created, "model": model}
        )
        self._head = b"data: " + head[:-1]
        delta = self._head + b',"choices":[{"index":0,"delta":{'
        self._delta = delta
        self._content = delta + b'"content":'
        self._refusal = delta + b'"refusal":'
        usage = b',"usage":null' if include_usage else b""
        self._tail = b'},"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"
        self._usage_null = usage
        self._include_usage = include_usage
        self._names = _reasoning_names(reasoning_field)
        self._think_tags = reasoning_field == "think_tags"
        self._is_thinking = False
        self._notices = list(notices)
        self._usage: Usage | None = None
        self._timings: Timings | None = None
        self._calls: dict[int, _OpenCall] = {}
        self._new = new

    def begin(self) -> bytes:
        return self._delta + b'"role":"assistant","content":""' + self._tail

    def encode_texts(self, pieces: list[str]) -> bytes:
        closed = self._end_of_thought() if self._is_thinking else b""
        return closed + framed(self._content, pieces, self._tail)

    def encode(self, event: StreamEvent) -> bytes:
        match event:
            case TextDelta(text=text):
                return self.encode_texts([text]) if text else b""
            case ReasoningDelta(text=text):
                return self._thought(text) if text else b""
            case RefusalDelta(text=text):
                if not text:
                    return b""
                closed = self._end_of_thought() if self._is_thinking else b""
                return closed + self._refusal + to_json(text) + self._tail
            case ToolCallDelta():
                call = self._open(event.index)
                call.id = call.id or event.id
                call.name = call.name or event.name
                if event.arguments:
                    call.held.append(event.arguments)
                return self._announced(call)
            case ToolCall():
                return self._whole_call(event)
            case Status():
                return status_comment(event)
            case Notice():
                self._notices.append(event)
            case Usage():
                self._usage = event
            case Timings():
                self._timings = event
            case Finish(reason=reason):
                return self._end(reason)
            case _:
                pass  # an error event is never among those of errors="raise"
        return b""

    def fail(self, refusal: Refusal) -> bytes:
        return b"data: " + refuse(refusal) + b"\n\n" + DONE

    def _thought(self, text: str) -> bytes:
        if self._think_tags:
            opening = "" if self._is_thinking else "<think>\n"
            self._is_thinking = True
            return self._content + to_json(opening + text) + self._tail
        if not self._names:
            return b""
        piece = to_json(text)
        fields = b",".join(b'"%b":%b' % (name.encode(), piece) for name in self._names)
        return self._delta + fields + self._tail

    def _end_of_thought(self) -> bytes:
        self._is_thinking = False
        return self._content + to_json("\n</think>\n\n") + self._tail

    def _open(self, index: int) -> _OpenCall:
        call = self._calls.get(index)
        if call is None:
            call = self._calls[index] = _OpenCall(len(self._calls))
        return call

    def _announced(self, call: _OpenCall) -> bytes:
        """The call's start, once its name is known, and the arguments that lie ready."""
        if call.name is None:
            return b""
        data = b""
        if not call.sent:
            data = self._call_chunk(
                {
                    "index": call.index,
                    "id": call_id(call.id, self._new),
                    "type": "function",
                    "function": {"name": call.name, "arguments": ""},
                }
            )
            call.sent = 1
        if call.held:
            arguments = "".join(call.held)
            call.held.clear()
            call.sent += len(arguments)
            data += self._call_chunk({"index": call.index, "function": {"arguments": arguments}})
        return data

    def _whole_call(self, event: ToolCall) -> bytes:
        """A call that came at once; nothing, if its pieces went out before."""
        call = self._open(event.index)
        if call.sent == 1 and not call.held and event.arguments:
            call.held.append(event.arguments)  # it was announced, and its arguments come only now
        elif not call.sent:
            call.id, call.name = call.id or event.id, event.name
            call.held = [event.arguments]
        return self._announced(call)

    def _call_chunk(self, call: JsonObject) -> bytes:
        return self._in_delta(b'"tool_calls":[' + to_json(call) + b"]")

    def _in_delta(self, fields: bytes) -> bytes:
        closed = self._end_of_thought() if self._is_thinking else b""
        return closed + self._delta + fields + self._tail

    def _word(self, reason: FinishReason, *, has_calls: bool) -> str:
        return finish_word(reason, has_calls=has_calls)

    def _end(self, reason: FinishReason) -> bytes:
        if reason == "error":
            return self.fail(ended_badly())
        closed = self._end_of_thought() if self._is_thinking else b""
        has_calls = any(call.sent for call in self._calls.values())
        word = self._word(reason, has_calls=has_calls).encode()
        own = own_of(self._notices, self._timings)
        more = b',"modelbay":' + to_json(own) if own else b""
        finish = (
            self._delta
            + b'},"logprobs":null,"finish_reason":"'
            + word
            + b'"}]'
            + self._usage_null
            + more
            + b"}\n\n"
        )
        counts = b""
        if self._include_usage and self._usage is not None:
            counts = (
                self._head + b',"choices":[],"usage":' + to_json(usage_of(self._usage)) + b"}\n\n"
            )
        return closed + finish + counts + DONE


def status_comment(status: Status) -> bytes:
    """What a server is doing while no text comes, as a comment: seen by people, read by none."""
    words: list[str] = [status.state]
    if status.progress is not None:
        words.append(f"{status.progress:.0%}")
    if status.message:
        words.append(" ".join(status.message.split())[:200])
    return b": " + " ".join(words).encode("utf-8", "replace") + b"\n\n"


# --- refusals -------------------------------------------------------------------------------------

_INVALID = "invalid_request_error"
_UPSTREAM = "upstream_error"
_SERVER = "server_error"

# Our code -> their type and code.
_WORDS: dict[str, tuple[str, str]] = {
    "invalid_body": (_INVALID, "invalid_request"),
    "invalid_field": (_INVALID, "invalid_request"),
    "missing_field": (_INVALID, "missing_required_parameter"),
    "unsupported_field": (_INVALID, "unsupported_parameter"),
    "bad_host": (_INVALID, "invalid_request"),
    "invalid_api_key": (_INVALID, "invalid_api_key"),
    "foreign_origin": ("permission_error", "foreign_origin"),
    "foreign_host": ("permission_error", "foreign_host"),
    "missing_scope": ("permission_error", "missing_scope"),
    "not_found": (_INVALID, "not_found"),
    "method_not_allowed": (_INVALID, "method_not_allowed"),
    "request_too_large": (_INVALID, "request_too_large"),
    "unsupported_encoding": (_INVALID, "unsupported_encoding"),
    "headers_too_large": (_INVALID, "headers_too_large"),
    "invalid_request": (_INVALID, "invalid_request"),
    "unsupported": (_INVALID, "unsupported_capability"),
    "unsupported_action": (_INVALID, "unsupported_capability"),
    "unsupported_feature": (_INVALID, "unsupported_capability"),
    "context_length_exceeded": (_INVALID, "context_length_exceeded"),
    "routing_error": (_INVALID, "model_not_found"),
    "unknown_provider": (_INVALID, "model_not_found"),
    "unknown_model": (_INVALID, "model_not_found"),
    "model_not_found": (_INVALID, "model_not_found"),
    "authentication_failed": (_UPSTREAM, "upstream_auth_failed"),
    "quota_exceeded": ("insufficient_quota", "insufficient_quota"),
    "rate_limited": ("rate_limit_error", "rate_limit_exceeded"),
    "backend_busy": (_SERVER, "overloaded"),
    "backend_timeout": (_UPSTREAM, "upstream_timeout"),
    "backend_unreachable": (_UPSTREAM, "upstream_unreachable"),
    "wrong_server": (_UPSTREAM, "upstream_unreachable"),
    "protocol_error": (_UPSTREAM, "upstream_bad_response"),
    "backend_error": (_UPSTREAM, "upstream_bad_response"),
    "stream_interrupted": (_UPSTREAM, "upstream_stream_closed"),
}


def refuse(refusal: Refusal, request_id: str = "") -> bytes:
    """The error envelope, on one line."""
    kind, code = _WORDS.get(refusal.code, (_SERVER, "internal_error"))
    field = refusal.field
    if code == "model_not_found":
        field = "model"
    error: JsonObject = {
        "message": _message(refusal, code),
        "type": kind,
        "param": field,
        "code": code,
    }
    for name, value in (
        ("hint", refusal.hint),
        ("provider", refusal.provider_id),
        ("model", refusal.model),
    ):
        if value is not None:
            error[name] = value
    error["retryable"] = refusal.retryable
    if request_id:
        error["request_id"] = request_id
    return to_json({"error": error})


def refusal_headers(refusal: Refusal) -> list[Header]:
    """``retry-after`` and ``x-should-retry``, which decide what the SDKs do next."""
    headers = [(b"x-should-retry", b"true" if refusal.retryable else b"false")]
    wait_s = refusal.wait_s
    if wait_s is not None:
        headers.append((b"retry-after", str(max(1, round(wait_s))).encode()))
        headers.append((b"retry-after-ms", str(round(wait_s * 1000)).encode()))
    return headers


def _message(refusal: Refusal, code: str) -> str:
    """The text. Clients know a request that is too long by its words, so it gets theirs."""
    if code != "context_length_exceeded":
        return refusal.message
    window = refusal.context_window
    size = (
        f"This model's maximum context length is {window} tokens, and the request does not fit."
        if window
        else "The prompt is too long: it exceeds the context window of this model."
    )
    return f"{size} Please reduce the length of the messages. ({refusal.message})"
