"""What is wrong on the disk: folders that cannot be written, files that cannot be read."""

import errno
import json
import os
import shlex
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from modelbay.config import Locations
from modelbay.errors import ConfigError
from modelbay.keys import KeyStore
from modelbay.state.sqlite import settings
from modelbay.state.sqlite.unreadable import UnreadableError
from modelbay_cli.diagnosis.finding import Finding

ROOM_BYTES = 20 * 1024 * 1024  # less than that, and the next list or conversation may not fit
FUTURE_S = 300.0


def look_at_folders(
    places: Locations,
    *,
    clock: Callable[[], float] = time.time,
    room: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
) -> list[Finding]:
    """Everything that is wrong with the data and the cache folder.

    Args:
        clock: Seconds since 1970.
        room: Free bytes where a folder is.
    """
    found: list[Finding] = []
    for what, folder in (("data folder", places.data), ("cache folder", places.cache)):
        wrong = _folder(what, folder, room)
        if wrong is not None:
            found.append(wrong)
    found += _stored_keys(places.data / "keys.json")
    found += _lists(places.cache / "models", clock())
    found += _measurements(places.data / "measured")
    found += _state(places.data / "state.db")
    return found


def _folder(what: str, folder: Path, room: Callable[[Path], int]) -> Finding | None:
    level, name = ("error" if what == "data folder" else "warning"), shlex.quote(str(folder))
    there = _nearest(folder)
    if not there.is_dir():
        blocked = shlex.quote(str(there))
        return Finding(
            "error" if level == "error" else "warning",
            "folder_is_a_file",
            what,
            f"{there} is a file, and a folder should be there",
            f"mv {blocked} {blocked}.old",
        )
    problem = _trial(there, keep_out=there != folder)
    if problem is not None:
        code, fix = {
            errno.ENOSPC: ("disk_full", f"df -h {name}   # then free some room"),
            errno.EDQUOT: ("disk_full", "quota   # then free some room"),
            errno.EROFS: ("folder_read_only", "export MODELBAY_HOME=$HOME/modelbay"),
        }.get(problem.errno or 0, ("folder_unwritable", f"chmod u+rwx {shlex.quote(str(there))}"))
        return Finding(
            "error" if level == "error" else "warning",
            code,
            what,
            f"{there} cannot be written: {os.strerror(problem.errno or 0)}",
            fix,
        )
    free = room(there)
    if free < ROOM_BYTES:
        return Finding(
            "warning",
            "disk_full",
            what,
            f"{free // 1024} kB are left where {there} is",
            f"df -h {name}   # then free some room",
        )
    return None


def _nearest(folder: Path) -> Path:
    """The folder, or what there is of the way to it."""
    for path in (folder, *folder.parents):
        try:
            path.lstat()
        except NotADirectoryError:
            continue
        except OSError:
            continue
        return path
    return folder


def _trial(folder: Path, *, keep_out: bool) -> OSError | None:
    """Whether a file can be made there; in a folder that is not ours, only asked."""
    if keep_out:
        denied = not os.access(folder, os.W_OK | os.X_OK)
        return OSError(errno.EACCES, "") if denied else None
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            file.write(b"x")
            file.flush()
    except OSError as exc:
        return exc
    return None


def _stored_keys(path: Path) -> Iterator[Finding]:
    if not path.parent.is_dir():
        return
    try:
        KeyStore(path).list()
    except ConfigError as exc:
        name = shlex.quote(str(path))
        if "others on this machine" in exc.message:
            yield Finding.of("error", "keys_exposed", "stored keys", exc, f"chmod 600 {name}")
        else:
            fix = f"mv {name} {name}.damaged   # then: modelbay keys set PROVIDER"
            yield Finding.of("error", "keys_damaged", "stored keys", exc, fix)


def _lists(folder: Path, now: float) -> Iterator[Finding]:
    for path in _pages(folder):
        document = _document(path)
        fix = f"rm {shlex.quote(str(path))}"
        if document is None:
            yield Finding("warning", "cache_damaged", "cache folder", f"{path} cannot be read", fix)
            continue
        moments = [document.get("read_at"), document.get("failed_at")]
        if any(isinstance(at, (int, float)) and at > now + FUTURE_S for at in moments):
            yield Finding(
                "warning",
                "clock_went_back",
                "cache folder",
                f"{path} is from the future: the clock was ahead, or is behind now",
                fix,
            )


def _measurements(folder: Path) -> Iterator[Finding]:
    for path in _pages(folder):
        if _document(path) is None:
            yield Finding(
                "warning",
                "measurements_damaged",
                "data folder",
                f"{path} cannot be read",
                f"rm {shlex.quote(str(path))}   # modelbay verify measures anew",
            )


def _pages(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError:
        return []


def _document(path: Path) -> dict[str, object] | None:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _state(path: Path) -> Iterator[Finding]:
    """Only read: a check must change nothing in a file that may be damaged."""
    if not path.is_file():
        return
    reason, unreadable = "", None
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=1.0)
        try:
            rows = connection.execute("PRAGMA quick_check(1)").fetchall()
            reason = "" if rows == [("ok",)] else str(rows[0][0])
            if not reason:
                settings.settings(connection)
        finally:
            connection.close()
    except sqlite3.OperationalError:
        return  # in use, or not ours to open: who needs it says so
    except sqlite3.DatabaseError as exc:
        reason = str(exc)
    except UnreadableError as exc:
        reason, unreadable = f"{exc.what} cannot be read", exc
    if reason:
        name = shlex.quote(str(path))
        aside = f"mv {name} {name}.damaged   # a new one is made; sqlite3 .recover may save the old"
        fix = None if unreadable is None else unreadable.fix
        message = f"{path} is damaged ({reason})"
        yield Finding("error", "state_damaged", "state", message, fix or aside)
