"""First's wire, made up for a start: replace it by the real one. Pure; no sockets here."""

import msgspec

from modelbay.errors import StreamInterruptedError, UnsupportedFeatureError
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, StreamEvent, TextDelta, Usage
from modelbay.models.frozen import JsonObject
from modelbay.wire.errors import parse_error_body

SENT = {"temperature", "top_p", "top_k", "seed", "max_tokens", "stop", "reasoning_effort", "stream"}


class Model(msgspec.Struct):
    name: str


class Listing(msgspec.Struct):
    """The answer to ``GET /api/models``."""

    models: list[Model]


class Line(msgspec.Struct):
    """One line of the answer to ``POST /api/chat``; ``done`` stands in the last one."""

    text: str = ""
    done: str = ""
    error: str = ""
    tokens_in: int = 0
    tokens_out: int = 0


def encode_chat(request: ChatRequest, wire_id: str) -> JsonObject:
    """The body of ``POST /api/chat``.

    Raises:
        UnsupportedFeatureError: It holds what would be lost.
    """
    odd = [m for m in request.messages if m.role == "tool" or m.tool_calls or m.content != m.text]
    if odd or request.tools or request.response_format or request.extra.get("n", 1) != 1:
        raise UnsupportedFeatureError("only text, and one answer", hint="leave the rest out")
    messages = [{"role": message.role, "content": message.text} for message in request.messages]
    tuning = request.model_dump(include=SENT, exclude_defaults=True)
    return {"model": wire_id, "messages": messages, **tuning, **request.extra}


def decode_line(line: bytes) -> list[StreamEvent]:
    """The events of one line.

    Raises:
        StreamInterruptedError: It is an error, or no line of this protocol.
    """
    try:
        found = msgspec.json.decode(line, type=Line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = Line(error=parse_error_body(line).message)
    if found.error or not (found.text or found.done):
        raise StreamInterruptedError(found.error or "a line that says nothing")
    events: list[StreamEvent] = [TextDelta(found.text)] if found.text else []
    if found.done:
        events.append(Usage(input_tokens=found.tokens_in, output_tokens=found.tokens_out))
        events.append(Finish("length" if found.done == "length" else "stop", raw_reason=found.done))
    return events
