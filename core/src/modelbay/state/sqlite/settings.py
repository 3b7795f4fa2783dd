"""Settings in SQL; `favorite_models` is one of them (S0-48)."""

import json
import sqlite3
from collections.abc import Callable

from pydantic import JsonValue

from modelbay.errors import InvalidRequestError
from modelbay.state import limits
from modelbay.state.favorites import Favorites

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
    limits.text("the setting's name", name, limits.SETTING_NAME_CHARS)
    if name == FAVORITES:
        raise InvalidRequestError(
            f"'{FAVORITES}' is no setting like others", hint="modelbay fav --help"
        )
    if value is None:
        connection.execute("DELETE FROM settings WHERE name = ?", (name,))
        return None
    text = limits.json_text(f"the setting '{name}'", value)
    _put(connection, name, text)
    (count,) = connection.execute("SELECT count(*) FROM settings").fetchone()
    limits.count("settings", count, limits.SETTINGS)
    return value


def _value(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def _put(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute(
        "INSERT INTO settings VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )
