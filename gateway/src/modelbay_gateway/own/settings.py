"""``/api/settings``: favourites, and whatever else a program keeps here."""

from typing import Literal

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


class FavoriteChange(Frozen):
    """A change of one favourite, whatever others change meanwhile.

    Attributes:
        change: ``add`` puts it at the end, unless it is one; ``remove`` is no error if it is none.
        model: Its composite id (S0-49).
        before: Of ``move``: the favourite it is put before; ``None`` for the end.
    """

    change: Literal["add", "remove", "move"]
    model: str
    before: str | None = None


_SETTINGS = TypeAdapter(Settings)
_CHANGE = TypeAdapter(FavoriteChange)


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
    kept = await store_of(bay).set_settings(values)
    _tell(bay)
    await call.reply(msgspec.json.encode(kept))


async def change_favorite(bay: Bay, call: Call) -> None:
    """Add, remove or move one favourite (S0-48); answers with all settings.

    Who writes the whole list, as `write` does, undoes what others did since it was read.
    """
    wanted = await body_of(call, _CHANGE)
    store = store_of(bay)
    match wanted.change:
        case "add":
            await store.add_favorite(wanted.model)
        case "remove":
            await store.remove_favorite(wanted.model)
        case "move":
            await store.move_favorite(wanted.model, before=wanted.before)
    _tell(bay)
    await call.reply(msgspec.json.encode(await store.settings()))


def _tell(bay: Bay) -> None:
    for changed in bay.settings_changed:
        changed.set()
