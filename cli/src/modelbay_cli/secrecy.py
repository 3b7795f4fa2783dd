"""What is a secret: by name and looks as the core has it, and by its place in an address. Pure."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote, urlsplit

from modelbay.dsn import kind_of

BLOT = "***"
_SHORTEST = 4  # characters; to blot out a shorter one would blot out half the text
# What comes before the last @ of an address is none of its path: a token may hold a slash that
# nobody has encoded.
_USERS = re.compile(
    r"(?<=:~1~1)[^\s\"']+(?=@)"  # in a JSON pointer
    r"|(?<=://)(?!TOKEN@)[^\s\"']+(?=@)"  # TOKEN is what our own hints say
)


def is_secret(name: str) -> bool:
    """Whether what stands under this name is secret; the name of a variable is none."""
    from modelbay.redaction import is_secret_name

    return is_secret_name(name)


class Veil:
    """Knows secrets, and what others look like.

    Args:
        secrets: Texts that must not be seen.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        from modelbay.redaction import KnownSecrets

        self._known = KnownSecrets(
            spelt
            for secret in secrets
            if len(secret.strip()) >= _SHORTEST
            for spelt in (secret, secret.strip())
        )

    def text(self, text: str) -> str:
        """The text without any of them."""
        from modelbay.redaction import without_looks

        return without_looks(_USERS.sub(BLOT, self._known.out_of(text)))

    def texts(self, value: object) -> object:
        """A value of JSON in whose texts there is none of them; the names of members stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(name)): self.texts(held) for name, held in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.texts(item) for item in value]
        return value


def veil_of(file: str | None) -> Veil:
    """Over what is shown of a providers.json: no user, password or token of any address in it.

    What is the id or the kind of a provider as well is shown: it is no secret, and fixes name it.

    Args:
        file: Its text, whatever it holds.
    """
    document = document_of(file)
    entries = document.get("providers") if isinstance(document, dict) else None
    public = {
        name
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict)
        for name in (entry.get("id"), entry.get("kind"))
        if isinstance(name, str) and "://" not in name
    }
    found = {part for text in _texts(document) for part in userinfo(text)}
    return Veil(found - public)


def document_of(file: str | None) -> object:
    try:
        document: object = json.loads(file or "{}")
    except (ValueError, RecursionError):
        return {}
    return document


def userinfo(text: str) -> Iterator[str]:
    """What stands before the ``@`` of an address, and its parts; of a DSN its query too."""
    if "://" not in text or "@" not in text:
        return
    whole = text.partition("://")[2].rpartition("@")[0]
    yield whole
    user, colon, password = whole.partition(":")
    yield from (part for part in (password if colon else user, unquote(whole)) if part)
    try:
        parts = urlsplit(text)
        found = (parts.password,) if parts.password else (parts.username,)
    except ValueError:
        return
    for part in found:
        if part:
            yield part
            yield unquote(part)
    if kind_of(text) is not None and parts.query:
        yield parts.query


def _texts(value: object) -> Iterator[str]:
    match value:
        case dict():
            for name, held in value.items():
                yield name
                yield from _texts(held)
        case list():
            for held in value:
                yield from _texts(held)
        case str():
            yield value
