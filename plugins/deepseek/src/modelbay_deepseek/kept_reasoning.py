"""What a model thought before its tool calls, kept for callers that do not send it back. Pure."""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

MOST_CALLS = 1024
MOST_BYTES = 16 * 1024 * 1024
LONGEST_S = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class _Kept:
    reasoning: str
    size: int
    used: float


class KeptReasoning:
    """Reasoning by the ids of the tool calls it led to, the least recently used one first to go.

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

    def keep(self, call_ids: Iterable[str], reasoning: str, now: float) -> None:
        """Remember what led to these calls.

        Args:
            now: Seconds on a clock that only goes forward.
        """
        size = len(reasoning.encode("utf-8", "surrogatepass"))
        if not reasoning or size > self._most_bytes:
            return
        for call_id in call_ids:
            self._drop(call_id)
            self._by_call[call_id] = _Kept(reasoning, size, now)
            self.size_bytes += size
        self._make_room(now)

    def find(self, call_ids: Iterable[str], now: float) -> str | None:
        """What led to these calls, if it is still known."""
        self._make_room(now)
        found = None
        for call_id in call_ids:
            kept = self._by_call.get(call_id)
            if kept is not None:
                found = found or kept.reasoning
                self._by_call[call_id] = _Kept(kept.reasoning, kept.size, now)
                self._by_call.move_to_end(call_id)
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

    def _drop(self, call_id: str) -> None:
        kept = self._by_call.pop(call_id, None)
        if kept is not None:
            self.size_bytes -= kept.size
