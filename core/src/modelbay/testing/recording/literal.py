"""Values as Python code, laid out so that no formatter changes it."""

import dataclasses
from collections.abc import Mapping

from pydantic import BaseModel

from modelbay.refs import ModelRef

_WIDTH = 79  # what fits in this fits in whatever width a project has


def literal(value: object, indent: int = 0, before: int = 0) -> str:
    """The code of JSON, of events, and of frozen models.

    What does not fit in a line has one item in each, and a comma after the last: then formatters
    leave it so, whatever their width is.

    Args:
        indent: Of the line it stands in.
        before: Characters before it in that line, without the indent.
    """
    short = _short(value)
    if indent + before + len(short) + 1 <= _WIDTH:
        return short
    inner = indent + 4
    match value:
        case str() | None | bool() | int() | float() | ModelRef():
            return short
        case Mapping():
            items = [
                f"{_short(key)}: {literal(held, inner, len(_short(key)) + 2)}"
                for key, held in value.items()
            ]
            return _exploded("{", items, "}", indent)
        case list() | tuple():
            brackets = ("[", "]") if isinstance(value, list) else ("(", ")")
            items = [literal(held, inner) for held in value]
            return _exploded(brackets[0], items, brackets[1], indent)
        case _:
            items = [
                f"{name}={literal(held, inner, len(name) + 1)}"
                for name, held in _fields(value).items()
            ]
            return _exploded(f"{type(value).__name__}(", items, ")", indent)


def names_in(value: object) -> set[str]:
    """The classes that the code of a value names."""
    match value:
        case str() | None | bool() | int() | float() | ModelRef():
            return set()
        case Mapping():
            return {name for held in value.values() for name in names_in(held)}
        case list() | tuple():
            return {name for held in value for name in names_in(held)}
        case _:
            inner = {name for held in _fields(value).values() for name in names_in(held)}
            return {type(value).__name__} | inner


def _short(value: object) -> str:
    match value:
        case str() | ModelRef():
            return _string(str(value))
        case None | bool() | int() | float():
            return repr(value)
        case Mapping():
            return "{" + ", ".join(f"{_short(k)}: {_short(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_short, value)) + "]"
        case tuple():
            comma = "," if len(value) == 1 else ""
            return "(" + ", ".join(map(_short, value)) + f"{comma})"
        case _:
            fields = (f"{name}={_short(held)}" for name, held in _fields(value).items())
            return f"{type(value).__name__}({', '.join(fields)})"


def _string(text: str) -> str:
    quote = '"' if text.count('"') <= text.count("'") else "'"
    escaped = "".join(
        f"\\{char}" if char in (quote, "\\") else char if char.isprintable() else repr(char)[1:-1]
        for char in text
    )
    return f"{quote}{escaped}{quote}"


def _fields(value: object) -> dict[str, object]:
    """What has to be said to make it: what is not the default."""
    if isinstance(value, BaseModel):
        return {
            name: getattr(value, name)
            for name, field in type(value).model_fields.items()
            if getattr(value, name) != field.get_default(call_default_factory=True)
        }
    if dataclasses.is_dataclass(value):
        return {
            field.name: getattr(value, field.name)
            for field in dataclasses.fields(value)
            if field.init and getattr(value, field.name) != field.default
        }
    raise TypeError(f"there is no code for a {type(value).__name__}")


def _exploded(opening: str, items: list[str], closing: str, indent: int) -> str:
    if not items:
        return opening + closing
    lines = "".join(f"{' ' * (indent + 4)}{item},\n" for item in items)
    return f"{opening}\n{lines}{' ' * indent}{closing}"
