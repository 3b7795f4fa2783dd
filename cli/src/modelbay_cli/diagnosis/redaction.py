"""Secrets blotted out of whatever leaves this machine."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from modelbay import Host
from modelbay.errors import ConfigError
from modelbay_cli.secrecy import BLOT, Veil, document_of, is_secret, userinfo


class Redaction:
    """Knows the secrets there are, and what others look like.

    Args:
        secrets: Texts that must not be seen.
        home: Shown as ``~``: it holds the user's name.
    """

    def __init__(self, secrets: Iterable[str], home: str = "") -> None:
        self._veil = Veil(secrets)
        self._home = home if len(home) > 1 else ""

    def text(self, text: str) -> str:
        """The text without any of them."""
        text = self._veil.text(text)
        return text.replace(self._home, "~") if self._home else text

    def value(self, value: Any, *, hidden: bool = False) -> Any:
        """A value of JSON without any of them; under a telling name no text is left.

        Args:
            hidden: It stands under such a name.
        """
        if isinstance(value, str):
            return BLOT if hidden and value else self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(str(name)): self.value(held, hidden=hidden or is_secret(str(name)))
                for name, held in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self.value(item, hidden=hidden) for item in value]
        return value


def of_host(host: Host, file: str | None) -> Redaction:
    """Every secret this host can know: of the file, the environment and the stored keys.

    Args:
        file: The text of providers.json, whatever it holds.
    """
    secrets: set[str] = set()
    for name, value in host.env.items():
        secrets.update(_in_address(value))
        if is_secret(name):
            secrets.add(value)
    for handle in host.providers:
        config = handle.config
        if config.api_key is not None:
            secrets.add(config.api_key.get_secret_value())
        if config.api_key_env:
            secrets.add(host.env.get(config.api_key_env, ""))
        secrets.update(config.headers.values())
    secrets.update(_in_file(document_of(file)))
    try:
        for key in host.keys.list():
            if key.place == "file":  # the keyring would ask the user, and nobody here needs it
                secrets.add(host.keys.get(key.name) or "")
    except ConfigError:
        pass  # what cannot be read cannot be shown either
    return Redaction(secrets, home=str(Path.home()))


def _in_file(value: object, *, hidden: bool = False) -> Iterator[str]:
    match value:
        case dict():
            for name, held in value.items():
                yield from _in_file(held, hidden=hidden or name == "headers" or is_secret(name))
        case list():
            for held in value:
                yield from _in_file(held, hidden=hidden)
        case str():
            yield from _in_address(value)
            if hidden:
                yield value


def _in_address(text: str) -> Iterator[str]:
    """All of its userinfo, the name of the user too."""
    yield from userinfo(text)
    try:
        user = urlsplit(text).username if "://" in text else None
    except ValueError:
        return
    if user:
        yield user
        yield unquote(user)
