"""One HTTP request as a simulator saw it, and how it is read from a connection."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from modelbay.testing.connection import ClientGone, Connection, MalformedRequestError

_HEAD_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent.

    Attributes:
        target: The request target as sent: raw path and query.
        raw_path: The path as sent, percent-encoding untouched.
        path: The path percent-decoded; compare this one, unless a slash may be encoded in it.
        query: Decoded query fields; of a repeated one the last counts.
        headers: Names in lower case; repeated fields joined by ", ".
        version: "HTTP/1.1" or "HTTP/1.0".
        body: The whole body, after chunked decoding.
    """

    method: str
    target: str
    raw_path: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    version: str = "HTTP/1.1"

    def json(self) -> object:
        """The body as JSON.

        Raises:
            ValueError: It is not JSON, or not UTF-8.
        """
        parsed: object = json.loads(self.body)
        return parsed

    @property
    def wants_close(self) -> bool:
        connection = self.headers.get("connection", "").lower()
        return "close" in connection or (
            self.version == "HTTP/1.0" and "keep-alive" not in connection
        )


async def read_request(connection: Connection) -> Request:
    """Read head and body; answers ``Expect: 100-continue`` in between.

    Raises:
        MalformedRequestError: Not HTTP/1.x.
        ClientGone: The client left in the middle.
    """
    head = (await connection.read_until(b"\r\n\r\n", _HEAD_LIMIT)).lstrip(b"\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise MalformedRequestError(f"not a request line: {first[:80]!r}")
    method, target, version = words
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise MalformedRequestError(f"not a header field: {line[:80]!r}")
        name, value = name.strip().lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if headers.get("expect", "").lower() == "100-continue":
        await connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    parts = urlsplit(target)
    return Request(
        method=method,
        target=target,
        raw_path=parts.path,
        path=unquote(parts.path),
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
        headers=headers,
        body=await _read_body(connection, headers),
        version=version,
    )


async def _read_body(connection: Connection, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _read_chunks(connection)
    try:
        size = int(headers.get("content-length", "0"))
    except ValueError as exc:
        raise MalformedRequestError("Content-Length is not a number") from exc
    return await connection.read_exactly(size)


async def _read_chunks(connection: Connection) -> bytes:
    pieces: list[bytes] = []
    while True:
        line = await connection.read_until(b"\r\n", _HEAD_LIMIT)
        try:
            size = int(line.split(b";")[0], 16)
        except ValueError as exc:
            raise MalformedRequestError(f"not a chunk size: {line[:20]!r}") from exc
        if size == 0:
            while await connection.read_until(b"\r\n", _HEAD_LIMIT):
                pass  # trailers, up to the empty line
            return b"".join(pieces)
        pieces.append(await connection.read_exactly(size))
        await connection.read_exactly(2)


__all__ = ["ClientGone", "MalformedRequestError", "Request", "read_request"]
