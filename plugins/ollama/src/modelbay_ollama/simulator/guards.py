"""Whose requests a server on loopback answers, told by `Host` and `Origin`."""

import ipaddress
import socket
from urllib.parse import urlsplit

_LOCAL_SUFFIXES = (".localhost", ".local", ".internal")
_LOCAL_ORIGINS = ("localhost", "127.0.0.1", "0.0.0.0")  # noqa: S104 - a name here, not an address
_APPS = ("app", "file", "tauri", "vscode-webview", "vscode-file")


def host_allowed(host: str) -> bool:
    """Whether a `Host` names this machine: an inner address, or a name that stays inside."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        inside = ("", "localhost", socket.gethostname().lower())
        return name in inside or name.endswith(_LOCAL_SUFFIXES)
    return address.is_loopback or address.is_private or address.is_unspecified


def origin_allowed(origin: str) -> bool:
    """Whether a page of this origin may ask. No origin: no browser, no question."""
    if not origin:
        return True
    parts = urlsplit(origin)
    if parts.scheme in _APPS:
        return True
    return parts.scheme in ("http", "https") and parts.hostname in _LOCAL_ORIGINS
