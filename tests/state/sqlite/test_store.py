"""Mirrors modelbay/state/sqlite/store.py: settings, models of conversations, and the worker."""

import asyncio
import itertools
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelbay.errors import InvalidRequestError, ModelbayError
from modelbay.refs import ModelRef
from modelbay.state import RememberedModel, limits
from modelbay.state.rules import Turn
from modelbay.state.sqlite.store import SqliteStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(path, clock=lambda: 1000.0) as opened:
        yield opened


def old_row(path: Path, sql: str, *values: str) -> None:
    """Written by another program, or long ago."""
    file = sqlite3.connect(path)
    with file:
        file.execute(sql, values)
    file.close()


# --- favourites and settings ----------------------------------------------------------------------


async def test_favourites_are_kept_as_composite_ids_in_one_setting(
    store: SqliteStore, path: Path
) -> None:
    """S0-48, S0-49."""
    assert await store.favorites() == ()
    await store.add_favorite("desk/qwen3")
    assert await store.add_favorite(ModelRef("lab", "org/m:q4")) == ("desk/qwen3", "lab/org/m:q4")

    assert await store.settings() == {"favorite_models": ["desk/qwen3", "lab/org/m:q4"]}


async def test_favourites_are_shared_by_all_programs(store: SqliteStore, path: Path) -> None:
    """S0-04, S0-15."""
    async with SqliteStore(path) as other:
        await store.add_favorite("desk/a")
        await other.add_favorite("desk/b")

    assert await store.favorites() == ("desk/a", "desk/b")


async def test_bare_favourites_of_old_are_read_as_they_are(store: SqliteStore, path: Path) -> None:
    """S0-51: nothing is rewritten by reading, and another write keeps them."""
    await store.settings()
    old_row(path, "INSERT INTO settings VALUES ('favorite_models', ?)", json.dumps(["old", "d/a"]))

    assert await store.add_favorite("desk/b") == ("old", "d/a", "desk/b")
    assert await store.rewrite_favorites({"old": "desk/old"}) == ("desk/old", "d/a", "desk/b")


async def test_other_settings_are_kept_beside_them(store: SqliteStore) -> None:
    assert await store.set_setting("theme", {"dark": True, "size": 1.5}) == {
        "dark": True,
        "size": 1.5,
    }
    await store.set_setting("gone", "x")

    assert await store.set_setting("gone", None) is None
    assert await store.settings() == {"favorite_models": [], "theme": {"dark": True, "size": 1.5}}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("favorite_models", []),
        ("", 1),
        ("n" * (limits.SETTING_NAME_CHARS + 1), 1),
        ("long", "x" * limits.SETTING_BYTES),
        ("half", "\ud800"),
        ("number", float("nan")),
    ],
)
async def test_what_cannot_be_a_setting_is_refused(
    store: SqliteStore, name: str, value: str | float | list[object]
) -> None:
    with pytest.raises(InvalidRequestError):
        await store.set_setting(name, value)  # type: ignore[arg-type]
    assert await store.settings() == {"favorite_models": []}


async def test_there_is_a_limit_to_settings(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SETTINGS", 1)
    await store.set_setting("one", 1)
    await store.set_setting("one", 2)
    with pytest.raises(InvalidRequestError, match="2 settings"):
        await store.set_setting("two", 1)

    assert await store.settings() == {"favorite_models": [], "one": 2}


async def test_several_settings_are_set_at_once(store: SqliteStore) -> None:
    await store.set_settings({"theme": "dark", "gone": 1, "left": [1]})
    await store.add_favorite("desk/a")

    found = await store.set_settings(
        {"favorite_models": ["desk/b", "desk/a", "desk/b"], "theme": "light", "gone": None}
    )

    assert found == {"favorite_models": ["desk/b", "desk/a"], "left": [1], "theme": "light"}
    assert await store.settings() == found
    assert await store.set_settings({"favorite_models": None}) == {
        "favorite_models": [],
        "left": [1],
        "theme": "light",
    }
    assert await store.set_settings({}) == await store.settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("favorite_models", ["bare"]),
        ("favorite_models", "desk/a"),
        ("favorite_models", ["desk/a", 1]),
        ("", 1),
        ("n" * (limits.SETTING_NAME_CHARS + 1), 1),
        ("long", "x" * limits.SETTING_BYTES),
        ("half", "\ud800"),
        ("number", float("nan")),
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
async def test_where_one_of_several_settings_cannot_be_none_of_them_is_set(
    store: SqliteStore, name: str, value: str | float | list[object], is_first: bool
) -> None:
    await store.set_settings({"favorite_models": ["desk/a"], "theme": "dark"})
    before = await store.settings()
    good: dict[str, object] = {"favorite_models": [], "theme": None, "new": 1}
    good.pop(name, None)
    both = {name: value, **good} if is_first else {**good, name: value}

    with pytest.raises(InvalidRequestError):
        await store.set_settings(both)  # type: ignore[arg-type]

    assert await store.settings() == before


async def test_several_settings_have_the_same_limit_and_removed_ones_make_room(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SETTINGS", 2)
    await store.set_settings({"one": 1, "two": 2})

    with pytest.raises(InvalidRequestError, match="3 settings"):
        await store.set_settings({"one": 11, "three": 3})
    assert await store.settings() == {"favorite_models": [], "one": 1, "two": 2}
    assert await store.set_settings({"three": 3, "one": None}) == {
        "favorite_models": [],
        "three": 3,
        "two": 2,
    }


async def test_nobody_sees_half_of_several_settings(path: Path) -> None:
    async with SqliteStore(path) as writes, SqliteStore(path) as reads:
        await writes.set_settings({"a": 0, "b": 0})
        seen = []

        async def write() -> None:
            for number in range(1, 30):
                await writes.set_settings({"a": number, "b": number})

        async def read() -> None:
            for _ in range(60):
                seen.append(await reads.settings())

        await asyncio.gather(write(), read())

    assert [each for each in seen if each["a"] != each["b"]] == []


# --- the model of a conversation ------------------------------------------------------------------


async def test_a_model_is_remembered_for_its_conversation(path: Path) -> None:
    """S2-01, S2-02, S2-20: one string, recalled in a new session."""
    async with SqliteStore(path) as before:
        assert await before.set_conversation_model("c1", "sam-desktop/qwen3") == "sam-desktop/qwen3"
    async with SqliteStore(path) as after:
        assert await after.conversation_model("c1") == "sam-desktop/qwen3"
        assert await after.conversation_model("c2") is None


async def test_a_model_is_kept_in_the_documents_column(store: SqliteStore, path: Path) -> None:
    """S0-33, S0-47: a `model TEXT` column."""
    await store.set_conversation_model("c", "desk/qwen3")
    file = sqlite3.connect(path)
    columns = file.execute("PRAGMA table_info(conversation_models)").fetchall()
    file.close()

    assert ("model", "TEXT") in [(column[1], column[2]) for column in columns]


@pytest.mark.parametrize("nothing", [None, ""])
async def test_null_and_an_empty_string_clear_and_answer_null(
    store: SqliteStore, path: Path, nothing: str | None
) -> None:
    """S2-06, S2-09, S2-13, S2-22: the key is deleted, the answer is what there is now."""
    await store.set_conversation_model("c", "desk/qwen3")

    assert await store.set_conversation_model("c", nothing) is None
    assert await store.conversation_model("c") is None
    assert await store.models_in_use() == {}


@pytest.mark.parametrize("text", ["no such model", "desk/", "/", "qwen3", " ", "a/b/c:d", "é🦙"])
async def test_nothing_is_validated_when_a_model_is_set(store: SqliteStore, text: str) -> None:
    """S2-21; S0-71: bare ids of old stay as they are."""
    assert await store.set_conversation_model("c", text) == text
    assert await store.turn("c") == Turn(text, "conversation")


@pytest.mark.parametrize("text", ["x" * (limits.MODEL_CHARS + 1), "\ud800", "a\0b"])
async def test_only_what_cannot_be_stored_is_refused(store: SqliteStore, text: str) -> None:
    with pytest.raises(InvalidRequestError):
        await store.set_conversation_model("c", text)
    with pytest.raises(InvalidRequestError):
        await store.set_conversation_model(text, "desk/qwen3")
    with pytest.raises(InvalidRequestError):
        await store.conversation_model(text)


async def test_an_override_is_persisted_for_the_turns_that_follow(store: SqliteStore) -> None:
    """S2-15, S2-16."""
    await store.set_conversation_model("c", "desk/one")

    assert await store.turn("c") == Turn("desk/one", "conversation")
    assert await store.turn("c", "lab/two") == Turn("lab/two", "request", write="lab/two")
    assert await store.turn("c") == Turn("lab/two", "conversation")
    assert await store.turn("c", "") == Turn("lab/two", "conversation")


async def test_an_override_that_must_not_persist_leaves_no_trace(store: SqliteStore) -> None:
    """U12."""
    await store.set_conversation_model("c", "desk/one")
    await store.turn("c", "lab/two", persist=False)
    await store.turn("new", "lab/two", persist=False)

    assert await store.models_in_use() == {"desk/one": 1}


async def test_a_warm_up_resolves_as_a_turn_does(store: SqliteStore) -> None:
    """S2-17: from persistence when there is no explicit override."""
    await store.set_conversation_model("c", "desk/one")

    assert await store.turn("c", persist=False) == Turn("desk/one", "conversation")
    assert await store.turn("other", persist=False) == Turn(None, None)


async def test_bare_ids_are_rewritten_only_where_asked(store: SqliteStore) -> None:
    """S0-76, S0-69: all remembered ids can be looked at; nothing is rewritten by itself."""
    for number, text in enumerate(["qwen3", "qwen3", "both", "desk/x"]):
        await store.set_conversation_model(f"c{number}", text)
    assert await store.models_in_use() == {"both": 1, "desk/x": 1, "qwen3": 2}

    assert await store.rewrite_conversation_models({"qwen3": "desk/qwen3"}) == 2
    assert await store.models_in_use() == {"both": 1, "desk/qwen3": 2, "desk/x": 1}


async def test_the_longest_untouched_model_without_history_is_forgotten(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REMEMBERED_MODELS", 2)
    async with SqliteStore(path, clock=itertools.count().__next__) as store:
        await store.create_conversation("kept")
        for conversation_id in ("kept", "old", "newer", "newest"):
            await store.set_conversation_model(conversation_id, "desk/m")
        left = [
            each
            for each in ("kept", "old", "newer", "newest")
            if await store.conversation_model(each)
        ]

    assert left == ["kept", "newest"]


# --- the worker -----------------------------------------------------------------------------------


async def test_opening_touches_no_file_and_starts_no_thread(path: Path) -> None:
    before = threading.active_count()
    store = SqliteStore(path)

    assert threading.active_count() == before
    await store.aclose()
    assert not os.path.lexists(path)  # noqa: ASYNC240, PTH - no waiting here


async def test_many_tasks_write_at_once_and_nothing_is_lost(store: SqliteStore) -> None:
    await asyncio.gather(*(store.add_favorite(f"desk/{number}") for number in range(100)))

    assert sorted(await store.favorites()) == sorted(f"desk/{number}" for number in range(100))


async def test_closing_finishes_what_was_asked_for(path: Path) -> None:
    store = SqliteStore(path)
    writes = [asyncio.create_task(store.add_favorite(f"desk/{number}")) for number in range(20)]
    await asyncio.sleep(0)
    await asyncio.gather(store.aclose(), store.aclose())
    done = await asyncio.gather(*writes)
    await store.aclose()

    async with SqliteStore(path) as again:
        assert await again.favorites() == done[-1] == tuple(f"desk/{n}" for n in range(20))
    with pytest.raises(ModelbayError, match="closed"):
        await store.favorites()


async def test_a_cancelled_write_is_done_whole_or_not_at_all(store: SqliteStore) -> None:
    tasks = [asyncio.create_task(store.add_favorite(f"desk/{number}")) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

    assert set(await store.favorites()) <= {f"desk/{number}" for number in range(20)}
    assert await store.add_favorite("lab/m") == await store.favorites()


async def test_the_log_is_kept_short_behind_the_callers_back(
    store: SqliteStore, path: Path
) -> None:
    for number in range(80):
        await store.set_setting(f"s{number}", "x" * 60_000)
    await store.settings()  # waits its turn behind the checkpoint

    assert path.with_name("state.db-wal").stat().st_size < 4 * 1024 * 1024


async def test_memory_belongs_to_one_store() -> None:
    async with SqliteStore(None) as one, SqliteStore(None) as two:
        await one.add_favorite("desk/a")

        assert (await one.favorites(), await two.favorites()) == (("desk/a",), ())


FORK = """
import asyncio, os, sys
from pathlib import Path
from modelbay.state.sqlite.store import SqliteStore

async def main(store, name):
    return await store.add_favorite(f"desk/{name}")

store = SqliteStore(Path(sys.argv[1]) if sys.argv[1:] else None)
asyncio.run(main(store, "before"))
pid = os.fork()
if pid == 0:
    print(asyncio.run(main(store, "child")), flush=True)
    asyncio.run(store.aclose())
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
print(asyncio.run(main(store, "parent")))
asyncio.run(store.aclose())
"""


def forked(*arguments: str) -> list[str]:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK, *arguments]
    done = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True)
    return done.stdout.splitlines()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_after_a_fork_both_processes_use_the_store(path: Path) -> None:
    assert forked(str(path)) == [
        "('desk/before', 'desk/child')",
        "('desk/before', 'desk/child', 'desk/parent')",
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_after_a_fork_memory_is_a_copy() -> None:
    assert forked() == ["('desk/before', 'desk/child')", "('desk/before', 'desk/parent')"]


# --- conversations with their models --------------------------------------------------------------


async def test_conversations_that_remember_a_model_alone_are_listed_with_the_others(
    path: Path,
) -> None:
    now = itertools.count(1.0)
    async with SqliteStore(path, clock=lambda: next(now)) as store:
        await store.create_conversation("talk", title="Talk")
        await store.set_conversation_model("bare", "old")
        await store.create_conversation("silent")
        await store.set_conversation_model("talk", "desk/a")
        await store.set_conversation_model("bare2", "desk/b")
        await store.set_conversation_model("gone", "desk/c")
        await store.set_conversation_model("gone", None)

        page = await store.conversation_models()
        found: list[RememberedModel] = []
        cursor: str | None = None
        for _ in range(10):
            one = await store.conversation_models(limit=1, cursor=cursor)
            found += one.items
            cursor = one.next
            if cursor is None:
                break
        with pytest.raises(InvalidRequestError, match="this cursor was not given"):
            await store.conversation_models(cursor="nowhere")

    assert page.items == (
        RememberedModel(conversation_id="bare2", model="desk/b", used_at=5.0),
        RememberedModel(conversation_id="silent", model=None, used_at=3.0),
        RememberedModel(conversation_id="bare", model="old", used_at=2.0),
        RememberedModel(conversation_id="talk", model="desk/a", title="Talk", used_at=1.0),
    )
    assert (tuple(found), page.next) == (page.items, None)
