"""``GET`` and ``PUT /api/settings``: favourites, and whatever else a program keeps here."""

import msgspec
from pydantic import ConfigDict, Field, JsonValue, TypeAdapter

from modelbay.models.frozen import Frozen
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.own.reading import body_of, store_of


class Settings(Frozen):
    """Settings by name; those that are not known here are kept too."""

    model_config = ConfigDict(frozen=True, extra="allow", hide_input_in_errors=True)
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    favorite_models: list[str] | None = Field(
        default=None, description="Composite ids, in order (S0-48, S0-49)."
    )


_SETTINGS = TypeAdapter(Settings)


async def read(bay: Bay, call: Call) -> None:
    """All settings; ``favorite_models`` is always there, with the hidden ones (S0-50)."""
    await call.reply(msgspec.json.encode(await store_of(bay).settings()))


async def write(bay: Bay, call: Call) -> None:
    """Set those that are named and leave the others; ``null`` removes one. Answers with all.

    All of them are set, or none.
    """
    wanted = await body_of(call, _SETTINGS)
    values: dict[str, JsonValue] = dict(wanted.__pydantic_extra__)
    if "favorite_models" in wanted.model_fields_set:
        named = wanted.favorite_models
        values["favorite_models"] = None if named is None else [*named]
    await call.reply(msgspec.json.encode(await store_of(bay).set_settings(values)))
