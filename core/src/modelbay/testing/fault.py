"""Faults as data: what a simulator shall do wrong, for which requests, and how often."""

import re
from dataclasses import dataclass, replace
from functools import cache


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to go wrong. Fields combine: ``Fault(status=502, drip_bytes_per_s=100)``.

    Attributes:
        delay_head_s: Seconds of silence before the first byte of the answer.
        hang: Never answer; the connection stays open until the client or the simulator goes.
        drop: Close (FIN) instead of answering. With `reset`: RST instead of FIN.
        reset: Close with RST where `cut_after_bytes` says, or before any answer without it. Bytes
            sent just before an RST may be lost on the way.
        garbage: Send these bytes instead of HTTP, then close.
        status: Answer with this status instead of asking the route. With only `body`: 200.
        body: The body of that answer.
        content_type: Content type of that answer, or a wrong one for what the route sends.
        huge_mb: Answer with a body of so many megabytes (10^6 bytes of "x"), made while it is sent.
        drip_bytes_per_s: Send the body at this rate.
        cut_after_bytes: Close in the middle of the body, after so many bytes of it (framing not
            counted); a shorter body is cut at its end, before the last chunk.
        rechunk_bytes: Send the body in pieces of this size. A chunked body gets one HTTP chunk for
            each piece, which is the way to make a client see exactly these boundaries.
    """

    delay_head_s: float = 0.0
    hang: bool = False
    drop: bool = False
    reset: bool = False
    garbage: bytes | None = None
    status: int | None = None
    body: bytes | None = None
    content_type: str | None = None
    huge_mb: float = 0.0
    drip_bytes_per_s: float | None = None
    cut_after_bytes: int | None = None
    rechunk_bytes: int | None = None

    @classmethod
    def html(cls, status: int = 502, title: str = "502 Bad Gateway") -> "Fault":
        """The page of a proxy in front of the server."""
        page = f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
        return cls(status=status, body=page.encode(), content_type="text/html")

    @property
    def closes_early(self) -> bool:
        """Whether the client gets no head at all."""
        return self.drop or (self.reset and self.cut_after_bytes is None)


@dataclass(frozen=True, slots=True)
class ArmedFault:
    """A fault, the requests it waits for, and how many of them are left (None: all).

    Attributes:
        after: How many of them are let through first.
    """

    fault: Fault
    method: str | None
    path: str | None
    times: int | None
    after: int = 0

    def matches(self, method: str, path: str) -> bool:
        return self.method in (None, method) and (self.path is None or _fits(self.path, path))

    def spared(self) -> "ArmedFault":
        """What remains after a request that was let through."""
        return replace(self, after=self.after - 1)

    def used(self) -> "ArmedFault | None":
        """What remains after one more request."""
        if self.times is None:
            return self
        return replace(self, times=self.times - 1) if self.times > 1 else None


def _fits(pattern: str, path: str) -> bool:
    return pattern == path or ("{" in pattern and _compiled(pattern).fullmatch(path) is not None)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\{\w+(?:\.\.\.)?\})", pattern)
    return re.compile("".join(map(_part, parts)), re.DOTALL)


def _part(part: str) -> str:
    if not part.startswith("{"):
        return re.escape(part)
    return ".*" if part.endswith("...}") else "[^/]+"
