"""What a child is asked, and how it refuses."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

FILE_NOT_FOUND = {"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}
INVALID_KEY = {"error": {"message": "Invalid API Key", "type": "authentication_error", "code": 401}}

_KINDS = {
    400: "invalid_request_error",
    500: "server_error",
    501: "not_supported_error",
    503: "unavailable_error",
}
Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """A request as llama-swap hands it to a child.

    Attributes:
        raw_path: Percent-encoding untouched.
        query: The query string, as sent.
        headers: Names in lower case.
    """

    method: str
    raw_path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(self.raw_path)

    @property
    def fields(self) -> dict[str, str]:
        return dict(parse_qsl(self.query, keep_blank_values=True))

    def json(self) -> Fields:
        """The JSON object of the body, {} for other JSON.

        Raises:
            UpstreamError: 500, in the words of llama-server's JSON library.
        """
        text = self.body.decode("utf-8", "replace")
        try:
            parsed: object = json.loads(text)
        except ValueError as exc:
            raise UpstreamError(500, _parse_error(text)) from exc
        return parsed if isinstance(parsed, dict) else {}


class UpstreamError(Exception):
    """An error the child answers with. `more`: further fields of the error object."""

    def __init__(self, status: int, message: str, kind: str | None = None, **more: object) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.body: Fields = {
            "error": {
                "code": status,
                "message": message,
                "type": kind or _KINDS[status],
                **more,
            }
        }


def _parse_error(text: str) -> str:
    where = f"[json.exception.parse_error.101] parse error at line 1, column {len(text) + 1}: "
    if not text:
        return (
            f"{where}attempting to parse an empty input; check that your input string or stream "
            "contains the expected JSON"
        )
    return (
        f"{where}syntax error while parsing value - unexpected end of input; "
        "expected '[', '{', or a literal"
    )


def text_of(body: Mapping[str, object], name: str) -> str:
    """A string field; "" when it is missing or something else."""
    value = body.get(name)
    return value if isinstance(value, str) else ""


def items_of(body: Mapping[str, object], name: str) -> Sequence[object]:
    """A list field; [] when it is missing or something else."""
    value = body.get(name)
    return value if isinstance(value, list) else []


def object_of(body: Mapping[str, object], name: str) -> Mapping[str, object]:
    """An object field; {} when it is missing or something else."""
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def whole_number(body: Mapping[str, object], *names: str, default: int) -> int:
    """The first of these fields that is a number."""
    for name in names:
        value = body.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return default
