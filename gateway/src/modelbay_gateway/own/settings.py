"""``GET`` and ``PUT /api/settings``: favourites, and whatever else a program keeps here."""

import msgspec
from pydantic import ConfigDict, Field, JsonValue, TypeAdapter

from modelbay.models.frozen import Frozen
from modelbay.state import favorites, limits
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

    Every one is looked at before the first is written.
    """
    wanted = await body_of(call, _SETTINGS)
    others = wanted.__pydantic_extra__
    store = store_of(bay)
    for name, value in others.items():
        limits.text("the setting's name", name, limits.SETTING_NAME_CHARS)
        limits.json_text(f"the setting '{name}'", value)
    async with bay.changing:  # nobody fills the store up between the look and the writing
        before = await store.settings()
        both = {**before, **others}
        after = {name for name, value in both.items() if value is not None}
        if not after <= before.keys():
            limits.count("settings", len(after), limits.SETTINGS)
        if "favorite_models" in wanted.model_fields_set:
            named = wanted.favorite_models or ()
            favorites.replaced(await store.favorites(), named)
            await store.set_favorites(named)
        for name in sorted(others, key=lambda name: others[name] is not None):  # removals first
            await store.set_setting(name, others[name])
    await read(bay, call)
