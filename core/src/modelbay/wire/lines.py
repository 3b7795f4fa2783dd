"""Lines out of arbitrary chunks of bytes."""

from modelbay.errors import ProtocolError

LINE_LIMIT = 16 * 1024 * 1024  # a 10 MB line (an inlined image) is legitimate


class LineDecoder:
    r"""Reassemble LF-terminated lines from arbitrary chunks.

    Splits on ``\n`` alone, on bytes: U+2028 and U+0085 may stand raw inside a JSON string, where
    ``str.splitlines`` would cut a valid record in two.

    Args:
        limit: Longest line accepted, in bytes; a server that never sends LF must not fill memory.
    """

    __slots__ = ("_limit", "_parts", "_size")

    def __init__(self, *, limit: int = LINE_LIMIT) -> None:
        self._parts: list[bytes] = []  # joined only when LF comes: a long line must not cost n²
        self._size = 0
        self._limit = limit

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines this chunk completes, without their LF.

        Raises:
            ProtocolError: A line grew past the limit.
        """
        if b"\n" not in chunk:
            self._keep(chunk)
            return []
        if self._parts:
            chunk = b"".join((*self._parts, chunk))
        lines = chunk.split(b"\n")
        tail = lines.pop()
        self._parts, self._size = [], 0
        if tail:
            self._keep(tail)
        if len(chunk) > self._limit and any(len(line) > self._limit for line in lines):
            raise self._too_long()
        return lines

    @property
    def empty(self) -> bool:
        """Whether no part of a line is held."""
        return not self._parts

    def close(self) -> bytes:
        """What came after the last LF."""
        rest = b"".join(self._parts)
        self._parts, self._size = [], 0
        return rest

    def _keep(self, piece: bytes) -> None:
        self._parts.append(piece)
        self._size += len(piece)
        if self._size > self._limit:
            raise self._too_long()

    def _too_long(self) -> ProtocolError:
        return ProtocolError(f"a line of more than {self._limit} bytes", stage="decode")
