"""Known secrets, found in whatever spelling they stand in a text."""

import base64
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby

from modelbay.redaction.spans import BLOT, Span, blot_text

_SHORTEST_CODED = 8  # characters of base64 or hexadecimal that are a secret's and nothing else's
_SHORTEST_HALF = 4  # characters of a beginning that tell which secret it is
_ESCAPED = {"\n": "n", "\t": "t", "\r": "r", "\b": "b", "\f": "f"}
_DEEPEST = 16  # backslashes before one character: JSON in JSON in JSON in JSON


class KnownSecrets:
    """Finds secrets as they are, escaped for JSON or an address, in base64 and in hexadecimal.

    In base64 also as a part of what was encoded. The patterns are made at the first search: that
    costs about a millisecond for each secret.

    Args:
        secrets: Texts that must not be seen, each long enough to be no ordinary word.
    """

    __slots__ = ("_secrets",)

    def __init__(self, secrets: Iterable[str]) -> None:
        # The longest first: one secret may be a part of another.
        self._secrets = sorted(set(secrets), key=lambda secret: (-len(secret), secret))

    def spans(self, data: bytes) -> Iterator[Span]:
        """Where they are."""
        for secret in self._secrets:
            for pattern in _compiled(secret):
                for match in pattern.finditer(data):
                    yield Span(*match.span())

    def out_of(self, text: str, cut: str | None = None) -> str:
        """The text without them.

        Args:
            cut: What stands where a text was cut. A beginning of a secret before it goes too.
        """
        text = blot_text(text, self.spans)
        if cut is not None and cut in text:
            pieces = text.split(cut)
            halved = [self._without_beginning(piece) for piece in pieces[:-1]]
            text = cut.join([*halved, pieces[-1]])
        return text

    def _without_beginning(self, piece: str) -> str:
        for secret in self._secrets:
            for spelt in (secret, *_coded(secret)):
                for length in range(min(len(spelt) - 1, len(piece)), _SHORTEST_HALF - 1, -1):
                    if piece.endswith(spelt[:length]):
                        return piece[:-length] + BLOT
        return piece


@lru_cache(maxsize=512)
def _compiled(secret: str) -> tuple[re.Pattern[bytes], ...]:
    """What finds a secret. Each begins with few characters, so that a search is fast."""
    sources = ["".join(_escapes(secret)), *map(_pattern_of_code, _coded(secret))]
    return tuple(re.compile(source.encode("utf-8", "surrogatepass")) for source in sources)


@lru_cache(maxsize=512)
def _coded(secret: str) -> tuple[str, ...]:
    """Parts of base64 and hexadecimal that hold the secret."""
    data = secret.encode("utf-8", "surrogatepass")
    found = {*_base64_cores(data), data.hex(), data.hex().upper()}
    return tuple(sorted(code for code in found if len(code) >= _SHORTEST_CODED))


def _base64_cores(data: bytes) -> Iterator[str]:
    """What base64 of any text that holds these bytes holds, for each of the three alignments."""
    for before in range(3):
        text = base64.b64encode(b"\0" * before + data).decode()
        skipped = (0, 2, 3)[before]
        whole = (len(data) + before) % 3 == 0
        core = text[skipped:] if whole else text.rstrip("=")[skipped:-1]
        yield core
        yield core.replace("+", "-").replace("/", "_")


def _pattern_of_code(code: str) -> str:
    """Nobody escapes letters and digits that need it in no format."""
    return "".join(char if char.isalnum() else _escape(char) for char in code)


def _escapes(text: str) -> Iterator[str]:
    """A pattern for each character, which may be escaped for JSON or an address, once or twice.

    Any character may be: servers differ in which ones they escape.
    """
    for char, run in groupby(text):
        if char == "\\":  # all of them at once: one after the other would try every division
            yield _backslashes(len(list(run)))
        else:
            yield _escape(char) * len(list(run))


def _backslashes(count: int) -> str:
    return (
        rf"(?:\\{{{count},{count * _DEEPEST}}}|(?:%(?:25){{0,4}}5[cC]){{{count}}}"
        rf"|(?:\\{{1,{_DEEPEST}}}u005[cC]){{{count}}})"
    )


def _escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    unicode = [f"(?i:{units[at]:02x}{units[at + 1]:02x})" for at in range(0, len(units), 2)]
    backslashed = [re.escape(char), rf"\\{{1,{_DEEPEST}}}".join(f"u{unit}" for unit in unicode)]
    if char in _ESCAPED:
        backslashed.append(_ESCAPED[char])
    percent = "".join(
        f"%(?:25){{0,4}}(?i:{byte:02x})" for byte in char.encode("utf-8", "surrogatepass")
    )
    blank = r"|\+" if char == " " else ""
    # As it is comes last: an escaped percent sign begins with one, and would be left half seen.
    return rf"(?:\\{{1,{_DEEPEST}}}(?:{'|'.join(backslashed)})|{percent}|{re.escape(char)}{blank})"
