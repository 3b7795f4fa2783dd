"""Settings in SQL; `favorite_models` is one of them (S0-48)."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from functools import partial

from pydantic import JsonValue

from modelbay.errors import InvalidRequestError
from modelbay.state import limits
from modelbay.state.favorites import Favorites, replaced

FAVORITES = "favorite_models"


def favorites(connection: sqlite3.Connection) -> Favorites:
    found = _value(connection, FAVORITES)
    return () if found is None else tuple(json.loads(found))


def change_favorites(
    connection: sqlite3.Connection, change: Callable[[Favorites], Favorites]
) -> Favorites:
    kept = favorites(connection)
    wanted = change(kept)
    if wanted != kept:
        _put(connection, FAVORITES, json.dumps(wanted, ensure_ascii=False))
    return wanted


def settings(connection: sqlite3.Connection) -> dict[str, JsonValue]:
    rows = connection.execute("SELECT name, value FROM settings ORDER BY name")
    return {FAVORITES: [], **{name: json.loads(value) for name, value in rows}}


def set_setting(connection: sqlite3.Connection, name: str, value: JsonValue) -> JsonValue:
    if name == FAVORITES:
        raise InvalidRequestError(
            f"'{FAVORITES}' is no setting like others", hint="modelbay fav --help"
        )
    _set(connection, name, value)
    if value is not None:
        _count(connection)
    return value


def set_settings(
    connection: sqlite3.Connection, values: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    """Several at once; where one cannot be, the caller's transaction undoes all."""
    before = frozenset(settings(connection))
    for name, value in values.items():
        if name == FAVORITES:
            change_favorites(connection, partial(replaced, wanted=_favorites(value)))
        else:
            _set(connection, name, value)
    if not frozenset(settings(connection)) <= before:
        _count(connection)
    return settings(connection)


def _favorites(value: JsonValue) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InvalidRequestError(f"'{FAVORITES}' is a list of texts")
    texts = tuple(each for each in value if isinstance(each, str))
    if len(texts) < len(value):
        raise InvalidRequestError(f"'{FAVORITES}' is a list of texts")
    return texts


def _set(connection: sqlite3.Connection, name: str, value: JsonValue) -> None:
    limits.text("the setting's name", name, limits.SETTING_NAME_CHARS)
    if value is None:
        connection.execute("DELETE FROM settings WHERE name = ?", (name,))
    else:
        _put(connection, name, limits.json_text(f"the setting '{name}'", value))


def _count(connection: sqlite3.Connection) -> None:
    (count,) = connection.execute("SELECT count(*) FROM settings").fetchone()
    limits.count("settings", count, limits.SETTINGS)


def _value(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _put(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute(
        "INSERT INTO settings VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )
