"""Numbers as people read them."""

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86_400


def tokens(count: int | None) -> str:
    """``8192`` as ``8k``, ``1000000`` as ``1M``; whichever of 1024 and 1000 divides it."""
    if count is None:
        return "?"
    for size, unit in ((1024 * 1024, "M"), (1_000_000, "M"), (1024, "k"), (1000, "k")):
        if count >= size and count % size == 0:
            return f"{count // size}{unit}"
    return str(count) if count < 1000 else f"{count / 1000:.0f}k"


def size(count: int | None) -> str:
    """Bytes in decimal units, as disks and model pages have them."""
    if count is None:
        return "?"
    value, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"


def duration(seconds: float | None) -> str:
    """``40 ms``, ``1.2 s``, ``90 s``, ``12 min``, ``3 h``, ``2 d``."""
    if seconds is None:
        return "?"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    if seconds < 2 * _DAY_S:
        return f"{seconds / _HOUR_S:.0f} h"
    return f"{seconds / _DAY_S:.0f} d"


def percent(fraction: float) -> str:
    return f"{fraction * 100:.0f} %"
