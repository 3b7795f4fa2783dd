"""What is a secret: by the name it stands under, by its looks, by its place in an address. Pure."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, unquote, urlsplit

from modelbay.dsn import kind_of

BLOT = "***"
_SHORTEST = 4  # characters; to blot out a shorter one would blot out half the text
_NAMES = re.compile(
    r"key|token|secret|passw|passphrase|pwd|credential|cookie|session|signature|bearer|jwt"
    r"|auth(?!or(?!i[sz]))",  # authorization and oauth, not author
    re.IGNORECASE,
)
# What looks like a key wherever it stands. What comes before the last @ of an address is none of
# its path: a token may hold a slash that nobody has encoded.
_LOOKS = re.compile(
    r"\b(sk|pk|hf|ghp|gho|xox[abp]|AKIA)[-_][A-Za-z0-9_-]{8,}"
    r"|(?<=Bearer )\S+|(?<=Basic )\S+"
    r"|(?<=:~1~1)[^\s\"']+(?=@)"  # the same in a JSON pointer
    r"|(?<=://)(?!TOKEN@)[^\s\"']+(?=@)"  # TOKEN is what our own hints say
)
_IN_A_QUERY = re.compile(
    r"([?&][\w-]*(?:key|token|secret|passw|auth|sig)[\w-]*=)[^&\s\"']+", re.IGNORECASE
)


def is_secret(name: str) -> bool:
    """Whether what stands under this name is secret; the name of a variable is none."""
    return bool(_NAMES.search(name)) and not name.lower().endswith(("_env", "keyenv"))


class Veil:
    """Knows secrets, and what others look like.

    Args:
        secrets: Texts that must not be seen.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spellings = {
            spelling
            for secret in secrets
            if len(secret.strip()) >= _SHORTEST
            for spelling in (secret, secret.strip(), quote(secret, safe=""), quote(secret))
        }
        # The longest first: one secret may be a part of another.
        self._secrets = sorted(spellings, key=lambda one: (-len(one), one))

    def text(self, text: str) -> str:
        """The text without any of them."""
        for secret in self._secrets:
            text = text.replace(secret, BLOT)
        return _IN_A_QUERY.sub(rf"\1{BLOT}", _LOOKS.sub(BLOT, text))

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
