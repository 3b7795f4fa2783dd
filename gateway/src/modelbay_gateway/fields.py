"""The JSON of a request, read field by field; whatever is wrong is named by its path."""

import math
from collections.abc import Iterator
from typing import TypeVar, cast

import msgspec
from pydantic import BaseModel, ValidationError

from modelbay.models.frozen import JsonObject
from modelbay_gateway.refusal import Refused

M = TypeVar("M", bound=BaseModel)

_LEAST, _BEYOND = -(1 << 63), 1 << 64  # seeds are unsigned at some servers


def parse(body: bytes) -> "Fields":
    """The object a body is.

    Numbers keep their type, whole ones of any size too.

    Raises:
        Refused: It is no JSON, or no object.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as exc:
        # What stood there is not repeated: it may be a prompt.
        raise Refused("invalid_body", f"the body is not JSON: {_reason(exc)}") from None
    except RecursionError:
        raise Refused("invalid_body", "the body is nested too deep") from None
    return Fields(value, "")


def _reason(exc: Exception) -> str:
    return "not UTF-8" if isinstance(exc, UnicodeDecodeError) else str(exc)[:200]


class Fields:
    """One object; a field that is read is taken out, so that `rest` is what nobody knew.

    ``null`` is the same as a field that is not there.

    Args:
        path: Where it stands in the body; empty for the body itself.
    """

    __slots__ = ("_left", "path")

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise wrong(path or "body", "an object", value)
        self._left: dict[str, object] = dict(value)
        self.path = path

    def where(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def has(self, name: str) -> bool:
        return self._left.get(name) is not None

    def has_any(self, names: frozenset[str]) -> bool:
        """Whether one of these is left to be read."""
        return not names.isdisjoint(self._left)

    def any(self, name: str) -> object:
        return self._left.pop(name, None)

    def text(self, name: str) -> str | None:
        value = self._left.pop(name, None)
        if value is None or isinstance(value, str):
            return value
        raise wrong(self.where(name), "a string", value)

    def needed_text(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise self.missing(name)
        return value

    def flag(self, name: str) -> bool | None:
        value = self._left.pop(name, None)
        if value is None or isinstance(value, bool):
            return value
        raise wrong(self.where(name), "true or false", value)

    def whole(self, name: str) -> int | None:
        value = self._left.pop(name, None)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is None or (
            isinstance(value, int) and not isinstance(value, bool) and _LEAST <= value < _BEYOND
        ):
            return value
        raise wrong(self.where(name), "a whole number", value)

    def number(self, name: str) -> float | None:
        value = self._left.pop(name, None)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                if math.isfinite(value):
                    return float(value)
            except OverflowError:
                pass
        raise wrong(self.where(name), "a number", value)

    def items(self, name: str) -> list[object] | None:
        value = self._left.pop(name, None)
        if value is None or isinstance(value, list):
            return value
        raise wrong(self.where(name), "a list", value)

    def object(self, name: str) -> "Fields | None":
        value = self._left.pop(name, None)
        return None if value is None else Fields(value, self.where(name))

    def objects(self, name: str) -> "Iterator[Fields]":
        """The objects of a list; none, if the list is not there."""
        for index, value in enumerate(self.items(name) or ()):
            yield Fields(value, f"{self.where(name)}[{index}]")

    def texts(self, name: str) -> list[str] | None:
        """A list of strings, or one string as a list of one."""
        value = self._left.get(name)
        if isinstance(value, str):
            del self._left[name]
            return [value]
        found = self.items(name)
        for index, each in enumerate(found or ()):
            if not isinstance(each, str):
                raise wrong(f"{self.where(name)}[{index}]", "a string", each)
        return cast("list[str] | None", found)

    def json(self, name: str) -> JsonObject | None:
        """An object that is passed on as it is."""
        value = self._left.pop(name, None)
        if value is None or isinstance(value, dict):
            return value
        raise wrong(self.where(name), "an object", value)

    def missing(self, name: str) -> Refused:
        where = self.where(name)
        return Refused("missing_field", f"'{where}' is missing", field=where)

    def rest(self) -> JsonObject:
        """What has not been read, without what is ``null``."""
        return cast(
            "JsonObject", {name: value for name, value in self._left.items() if value is not None}
        )

    def unread(self) -> list[str]:
        """The paths of what has not been read."""
        return [self.where(name) for name, value in self._left.items() if value is not None]


def wrong(field: str, wanted: str, value: object) -> Refused:
    """A field of the wrong kind; its value is not repeated."""
    return Refused("invalid_field", f"'{field}' must be {wanted}, not {_kind(value)}", field=field)


def unsupported(field: str, message: str, hint: str | None = None) -> Refused:
    """A field that is right and asks for what cannot be done."""
    return Refused("unsupported_field", message, field=field, hint=hint)


def made(model: type[M], /, **values: object) -> M:
    """A core model of these values.

    Raises:
        Refused: A value is out of its bounds.
    """
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(step) for step in first["loc"])
        raise Refused("invalid_field", f"'{field}': {first['msg']}", field=field) from None


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "this number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"
