"""How a route reads its request and answers it: JSON as Go writes it, and typed fields."""

import json
from collections.abc import Mapping

from modelbay.testing.simulator import Exchange, Request
from modelbay_ollama.simulator.versions import Release

Json = dict[str, object]

_JSON = "application/json; charset=utf-8"
NDJSON = "application/x-ndjson"
# Go's encoder escapes these five and leaves the rest of Unicode, U+0085 included, as it is. They
# cannot occur outside of a string.
_ESCAPED = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})
_GO_TYPES = {str: "string", bool: "bool", int: "number", float: "number", list: "array"}


class ApiError(Exception):
    """An error the server answers with; `more`: further fields beside ``error``."""

    def __init__(self, status: int, message: str, **more: object) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.body: Json = {"error": message, **more}


def go_json(value: object, *, escape: bool = True) -> bytes:
    """JSON as the server writes it. Not `escape`: as the cloud does, whose bytes pass through."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return (text.translate(_ESCAPED) if escape else text).encode()


async def answer_json(exchange: Exchange, value: object, status: int = 200) -> None:
    await exchange.send(go_json(value), status, _JSON)


async def answer_error(exchange: Exchange, error: ApiError) -> None:
    await answer_json(exchange, error.body, error.status)


class LineWriter:
    """NDJSON, with the head withheld until the first line.

    Args:
        per_write: Lines that go to the socket at once.
        final_newline: Whether the last line ends with one.
        escape: As for `go_json`.
    """

    def __init__(
        self, exchange: Exchange, per_write: int, *, final_newline: bool, escape: bool = True
    ) -> None:
        self._exchange = exchange
        self._per_write = per_write
        self.final_newline = final_newline
        self._escape = escape
        self._waiting: list[bytes] = []

    async def line(self, value: object, *, last: bool = False) -> None:
        if not self._exchange.head_sent:
            await self._exchange.start_stream(NDJSON)
        newline = b"" if last and not self.final_newline else b"\n"
        self._waiting.append(go_json(value, escape=self._escape) + newline)
        if last or len(self._waiting) >= self._per_write:
            await self.flush()

    async def flush(self) -> None:
        if self._waiting:
            data = b"".join(self._waiting)
            self._waiting.clear()
            await self._exchange.raw(data)

    async def fail(self, error: ApiError, release: Release) -> None:
        """End with an error: a line if the head is out, otherwise an answer with its status.

        Before 0.12.6 also the first line of a stream could be one, after status 200.
        """
        if self._exchange.head_sent or not release.since("0.12.6"):
            await self.line(error.body, last=True)
        else:
            await answer_error(self._exchange, error)


class Body:
    """The JSON object of a request, read with the types Go would insist on.

    Every reader raises `ApiError` 400 for a wrong type; null is the same as nothing.

    Args:
        kind: The name of the request's Go type, which error texts mention.
    """

    def __init__(self, values: Mapping[str, object], kind: str) -> None:
        self.values = values
        self._kind = kind

    def text(self, name: str, default: str = "") -> str:
        value = self.values.get(name)
        if value is None:
            return default
        return value if isinstance(value, str) else self._refuse(name, value, "string")

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.values.get(name)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        raise self.mismatch(name, value, "bool")

    def whole(self, name: str, default: int = 0) -> int:
        value = self.values.get(name)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise self.mismatch(name, value, "int")

    def items(self, name: str) -> list[object]:
        value = self.values.get(name)
        if value is None:
            return []
        if isinstance(value, list):
            return value
        raise self.mismatch(name, value, "slice")

    def record(self, name: str) -> Json:
        value = self.values.get(name)
        if value is None:
            return {}
        if isinstance(value, dict):
            return value
        raise self.mismatch(name, value, "map[string]interface {}")

    @property
    def model(self) -> str:
        """`model`, or its older spelling `name`."""
        return self.text("model") or self.text("name")

    def _refuse(self, name: str, value: object, wanted: str) -> str:
        raise self.mismatch(name, value, wanted)

    def mismatch(self, name: str, value: object, wanted: str) -> ApiError:
        """The error for a field of another type."""
        got = _GO_TYPES.get(type(value), "object")
        return ApiError(
            400,
            f"json: cannot unmarshal {got} into Go struct field {self._kind}.{name}"
            f" of type {wanted}",
        )


def read_body(request: Request, kind: str) -> Body:
    """The request's JSON object.

    Raises:
        ApiError: 400 when it is missing, malformed or something else.
    """
    if not request.body:
        raise ApiError(400, "missing request body")
    try:
        value: object = json.loads(request.body)
    except ValueError as exc:
        at = getattr(exc, "pos", 0)
        text = request.body.decode("utf-8", "replace")
        if at >= len(text):
            raise ApiError(400, "unexpected EOF") from exc
        where = "looking for beginning of value"
        raise ApiError(400, f"invalid character {text[at]!r} {where}") from exc
    if not isinstance(value, dict):
        got = _GO_TYPES.get(type(value), "null")
        raise ApiError(400, f"json: cannot unmarshal {got} into Go value of type api.{kind}")
    return Body(value, kind)
