"""Parts of a text that nobody may see, and what stands there instead."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

BLOT = "***"


class Span(NamedTuple):
    """A part of some bytes.

    Attributes:
        first: Where it begins.
        last: Where what follows it begins.
        put: What stands there instead. In JSON a number needs quotes around it.
    """

    first: int
    last: int
    put: str = BLOT


def united(spans: Iterable[Span]) -> list[Span]:
    """The same parts in their order, those that overlap as one."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.first, -span.last)):
        if found and span.first < found[-1].last:
            found[-1] = found[-1]._replace(last=max(found[-1].last, span.last))
        else:
            found.append(span)
    return found


def blot(data: bytes, spans: Iterable[Span]) -> bytes:
    """The data without these parts."""
    kept = bytearray()
    at = 0
    for span in united(spans):
        kept += data[at : span.first] + span.put.encode()
        at = span.last
    return bytes(kept + data[at:])


def blot_text(text: str, find: Callable[[bytes], Iterable[Span]]) -> str:
    """The text without what is found in its UTF-8."""
    data = text.encode("utf-8", "surrogatepass")
    spans = list(find(data))
    return blot(data, spans).decode("utf-8", "surrogatepass") if spans else text
