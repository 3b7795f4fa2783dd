"""Reading the small text files of other programs, which may be anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

_MAX_BYTES = 1 << 20


def small_text(path: Path) -> str | None:
    """Its first MiB, or None when it is not a file that can be read."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return None


def json_object(text: str | None) -> Mapping[str, object]:
    """The JSON object in a text; an empty one for anything else."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
