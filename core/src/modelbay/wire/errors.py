"""Error answers: three envelopes, one result, and the class of error a status stands for."""

import email.utils
import html
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias, cast

import msgspec

from modelbay.errors import (
    AuthenticationError,
    BackendBusyError,
    BackendError,
    BackendTimeoutError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    ProtocolError,
    QuotaExceededError,
    RateLimitedError,
)
from modelbay.redaction import without_keys as without_keys

BODY_LIMIT = 1024 * 1024  # S1-43: of an error's body no more is read
MESSAGE_LIMIT = 500  # servers echo whole requests; a message is for people


@dataclass(frozen=True, slots=True)
class ErrorBody:
    """What an error answer says.

    Attributes:
        code: The server's code as text; its type where there is none (S1-42).
        raw: The error object, for fields only one server has.
    """

    message: str
    type: str = ""
    code: str = ""
    raw: Mapping[str, object] | None = None


# Looks at status and body; an error class where the server's words mean more than the status.
Classify: TypeAlias = Callable[[int, ErrorBody], type[BackendError] | None]


def parse_error_body(body: bytes) -> ErrorBody:
    """Read ``{"error": {message, type, code}}``, ``{"error": "..."}``, or any text (S1-41).

    Also ``{"detail": [{loc, msg}]}``, the refused fields of servers that check by a schema;
    any of these alone in a list, or behind ``error:`` as a line of a stream; and a page of HTML,
    of which the words are kept. What looks like anybody's key is taken out of the message.

    Never raises: an error that cannot be read is still an error.
    """
    text = body[:BODY_LIMIT].decode("utf-8", "replace").strip()
    value = _json(text)
    if value is None and text.startswith(_LINE):
        value = _json(text.removeprefix(_LINE))
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        error = value.get("error", value.get("detail", value))
        if isinstance(error, dict):
            kind = _text(error.get("type"))
            return ErrorBody(
                message=_worded(_text(error.get("message")) or _text(error.get("msg")) or text),
                type=kind,
                code=_text(error.get("code")) or kind,
                raw=error,
            )
        if isinstance(error, str):
            return ErrorBody(message=_worded(error.strip()), raw=value)
        if isinstance(error, list) and (found := [_complaint(item) for item in error]):
            return ErrorBody(message=_worded("; ".join(filter(None, found)) or "not accepted"))
    return ErrorBody(message=_worded(text))


_LINE = "error:"


def _json(text: str) -> object:
    """What the text says as JSON; ``None`` where it is none."""
    try:
        return cast(object, msgspec.json.decode(text.encode()))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def _complaint(item: object) -> str:
    """One field that was refused. Beside its place and the reason the whole request may stand."""
    if not isinstance(item, dict):
        return ""
    place = item.get("loc")
    where = ".".join(str(step) for step in place) if isinstance(place, list) else ""
    reason = _text(item.get("msg"))
    return f"{where}: {reason}" if where and reason else reason


def _text(value: object) -> str:
    if isinstance(value, int) and not -_LARGEST < value < _LARGEST:
        return ""  # not a code; and Python refuses to write the longest ones out
    return "" if value is None else str(value)


_LARGEST = 1 << 63


CUT = "…"  # stands where a text was cut: there may be the first half of a key before it


def shorten(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """At most so many characters of what a server says; `CUT` stands for the rest."""
    return text if len(text) <= limit else text[: limit - 1] + CUT


_PAGE = re.compile(r"\s*<(!doctype\b|html\b|head\b|body\b|title\b|h1\b|center\b|!--)", re.I)
_UNSEEN = re.compile(r"<(script|style)\b.*?(</\1\s*>|\Z)|<!--.*?(-->|\Z)", re.I | re.S)
_TAG = re.compile(r"<[^<>]*>")


def _worded(text: str) -> str:
    """For people: no tags of a page, no keys, not too long."""
    if _PAGE.match(text):
        words = (
            " ".join(html.unescape(part).split()) for part in _TAG.split(_UNSEEN.sub(" ", text))
        )
        text = " ".join(dict.fromkeys(filter(None, words)))  # a title is often the heading too
    # A server may echo a key that is none of ours: of its own account, or of its other callers.
    # Before it is cut: half a key is not known as one.
    return shorten(without_keys(text[: 4 * MESSAGE_LIMIT]))


_BY_STATUS: dict[int, type[BackendError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    402: QuotaExceededError,
    403: AuthenticationError,
    404: ModelNotFoundError,
    405: ProtocolError,
    408: BackendTimeoutError,
    409: InvalidRequestError,
    413: InvalidRequestError,
    415: InvalidRequestError,
    422: InvalidRequestError,
    429: RateLimitedError,
    503: BackendBusyError,
    504: BackendTimeoutError,
}
_BY_CODE: dict[str, type[BackendError]] = {
    "context_length_exceeded": ContextLengthError,
    "exceed_context_size_error": ContextLengthError,
    "insufficient_quota": QuotaExceededError,
    "invalid_api_key": AuthenticationError,
    "model_not_found": ModelNotFoundError,
    "rate_limit_exceeded": RateLimitedError,
}


def error_class(
    status: int, body: ErrorBody, classify: Classify | None = None
) -> type[BackendError]:
    """The class of error: by the plugin's knowledge, by the body's code or type, by status."""
    return (
        (classify(status, body) if classify else None)
        or _BY_CODE.get(body.code)
        or _BY_CODE.get(body.type)
        or _BY_STATUS.get(status)
        or (ProtocolError if 300 <= status < 400 else BackendError)
    )


_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """``retry-after-ms`` or ``Retry-After`` in seconds: a number or an HTTP date; else ``None``."""
    try:
        milliseconds = headers.get("retry-after-ms", "").removeprefix("-")
        if _NUMBER.fullmatch(milliseconds):
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after", "")
        if _NUMBER.fullmatch(value):
            return float(value)
        when = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
