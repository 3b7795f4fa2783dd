"""Settings in SQL; `favorite_models` is one of them (S0-48)."""

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pydantic import JsonValue

from modelbay.errors import InvalidRequestError
from modelbay.refs import ModelRef
from modelbay.state import limits
from modelbay.state.favorites import Favorites, replaced
from modelbay.state.sqlite.unreadable import UnreadableError, json_of

FAVORITES = "favorite_models"
_FORGET = "modelbay fav rm --all   # forgets the list; there is no other way to mend it"


def favorites(connection: sqlite3.Connection) -> Favorites:
    """All as kept.

    Raises:
        UnreadableError: What is kept is no list of texts.
    """
    row = connection.execute("SELECT value FROM settings WHERE name = ?", (FAVORITES,)).fetchone()
    return () if row is None else _kept_favorites(row[0])


def replace_favorites(
    connection: sqlite3.Connection, wanted: Sequence[ModelRef | str]
) -> Favorites:
    """The whole list anew, also where the old one cannot be read."""
    try:
        favorites(connection)
    except UnreadableError:
        connection.execute("DELETE FROM settings WHERE name = ?", (FAVORITES,))
    return change_favorites(connection, partial(replaced, wanted=wanted))


def change_favorites(
    connection: sqlite3.Connection, change: Callable[[Favorites], Favorites]
) -> Favorites:
    kept = favorites(connection)
    wanted = change(kept)
    if wanted != kept:
        _put(connection, FAVORITES, json.dumps(wanted, ensure_ascii=False))
    return wanted


def settings(connection: sqlite3.Connection) -> dict[str, JsonValue]:
    """All by name.

    Raises:
        UnreadableError: One of them is no JSON.
    """
    found: dict[str, JsonValue] = {FAVORITES: []}
    for name, value in connection.execute("SELECT name, value FROM settings ORDER BY name"):
        if name == FAVORITES:
            found[name] = list(_kept_favorites(value))
        else:
            found[name] = json_of(f"the setting '{name}'", value)
    return found


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
    before = _names(connection)
    for name, value in values.items():
        if name == FAVORITES:
            replace_favorites(connection, _favorites(value))
        else:
            _set(connection, name, value)
    if not _names(connection) <= before:
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


def _names(connection: sqlite3.Connection) -> frozenset[str]:
    rows = connection.execute("SELECT name FROM settings")
    return frozenset((FAVORITES, *(name for (name,) in rows)))


def _kept_favorites(text: object) -> Favorites:
    what = "the list of favourites"
    value = json_of(what, text, _FORGET)
    texts = [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
    if not isinstance(value, list) or len(texts) < len(value):
        raise UnreadableError(what, _FORGET)
    return tuple(texts)


def _put(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute(
        "INSERT INTO settings VALUES (?, ?)"
        " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )
