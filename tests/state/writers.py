"""Processes that write to one state file at once, killed again and again; and what must be true.

Every writer says what it is about to write and, once the store has answered, that it is done.
The file is then read with plain `sqlite3`: what was acknowledged must be there, and what was under
way when the writer was killed must be there whole or not at all.
"""

import asyncio
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TypeAlias

from modelbay.models.chat import Message
from modelbay.state import NewMessage
from modelbay.state.sqlite.store import SqliteStore

# A kind of write, what it is about, and the value that is there afterwards.
Write: TypeAlias = tuple[str, str, str]

SILENT_S = 60.0  # no word from any writer for so long: they wait for each other
_START = multiprocessing.get_context("forkserver")
_START.set_forkserver_preload(["state.writers"])


def write_for_ever(path: str, writer: int, life: int, told: Connection) -> None:
    """The program of one writer."""
    asyncio.run(_write_for_ever(path, writer, life, told))


async def _write_for_ever(path: str, writer: int, life: int, told: Connection) -> None:
    rng = random.Random(f"{writer}/{life}")
    store = SqliteStore(Path(path))
    for count in range(1, 10_000_000):
        match rng.choice(("model", "favourite", "message")):
            case "model":
                key, value = f"w{writer}-{rng.randrange(3)}", f"desk/{life}-{count}"
                told.send(("model", key, value))
                kept = await store.set_conversation_model(key, value)
                assert kept == value
            case "favourite":
                favorite = f"desk{writer}/m{rng.randrange(4)}"
                there = favorite in await store.favorites()
                told.send(("favourite", favorite, "" if there else "there"))
                change = store.remove_favorite if there else store.add_favorite
                assert (favorite in await change(favorite)) is not there
            case _:
                key = f"w{writer}-life{life}"
                told.send(("message", key, str(count)))
                message = Message(role="user", content=f"{count} " + "word " * 800)
                await store.append_messages(key, [NewMessage(message=message)])
        told.send(None)


def _writer(path: str, writer: int, life: int, told: Connection) -> None:
    try:
        write_for_ever(path, writer, life, told)
    except Exception as exc:
        told.send(("error", type(exc).__name__, str(exc)))
        raise


@dataclass(slots=True)
class Life:
    """One process, as seen from outside."""

    process: multiprocessing.process.BaseProcess
    told: Connection
    under_way: Write | None = None
    done: int = 0


@dataclass(slots=True)
class Report:
    """What came of it.

    Attributes:
        killed_under_way: How many of the kills met a write that was not acknowledged.
        of_these_kept: How many of those writes are there all the same.
        slowest_s: The longest that the parent waited for any word.
    """

    kills: int = 0
    acknowledged: int = 0
    killed_under_way: int = 0
    of_these_kept: int = 0
    slowest_s: float = 0.0
    errors: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    integrity: Counter[str] = field(default_factory=Counter)


class Trial:
    """Runs the writers and compares.

    Args:
        path: The file; it is made by the writers.
        look_every: Kills between two checks of the whole file.
    """

    def __init__(self, path: Path, *, writers: int, seed: int, look_every: int) -> None:
        self.path = path
        self.report = Report()
        self._rng = random.Random(seed)
        self._look_every = look_every
        self._lives = 0
        self._kept: dict[tuple[str, str], str] = {}
        self._messages: dict[str, list[str]] = {}
        self._maybe: dict[tuple[str, str], str] = {}
        self._alive = {writer: self._born(writer) for writer in range(writers)}

    def run(self, kills: int) -> Report:
        try:
            while self.report.kills < kills and not self.report.errors and not self.report.lost:
                self._kill_one()
            for writer in list(self._alive):
                self._bury(writer)
        finally:
            for life in self._alive.values():
                life.process.kill()
                life.process.join()
                life.told.close()
        self._look(self._all())
        self._check_file()
        return self.report

    def _kill_one(self) -> None:
        writer = self._rng.choice(list(self._alive))
        life = self._alive[writer]
        enough = life.done + self._rng.randint(1, 4)
        self._listen(lambda: life.done >= enough and life.under_way is not None)
        if self.report.errors:
            return
        self._bury(writer)
        self.report.kills += 1
        self._alive[writer] = self._born(writer)
        if self.report.kills % self._look_every == 0:
            self._check_file()

    def _born(self, writer: int) -> Life:
        self._lives += 1
        reader, told = _START.Pipe(duplex=False)
        process = _START.Process(
            target=_writer, args=(str(self.path), writer, self._lives, told), daemon=True
        )
        process.start()
        told.close()
        return Life(process, reader)

    def _bury(self, writer: int) -> None:
        """Kill it, hear its last words, and see what has become of its writes."""
        life = self._alive.pop(writer)
        assert life.process.pid is not None
        os.kill(life.process.pid, signal.SIGKILL)
        life.process.join()
        try:
            while True:
                self._hear(life)
        except EOFError:
            life.told.close()
        if life.under_way is not None:
            self.report.killed_under_way += 1
            self._settle(life.under_way)
        self._look(self._own(writer))

    def _listen(self, until: Callable[[], bool]) -> None:
        while not until() and not self.report.errors:
            began = time.monotonic()
            by_told = {life.told: life for life in self._alive.values()}
            ready = wait(list(by_told), timeout=SILENT_S)
            waited_s = time.monotonic() - began
            self.report.slowest_s = max(self.report.slowest_s, waited_s)
            if not ready:
                self.report.errors.append(f"nobody has written for {SILENT_S:g} s")
            for told in ready:
                assert isinstance(told, Connection)
                try:
                    self._hear(by_told[told])
                except EOFError:
                    self.report.errors.append("a writer ended by itself")
                    return

    def _hear(self, life: Life) -> None:
        word = life.told.recv()
        if word is None:
            assert life.under_way is not None
            self._keep(life.under_way)
            life.under_way = None
            life.done += 1
            self.report.acknowledged += 1
        elif word[0] == "error":
            self.report.errors.append(f"{word[1]}: {word[2]}")
        else:
            life.under_way = word

    def _keep(self, write: Write) -> None:
        kind, key, value = write
        self._maybe.pop((kind, key), None)
        if kind == "message":
            self._messages.setdefault(key, []).append(value)
        else:
            self._kept[kind, key] = value

    def _settle(self, write: Write) -> None:
        """A write that was under way: in the file, or not, or found when its log is recovered.

        The last happens if the commit was complete in the log and not yet announced to the others:
        the next writer overwrites it, but if there is none, the next recovery brings it in.
        """
        kind, key, value = write
        found = self._found(kind, key)
        if (value in found) if kind == "message" else (found == [value] if value else not found):
            self.report.of_these_kept += 1
            self._keep(write)
        else:
            self._maybe[kind, key] = value

    # --- the file, read without the code under test ----------------------------------------------

    def _found(self, kind: str, key: str) -> list[str]:
        with self._opened() as file:
            if kind == "favourite":
                return ["there"] if key in _favorites(file) else []
            sql = "SELECT model FROM conversation_models WHERE conversation_id = ?"
            if kind == "message":
                sql = "SELECT body FROM messages WHERE conversation_id = ? ORDER BY position"
            rows = [str(row[0]) for row in file.execute(sql, (key,))]
        if kind == "message":
            return [json.loads(row)["content"].partition(" ")[0] for row in rows]
        return rows

    def _look(self, keys: list[tuple[str, str]]) -> None:
        for kind, key in keys:
            found = self._found(kind, key)
            if kind == "message":
                wanted = self._messages.get(key, [])
                maybe = [*wanted, self._maybe.get((kind, key), "")]
            else:
                wanted = [value for value in (self._kept.get((kind, key)),) if value]
                maybe = [value for value in (self._maybe.get((kind, key)),) if value]
            if found != wanted and not ((kind, key) in self._maybe and found == maybe):
                self.report.lost.append(f"{kind} {key}: {found[-3:]} instead of {wanted[-3:]}")

    def _own(self, writer: int) -> list[tuple[str, str]]:
        """What this writer has written; of the messages, in the life that just ended."""
        begins = (f"w{writer}-", f"desk{writer}/")
        mine = [(kind, key) for kind, key in self._kept if key.startswith(begins)]
        told = [key for key in self._messages if key.startswith(begins)]
        return mine + [("message", key) for key in told[-1:]]

    def _all(self) -> list[tuple[str, str]]:
        return [*self._kept, *(("message", key) for key in self._messages)]

    def _check_file(self) -> None:
        with self._opened() as file:
            self.report.integrity.update(row[0] for row in file.execute("PRAGMA integrity_check"))

    def _opened(self) -> "_Opened":
        return _Opened(self.path)


class _Opened:
    """A connection that is closed at the end of its block."""

    def __init__(self, path: Path) -> None:
        self._file = sqlite3.connect(path, timeout=30, isolation_level=None)

    def __enter__(self) -> sqlite3.Connection:
        self._file.execute("PRAGMA wal_autocheckpoint = 0")
        return self._file

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _favorites(file: sqlite3.Connection) -> list[str]:
    row = file.execute("SELECT value FROM settings WHERE name = 'favorite_models'").fetchone()
    return [] if row is None else list(json.loads(row[0]))
