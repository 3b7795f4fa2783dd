"""How much the state store holds, each limit a number. Pure."""

import json

from pydantic import JsonValue
from pydantic_core import PydanticSerializationError, to_json

from modelbay.errors import InvalidRequestError

FAVORITES = 1_000
MODEL_CHARS = 1_000  # a ref, or whatever somebody remembers as one
CONVERSATION_ID_CHARS = 200
REMEMBERED_MODELS = 100_000  # beyond, the longest untouched one without history is forgotten

SETTINGS = 200
SETTING_NAME_CHARS = 100
SETTING_BYTES = 64 * 1024  # one setting as JSON; also all settings of one conversation

CONVERSATIONS = 100_000
MESSAGES = 20_000  # of one conversation
MESSAGE_BYTES = 16 * 1024 * 1024  # one message as JSON, its images included
TITLE_CHARS = 500
APPENDED = 200  # messages in one call

PAGE = 200  # items
PAGE_BYTES = 32 * 1024 * 1024  # a page of messages ends early here, but holds at least one
SEARCHED_CHARS = 64 * 1024  # of each message; what comes after is kept and not searched
QUERY_CHARS = 200
SCANNED = 20_000  # messages one call of search looks at
EXCERPT_CHARS = 160


def text(what: str, value: str, most: int, *, empty: bool = False) -> str:
    """The text as it is, if it can be stored.

    Raises:
        InvalidRequestError: It is empty, too long, or no text that UTF-8 can hold.
    """
    if not value and not empty:
        raise InvalidRequestError(f"{what} is empty")
    if len(value) > most:
        raise InvalidRequestError(
            f"{what} has {len(value)} characters", hint=f"at most {most} can be kept"
        )
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequestError(f"{what} holds half of a surrogate pair") from None
    if "\0" in value:
        raise InvalidRequestError(f"{what} holds a NUL character")
    return value


def count(what: str, value: int, most: int) -> int:
    """Raises InvalidRequestError where there would be more than that."""
    if value > most:
        raise InvalidRequestError(f"{value} {what}", hint=f"at most {most} can be kept")
    return value


def page(limit: int) -> int:
    """The size of a page: 1 to `PAGE`; more than can be had is no error.

    Raises:
        InvalidRequestError: It is less than one.
    """
    if limit < 1:
        raise InvalidRequestError(f"a page of {limit} items", hint=f"1 to {PAGE}")
    return min(limit, PAGE)


def json_text(what: str, value: JsonValue) -> str:
    """The value as JSON of at most `SETTING_BYTES`.

    Raises:
        InvalidRequestError: It is too large, or nothing that JSON in UTF-8 can hold.
    """
    try:
        made = to_json(value, inf_nan_mode="strings")
        read = json.loads(made)
    except (PydanticSerializationError, ValueError, RecursionError):
        raise InvalidRequestError(f"{what} cannot be written as JSON") from None
    if read != value:  # a number that is none, a key that is no text
        raise InvalidRequestError(f"{what} cannot be written as JSON")
    if len(made) > SETTING_BYTES:
        raise InvalidRequestError(
            f"{what} has {len(made)} bytes", hint=f"at most {SETTING_BYTES} can be kept"
        )
    return made.decode()
