"""The bytes of HTTP/1.1 around requests and answers. Pure."""

import http
import re
import uuid
from functools import lru_cache
from urllib.parse import unquote

import httptools
import msgspec

_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    for status in http.HTTPStatus
}
_PLAIN = re.compile(rb"/(?:[A-Za-z0-9._~-][A-Za-z0-9._~/-]*)?")  # a path with nothing to decode


@lru_cache(maxsize=64)
def first_lines(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """What every answer of this status begins with."""
    first = _STATUS_LINES.get(status, b"HTTP/1.1 %d \r\n" % status)
    return first + b"".join(b"%b: %b\r\n" % header for header in headers)


def target(url: bytes) -> tuple[str, bytes, bytes]:
    """Path, the path as it was sent, and query.

    Raises:
        HttpParserInvalidURLError: It is none.
    """
    if _PLAIN.fullmatch(url):  # nearly all
        return url.decode("ascii"), url, b""
    parsed = httptools.parse_url(url)
    raw_path: bytes = parsed.path or b"/"
    return unquote(raw_path.decode("ascii")), raw_path, parsed.query or b""


def refused(status: int, code: str, message: str, kind: str) -> bytes:
    """A whole answer for what no application was asked about; the last one of its connection."""
    error = {"message": message, "type": kind, "param": None, "code": code}
    body = msgspec.json.encode({"error": error})
    head = (
        f"HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\n"
        f"x-request-id: {uuid.uuid4().hex}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
