"""One recorded exchange: what its file holds."""

import base64
import json
import math
from collections.abc import Sequence
from typing import Literal, Self, TypeAlias

from pydantic import Field, JsonValue

from modelbay.models.frozen import Frozen, JsonObject

FORMAT: Literal[1] = 1

End: TypeAlias = Literal["complete", "cut", "left", "refused"]


class RecordedBody(Frozen):
    """The body of a request: as JSON where it is JSON, else as text, else as base64.

    Attributes:
        value: The JSON, if `text` and `base64` are ``None`` and `is_json` says so.
        omitted: Why nothing of it is here.
    """

    is_json: bool = False
    value: JsonValue = None
    text: str | None = None
    base64: str | None = None
    omitted: str | None = None

    @classmethod
    def of(cls, data: bytes) -> Self:
        try:
            value = json.loads(data)
            # What JSON cannot say again, a number too large for it among it, stays text.
            json.dumps(value, allow_nan=False)
        except (ValueError, RecursionError):
            pass
        else:
            return cls(is_json=True, value=value)
        try:
            return cls(text=data.decode())
        except UnicodeDecodeError:
            return cls(base64=base64.b64encode(data).decode())

    @property
    def data(self) -> bytes:
        """The bytes of what is no JSON."""
        return _data(self.text, self.base64)


class RecordedRequest(Frozen):
    """What was asked.

    Attributes:
        target: Path and query as sent.
        headers: By lower-case name, without those of the connection.
    """

    method: str
    target: str
    headers: dict[str, str] = {}
    body: RecordedBody = RecordedBody()


class RecordedPiece(Frozen):
    """What of a body came at once.

    Attributes:
        at_s: Seconds after the request.
    """

    text: str | None = None
    base64: str | None = None
    at_s: float | None = None

    @classmethod
    def of(cls, data: bytes, at_s: float | None = None) -> Self:
        at_s = None if at_s is None or not math.isfinite(at_s) else round(at_s, 4)
        try:
            return cls(text=data.decode(), at_s=at_s)
        except UnicodeDecodeError:  # a character may begin in one piece and end in the next
            return cls(base64=base64.b64encode(data).decode(), at_s=at_s)

    @property
    def data(self) -> bytes:
        return _data(self.text, self.base64)


class RecordedAnswer(Frozen):
    """What came back.

    Attributes:
        headers: Lines such as ``content-type: text/plain``, names in lower case, without those of
            the connection and of the framing.
        omitted: Why the body is not here.
    """

    status: int = Field(ge=100, le=999)
    headers: list[str] = []
    pieces: list[RecordedPiece] = []
    omitted: str | None = None

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The headers, each in two."""
        return [
            (name, value.strip()) for name, _, value in (h.partition(":") for h in self.headers)
        ]

    @property
    def body(self) -> bytes:
        return b"".join(piece.data for piece in self.pieces)


class RecordedExchange(Frozen):
    """A request and its answer.

    Attributes:
        number: Their order; requests that ran side by side are numbered as they began.
        provider: The entry of ``providers.json``, secrets blotted out.
        answer: ``None``: not even a head came.
        end: How it ended: ``complete``; ``cut`` by the server, or because the recording ended;
            ``left`` by the client; ``refused``: there was no connection to the server.
    """

    format: Literal[1] = FORMAT
    number: int = Field(ge=1)
    provider: JsonObject
    request: RecordedRequest
    answer: RecordedAnswer | None = None
    end: End = "complete"

    @property
    def provider_id(self) -> str:
        return str(self.provider.get("id", ""))

    def as_text(self) -> str:
        """The text of its file."""
        shown = self.model_dump(mode="json", exclude_defaults=True)
        document = {"format": self.format, **shown, "end": self.end}
        return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def providers_of(exchanges: Sequence[RecordedExchange]) -> dict[str, JsonObject]:
    """The entries of the providers that were asked, by id; of one the first counts."""
    found: dict[str, JsonObject] = {}
    for exchange in exchanges:
        found.setdefault(exchange.provider_id, exchange.provider)
    return found


def _data(text: str | None, encoded: str | None) -> bytes:
    if encoded is not None:
        return base64.b64decode(encoded)
    return (text or "").encode()
