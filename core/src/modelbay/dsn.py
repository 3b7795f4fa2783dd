"""A provider in one line: ``KIND://TOKEN@HOST:PORT/PATH#ID``. Pure."""

import re
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr, ValidationError

from modelbay.errors import ConfigError
from modelbay.models.provider import ProviderConfig

SHAPE = "KIND://TOKEN@HOST:PORT"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9.-]*)://")


def kind_of(text: str) -> str | None:
    """The kind a DSN names; ``None`` for what is none, plain web addresses among them."""
    found = _SCHEME.match(text)
    if found is None or found[1].lower() in ("http", "https"):
        return None
    return found[1].lower()


def parse_dsn(
    text: str, *, where: str, pointer: str = "", provider_id: str | None = None
) -> ProviderConfig:
    """Read a DSN (S1-07). Whether it means http or https says the kind's table (S1-08).

    Args:
        where: What holds it, for the message: a file, a variable, an option.
        pointer: The place in the file.
        provider_id: Used if the text has no ``#ID``; else the kind is the id.

    Raises:
        ConfigError: It is no DSN. The message never shows the text, which may hold a key.
    """
    kind = kind_of(text)
    if kind is None:
        raise _malformed("expected the name of a kind before ://", where, pointer)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _malformed(
            "the host or the port cannot be read", where, pointer
        ) from None  # its words show the text
    if parts.query:
        raise _malformed("it holds a '?'; options belong into providers.json", where, pointer)
    if parts.password:
        raise _malformed("it holds a user and a password, and a token stands alone", where, pointer)
    if "@" in parts.path or "@" in parts.fragment:
        # A '/' or '#' in a token ends the host there: half the token would be taken for a host.
        raise _malformed("a '/' or '#' in its token is not encoded", where, pointer)
    if port is not None and not host:
        raise _malformed("it holds a port and no host", where, pointer)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}{'' if port is None else f':{port}'}{parts.path}" if host else ""
    token = unquote(parts.username or "")
    try:
        return ProviderConfig.from_dsn(
            id=unquote(parts.fragment) or provider_id or kind,
            kind=kind,
            base_url=address,
            api_key=SecretStr(token) if token else None,
        )
    except ValidationError as exc:
        what = exc.errors(include_input=False)[0]["msg"].removeprefix("Value error, ")
        raise _malformed(what, where, pointer) from None


def _malformed(why: str, where: str, pointer: str) -> ConfigError:
    return ConfigError(
        f"this is no {SHAPE}: {why}",
        where=where,
        pointer=pointer or None,
        hint=f"write {SHAPE}; in a token write %40 for @, %2F for /, %3A for : and %23 for #",
    )
