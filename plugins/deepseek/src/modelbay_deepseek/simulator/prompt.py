"""A prompt as tokens, and the cache of earlier ones. A token is a word: easy to count."""

import re
from collections.abc import Iterable

IMAGE_TOKENS = 384
PLACEHOLDER = "[Unsupported Image]"
UNIT = 64  # hits are counted in pieces of so many tokens
_PIECES = re.compile(r"\s*\S+(?:\s+$)?")


def pieces(text: str) -> list[str]:
    """A text cut into its tokens; joined they are the text."""
    found = _PIECES.findall(text)
    return found or ([text] if text else [])


def of_chat(body: dict[str, object], *, sees: bool) -> list[str]:
    """The tokens of a chat's prompt.

    Args:
        sees: The model takes images; to another one they are a placeholder.
    """
    found: list[str] = []
    for tool in _dicts(body.get("tools")):
        found += str(tool).split()
    for message in _dicts(body.get("messages")):
        found.append(f"<{message.get('role')}>")
        found += _content(message.get("content"), sees=sees)
        found += str(message.get("reasoning_content") or "").split()
        for call in _dicts(message.get("tool_calls")):
            found += str(call.get("function")).split()
    return found


def _content(content: object, *, sees: bool) -> list[str]:
    if isinstance(content, str):
        return content.split()
    found: list[str] = []
    for part in _dicts(content):
        if part.get("type") == "text":
            found += str(part.get("text", "")).split()
        else:
            found += ["<image>"] * IMAGE_TOKENS if sees else PLACEHOLDER.split()
    return found


def _dicts(value: object) -> Iterable[dict[str, object]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


class PrefixCache:
    """Whole prompts of earlier requests, apart for each ``user_id``.

    A unit ends where a request's input or output ended; a later prompt hits only what fully holds
    a stored unit at its beginning.
    """

    def __init__(self) -> None:
        self._units: dict[str, set[tuple[str, ...]]] = {}

    def hit(self, user_id: str, prompt: list[str]) -> int:
        """How many tokens of this prompt are known already."""
        known = self._units.get(user_id, set())
        longest = max(
            (len(unit) for unit in known if tuple(prompt[: len(unit)]) == unit), default=0
        )
        return longest // UNIT * UNIT

    def keep(self, user_id: str, *units: list[str]) -> None:
        self._units.setdefault(user_id, set()).update(tuple(unit) for unit in units)
