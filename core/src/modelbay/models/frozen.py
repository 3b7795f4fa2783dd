"""What all public Pydantic models share: frozen, and no field that is not declared."""

from collections.abc import Iterable
from typing import Any, ClassVar, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, JsonValue

JsonObject: TypeAlias = dict[str, JsonValue]

_new = object.__new__
_set_values, _set_fields, _set_extra, _set_private = (
    BaseModel.__dict__[name].__set__
    for name in (
        "__dict__",
        "__pydantic_fields_set__",
        "__pydantic_extra__",
        "__pydantic_private__",
    )
)


class Frozen(BaseModel):
    # Pydantic would show the wrong value in its error, and that may be a key.
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True
    )

    _every_field: ClassVar[set[str]]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        cls._every_field = set(cls.model_fields)

    @classmethod
    def assembled(cls, values: dict[str, object]) -> Self:
        """One of values that were checked already, every field given; they are kept, not copied.

        What `model_construct` does in ten times the time, which counts in lists of thousands.
        """
        made = _new(cls)
        _set_values(made, values)
        _set_fields(made, cls._every_field)
        _set_extra(made, None)
        _set_private(made, None)
        return made

    @classmethod
    def assembled_all(cls, every: Iterable[dict[str, object]]) -> list[Self]:
        """The same for many."""
        made = []
        fields = cls._every_field
        for values in every:
            one = _new(cls)
            _set_values(one, values)
            _set_fields(one, fields)
            _set_extra(one, None)
            _set_private(one, None)
            made.append(one)
        return made
