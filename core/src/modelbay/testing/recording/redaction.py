"""Secrets blotted out of what is recorded, in whatever spelling they stand there."""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from urllib.parse import unquote_plus, urlsplit

from pydantic import JsonValue

from modelbay.models.frozen import JsonObject
from modelbay.redaction import BLOT as BLOT
from modelbay.redaction import KnownSecrets, Span, find_looks, united
from modelbay.redaction import is_secret_name as is_secret_name

_SHORTEST = 4  # characters; to blot out a shorter one would blot out half the text
_SHORTEST_DIGITS = 8  # a shorter number is a port, or a count of tokens
_JSON_WORDS = frozenset({"null", "true", "false", "none"})  # some send these as a key


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
        self._known = KnownSecrets(self._secrets)

    def knowing(self, secrets: Iterable[str]) -> "Redaction":
        """One that knows these too."""
        more = {text for text in secrets if _is_findable(text)} - self._secrets
        return Redaction(self._secrets | more) if more else self

    def pieces(self, pieces: Sequence[bytes]) -> list[bytes]:
        """The pieces without secrets, also where one begins in a piece and ends in another.

        A piece that was nothing but the rest of a secret is empty.
        """
        found = _blot(pieces, self._known.spans(b"".join(pieces)))
        return _blot(found, find_looks(b"".join(found)))

    def data(self, data: bytes) -> bytes:
        return self.pieces([data])[0]

    def text(self, text: str) -> str:
        return self.data(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def value(self, value: JsonValue) -> JsonValue:
        """A value of JSON; of what a member with a telling name holds nothing is left."""
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
            if is_secret_name(name) and _is_blotted(held)
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


def _is_blotted(held: JsonValue) -> bool:
    """What may be a secret, or hold some: no object, whose members have names of their own."""
    return bool(held) and not isinstance(held, (bool, dict))


def _is_findable(secret: str) -> bool:
    if len(secret) < _SHORTEST or secret.lower() in _JSON_WORDS or not secret.strip("* "):
        return False
    return len(secret) >= _SHORTEST_DIGITS or not secret.isdigit()


def _blot(pieces: Sequence[bytes], spans: Iterable[Span]) -> list[bytes]:
    """Put the blot where a span begins; the rest of it is gone from whatever pieces it is in."""
    left = united(spans)
    if not left:
        return list(pieces)
    blotted: list[bytes] = []
    begin = 0
    for piece in pieces:
        end, kept, at = begin + len(piece), bytearray(), begin
        for first, last, put in left:
            if last <= begin or first >= end:
                continue
            kept += piece[at - begin : max(first, at) - begin]
            if first >= begin:
                kept += put.encode()
            at = min(last, end)
        kept += piece[at - begin :]
        blotted.append(bytes(kept))
        begin = end
    return blotted
