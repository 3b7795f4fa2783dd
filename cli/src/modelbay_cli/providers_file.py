"""`providers.json` on the disk: read whole, replaced whole, and no other's edit lost."""

import codecs
import contextlib
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from modelbay.config import unreadable
from modelbay.config_edit import TEMPLATE
from modelbay.errors import BackendBusyError, ConfigError

_ATTEMPTS = 20


def read(path: Path) -> str:
    """The text; the empty template for a file that is not there.

    Raises:
        ConfigError: It cannot be read.
    """
    return TEMPLATE if (found := _bytes(path)) is None else _text(found, path)


def rewrite(path: Path, edit: Callable[[str], str]) -> None:
    """Replace the file's text by what ``edit`` makes of it; a missing file begins as the template.

    All or nothing: a file beside it takes its place once it is on the disk, with the mode and the
    owner of the old one. Where ``path`` is a symbolic link, what it points to is replaced. Two
    processes take turns; somebody who writes without asking for a turn, such as an editor, is seen
    before the last step, and the edit is made anew on what he wrote.

    Raises:
        ConfigError: It cannot be read or written, is read-only, or the edit is refused.
        BackendBusyError: It changed again and again.
    """
    try:
        real = path.resolve()
        real.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError) as exc:  # links that go round in a circle
        raise _unwritable(path, exc) from exc
    with _turn(real.parent):
        for _ in range(_ATTEMPTS):
            before = _bytes(real)
            text = TEMPLATE if before is None else _text(before, path)
            changed = edit(text)
            if before is not None and changed == text:
                return
            try:
                if before is not None:
                    _require_writable(real, path)
                mark = codecs.BOM_UTF8 if (before or b"").startswith(codecs.BOM_UTF8) else b""
                if _replaced(real, before, mark + changed.encode()):
                    return
            except OSError as exc:
                raise _unwritable(path, exc) from exc
    raise BackendBusyError(
        f"{path} is being written by somebody else all the time", hint="try again"
    )


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as exc:
        unreadable(path, exc)


def _text(found: bytes, path: Path) -> str:
    # Decoded by hand: line ends must stay what they are.
    try:
        return found.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise ConfigError("not UTF-8 text", where=str(path)) from exc


def _require_writable(real: Path, path: Path) -> None:
    """Replacing needs no right to write the file itself, so whoever took it away is asked."""
    if real.stat().st_mode & 0o222:
        return
    raise ConfigError(
        "cannot be written: it is read-only",
        where=str(path),
        hint=f"chmod u+w {shlex.quote(str(path))}",
    )


def _replaced(real: Path, before: bytes | None, changed: bytes) -> bool:
    """Put the text in place, unless the file is no longer what the edit began with."""
    handle, name = tempfile.mkstemp(dir=real.parent, prefix=f".{real.name}-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            if before is not None:
                status = real.stat()
                if os.name == "posix":
                    with contextlib.suppress(PermissionError):  # only root may give files away
                        os.chown(temporary, status.st_uid, status.st_gid)
                temporary.chmod(status.st_mode & 0o7777)
            file.write(changed)
            file.flush()
            os.fsync(file.fileno())
        if _bytes(real) != before:
            temporary.unlink()
            return False
        temporary.replace(real)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return True


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """One process at a time. The folder itself is what is locked, so that no file is left over."""
    try:
        import fcntl
    except ImportError:  # Windows: the comparison before the last step is all there is
        yield
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as exc:
        raise _unwritable(folder, exc) from exc
    try:
        with contextlib.suppress(OSError):  # a network folder that cannot be locked
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _unwritable(path: Path, exc: OSError | RuntimeError) -> ConfigError:
    reason = os.strerror(exc.errno or 0) if isinstance(exc, OSError) else str(exc)
    return ConfigError(
        f"cannot be written: {reason}",
        where=str(path),
        hint=f"ls -ld {path.parent}   # you must be allowed to write there",
    )
