"""`keep_alive` as Ollama reads it, and the server's own clock and time formats."""

import math
import re
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import cast

from modelbay_ollama.simulator.answer import ApiError

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_PART = re.compile(r"(\d*\.?\d*)([^\d.]*)")
_FOREVER_S = 292 * 365.25 * 86_400  # Go's longest duration
_LOCAL = timezone(timedelta(hours=1))  # lists print a local offset; any but Z will do


def keep_alive_s(value: object) -> float | None:
    """Seconds to stay loaded; None: as before; `math.inf`: for ever; 0: not at all.

    Raises:
        ApiError: 400 in the words of Go's duration parser.
    """
    match value:
        case None:
            return None
        case bool():
            raise ApiError(400, "Unsupported type: 'bool'")
        case int() | float():
            seconds = float(value)
        case str():
            seconds = parse_duration_s(value)
        case _:
            kind = "[]interface {}" if isinstance(value, list) else "map[string]interface {}"
            raise ApiError(400, f"Unsupported type: '{kind}'")
    return math.inf if seconds < 0 else seconds


def parse_duration_s(text: str) -> float:
    """A Go duration such as ``1h30m`` in seconds.

    Raises:
        ApiError: 400.
    """
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0.0
    if not rest:
        raise ApiError(400, f'time: invalid duration "{text}"')
    total = 0.0
    while rest:
        found = cast("re.Match[str]", _PART.match(rest))  # both parts may be empty
        number, unit = found.groups()
        if not number.strip("."):
            raise ApiError(400, f'time: invalid duration "{text}"')
        if not unit:
            raise ApiError(400, f'time: missing unit in duration "{text}"')
        if unit not in _UNITS_S:
            raise ApiError(400, f'time: unknown unit "{unit}" in duration "{text}"')
        total += float(number) * _UNITS_S[unit]
        rest = rest[found.end() :]
    return -total if text.startswith("-") else total


class Clock:
    """Wall time that a test can push forward, so that nobody waits for a model to expire."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    @property
    def now(self) -> float:
        return time.time() + self.ahead_s


def stamp_utc(at: float) -> str:
    """As in `created_at`: RFC 3339, Z, trailing zeros of the fraction left out."""
    return _stamp(datetime.fromtimestamp(at, UTC))


def stamp_local(at: float) -> str:
    """As in lists: with an offset. Without end: as far ahead as Go's clock goes."""
    if at == math.inf:
        at = time.time() + _FOREVER_S
    return _stamp(datetime.fromtimestamp(at, _LOCAL))


def _stamp(moment: datetime) -> str:
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    # Go has nanoseconds; the last three digits keep readers honest about the length.
    fraction = f"{moment.microsecond:06d}{moment.microsecond % 997:03d}".rstrip("0")
    offset = "Z" if moment.tzinfo is UTC else moment.strftime("%z")
    zone = offset if offset == "Z" else f"{offset[:3]}:{offset[3:]}"
    return f"{text}.{fraction}{zone}" if fraction else f"{text}{zone}"
