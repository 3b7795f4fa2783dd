"""JSON, times and header names as Go writes them."""

import json
from datetime import UTC, datetime

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def go_json(value: object) -> bytes:
    """Compact, UTF-8, with the three characters escaped that HTML knows. Keys stay in order."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for char, escape in _ESCAPES.items():  # they stand inside strings only
        text = text.replace(char, escape)
    return text.encode()


def rfc3339(moment: datetime) -> str:
    """UTC with fractions of a second, without zeros at the end."""
    whole = moment.astimezone(UTC)
    fraction = f"{whole.microsecond:06d}".rstrip("0")
    return f"{whole:%Y-%m-%dT%H:%M:%S}{'.' + fraction if fraction else ''}Z"


def parse_rfc3339(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def canonical(name: str) -> str:
    """``x-session-id`` as ``X-Session-Id``."""
    return "-".join(part.capitalize() for part in name.split("-"))


def go_seconds(seconds: float) -> str:
    """A duration: ``15s``, ``2m0s``, ``266ms``."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
