"""Secrets blotted out of what is recorded, in whatever spelling they stand there."""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from urllib.parse import unquote_plus, urlsplit

from pydantic import JsonValue

from modelbay.models.frozen import JsonObject

BLOT = "***"

_SHORTEST = 4  # characters; to blot out a shorter one would blot out half the text
_SHORTEST_DIGITS = 8  # a shorter number is a port, or a count of tokens
_SHORTEST_CORE = 8  # characters of base64 that are a secret's and nothing else's
_JSON_WORDS = frozenset({"null", "true", "false", "none"})  # some send these as a key
_ESCAPED = {"\n": b"n", "\t": b"t", "\r": b"r", "\b": b"b", "\f": b"f"}

_NAME = re.compile(
    r"auth(?!ors?$)|key|token|secret|passw|credential|cookie|session|signature|^sig$", re.IGNORECASE
)
# Names of variables, and how much is left of a limit.
_OPEN = re.compile(r"(?:_env|keyenv)$|rate-?limit", re.IGNORECASE)
# In bodies the names of secrets alone: "token" is also what a list of probabilities is made of.
_TELLING = (
    rb"[^\"\\]*(?:api[_-]?key|(?:access|refresh|id|auth|bearer)[_-]?token|passw(?:or)?d|passphrase"
    rb"|secret|credential|authorization|cookie|private[_-]?key)[^\"\\]*"
)
_MEMBERS = re.compile(
    rb'"%b"\s*:\s*"(?P<secret>(?:[^"\\]|\\.)+)' % _TELLING, re.IGNORECASE | re.DOTALL
)
# The same in JSON within a text of JSON, as the arguments of a tool call are.
_INNER_MEMBERS = re.compile(rb'\\+"%b\\+"\s*:\s*\\+"(?P<secret>[^"\\]+)' % _TELLING, re.IGNORECASE)
_IN_A_QUERY = re.compile(
    rb"(?:^|[?&])[\w.-]*(?:key|token|secret|passw|auth(?!ors?=)|signature)[\w.-]*="
    rb"(?P<secret>[^&\s\"'\\]+)",
    re.IGNORECASE,
)
# What looks like a key wherever it stands.
_LOOKS = re.compile(
    rb"\b(?:Bearer|Basic) (?P<secret>[\w.~+/=-]{12,})"
    rb"|://(?P<user>[^\s/@\"'\\]+)(?=@)"
    rb"|(?P<key>\b(?:(?:sk|pk|rk|hf|ghp|gho|ghs|xox[abprs])[-_](?=[\w-]*\d)[\w-]{12,}"
    rb"|AKIA[0-9A-Z]{12,}|AIza[\w-]{30,}))"
)
_SECRET_GROUPS = ("secret", "user", "key")


class Redaction:
    """Knows the secrets there are, and what others look like.

    A secret is found as it is, escaped for JSON or for an address, in hexadecimal, and in base64,
    also as a part of what was encoded. It is not found where a server sends it back in portions
    that are parts of different JSON texts.

    Args:
        secrets: Texts that must not be seen. Shorter ones than 4 characters are not looked for.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        texts = {text for secret in secrets for text in (secret, secret.strip())}
        self._secrets = frozenset(filter(_is_findable, texts))
        # The longest first: one secret may be a part of another.
        ordered = sorted(self._secrets, key=lambda secret: (-len(secret), secret))
        self._known = [_pattern(secret) for secret in ordered]

    def knowing(self, secrets: Iterable[str]) -> "Redaction":
        """One that knows these too."""
        more = {text for text in secrets if _is_findable(text)} - self._secrets
        return Redaction(self._secrets | more) if more else self

    def pieces(self, pieces: Sequence[bytes]) -> list[bytes]:
        """The pieces without secrets, also where one begins in a piece and ends in another.

        A piece that was nothing but the rest of a secret is empty.
        """
        found = list(pieces)
        for known in self._known:
            found = _blot(found, (match.span() for match in known.finditer(b"".join(found))))
        for pattern in (_MEMBERS, _INNER_MEMBERS, _IN_A_QUERY, _LOOKS):
            found = _blot(found, _spans(pattern, b"".join(found)))
        return found

    def data(self, data: bytes) -> bytes:
        return self.pieces([data])[0]

    def text(self, text: str) -> str:
        return self.data(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def value(self, value: JsonValue) -> JsonValue:
        """A value of JSON; of text in a member with a telling name nothing is left."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return self.object(value)
            case list():
                return [self.value(item) for item in value]
            case _:
                return value

    def object(self, value: JsonObject) -> JsonObject:
        return {
            self.text(name): BLOT
            if isinstance(held, str) and held and is_secret_name(name)
            else self.value(held)
            for name, held in value.items()
        }

    def header(self, name: str, value: str) -> str:
        """A header's value; nothing is left of it if its name is telling."""
        return BLOT if is_secret_name(name) else self.text(value)

    def target(self, target: str) -> str:
        """Path and query; of a field with a telling name nothing is left."""
        path, mark, query = target.partition("?")
        fields = []
        for field in query.split("&"):
            name, equals, _ = field.partition("=")
            telling = equals and is_secret_name(unquote_plus(name))
            fields.append(f"{self.text(name)}={BLOT}" if telling else self.text(field))
        return f"{self.text(path)}{mark}{'&'.join(fields)}"


def is_secret_name(name: str) -> bool:
    """Whether what goes by this name is a secret, as far as the name tells."""
    return _NAME.search(name) is not None and _OPEN.search(name) is None


def credentials(headers: Mapping[str, str], target: str) -> Iterator[str]:
    """The secrets a request carries in its headers and its address, and their parts."""
    for name, value in headers.items():
        if not is_secret_name(name):
            continue
        scheme, _, rest = value.partition(" ")
        if scheme.lower() == "basic":
            yield from _basic(rest)
        yield rest or value
        if "authorization" not in name.lower():
            yield value
        if "cookie" in name.lower():
            for cookie in value.split(";"):
                yield cookie.partition("=")[2].strip()
    for field in target.partition("?")[2].split("&"):
        name, _, value = field.partition("=")
        if is_secret_name(unquote_plus(name)):
            yield unquote_plus(value)


def address_secrets(url: str) -> Iterator[str]:
    """What an address hides before its ``@`` and after its ``?``."""
    parts = urlsplit(url)
    for text in (parts.password, parts.query):
        if text:
            yield text
            yield unquote_plus(text)
    if parts.username and not parts.password:
        yield parts.username


def _basic(encoded: str) -> Iterator[str]:
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return
    yield password or user


def _is_findable(secret: str) -> bool:
    if len(secret) < _SHORTEST or secret.lower() in _JSON_WORDS or not secret.strip("* "):
        return False
    return len(secret) >= _SHORTEST_DIGITS or not secret.isdigit()


@lru_cache(maxsize=256)
def _pattern(secret: str) -> re.Pattern[bytes]:
    """What finds a secret in every spelling. Costs milliseconds, and is needed again and again."""
    data = secret.encode("utf-8", "surrogatepass")
    cores = sorted({core for core in _base64_cores(data) if len(core) >= _SHORTEST_CORE})
    ways = [_escapes(secret), *map(_escapes_of_core, cores)]
    if len(data) * 2 >= _SHORTEST_CORE:
        ways.append(b"(?i:%b)" % data.hex().encode())
    return re.compile(b"|".join(ways))


def _escapes_of_core(core: str) -> bytes:
    """Nobody escapes letters and digits that need it in no format."""
    return b"".join(char.encode() if char.isalnum() else _escape(char) for char in core)


def _escapes(text: str) -> bytes:
    """A pattern for a text whose characters may be escaped for JSON or an address, once or twice.

    Any character may be: servers differ in which ones they escape.
    """
    return b"".join(map(_escape, text))


def _escape(char: str) -> bytes:
    data = char.encode("utf-8", "surrogatepass")
    units = char.encode("utf-16-be", "surrogatepass")
    plain = rb"\\+" if char == "\\" else rb"\\*" + re.escape(data)
    percent = b"".join(b"%%(?:25)*(?i:%02x)" % byte for byte in data)
    unicode = b"".join(
        rb"\\+u(?i:%02x%02x)" % (units[at], units[at + 1]) for at in range(0, len(units), 2)
    )
    ways = [plain, percent, unicode]
    if char == " ":
        ways.append(rb"\+")
    if char in _ESCAPED:
        ways.append(rb"\\+" + _ESCAPED[char])
    return b"(?:" + b"|".join(ways) + b")"


def _base64_cores(data: bytes) -> Iterator[str]:
    """What base64 of any text that holds these bytes holds, for each of the three alignments."""
    for before in range(3):
        text = base64.b64encode(b"\0" * before + data).decode()
        skipped = (0, 2, 3)[before]
        whole = (len(data) + before) % 3 == 0
        core = text[skipped:] if whole else text.rstrip("=")[skipped:-1]
        yield core
        yield core.replace("+", "-").replace("/", "_")


def _spans(pattern: re.Pattern[bytes], data: bytes) -> Iterator[tuple[int, int]]:
    for match in pattern.finditer(data):
        for group in _SECRET_GROUPS:
            if group in pattern.groupindex and match.start(group) >= 0:
                yield match.span(group)


def _blot(pieces: Sequence[bytes], spans: Iterable[tuple[int, int]]) -> list[bytes]:
    """Put the blot where a span begins; the rest of it is gone from whatever pieces it is in."""
    left = list(spans)
    if not left:
        return list(pieces)
    blotted: list[bytes] = []
    begin = 0
    for piece in pieces:
        end, kept, at = begin + len(piece), bytearray(), begin
        for first, last in left:
            if last <= begin or first >= end:
                continue
            kept += piece[at - begin : max(first, at) - begin]
            if first >= begin:
                kept += BLOT.encode()
            at = min(last, end)
        kept += piece[at - begin :]
        blotted.append(bytes(kept))
        begin = end
    return blotted
