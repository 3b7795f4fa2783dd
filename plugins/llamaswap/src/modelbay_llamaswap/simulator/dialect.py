"""Versions of llama-swap, and what differs between them on the wire.

v218 (2026-05-28) is a complete rewrite; the old server, up to v217, was built on the web framework
gin. "head" is five commits after v250 (2026-08-22).
"""

from dataclasses import dataclass
from typing import Literal, get_args

Dialect = Literal["v160", "v185", "v217", "v250", "head"]
_HEAD = 251  # what the first release after it is taken to be


@dataclass(frozen=True, slots=True)
class Release:
    """One version; `number` is 251 for the newest."""

    number: int

    @classmethod
    def of(cls, dialect: Dialect) -> "Release":
        if dialect not in get_args(Dialect):
            raise ValueError(f"dialect {dialect!r} is none of {get_args(Dialect)}")
        return cls(_HEAD if dialect == "head" else int(dialect[1:]))

    def has(self, since: int) -> bool:
        return self.number >= since

    @property
    def rewritten(self) -> bool:
        """JSON errors with `src`, 404 for unknown models, 500 for a failed start."""
        return self.has(218)

    @property
    def object_errors(self) -> bool:
        """`error` is an object; before, from v218 on, a string."""
        return self.has(_HEAD)

    @property
    def stamp(self) -> str:
        """`version` of ``/api/version``: releases before v234 have no "v"."""
        if self.number == _HEAD:
            return "v250-5-g0bdb372"
        return f"v{self.number}" if self.has(234) else str(self.number)
