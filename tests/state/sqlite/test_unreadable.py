"""Mirrors modelbay/state/sqlite/unreadable.py: what others have left in the file."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelbay.errors import ConfigError
from modelbay.models.chat import Message
from modelbay.state import NewMessage
from modelbay.state.sqlite.store import SqliteStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(path, clock=lambda: 1000.0) as opened:
        yield opened


def by_hand(path: Path, sql: str, *values: str | bytes) -> None:
    file = sqlite3.connect(path)
    with file:
        file.execute(sql, values)
    file.close()


DAMAGED = ("{not json", '[1, null, "cpp/qwen3-8b"]', '{"a": 1}', '"desk/a"', "null", "[" * 100_000)


async def set_by_hand(store: SqliteStore, path: Path, name: str, value: str | bytes) -> None:
    await store.settings()
    by_hand(path, "INSERT OR REPLACE INTO settings VALUES (?, ?)", name, value)


@pytest.mark.parametrize("value", [*DAMAGED, b"[]"])
async def test_damaged_favourites_are_an_error_with_the_file_and_a_fix(
    store: SqliteStore, path: Path, value: str | bytes
) -> None:
    await set_by_hand(store, path, "favorite_models", value)

    for work in (
        store.favorites(),
        store.add_favorite("desk/a"),
        store.remove_favorite("desk/a"),
        store.rewrite_favorites({"a": "desk/a"}),
        store.settings(),
    ):
        with pytest.raises(ConfigError) as told:
            await work
        assert (str(told.value), told.value.hint) == (
            f"{path}: the list of favourites cannot be read, and has been left as it is",
            "modelbay fav rm --all   # forgets the list; there is no other way to mend it",
        )


@pytest.mark.parametrize("value", DAMAGED)
@pytest.mark.parametrize("wanted", [(), ("desk/a",)])
async def test_a_whole_new_list_takes_the_place_of_a_damaged_one(
    store: SqliteStore, path: Path, value: str, wanted: tuple[str, ...]
) -> None:
    await set_by_hand(store, path, "favorite_models", value)

    assert await store.set_favorites(wanted) == wanted
    assert await store.favorites() == wanted
    await set_by_hand(store, path, "favorite_models", value)
    assert await store.set_settings({"favorite_models": list(wanted)}) == {
        "favorite_models": list(wanted)
    }


async def test_another_damaged_setting_is_an_error_that_can_be_removed(
    store: SqliteStore, path: Path
) -> None:
    await set_by_hand(store, path, "theme", "{")

    with pytest.raises(ConfigError) as told:
        await store.settings()
    assert str(told.value).startswith(f"{path}: the setting 'theme' cannot be read")
    assert told.value.hint == f"mv {path} {path}.damaged   # a new one is made"
    assert await store.favorites() == ()
    await store.set_setting("theme", None)
    assert await store.settings() == {"favorite_models": []}


@pytest.mark.parametrize(
    ("column", "what"),
    [
        ("conversations SET settings = '['", "what conversation 'c' keeps with it"),
        ("conversations SET settings = '[]'", "what conversation 'c' keeps with it"),
        ("messages SET usage = '['", "what message 1 of conversation 'c' cost"),
    ],
)
async def test_a_damaged_conversation_is_an_error_too(
    store: SqliteStore, path: Path, column: str, what: str
) -> None:
    await store.append_messages("c", [NewMessage(message=Message(role="user", content="hi"))])
    by_hand(path, f"UPDATE {column}")

    with pytest.raises(ConfigError, match=f"{what} cannot be read"):
        await (store.messages("c") if "messages" in column else store.conversations())
