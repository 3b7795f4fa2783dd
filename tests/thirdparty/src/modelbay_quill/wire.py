"""Quill's wire: frames to events, tables to pens, requests to JSON. Pure; no sockets here."""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

from modelbay.errors import ProtocolError, StreamInterruptedError, UnsupportedFeatureError
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, Notice, ReasoningDelta, StreamEvent, TextDelta, Usage
from modelbay.models.frozen import JsonObject

FRAME_LIMIT = 16 * 1024 * 1024
_HEAD = re.compile(rb"([WMEB-]) ([0-9a-f]{8})\n")
_HEAD_BYTES = 11
State: TypeAlias = Literal["loaded", "unloaded", "unknown"]
VOICES = {"system": "desk", "developer": "desk", "user": "guest", "assistant": "pen"}
# What tunes an answer, and what Quill calls it.
HAND = {"temperature": "warmth", "top_p": "breadth", "max_tokens": "longest", "stop": "until"}
STATES: dict[str, State] = {"wet": "loaded", "dry": "unloaded"}
NOT_SENT = ("top_k", "seed", "reasoning_effort")


class Pen(NamedTuple):
    """One line of the shelf; ``span`` is the context in tokens, 0 if it is not said."""

    name: str
    span: int
    state: State


class FrameDecoder:
    """Frames out of arbitrary chunks of bytes."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, chunk: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The frames that this chunk completes, as letter and bytes.

        Raises:
            ProtocolError: It is no frame, or one of more than 16 MB.
        """
        self._held += chunk
        at = 0
        while len(self._held) - at >= _HEAD_BYTES:
            head = _HEAD.match(self._held, at)
            size = int(head[2], 16) if head else FRAME_LIMIT + 1
            if head is None or size > FRAME_LIMIT:
                raise ProtocolError("what came is no frame of Quill's")
            end = head.end() + size
            if len(self._held) < end:
                break
            payload = bytes(self._held[head.end() : end])
            at = end
            yield head[1], payload
        del self._held[:at]

    def close(self) -> None:
        """Raises ProtocolError if a part of a frame is left."""
        if self._held:
            raise ProtocolError("the answer ends within a frame")


def decode_frame(letter: bytes, payload: bytes) -> list[StreamEvent]:
    """The events of one frame.

    Raises:
        StreamInterruptedError: The pen has made a blot, or says what cannot be read.
    """
    try:
        text = payload.decode()
    except UnicodeDecodeError as exc:
        raise StreamInterruptedError("a frame that is no UTF-8") from exc
    match letter:
        case b"W":
            return [TextDelta(text)] if text else []
        case b"M":
            return [ReasoningDelta(text)] if text else []
        case b"E":
            reason, _, counts = text.partition(" ")
            found = re.fullmatch(r"([0-9]{1,18}) ([0-9]{1,18})", counts)
            if found is None:
                raise StreamInterruptedError("an end without its counts")
            usage = Usage(input_tokens=int(found[1]), output_tokens=int(found[2]))
            return [usage, Finish("length" if reason == "full" else "stop", raw_reason=reason)]
        case b"B":
            raise StreamInterruptedError(text or "the pen made a blot")
        case _:
            return []


def decode_shelf(body: bytes) -> list[Pen]:
    """The pens of the shelf, by the names in its first line; other columns are passed over.

    Raises:
        ProtocolError: It is no shelf.
    """
    try:
        first, *lines = body.decode().split("\n")
    except UnicodeDecodeError as exc:
        raise ProtocolError("the shelf is no text") from exc
    columns = first.strip().split(";")
    if columns[0] != "pen":
        raise ProtocolError("no shelf of Quill's came")
    pens: list[Pen] = []
    for line in filter(None, map(str.strip, lines)):
        row = dict(zip(columns, line.split(";"), strict=False))
        span = row.get("span", "")
        known = int(span) if span.isascii() and span.isdigit() else 0
        pens.append(Pen(row["pen"], known, STATES.get(row.get("state", ""), "unknown")))
    return pens


def encode(request: ChatRequest, wire_id: str) -> tuple[JsonObject, list[Notice]]:
    """The body of ``POST /write``, and what is not in it.

    Raises:
        UnsupportedFeatureError: It holds what would be lost.
    """
    odd = [
        message
        for message in request.messages
        if message.role not in VOICES or message.content != message.text or message.tool_calls
    ]
    if odd or request.tools or request.response_format or request.extra.get("n", 1) != 1:
        raise UnsupportedFeatureError(
            "a pen of Quill's takes words alone, and gives one answer",
            hint="leave out tools, formats, images and n",
        )
    given = request.model_dump(exclude_defaults=True)
    body: JsonObject = {
        "pen": wire_id,
        "talk": [[VOICES[message.role], message.text] for message in request.messages],
        "hand": {ours: given[name] for name, ours in HAND.items() if name in given},
        "whole": not request.stream,
        **request.extra,
    }
    notices = [Notice("dropped_field", f"Quill has no {n}") for n in NOT_SENT if n in given]
    return body, notices
