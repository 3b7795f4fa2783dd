"""Who may come in: Host and Origin, sizes, keys and their scopes. Asked before any route.

A web page that a browser has open can send requests to a server on the same machine. Two things
stop it: its ``Origin`` is not ours, and where it hides behind a name of its own that leads here
(DNS rebinding) the ``Host`` is not ours either.
"""

import ipaddress
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import Scope as AsgiScope

from modelbay.errors import ConfigError
from modelbay_gateway.call import KEY_PREFIX, Caller, Header, too_large
from modelbay_gateway.client_keys import ClientKey, ClientKeys, digest, match
from modelbay_gateway.head import Head
from modelbay_gateway.limits import Limits
from modelbay_gateway.refusal import Refused
from modelbay_gateway.scopes import EVERY_SCOPE, Need

log = logging.getLogger("modelbay.gateway")

_HOST_LENGTH = 300  # a name has at most 253 characters, and a port five
_CORS_METHODS = b"GET, POST, PUT, DELETE, OPTIONS, HEAD"
_CORS_EXPOSED = (
    b"x-request-id, request-id, retry-after, retry-after-ms, x-should-retry,"
    b" x-modelbay-model, x-modelbay-notices"
)
_CORS_HEADERS = b"authorization, content-type, accept, x-api-key, api-key"
_HEADER_NAME = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_, ")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use a server.

    Attributes:
        bind: The address it listens at.
        keys: The file of client keys; without a key in it everybody on this machine may come in,
            unless there was one before.
        given_keys: More keys, for this run alone.
        hosts: Names it may be called by, beside those of this machine and plain IP addresses.
        origins: Web origins whose pages may use it; ``*`` is all. Empty switches CORS off.
        is_forced: Listen beyond this machine without any key.
    """

    bind: str = "127.0.0.1"
    keys: ClientKeys | None = None
    given_keys: tuple[ClientKey, ...] = ()
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    is_forced: bool = False

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.bind)

    def current_keys(self) -> Sequence[ClientKey]:
        """Raises ConfigError."""
        return (*self.given_keys, *(self.keys.current() if self.keys is not None else ()))

    @property
    def is_open(self) -> bool:
        """Without a key everybody who gets here may come in.

        A server that has asked for keys goes on to ask when the last one is removed: a key that
        leaked is revoked to shut somebody out.
        """
        had_keys = self.keys is not None and self.keys.had_any
        return (self.is_loopback or self.is_forced) and not had_keys

    def check(self) -> None:
        """Refuse to start open to strangers.

        Raises:
            ConfigError: It would listen beyond this machine and ask nobody for a key, or the file
                of keys cannot be read.
        """
        if not (self.current_keys() or self.is_open):
            raise ConfigError(
                f"{self.bind} can be reached from other machines, and no client key is set",
                hint="modelbay serve keys add NAME   # or serve at 127.0.0.1, or --force",
            )


@lru_cache(maxsize=16)
def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def key_for_this_run(secret: str, number: int) -> ClientKey:
    """A key that was given on the command line: good for everything.

    Raises:
        ConfigError: It is too short to be a secret.
    """
    if len(secret) < 16:
        raise ConfigError(
            "a key needs at least 16 characters", hint="modelbay serve keys add NAME   # makes one"
        )
    return ClientKey(f"command-line-{number}", EVERY_SCOPE, digest(secret), 0)


class Guard:
    """Looks at the head of every request."""

    def __init__(self, access: Access, limits: Limits) -> None:
        self._access = access
        self._limits = limits
        self._hosts = frozenset(name.lower() for name in access.hosts) | {access.bind.lower()}
        self._origins = frozenset(origin.lower().rstrip("/") for origin in access.origins)

    def cors(self, head: Head) -> list[Header]:
        """The headers that let an allowed page read the answer; empty for all others."""
        origin = head.only(b"origin")
        if origin is None or not self._is_allowed(origin):
            return [(b"vary", b"Origin")] if self._origins else []
        return [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-expose-headers", _CORS_EXPOSED),
            (b"vary", b"Origin"),
        ]

    def preflight(self, scope: AsgiScope, head: Head) -> list[Header]:
        """The headers of an answer to OPTIONS.

        Raises:
            Refused: It comes from a foreign page.
        """
        self.check_head(scope, head)
        if head.only(b"access-control-request-method") is None:
            return [(b"allow", _CORS_METHODS)]
        wanted = (head.only(b"access-control-request-headers") or "").encode("latin-1")
        sane = wanted if wanted and len(wanted) < 4096 and set(wanted) <= _HEADER_NAME else b""
        headers = [
            (b"access-control-allow-methods", _CORS_METHODS),
            (b"access-control-allow-headers", sane or _CORS_HEADERS),
            (b"access-control-max-age", b"86400"),
        ]
        if head.only(b"access-control-request-private-network") == "true":
            headers.append((b"access-control-allow-private-network", b"true"))
        return headers

    def check_head(self, scope: AsgiScope, head: Head) -> None:
        """Sizes, Host and Origin.

        Raises:
            Refused: One of them is wrong.
        """
        size = head.size + len(scope.get("raw_path") or b"")
        if size > self._limits.head_bytes or len(head.fields) > self._limits.headers:
            raise Refused(
                "headers_too_large",
                f"at most {self._limits.headers} headers of {self._limits.head_bytes} bytes"
                " together are read",
            )
        host = head.only(b"host")
        self._check_host(host)
        origin = head.only(b"origin")
        if origin is not None and not self._is_allowed(origin) and not _is_same(origin, host):
            raise Refused(
                "foreign_origin",
                f"pages of {origin[:100]} may not use this server",
                hint="open the page from an address: a file and a sandboxed frame have no origin"
                if origin == "null"
                else f"modelbay serve --allow-origin {origin[:100]}",
            )
        if origin is None and "*" not in self._origins and _is_foreign(scope, head):
            raise Refused(
                "foreign_origin",
                "pages of other sites may not use this server",
                hint="modelbay serve --allow-origin ORIGIN",
            )
        self._check_length(head.only(b"content-length"))

    def admit(self, scope: AsgiScope, head: Head, needed: Need | None) -> Caller:
        """Who asks, once it is clear that they may.

        Args:
            needed: The scope the request needs; ``any`` is any key, ``None`` is open to everybody.

        Raises:
            Refused: The key is missing or wrong, or not good for this.
        """
        client = scope.get("client")
        address = client[0] if client else "local"
        if needed is None:
            return Caller(address, frozenset())
        try:
            keys = self._access.current_keys()
        except ConfigError as exc:  # names a file of this machine; not for strangers
            log.error("%s", exc)
            raise Refused("internal_error", "the keys of this server cannot be read") from exc
        if not keys:
            if self._access.is_open:
                return Caller(address, EVERY_SCOPE)
            raise _no_key(
                "all client keys were removed, and this server still asks for one",
                "modelbay serve keys add NAME   # or start the server anew",
            )
        given = list(_credentials(head))
        known = next((key for secret in given if (key := match(secret, keys))), None)
        if known is None:
            raise _no_key("the API key is wrong" if given else "an API key is needed")
        if needed != "any" and needed not in known.scopes:
            raise Refused(
                "missing_scope",
                f"the key '{known.name}' is not good for '{needed}'",
                hint=f"modelbay serve keys add NAME --scope {needed}",
            )
        return Caller(f"{KEY_PREFIX}{known.name}", known.scopes)

    def _check_host(self, host: str | None) -> None:
        access = self._access
        if host is None:
            return  # HTTP/1.0, and so no browser
        name = _host_name(host) if len(host) <= _HOST_LENGTH else None
        if name is None:
            raise Refused("bad_host", "the Host header is no host", field="host")
        if name in self._hosts or _is_own(name):
            return
        if not access.hosts and not access.is_loopback and access.current_keys():
            return  # people call it by a name we cannot know, and a page has no key
        raise Refused(
            "foreign_host",
            f"this server is not called '{name[:100]}'",
            field="host",
            hint=f"modelbay serve --allow-host {name[:100]}",
        )

    def _is_allowed(self, origin: str) -> bool:
        return "*" in self._origins or origin.lower() in self._origins

    def _check_length(self, text: str | None) -> None:
        if text is None or not text.isascii() or not text.isdigit():
            return  # the server has refused what is no number; chunks are counted as they come
        if len(text) > 18 or int(text) > self._limits.body_bytes:
            raise too_large(self._limits.body_bytes)


def _no_key(message: str, hint: str = "send it as: Authorization: Bearer KEY") -> Refused:
    return Refused(
        "invalid_api_key",
        message,
        hint=hint,
        headers=((b"www-authenticate", b"Bearer"),),
    )


def _credentials(head: Head) -> list[str]:
    """The keys a request brings, ``Authorization`` first."""
    found: list[str] = []
    for key, value in head.fields:
        text = value.decode("latin-1").strip()
        if key == b"authorization":
            scheme, _, secret = text.partition(" ")
            if scheme.lower() == "bearer" and secret.strip():
                found.insert(0, secret.strip())
        elif key in (b"x-api-key", b"api-key") and text:
            found.append(text)
    return found


@lru_cache(maxsize=256)  # every request has one, and they are few; who sends many gains nothing
def _host_name(host: str) -> str | None:
    """The name in a Host header, in small letters; ``None`` if it is none."""
    try:
        parts = urlsplit(f"//{host}")
        name = parts.hostname
        _ = parts.port
    except ValueError:
        return None
    if not name or parts.path or parts.query or parts.fragment or "@" in host:
        return None
    return name.rstrip(".")


@lru_cache(maxsize=256)
def _is_own(name: str) -> bool:
    """A name that no stranger's DNS can lead here: an address, or ``localhost``."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_foreign(scope: AsgiScope, head: Head) -> bool:
    """A page of another site asks, by an image or a script: browsers send no ``Origin`` with those.

    A link to the front page may stand anywhere.
    """
    if head.only(b"sec-fetch-site") not in ("cross-site", "same-site"):
        return False
    is_link = scope["path"] == "/" and scope["method"] in ("GET", "HEAD")
    return not (is_link and head.only(b"sec-fetch-mode") == "navigate")


def _is_same(origin: str, host: str | None) -> bool:
    """The page comes from this very server."""
    scheme, separator, place = origin.partition("://")
    return bool(separator) and scheme.lower() in ("http", "https") and place == host
