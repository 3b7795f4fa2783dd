"""Secrets taken out of what a log keeps: known ones by value, others by what they look like."""

import re
from collections.abc import Callable, Mapping
from urllib.parse import quote

from modelbay.context import BLOT, ProviderContext

TELLING = re.compile(
    r"key|token|secret|passw|credential|auth|cookie|session|signature", re.IGNORECASE
)
_COUNTS = re.compile(r"tokens\b", re.IGNORECASE)  # max_tokens is a number of them
_LOOKS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\beyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*"  # a JSON web token
    r"|\b(?:sk|pk|rk|hf|gh[opsru]|glpat|xox[abeoprs])[-_][\w-]{8,}|\b(?:AKIA|ASIA)[A-Z0-9]{12,}"
    r"|(?<=://)[^\s/@\"']+(?=@)",
    re.DOTALL,
)
_AFTER_A_WORD = re.compile(r"\b((?:Bearer|Basic)\s+)[^\s\"',;]+", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"""([\w-]*(?:api[-_]?key|access[-_]?key|token|secret|passwor[dt]|passwd|pwd|authorization)
    [\w-]*["']?\s*[:=]\s*)("[^"]*"|'[^']*'|(?!(?:Bearer|Basic)\s)[^\s"'&,;}]+)""",
    re.VERBOSE | re.IGNORECASE,
)
_SHORTEST = 8  # characters of a variable's value; shorter ones are words


def redactor(provider: ProviderContext) -> Callable[[str], str]:
    """What takes secrets out of a text: the provider's, the environment's, and what looks so."""
    values = {
        value
        for name, value in provider.resources.env.items()
        if TELLING.search(name) and not _COUNTS.search(name) and len(value.strip()) >= _SHORTEST
    }
    spellings = {
        spelling
        for value in values
        for spelling in (value, value.strip(), quote(value.strip(), safe=""))
    }
    known = sorted(spellings, key=len, reverse=True)  # one may be a part of another

    def redact(text: str) -> str:
        text = provider.redact(text)
        for value in known:
            text = text.replace(value, BLOT)
        text = _AFTER_A_WORD.sub(rf"\1{BLOT}", _LOOKS.sub(BLOT, text))
        return _ASSIGNED.sub(rf"\1{BLOT}", text)

    return redact


def is_telling(name: str) -> bool:
    """Whether a value under this name is a secret, whatever it looks like."""
    return TELLING.search(name) is not None and not _COUNTS.search(name)


def shaped(value: object, redact: Callable[[str], str], *, text: int, name: str = "") -> object:
    """A value of JSON for a log: numbers and short plain words stay, of texts their length does.

    Args:
        text: How many characters of each text to keep, after what is secret is out of it.
        name: The member it stands under.
    """
    if name and is_telling(name) and value is not None and not isinstance(value, (bool, int)):
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
