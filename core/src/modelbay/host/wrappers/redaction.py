"""Secrets taken out of what a log keeps: known ones by value, others by what they look like."""

from collections.abc import Callable, Mapping

from modelbay.context import ProviderContext
from modelbay.redaction import BLOT, KnownSecrets, is_secret_name, without_looks

_SHORTEST = 8  # characters of a variable's value; shorter ones are words


def redactor(provider: ProviderContext) -> Callable[[str], str]:
    """What takes secrets out of a text: the provider's, the environment's, and what looks so."""
    known = KnownSecrets(
        spelt
        for name, value in provider.resources.env.items()
        if is_secret_name(name) and len(value.strip()) >= _SHORTEST
        for spelt in (value, value.strip())
    )

    def redact(text: str) -> str:
        return without_looks(known.out_of(provider.redact(text)))

    return redact


def shaped(value: object, redact: Callable[[str], str], *, text: int, name: str = "") -> object:
    """A value of JSON for a log: numbers and short plain words stay, of texts their length does.

    Args:
        text: How many characters of each text to keep, after what is secret is out of it.
        name: The member it stands under.
    """
    if name and is_secret_name(name) and value is not None and not isinstance(value, bool):
        return BLOT
    if isinstance(value, str):
        if name in _PLAIN and len(value) <= _LONGEST_WORD:
            return redact(value)
        kept = {"text": redact(value)[:text]} if text else {}
        return {"characters": len(value), **kept}
    if isinstance(value, Mapping):
        return {
            redact(str(key)): shaped(inner, redact, text=text, name=str(key))
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [shaped(inner, redact, text=text, name=name) for inner in value]
    return value


# Members that hold one of a few words, or a name.
_PLAIN = frozenset(
    {
        *("role", "type", "name", "action", "reasoning_effort", "tool_choice", "tools", "routing"),
        *("response_format", "size", "quality", "format", "media_type", "model", "target"),
    }
)
_LONGEST_WORD = 100
