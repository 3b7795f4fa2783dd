"""Server-sent events, as model servers send them."""

from modelbay.errors import ProtocolError
from modelbay.wire.lines import LINE_LIMIT, LineDecoder

_FIELDS = (b"data", b"event", b"id", b"retry")
_DATA = b"data: "
_BETWEEN = b"\n\n"  # two events
_STRAY_LIMIT = 64 * 1024


class SSEDecoder:
    r"""The data of each event in a ``text/event-stream``, wherever its bytes were cut.

    Lines end in LF or CRLF; a lone CR, which the standard allows, no model server sends. Comments
    and the fields ``event``, ``id`` and ``retry`` are passed over: the protocols read with this
    class carry the type inside the data.

    Attributes:
        stray: Bytes of lines that are no SSE at all, such as a proxy's text or a bare JSON error
            under status 200; at most 64 KiB are kept, in which an error fits that
            repeats a whole command line.
    """

    __slots__ = ("_data", "_limit", "_lines", "_size", "stray")

    def __init__(self, *, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._lines = LineDecoder(limit=limit)
        self._data: list[bytes] = []  # the lines of an event; joined at its end, or they cost n²
        self._size = 0
        self.stray = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The data of the events this chunk completes.

        Raises:
            ProtocolError: A line grew past the limit.
        """
        if (
            # One whole event alone, as they come while a model writes: no line is cut.
            chunk[:6] == _DATA
            and chunk.find(b"\n") == len(chunk) - 2
            and chunk[-1:] == b"\n"
            and chunk[-3:-2] != b"\r"
            and not self._data
            and self._lines.empty
            and len(chunk) <= self._limit
        ):
            return [chunk[6:-2]]
        if not self._data and _BETWEEN in chunk:
            chunk = self._lines.close() + chunk
            cut = chunk.rfind(_BETWEEN)
            events = chunk[len(_DATA) : cut].split(_BETWEEN + _DATA)
            if (
                # Many whole events at once, as they come when a server is fast: each one line.
                chunk.startswith(_DATA)
                and chunk.count(b"\n", 0, cut) == 2 * (len(events) - 1)
                and chunk.find(b"\r", 0, cut) < 0
                and cut <= self._limit
            ):
                return events + self._feed_lines(chunk[cut + len(_BETWEEN) :])
        return self._feed_lines(chunk)

    def _feed_lines(self, chunk: bytes) -> list[bytes]:
        events = []
        for line in self._lines.feed(chunk):
            if line[:6] == _DATA and line[-1:] != b"\r":
                self._add(line[6:])
            elif not line or line == b"\r":
                if self._data:
                    events.append(self._whole())
            else:
                self._uncommon(line)
        return events

    def close(self) -> list[bytes]:
        """The event that was never closed by a blank line, if its line was whole."""
        rest = self._lines.close()
        if rest:
            self._uncommon(rest)
        return [self._whole()] if self._data else []

    def _uncommon(self, line: bytes) -> None:
        line = line.removesuffix(b"\r")
        name, colon, value = line.partition(b":")
        if colon and not name:
            return  # a comment; servers ping with it
        if name not in _FIELDS:
            self.stray = (self.stray + line + b"\n")[:_STRAY_LIMIT]
        elif name == b"data":
            self._add(value.removeprefix(b" "))

    def _add(self, value: bytes) -> None:
        self._data.append(value)
        self._size += len(value) + 1
        if len(self._data) > 1 and self._size > self._limit + 1:
            raise ProtocolError(f"an event of more than {self._limit} bytes", stage="decode")

    def _whole(self) -> bytes:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._data, self._size = [], 0
        return data
