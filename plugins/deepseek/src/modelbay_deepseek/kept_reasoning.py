"""What a model thought before its tool calls, kept for callers that do not send it back. Pure."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from modelbay.models.chat import Message
from modelbay.models.events import ToolCall

MOST_CALLS = 1024
MOST_BYTES = 16 * 1024 * 1024
LONGEST_S = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class _Kept:
    reasoning: str
    size: int
    used: float


class Asked:
    """What the user has asked so far in a conversation, as part of the names of tool calls.

    A call's id alone is no name: servers that count their calls give the same ids in each
    conversation, and what was thought in one is no business of another. So what the user had
    asked by then belongs to it, and what was called. Not so system messages, in which a clock may
    stand, nor tools' results, which callers shorten later.
    """

    __slots__ = ("_said",)

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._said = hashlib.sha256()
        for message in messages:
            self.add(message)

    def add(self, message: Message) -> None:
        """The next message of the conversation."""
        if message.role == "user":
            self._said.update(_digest(message.text))

    def names(self, calls: Iterable[ToolCall]) -> list[str]:
        """What calls of the next answer are kept under."""
        return [self._name(call) for call in calls]

    def _name(self, call: ToolCall) -> str:
        said = self._said.copy()
        for part in (call.id, call.name, _same_json(call.arguments)):
            said.update(_digest(part))
        return said.hexdigest()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _same_json(arguments: str) -> str:
    """One spelling for all; callers read arguments and write them anew."""
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments


class KeptReasoning:
    """Reasoning by the names of the tool calls it led to, the least recently used one first to go.

    Bounded three ways: `MOST_CALLS` calls, `MOST_BYTES` bytes of text, and `LONGEST_S` seconds
    since it was last used. The text is kept as it came, because what is sent back is part of the
    prefix the server caches.
    """

    __slots__ = ("_by_call", "_most_bytes", "_most_calls", "size_bytes")

    def __init__(self, *, most_calls: int = MOST_CALLS, most_bytes: int = MOST_BYTES) -> None:
        self._by_call: OrderedDict[str, _Kept] = OrderedDict()
        self._most_calls = most_calls
        self._most_bytes = most_bytes
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._by_call)

    def __repr__(self) -> str:
        return f"<reasoning of {len(self)} tool calls, {self.size_bytes} bytes>"

    def keep(self, calls: Iterable[str], reasoning: str, now: float) -> None:
        """Remember what led to these calls, and forget what led to others of the same name.

        Args:
            now: Seconds on a clock that only goes forward.
        """
        size = len(reasoning.encode("utf-8", "surrogatepass"))
        keeps = bool(reasoning) and size <= self._most_bytes
        for call in calls:
            self._drop(call)
            if not keeps:
                continue
            self._by_call[call] = _Kept(reasoning, size, now)
            self.size_bytes += size
        self._make_room(now)

    def find(self, calls: Iterable[str], now: float) -> str | None:
        """What led to these calls, if it is still known."""
        self._make_room(now)
        found = None
        for call in calls:
            kept = self._by_call.get(call)
            if kept is not None:
                found = found or kept.reasoning
                self._by_call[call] = _Kept(kept.reasoning, kept.size, now)
                self._by_call.move_to_end(call)
        return found

    def _make_room(self, now: float) -> None:
        while self._by_call:
            oldest = next(iter(self._by_call))
            if (
                len(self._by_call) <= self._most_calls
                and self.size_bytes <= self._most_bytes
                and now - self._by_call[oldest].used <= LONGEST_S
            ):
                return
            self._drop(oldest)

    def _drop(self, call: str) -> None:
        kept = self._by_call.pop(call, None)
        if kept is not None:
            self.size_bytes -= kept.size
