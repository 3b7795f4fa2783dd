"""How a route of the simulated server reads its request and answers it, proxied or not."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from modelbay.testing.simulator import Exchange, Request

FILE_NOT_FOUND = {"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}
LOADING = {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}
INVALID_KEY = {"error": {"message": "Invalid API Key", "type": "authentication_error", "code": 401}}
CONTEXT_FULL = "Context size has been exceeded."

_TYPES = {
    400: "invalid_request_error",
    500: "server_error",
    501: "not_supported_error",
    503: "unavailable_error",
}


class ApiError(Exception):
    """An error the server answers with. `more`: further fields of the error object."""

    def __init__(self, status: int, message: str, kind: str | None = None, **more: object) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, object] = {
            "error": {
                "code": status,
                "message": message,
                "type": kind or _TYPES[status],
                **more,
            }
        }


@dataclass
class Call:
    """One request on its way to a model.

    Attributes:
        body: The JSON object of a POST, {} otherwise.
        proxied: It came through a router, so every answer is chunked and has no length.
    """

    exchange: Exchange
    body: dict[str, object] = field(default_factory=dict)
    proxied: bool = False

    @property
    def proxy_headers(self) -> list[tuple[str, str]]:
        """What a router adds to every answer that it passes on."""
        return [("X-Accel-Buffering", "no")] if self.proxied else []

    async def json(
        self, value: object, status: int = 200, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        await self.exchange.json(
            value, status, [*headers, *self.proxy_headers], chunked=self.proxied
        )

    async def error(self, error: ApiError) -> None:
        body = FILE_NOT_FOUND if error.status == 404 else error.body
        await self.json(body, error.status)

    async def start_stream(self) -> None:
        await self.exchange.start_stream("text/event-stream", headers=[("X-Accel-Buffering", "no")])


def parse_object(request: Request) -> dict[str, object]:
    """The request's JSON object.

    Raises:
        ApiError: 500, in the words of the server's JSON library.
    """
    text = request.body.decode("utf-8", "replace")
    try:
        parsed: object = json.loads(text)
    except ValueError as exc:
        raise ApiError(500, _parse_error(text)) from exc
    return parsed if isinstance(parsed, dict) else {}


def _parse_error(text: str) -> str:
    where = f"[json.exception.parse_error.101] parse error at line 1, column {len(text) + 1}: "
    if not text:
        return (
            f"{where}attempting to parse an empty input; check that your input string or stream "
            "contains the expected JSON"
        )
    if text.rstrip().endswith(("{", ",")):
        return (
            f"{where}syntax error while parsing object key - unexpected end of input; "
            "expected string literal"
        )
    return (
        f"{where}syntax error while parsing value - unexpected end of input; "
        "expected '[', '{', or a literal"
    )


def text_of(body: Mapping[str, object], name: str) -> str:
    """A string field; "" when it is missing or something else."""
    value = body.get(name)
    return value if isinstance(value, str) else ""


def items_of(body: Mapping[str, object], name: str) -> list[object]:
    """A list field; [] when it is missing or something else."""
    value = body.get(name)
    return value if isinstance(value, list) else []


def object_of(body: Mapping[str, object], name: str) -> dict[str, object]:
    """An object field; {} when it is missing or something else."""
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def flag_of(body: Mapping[str, object], name: str) -> bool:
    return body.get(name) is True
