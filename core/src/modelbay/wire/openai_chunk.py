"""One chunk of an OpenAI-style answer as it stands on the wire, and a lenient reading of odd ones.

Most chunks fit the structs and are decoded straight into them. Servers, and what stands before
them, also send ``null`` for a number, a number for a name or a list for nothing; what is odd is
left out then, and the answer is not lost over it.
"""

import math
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from modelbay.models.events import Status, Timings, Usage


class Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, object] | None = None


class CallPiece(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: Function | None = None


# gc=False: one each for every chunk, and what is read from JSON holds no cycles.
class Delta(msgspec.Struct, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[CallPiece] | None = None
    refusal: str | None = None
    function_call: Function | None = None  # the older form, of one call without an id


class Choice(msgspec.Struct, gc=False):
    index: int | None = 0
    delta: Delta | None = None
    message: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    error: msgspec.Raw = msgspec.Raw()


class Cached(msgspec.Struct):
    cached_tokens: int | None = None


class Reasoned(msgspec.Struct):
    reasoning_tokens: int | None = None


class Tokens(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: Cached | None = None
    completion_tokens_details: Reasoned | None = None
    prompt_cache_hit_tokens: int | None = None


class Measured(msgspec.Struct):
    """An extension of some servers: milliseconds, and tokens per second."""

    cache_n: int = 0
    prompt_n: int | None = None
    prompt_ms: float | None = None
    prompt_per_second: float | None = None
    predicted_n: int | None = None
    predicted_ms: float | None = None
    predicted_per_second: float | None = None


class PromptProgress(msgspec.Struct):
    """An extension of some servers: how much of the prompt has been read."""

    total: int = 0
    cache: int = 0
    processed: int = 0


class Chunk(msgspec.Struct, gc=False):
    choices: list[Choice] | None = None
    id: str | None = None
    model: str | None = None
    usage: Tokens | None = None
    timings: Measured | None = None
    prompt_progress: PromptProgress | None = None
    error: msgspec.Raw = msgspec.Raw()


decode_chunk = msgspec.json.Decoder(Chunk).decode

_LARGEST = 1 << 53  # the largest whole number that every reader of JSON keeps

S = TypeVar("S", Cached, Reasoned, Measured, PromptProgress)


def usage_event(usage: Tokens | None, timings: Measured | None = None) -> Usage | None:
    """The counts as an event; ``None`` where they are not told, or cannot be true.

    Without both numbers there is no event: a zero in the place of one would be made up. They can
    be had from the timings too, which some servers send asked for or not. Of the parts that are
    told beside them, one that is larger than its whole is left out.
    """
    if usage is not None:
        inputs, outputs = usage.prompt_tokens_details, usage.completion_tokens_details
        cached = None if inputs is None else inputs.cached_tokens
        thought = None if outputs is None else outputs.reasoning_tokens
        if cached is None:
            cached = usage.prompt_cache_hit_tokens
        counts = _counts(usage.prompt_tokens, usage.completion_tokens, cached, thought)
        if counts is not None:
            return counts
    if timings is None or timings.prompt_n is None:
        return None
    read = timings.prompt_n + timings.cache_n
    return _counts(read, timings.predicted_n, timings.cache_n, None)


def _counts(
    inputs: int | None, outputs: int | None, cached: int | None, thought: int | None
) -> Usage | None:
    if inputs is None or outputs is None or inputs < 0 or outputs < 0:
        return None
    return Usage(
        inputs,
        outputs,
        cached_tokens=cached if cached is not None and 0 <= cached <= inputs else None,
        reasoning_tokens=thought if thought is not None and 0 <= thought <= outputs else None,
    )


def timings_event(timings: Measured) -> Timings:
    """The times as an event, in seconds."""

    def seconds(ms: float | None) -> float | None:
        return None if ms is None else ms / 1000

    both = (timings.prompt_ms, timings.predicted_ms)
    return Timings(
        total_s=None if None in both else sum(ms for ms in both if ms is not None) / 1000,
        input_s=seconds(timings.prompt_ms),
        input_tokens_per_s=timings.prompt_per_second or None,
        output_s=seconds(timings.predicted_ms),
        output_tokens_per_s=timings.predicted_per_second or None,
    )


def progress_event(progress: PromptProgress) -> Status:
    """How much of the prompt has been read, of what was not read before."""
    todo = progress.total - progress.cache
    done = (progress.processed - progress.cache) / todo if todo > 0 else 1.0
    return Status("processing", min(1.0, max(0.0, done)))


def says(delta: Delta) -> bool:
    """Anything of the answer stands in it."""
    return bool(
        delta.content
        or delta.reasoning_content
        or delta.reasoning
        or delta.tool_calls
        or delta.refusal
        or (delta.function_call is not None and says_call(delta.function_call))
    )


def says_call(function: Function) -> bool:
    """Anything of a call stands in it."""
    return bool(function.name or function.arguments)


# What stands in the place of an error where there is none.
_NO_ERROR = frozenset((b'""', b"{}", b"[]", b"false", b"0"))


def is_error(chunk: Chunk) -> bool:
    """Whether it reports one. Beside an answer ``null`` and whatever is empty count as none."""
    error = bytes(chunk.error).translate(None, _BLANKS)
    return error != b"null" and not (chunk.choices and error in _NO_ERROR)


def is_filled(error: bytes) -> bool:
    """Whether an error says anything."""
    return error.translate(None, _BLANKS) not in (b"", b"null", *_NO_ERROR)


_BLANKS = b" \t\r\n"

# What an error may hold that stands alone, without ``error`` around it.
_OF_AN_ERROR = frozenset(("message", "msg", "detail", "type", "code", "param", "object"))


def is_bare_error(chunk: Chunk, data: bytes) -> bool:
    """Whether a chunk without choices is an error that nothing names as one.

    Such as ``{"message": "..."}`` under ``event: error``, or ``{"object": "error", ...}``.
    """
    if chunk.choices is not None or chunk.usage is not None or chunk.model is not None:
        return False
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False  # it was read before: what is odd stands in fields that nobody looks at
    if not isinstance(value, dict) or not value.keys() <= _OF_AN_ERROR:
        return False
    words = value.get("message") or value.get("msg") or value.get("detail")
    return bool(words) and isinstance(words, str) and value.get("object", "error") == "error"


# --- what does not fit ---------------------------------------------------------------------------


def read_odd(data: bytes) -> Chunk | None:
    """A chunk that does not fit the structs; ``None`` for one that says nothing.

    Numbers, names and ids that are none are left out. Where the text, the thoughts or a tool call
    would stand, what cannot be read is an error: left out it would make another answer.

    Raises:
        msgspec.DecodeError: It is not JSON, or no chunk.
    """
    if not data.strip():
        return None
    value = msgspec.json.decode(data)
    if value is None:
        return None
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0]  # some wrap an error so
        if not value.get("error"):
            raise msgspec.ValidationError("expected an object, got list")
    if not isinstance(value, dict):
        raise msgspec.ValidationError(f"expected an object, got {type(value).__name__}")
    return Chunk(
        choices=[_choice(item) for item in _items(value, "choices")],
        id=_name(value.get("id")),
        model=_name(value.get("model")),
        usage=_tokens(value.get("usage")),
        timings=_numbers(Measured, value.get("timings")),
        prompt_progress=_numbers(PromptProgress, value.get("prompt_progress")),
        error=_raw(value, "error"),
    )


def _raw(owner: Mapping[str, object], place: str) -> msgspec.Raw:
    value = owner.get(place)
    return msgspec.Raw() if value is None else msgspec.Raw(msgspec.json.encode(value))


def _choice(value: Mapping[str, object]) -> Choice:
    return Choice(
        index=_count(value.get("index")) or 0,
        delta=_delta(value, "delta"),
        message=_delta(value, "message"),
        text=_text(value, "text"),
        finish_reason=_word(value, "finish_reason"),
        error=_raw(value, "error"),
    )


def _delta(choice: Mapping[str, object], place: str) -> Delta | None:
    value = choice.get(place)
    if not value:  # some encoders write an empty object as a list
        return None
    if not isinstance(value, dict):
        raise _unreadable(place)
    return Delta(
        content=_text(value, "content"),
        reasoning_content=_text(value, "reasoning_content"),
        reasoning=_text(value, "reasoning"),
        tool_calls=[_call(item) for item in _items(value, "tool_calls")],
        refusal=_text(value, "refusal"),
        function_call=_function(value, "function_call") if value.get("function_call") else None,
    )


def _call(value: Mapping[str, object]) -> CallPiece:
    return CallPiece(
        index=_count(value.get("index")),
        id=_name(value.get("id")),
        function=_function(value, "function"),
    )


def _function(owner: Mapping[str, object], place: str) -> Function:
    function = owner.get(place)
    if function is not None and not isinstance(function, dict):
        raise _unreadable(place)
    function = function or {}
    arguments = function.get("arguments")
    if arguments is not None and not isinstance(arguments, (str, dict)):
        raise _unreadable("arguments")
    return Function(_word(function, "name"), arguments)


def _text(owner: Mapping[str, object], place: str) -> str | None:
    """Text, or a list of parts as messages have it: the text of those that are text."""
    value = owner.get(place)
    if not isinstance(value, list):
        return _word(owner, place)
    parts = (part.get("text") if isinstance(part, dict) else part for part in value)
    return "".join(part for part in parts if isinstance(part, str))


def _word(owner: Mapping[str, object], place: str) -> str | None:
    value = owner.get(place)
    if not value:
        return None
    if not isinstance(value, str):
        raise _unreadable(place)
    return value


def _items(owner: Mapping[str, object], place: str) -> list[dict[str, object]]:
    value = owner.get(place)
    if not value:
        return []
    if not isinstance(value, list) or not all(isinstance(i, dict) or i is None for i in value):
        raise _unreadable(place)
    return [item for item in value if item is not None]


def _unreadable(place: str) -> msgspec.ValidationError:
    return msgspec.ValidationError(f"'{place}' cannot be read")


def _tokens(value: object) -> Tokens | None:
    if not isinstance(value, dict):
        return None
    return Tokens(
        _count(value.get("prompt_tokens")),
        _count(value.get("completion_tokens")),
        _numbers(Cached, value.get("prompt_tokens_details")),
        _numbers(Reasoned, value.get("completion_tokens_details")),
        _count(value.get("prompt_cache_hit_tokens")),
    )


def _numbers(kind: type[S], value: object) -> S | None:
    if not isinstance(value, dict):
        return None
    found = msgspec.structs.fields(kind)
    read = {
        field.name: _count(value.get(field.name))
        if field.type in (int, int | None)
        else _quantity(value.get(field.name))
        for field in found
    }
    told = {name: number for name, number in read.items() if number is not None}
    return msgspec.convert(told, kind)


def _quantity(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if -_LARGEST < value < _LARGEST and math.isfinite(value) else None


def _count(value: object) -> int | None:
    number = _quantity(value)
    return None if number is None else int(number)


def _name(value: object) -> str | None:
    """A name or an id; some servers count theirs."""
    if isinstance(value, str):
        return value
    count = _count(value)
    return None if count is None else str(count)
