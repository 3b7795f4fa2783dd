"""One connection to the file: opened when it is first needed, and one transaction at a time."""

import logging
import os
import shlex
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from modelbay.errors import BackendBusyError, ConfigError, InvalidRequestError, ModelbayError
from modelbay.state.sqlite import forks, schema
from modelbay.state.sqlite.unreadable import UnreadableError

log = logging.getLogger("modelbay.state")

T = TypeVar("T")

BUSY_S = 10.0  # SQLite's own wait: while opening, migrating and carrying over the log
PATIENCE_S = 30.0  # ours, for a transaction
# We ask again ourselves. SQLite waits up to 100 ms between two tries and so lets one of ten busy
# writers starve (docs/decisions/0005-state-store.md); and some refusals come without any wait.
PAUSE_S, LATER_PAUSE_S, LATER_S = 0.001, 0.010, 1.0
CHECKPOINT_BYTES = 4 * 1024 * 1024

_TRY_AGAIN = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_FORBIDDEN = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_AUTH,
)


class Database:
    """A file, or memory. Any thread may call; each call is one transaction.

    Args:
        path: Made when it is first used, with mode 0600, in folders with mode 0700. ``None`` keeps
            everything in memory.
        clock, pause: Seconds, only forward; and how to wait.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.path = path
        self._clock = clock
        self._pause = pause
        self._gate = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._is_closed = False
        self._checkpoint_at = CHECKPOINT_BYTES
        if path is not None:
            forks.watch(self)

    @property
    def where(self) -> str:
        return ":memory:" if self.path is None else str(self.path)

    def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work on one unchanging state of the file.

        Raises:
            ConfigError: The file, or a row of it, is damaged; or it is forbidden, newer than we
                are, or not ours.
            BackendBusyError: Other processes kept it to themselves for `PATIENCE_S`.
            ModelbayError: It has been closed, or the disk fails.
        """
        return self._run("BEGIN", work)

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work whole or not at all. Once this returns it is on the disk.

        The work may be done more than once before that, so it must change nothing but the file.

        Raises:
            As `read`.
        """
        # A plain BEGIN would fail at its first write if another process wrote since its first read.
        return self._run("BEGIN IMMEDIATE", work)

    def close(self) -> None:
        """Close the file. Closing twice is harmless."""
        with self._gate:
            self._is_closed = True
            self._drop()

    # --- transactions ----------------------------------------------------------------------------

    def _run(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._gate:
            if self._is_closed:
                raise ModelbayError("the state store is closed", hint="open another one")
            began = self._clock()
            while True:
                try:
                    return self._attempt(begin, work)
                except sqlite3.Error as exc:
                    code = _code(exc)
                    if code not in _TRY_AGAIN:
                        if self.path is not None:
                            self._drop()  # whatever it was, the next call starts anew
                        raise self._translated(exc, code) from exc
                    waited_s = self._clock() - began
                    if waited_s >= PATIENCE_S:
                        raise BackendBusyError(
                            f"{self.where} was in use by other processes for {PATIENCE_S:g} s",
                            hint=f"fuser {shlex.quote(self.where)}   # shows which",
                        ) from exc
                except UnreadableError as exc:
                    raise self._unreadable(exc) from None  # its cause may show what was kept
                except OSError as exc:
                    raise self._unreachable(exc) from exc
                self._pause(PAUSE_S if waited_s < LATER_S else LATER_PAUSE_S)

    def _attempt(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._current()
        connection.execute(begin)
        try:
            schema.version(connection, self.where)  # a newer modelbay may have migrated it just now
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _current(self) -> sqlite3.Connection:
        """The connection, to the file that has the name now."""
        if self._connection is not None and self.path is not None:
            try:
                status = self.path.stat()
            except FileNotFoundError:
                status = None
            if status is None or (status.st_dev, status.st_ino) != self._file:
                self._drop()  # moved away: what we wrote there would be lost
        if self._connection is None:
            self._connection = self._opened()
        return self._connection

    def _opened(self) -> sqlite3.Connection:
        if self.path is not None:
            _make(self.path)
        connection = sqlite3.connect(
            self.where, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            schema.look(connection, self.where)  # before anything changes in the file
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA trusted_schema = OFF")
            # FULL: in WAL mode NORMAL may lose the last commits when the power goes.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")  # see `checkpoint`
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            if self.path is not None and mode != "wal":
                connection.execute("PRAGMA journal_mode = WAL")
            schema.prepare(connection, self.where)
            connection.execute("PRAGMA busy_timeout = 0")  # `_run` waits
        except BaseException:
            connection.close()
            raise
        if self.path is not None:
            status = self.path.stat()
            self._file = (status.st_dev, status.st_ino)
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as exc:
                log.warning("%s: closing failed: %s", self.where, exc)

    # --- the log ---------------------------------------------------------------------------------

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether the write-ahead log has grown past `CHECKPOINT_BYTES`."""
        return self._log_bytes() >= self._checkpoint_at

    def checkpoint(self) -> None:
        """Carry the write-ahead log over into the file, if it is due.

        Never in passing after a commit, as SQLite would: up to 3.51.2 such a checkpoint, racing
        with another process's commit, could lose commits ("WAL-reset bug", fixed in 3.51.3).
        TRUNCATE keeps writers out meanwhile.
        """
        with self._gate:
            if self._connection is None or not self.is_checkpoint_due:
                return
            try:
                # Without a wait SQLite would give up on keeping writers out.
                self._connection.execute(f"PRAGMA busy_timeout = {BUSY_S * 1000:.0f}")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                self._connection.execute("PRAGMA busy_timeout = 0")
            except sqlite3.Error as exc:  # the commits are safe where they are
                log.debug("%s: checkpoint: %s", self.where, exc)
                self._drop()
            # If a reader held it up, it is not tried again at every write.
            self._checkpoint_at = self._log_bytes() + CHECKPOINT_BYTES

    def _log_bytes(self) -> int:
        if self.path is None:
            return 0
        try:
            return os.stat(f"{self.path}-wal").st_size  # noqa: PTH116 - at every write
        except OSError:
            return 0

    # --- forks -----------------------------------------------------------------------------------

    def before_fork(self) -> None:
        self._gate.acquire()
        self._drop()

    def after_fork_in_parent(self) -> None:
        self._gate.release()

    def after_fork_in_child(self) -> None:
        self._gate = threading.Lock()

    # --- what went wrong -------------------------------------------------------------------------

    def _translated(self, exc: sqlite3.Error, code: int) -> ModelbayError:
        quoted = shlex.quote(self.where)
        if code in _DAMAGED:
            return ConfigError(
                f"the state file is damaged, and has been left as it is ({exc})",
                where=self.where,
                hint=self._put_aside(),
            )
        if code in _FORBIDDEN:
            return ConfigError(
                f"the state file cannot be opened ({exc})",
                where=self.where,
                hint=f"ls -ld {shlex.quote(str(Path(self.where).parent))} {quoted}",
            )
        if code == sqlite3.SQLITE_FULL:
            return ModelbayError(
                f"no room left to write {self.where}",
                hint=f"df -h {shlex.quote(str(Path(self.where).parent))}",
            )
        if code == sqlite3.SQLITE_TOOBIG:
            return InvalidRequestError("too large to be stored")
        return ModelbayError(f"{self.where}: {exc}", hint="modelbay doctor")

    def _unreadable(self, exc: UnreadableError) -> ConfigError:
        return ConfigError(
            f"{exc.what} cannot be read, and has been left as it is",
            where=self.where,
            hint=exc.fix or self._put_aside(),
        )

    def _put_aside(self) -> str:
        damaged = shlex.quote(f"{self.where}.damaged")
        return f"mv {shlex.quote(self.where)} {damaged}   # a new one is made"

    def _unreachable(self, exc: OSError) -> ConfigError:
        return ConfigError(
            f"cannot be made: {os.strerror(exc.errno or 0)}",
            where=self.where,
            hint=f"ls -ld {shlex.quote(str(Path(self.where).parent))}",
        )


def _code(exc: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 where Python raised it by itself."""
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF


def _make(path: Path) -> None:
    """An empty file that only its owner may read, unless there is one already.

    One that is there is not opened: closing it again would drop the locks that this process holds
    on it through another connection.
    """
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)
    try:
        made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    except FileExistsError:
        return
    os.close(made)
