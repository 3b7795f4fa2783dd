"""Secrets blotted out of whatever leaves this machine."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from modelbay import Host
from modelbay.dsn import kind_of
from modelbay.errors import ConfigError

BLOT = "***"
_SHORTEST = 4  # characters; to blot out a shorter one would blot out half the text
_NAMES = re.compile(
    r"key|token|secret|passw|credential|authorization|cookie|session|signature", re.IGNORECASE
)
# What looks like a key wherever it stands.
_LOOKS = re.compile(
    r"\b(sk|pk|hf|ghp|gho|xox[abp]|AKIA)[-_][A-Za-z0-9_-]{8,}"
    r"|(?<=Bearer )\S+|(?<=Basic )\S+"
    r"|(?<=://)[^\s/@\"']+(?=@)"
)
_IN_A_QUERY = re.compile(
    r"([?&][\w-]*(?:key|token|secret|passw|auth|sig)[\w-]*=)[^&\s\"']+", re.IGNORECASE
)


class Redaction:
    """Knows the secrets there are, and what others look like.

    Args:
        secrets: Texts that must not be seen.
        home: Shown as ``~``: it holds the user's name.
    """

    def __init__(self, secrets: Iterable[str], home: str = "") -> None:
        spellings = {
            spelling
            for secret in secrets
            if len(secret.strip()) >= _SHORTEST
            for spelling in (secret, secret.strip(), quote(secret, safe=""), quote(secret))
        }
        # The longest first: one secret may be a part of another.
        self._secrets = sorted(spellings, key=lambda one: (-len(one), one))
        self._home = home if len(home) > 1 else ""

    def text(self, text: str) -> str:
        """The text without any of them."""
        for secret in self._secrets:
            text = text.replace(secret, BLOT)
        text = _IN_A_QUERY.sub(rf"\1{BLOT}", _LOOKS.sub(BLOT, text))
        return text.replace(self._home, "~") if self._home else text

    def value(self, value: Any) -> Any:
        """A value of JSON without any of them; of a member with a telling name nothing is left."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(str(name)): BLOT
                if isinstance(held, str) and held and _is_secret(str(name))
                else self.value(held)
                for name, held in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return value


def of_host(host: Host, file: str | None) -> Redaction:
    """Every secret this host can know: of the file, the environment and the stored keys.

    Args:
        file: The text of providers.json, whatever it holds.
    """
    secrets: set[str] = set()
    for name, value in host.env.items():
        secrets.update(_userinfo(value))
        if _is_secret(name):
            secrets.add(value)
    for handle in host.providers:
        config = handle.config
        if config.api_key is not None:
            secrets.add(config.api_key.get_secret_value())
        if config.api_key_env:
            secrets.add(host.env.get(config.api_key_env, ""))
        secrets.update(config.headers.values())
    try:
        document = json.loads(file or "{}")
    except (ValueError, RecursionError):
        document = {}
    secrets.update(_in_file("", document))
    try:
        for key in host.keys.list():
            if key.place == "file":  # the keyring would ask the user, and nobody here needs it
                secrets.add(host.keys.get(key.name) or "")
    except ConfigError:
        pass  # what cannot be read cannot be shown either
    return Redaction(secrets, home=str(Path.home()))


def _in_file(name: str, value: object) -> Iterator[str]:
    match value:
        case dict():
            for inner, held in value.items():
                yield from _in_file("secret" if name == "headers" else inner, held)
        case list():
            for held in value:
                yield from _in_file(name, held)
        case str():
            yield from _userinfo(value)
            if _is_secret(name):
                yield value


def _userinfo(text: str) -> Iterator[str]:
    """What stands before the ``@`` of an address, and the token of a DSN."""
    if "://" not in text or "@" not in text:
        return
    try:
        parts = urlsplit(text)
    except ValueError:
        yield text.partition("://")[2].rpartition("@")[0]
        return
    for part in (parts.username, parts.password):
        if part:
            yield part
            yield unquote(part)
    if kind_of(text) is not None and parts.query:
        yield parts.query


def _is_secret(name: str) -> bool:
    return bool(_NAMES.search(name)) and not name.lower().endswith(("_env", "keyenv"))
