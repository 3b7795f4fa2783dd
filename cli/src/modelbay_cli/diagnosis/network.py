"""One bare look at an address: is there a host, a listener, TLS, an answer? No key is sent."""

import asyncio
import contextlib
import email.utils
import errno
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from modelbay.host.proxies import is_loopback

Outcome: TypeAlias = Literal[
    "unresolved", "refused", "unreachable", "untrusted", "no_tls", "silent", "closed", "answered"
]
Certificate: TypeAlias = Literal["", "expired", "not_yet_valid", "wrong_host", "untrusted"]

LIMIT_S = 2.0
_HEAD_BYTES = 16 * 1024
# OpenSSL's X509_V_ERR_*: not yet valid, expired, host name mismatch, IP address mismatch.
_CERTIFICATES: dict[int, Certificate] = {
    9: "not_yet_valid",
    10: "expired",
    62: "wrong_host",
    64: "wrong_host",
}


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen.

    Attributes:
        detail: The reason in the system's words.
        certificate: Why it is not trusted.
        is_http: The answer began as one of HTTP does.
        ahead_s: Seconds by which the server's clock is ahead of ours; ``None`` if it shows none.
    """

    outcome: Outcome
    detail: str = ""
    certificate: Certificate = ""
    is_http: bool = False
    status: int | None = None
    location: str | None = None
    ahead_s: float | None = None


async def look(
    url: str, *, limit_s: float = LIMIT_S, clock: Callable[[], float] = time.time
) -> Look:
    """Connect, and ask for the page at this address without a key.

    Args:
        limit_s: Seconds for connecting, and again for the answer.
        clock: Seconds since 1970.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(limit_s):
            reader, writer = await asyncio.open_connection(
                host,
                port,
                ssl=await asyncio.to_thread(ssl.create_default_context) if secure else None,
            )
    except TimeoutError:
        # The handshake of a listener that says nothing takes as long as a lost packet.
        return Look("silent" if secure else "unreachable", f"no connection within {limit_s:g} s")
    except ssl.SSLCertVerificationError as exc:
        kind = _CERTIFICATES.get(exc.verify_code, "untrusted")
        return Look("untrusted", exc.verify_message, certificate=kind)
    except ssl.SSLError as exc:
        return Look("no_tls", exc.reason or str(exc))
    except ConnectionRefusedError as exc:
        return Look("refused", exc.strerror or "refused")
    except ConnectionError as exc:
        return Look("no_tls" if secure else "closed", str(exc))
    except OSError as exc:
        if isinstance(exc, socket.gaierror):
            return Look("unresolved", exc.strerror or str(exc))
        # Of a name with several addresses asyncio joins the reasons into one text.
        refused = f"[Errno {errno.ECONNREFUSED}]" in str(exc)
        return Look("refused" if refused else "unreachable", exc.strerror or str(exc))
    except ValueError as exc:  # a host name that cannot be encoded
        return Look("unresolved", str(exc))
    try:
        return await _answer(reader, writer, parts.path or "/", parts.netloc, limit_s, clock)
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(limit_s):
                await writer.wait_closed()


async def _answer(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    path: str,
    netloc: str,
    limit_s: float,
    clock: Callable[[], float],
) -> Look:
    host = netloc.rpartition("@")[2]
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    head = b""
    try:
        async with asyncio.timeout(limit_s):
            writer.write(request.encode("ascii", "replace"))
            await writer.drain()
            while b"\r\n\r\n" not in head and len(head) < _HEAD_BYTES:
                block = await reader.read(_HEAD_BYTES)
                if not block:
                    break
                head += block
    except TimeoutError:
        if not head:
            return Look("silent", f"connected, and no answer within {limit_s:g} s")
    except OSError as exc:
        if not head:
            return Look("closed", str(exc))
    if not head:
        return Look("closed", "closed without an answer")
    return _read(head, clock())


def _read(head: bytes, now: float) -> Look:
    if not head.startswith(b"HTTP/"):
        return Look("answered")
    first, *lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    words = first.split()
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else None
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (s.partition(":") for s in lines)
    }
    ahead_s = None
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        ahead_s = email.utils.parsedate_to_datetime(headers.get("date", "")).timestamp() - now
    return Look(
        "answered",
        is_http=True,
        status=status,
        location=headers.get("location"),
        ahead_s=ahead_s,
    )


def proxy_for(url: str, env: Mapping[str, str]) -> str:
    """The proxy that requests to this address go through; empty for none. Loopback has none."""
    parts = urlsplit(url)
    host, scheme = parts.hostname or "", parts.scheme
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY")
    proxy = next((env[name] for name in names if env.get(name)), "")
    if not proxy or is_loopback(host):
        return ""
    exceptions = {"no": env.get("no_proxy") or env.get("NO_PROXY") or ""}
    bypass = urllib.request.proxy_bypass_environment(  # type: ignore[attr-defined]
        host, exceptions
    )
    return "" if bypass else proxy
