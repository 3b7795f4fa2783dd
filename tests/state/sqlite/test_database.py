"""Mirrors modelbay/state/sqlite/database.py, schema.py and forks.py: the file itself."""

import itertools
import shlex
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelbay.errors import BackendBusyError, ConfigError, ModelbayError
from modelbay.state.sqlite import database, schema
from modelbay.state.sqlite.database import Database


def put(value: str, name: str = "a") -> Callable[[sqlite3.Connection], None]:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    return work


def values(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, value FROM settings ORDER BY name"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "folder" / "state.db"


@pytest.fixture
def file(path: Path) -> Iterator[Database]:
    opened = Database(path)
    yield opened
    opened.close()


def pragma(file: Database, name: str) -> object:
    return file.read(lambda connection: connection.execute(f"PRAGMA {name}").fetchone()[0])


# --- opening --------------------------------------------------------------------------------------


def test_nothing_is_made_before_the_first_call(path: Path, file: Database) -> None:
    assert not path.parent.exists()

    assert file.read(values) == {}
    assert path.exists()


def test_only_the_owner_may_read_the_file_and_its_folders(path: Path, file: Database) -> None:
    file.write(put("1"))
    files = sorted(path.parent.iterdir())

    assert [each.name for each in files] == ["state.db", "state.db-shm", "state.db-wal"]
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    file = Database(tmp_path / "state.db")
    file.read(values)
    file.close()

    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_commits_are_in_a_log_and_on_the_disk(file: Database) -> None:
    assert (pragma(file, "journal_mode"), pragma(file, "synchronous")) == ("wal", 2)


def test_memory_keeps_what_is_written_and_makes_no_file() -> None:
    memory = Database(None)
    memory.write(put("1"))
    with pytest.raises(ModelbayError):
        memory.read(lambda connection: connection.execute("SELECT no_such_column FROM settings"))

    assert memory.read(values) == {"a": "1"}
    assert not Path(":memory:").exists()
    memory.close()


@pytest.mark.parametrize("at", range(30))
def test_two_may_make_the_file_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """While one opens it, before its nth statement, another one makes it and writes."""
    monkeypatch.setattr(database, "BUSY_S", 0.0)
    connect = sqlite3.connect
    statements: list[str] = []
    done: list[bool] = []

    def another(statement: str) -> None:
        statements.append(statement)
        if len(statements) == at + 1:
            monkeypatch.setattr(sqlite3, "connect", connect)
            other = Database(path, clock=itertools.count(0.0, 100.0).__next__)
            try:
                other.write(put("1"))
                done.append(True)
            except BackendBusyError:  # it is not its turn
                done.append(False)
            other.close()

    def watched(*arguments: object, **options: object) -> sqlite3.Connection:
        made: sqlite3.Connection = connect(*arguments, **options)  # type: ignore[call-overload]
        made.set_trace_callback(another)
        return made

    monkeypatch.setattr(sqlite3, "connect", watched)
    file = Database(path)
    file.write(put("2", "b"))

    assert file.read(values) == ({"a": "1", "b": "2"} if done == [True] else {"b": "2"})
    file.close()


# --- transactions ---------------------------------------------------------------------------------


def test_work_that_fails_changes_nothing(file: Database) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        put("2")(connection)
        raise ZeroDivisionError

    file.write(put("1"))
    with pytest.raises(ZeroDivisionError):
        file.write(fail)

    assert file.read(values) == {"a": "1"}


def test_a_write_has_the_file_to_itself_from_its_beginning(path: Path, file: Database) -> None:
    """Else it could fail at its first write, after it has read."""
    file.read(values)
    other = sqlite3.connect(path, timeout=0, isolation_level=None)

    def refuse(connection: sqlite3.Connection) -> None:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")

    file.write(refuse)
    other.close()


def test_threads_take_turns(file: Database) -> None:
    def count(connection: sqlite3.Connection) -> None:
        (before,) = connection.execute("SELECT coalesce(max(value), 0) FROM settings").fetchone()
        put(str(int(before) + 1).zfill(4))(connection)

    threads = [
        threading.Thread(target=lambda: [file.write(count) for _ in range(25)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert file.read(values) == {"a": "0200"}


def test_a_busy_file_is_waited_for(path: Path, file: Database) -> None:
    file.write(put("1"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    pauses: list[float] = []

    def let_go(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            other.execute("ROLLBACK")
            other.close()

    waiting = Database(path, pause=let_go)
    waiting.write(put("2"))

    assert pauses == [database.PAUSE_S] * 3
    assert waiting.read(values) == {"a": "2"}
    waiting.close()


def test_a_file_that_stays_busy_is_a_typed_error_and_no_lock_error(
    path: Path, file: Database
) -> None:
    file.write(put("1"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    now = 0.0

    def later(seconds: float) -> None:
        nonlocal now
        now += seconds * 100

    waiting = Database(path, clock=lambda: now, pause=later)
    with pytest.raises(BackendBusyError, match="in use by other processes for 30 s") as raised:
        waiting.write(put("2"))
    other.close()

    assert raised.value.hint == f"fuser {shlex.quote(str(path))}   # shows which"
    assert waiting.read(values) == {"a": "1"}
    waiting.close()


def test_a_file_that_was_moved_away_is_not_written_to(path: Path, file: Database) -> None:
    file.write(put("1"))
    path.rename(path.with_name("away.db"))
    file.write(put("2", "b"))

    assert file.read(values) == {"b": "2"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


# --- closing --------------------------------------------------------------------------------------


def test_closing_twice_is_harmless_and_leaves_one_file(path: Path, file: Database) -> None:
    file.write(put("1"))
    file.close()
    file.close()

    assert [each.name for each in path.parent.iterdir()] == ["state.db"]
    with pytest.raises(ModelbayError, match="closed"):
        file.read(values)


def test_the_log_is_carried_over_when_it_has_grown(path: Path, file: Database) -> None:
    """Never in passing: see docs/decisions/0005-state-store.md."""
    log = path.with_name("state.db-wal")
    assert pragma(file, "wal_autocheckpoint") == 0
    for number in range(5):
        file.write(put("x" * 1024 * 1024, str(number)))
    assert file.is_checkpoint_due

    file.checkpoint()

    assert (log.stat().st_size, file.is_checkpoint_due) == (0, False)
    assert len(file.read(values)) == 5


def test_a_reader_that_stays_does_not_make_every_write_try_again(
    path: Path, file: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0.0)
    monkeypatch.setattr(database, "CHECKPOINT_BYTES", 100_000)
    file.write(put("1"))
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM settings").fetchall()
    file.write(put("x" * 5_000_000))
    file.checkpoint()
    reader.close()

    assert not file.is_checkpoint_due
    assert file.read(values) == {"a": "x" * 5_000_000}


# --- files that cannot be used --------------------------------------------------------------------


def test_a_damaged_file_is_named_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"not a database at all, " * 100)
    before = path.read_bytes()
    file = Database(path)
    with pytest.raises(ConfigError) as raised:
        file.read(values)
    file.close()

    assert str(raised.value).startswith(f"{path}: the state file is damaged, and has been left")
    assert raised.value.hint == f"mv {path} {path}.damaged   # a new one is made"
    assert path.read_bytes() == before


def test_a_page_that_is_damaged_later_is_named_too_and_the_hint_works(
    path: Path, file: Database
) -> None:
    for number in range(200):
        file.write(put("x" * 500, str(number)))
    log = path.with_name("state.db-wal").read_bytes()
    file.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    damaged = Database(path)
    with pytest.raises(ConfigError, match="damaged") as raised:
        damaged.read(values)
    path.with_name("state.db-wal").write_bytes(log)  # may be left from before
    assert raised.value.hint is not None
    subprocess.run(raised.value.hint, shell=True, check=True)

    assert damaged.read(values) == {}
    assert path.with_name("state.db.damaged").read_bytes() == bytes(content)
    damaged.close()


def test_a_newer_file_is_refused_and_left_alone(path: Path, file: Database) -> None:
    file.write(put("1"))
    newest = len(schema.MIGRATIONS)
    with sqlite3.connect(path) as other:
        other.execute(f"PRAGMA user_version = {newest + 1}")
    other.close()
    with pytest.raises(ConfigError, match=f"newer modelbay .schema {newest + 1}") as raised:
        file.write(put("2"))  # also while it is open
    again = Database(path)
    with pytest.raises(ConfigError, match="newer modelbay"):
        again.read(values)
    again.close()

    assert raised.value.hint == "pip install --upgrade modelbay"
    assert str(raised.value).startswith(f"{path}: ")


@pytest.mark.parametrize("number", [0, 1])
def test_a_database_of_another_program_is_refused_and_left_alone(
    tmp_path: Path, number: int
) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE settings (theirs)")
        theirs.execute(f"PRAGMA user_version = {number}")
    theirs.close()
    before = path.read_bytes()
    file = Database(path)
    with pytest.raises(ConfigError, match="a database of another program"):
        file.write(put("1"))
    file.close()

    assert path.read_bytes() == before


def test_a_folder_in_the_place_of_the_file_is_an_error_with_a_hint(tmp_path: Path) -> None:
    file = Database(tmp_path)
    with pytest.raises(ConfigError, match="cannot be opened") as raised:
        file.read(values)
    file.close()

    assert raised.value.hint == f"ls -ld {tmp_path.parent} {tmp_path}"


def test_a_file_in_the_place_of_the_folder_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    file = Database(tmp_path / "taken" / "state.db")
    with pytest.raises(ConfigError, match="cannot be made: Not a directory") as raised:
        file.read(values)
    file.close()

    assert raised.value.hint == f"ls -ld {tmp_path / 'taken'}"


def test_a_full_disk_is_an_error_and_nothing_is_lost(file: Database) -> None:
    file.write(put("1"))
    file.read(lambda connection: connection.execute("PRAGMA max_page_count = 20"))
    with pytest.raises(ModelbayError, match="no room left") as raised:
        file.write(put("x" * 1_000_000))

    assert (raised.value.hint or "").startswith("df -h ")
    assert file.read(values) == {"a": "1"}


# --- migrations -----------------------------------------------------------------------------------

STEPS = (
    ("CREATE TABLE first (a)", "INSERT INTO first VALUES ('kept')"),
    ("ALTER TABLE first ADD COLUMN b", "UPDATE first SET b = 'added'"),
)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(tmp_path / "m.db", isolation_level=None)
    yield opened
    opened.close()


def test_each_step_runs_once_and_keeps_what_is_there(connection: sqlite3.Connection) -> None:
    schema.prepare(connection, "m.db", STEPS[:1])
    schema.prepare(connection, "m.db", STEPS)
    schema.prepare(connection, "m.db", STEPS)

    assert connection.execute("SELECT * FROM first").fetchall() == [("kept", "added")]
    assert schema.look(connection, "m.db", 2) == 2


def test_a_step_that_fails_leaves_the_file_as_it_was(connection: sqlite3.Connection) -> None:
    schema.prepare(connection, "m.db", STEPS[:1])
    with pytest.raises(sqlite3.OperationalError):
        schema.prepare(connection, "m.db", (*STEPS, ("DROP TABLE first", "nonsense")))

    assert connection.execute("SELECT * FROM first").fetchall() == [("kept",)]
    assert schema.look(connection, "m.db", 1) == 1


# --- forks ----------------------------------------------------------------------------------------

FORK = """
import os, sqlite3, sys, threading
from pathlib import Path
from modelbay.state.sqlite.database import Database

path = Path(sys.argv[1])
put = lambda v: lambda c: c.execute("INSERT INTO settings VALUES (?, '')", (v,))
file = Database(path)
file.write(put("before"))
to_child, to_parent = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    file.write(put("child"))
    os.write(to_parent[1], b"x")
    os.read(to_child[0], 1)  # meanwhile the parent closes
    file.write(put("child, after the parent closed"))
    os._exit(0)
os.read(to_parent[0], 1)
file.write(put("parent"))
file.close()
os.write(to_child[1], b"x")
_, status = os.waitpid(pid, 0)
assert status == 0
"""


def test_after_a_fork_both_go_on_and_lose_nothing(tmp_path: Path) -> None:
    """Without closing before the fork the child's last commit is lost: see forks.py."""
    path = tmp_path / "state.db"
    subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK, str(path)],
        check=True,
        timeout=60,
    )
    file = Database(path)

    assert list(file.read(values)) == [
        "before",
        "child",
        "child, after the parent closed",
        "parent",
    ]
    file.close()


def test_a_fork_waits_for_a_transaction_that_is_under_way(file: Database) -> None:
    begun, go_on = threading.Event(), threading.Event()
    file.read(values)

    def slow(connection: sqlite3.Connection) -> None:
        put("1")(connection)
        begun.set()
        go_on.wait()

    writer = threading.Thread(target=lambda: file.write(slow))
    closer = threading.Thread(target=file.before_fork)
    writer.start()
    begun.wait()
    closer.start()
    go_on.set()
    writer.join()
    closer.join()
    file.after_fork_in_parent()

    assert file.read(values) == {"a": "1"}
