"""What a request holds, read by types; whatever is wrong is named by its path."""

import unicodedata
from typing import TypeVar
from urllib.parse import parse_qsl

from pydantic import TypeAdapter, ValidationError

from modelbay.errors import UnsupportedFeatureError
from modelbay.state import limits
from modelbay.state.store import StateStore
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.refusal import Refused

T = TypeVar("T")

_REASON_CHARS = 200
# These repeat what stood there, which may be a secret in the wrong place.
_TELLING = frozenset(("union_tag_invalid", "value_error", "assertion_error"))


async def body_of(call: Call, adapter: TypeAdapter[T]) -> T:
    """The body as this type.

    Raises:
        Refused: It is no JSON, or something else.
    """
    body = await call.body()
    try:
        return adapter.validate_json(body)
    except ValidationError as exc:
        raise refused(exc) from None


def refused(exc: ValidationError) -> Refused:
    """The first thing that is wrong; its value is not repeated."""
    first = exc.errors(include_url=False, include_input=False)[0]
    field = ".".join(str(step) for step in first["loc"])[:_REASON_CHARS]
    match first["type"]:
        case "json_invalid":
            return Refused("invalid_body", "the body is not JSON")
        case "missing":
            return Refused("missing_field", f"'{field}' is missing", field=field)
        case "union_tag_not_found":
            tag = str(first["ctx"]["discriminator"]).strip("'")
            where = f"{field}.{tag}" if field else tag
            return Refused("missing_field", f"'{where}' is missing", field=where)
        case kind:
            reason = "it is none of those there are" if kind in _TELLING else first["msg"]
            return Refused(
                "invalid_field", f"'{field or 'body'}': {reason[:_REASON_CHARS]}", field=field
            )


class Query:
    """The parameters behind the question mark. One that nobody knows is no error.

    Raises:
        Refused: One stands there twice, or is no text.
    """

    def __init__(self, call: Call) -> None:
        raw: bytes = call.scope.get("query_string", b"")
        self._values: dict[str, str] = {}
        try:
            pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict")
        except ValueError:
            raise Refused("invalid_field", "the query is not UTF-8", field="query") from None
        for name, value in pairs:
            if name in self._values:
                raise Refused("invalid_field", f"'{name[:50]}' stands there twice", field=name[:50])
            self._values[name] = value

    def text(self, name: str) -> str | None:
        """``None`` if it is not there, or empty."""
        return self._values.get(name) or None

    def whole(self, name: str) -> int | None:
        value = self.text(name)
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) <= 9):
            raise Refused("invalid_field", f"'{name}' must be a whole number", field=name)
        return int(value)

    def flag(self, name: str) -> bool:
        """``1`` and ``true`` are yes; ``0``, ``false`` and nothing are no."""
        value = self.text(name)
        if value in ("1", "true"):
            return True
        if value in (None, "0", "false"):
            return False
        raise Refused("invalid_field", f"'{name}' must be 1 or 0", field=name)


def store_of(bay: Bay) -> StateStore:
    """What is remembered.

    Raises:
        UnsupportedFeatureError: This gateway remembers nothing.
    """
    if bay.store is None:
        raise UnsupportedFeatureError(
            "this gateway remembers nothing: it was started without a state store",
            hint="modelbay serve   # keeps one in the data folder",
        )
    return bay.store


def conversation_id(call: Call) -> str:
    """The conversation in the path; it may hold slashes.

    Raises:
        InvalidRequestError: It is empty, or too long.
        Refused: It is not UTF-8, or holds a control character.
    """
    text = checked_id(call.param("id"), "id")
    return limits.text("the conversation's id", text, limits.CONVERSATION_ID_CHARS)


def asked_conversation(call: Call, in_body: str | None) -> str | None:
    """The conversation a turn belongs to, by its header or else its body; ``None`` for none.

    Raises:
        Refused: It holds a control character.
    """
    in_header = call.header(b"x-conversation-id")
    if in_header:
        return checked_id(in_header, "x-conversation-id")
    return checked_id(in_body, "conversation_id") if in_body else None


def checked_id(text: str, field: str) -> str:
    """The id of a conversation, which is the same wherever it stands.

    Raises:
        Refused: It holds a control character: no header and no path can hold all of those.
    """
    if any(unicodedata.category(char) == "Cc" for char in text):
        raise Refused(
            "invalid_field", "the conversation's id holds a control character", field=field
        )
    return text
