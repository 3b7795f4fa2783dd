"""Keys of clients: hashed at rest, compared in constant time, each good for some scopes."""

import contextlib
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from modelbay.errors import ConfigError
from modelbay_gateway.scopes import SCOPES

FILE = "gateway-keys.json"
LOOK_AGAIN_S = 1.0  # how soon a running server sees a key that was added or removed
_LIMIT_BYTES = 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class ClientKey:
    """One key, without the key.

    Attributes:
        digest: SHA-256 of the key, in hex. Keys are 256 random bits: a slow hash adds nothing.
        created: Seconds since 1970.
    """

    name: str
    scopes: frozenset[str]
    digest: str
    created: int


class ClientKeys:
    """The file of client keys.

    Args:
        path: It need not exist; then there are no keys.
        clock: Seconds, only forward.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float]) -> None:
        self.path = path
        self._clock = clock
        self._keys: tuple[ClientKey, ...] = ()
        self._mark: tuple[int, int] | None = None
        self._next_look = float("-inf")
        self.had_any = False  # seen since it runs; who revokes the last key opens no door by it

    def add(self, name: str, scopes: Iterable[str], *, now: int) -> str:
        """Make a key and keep its hash; the key itself is shown this once.

        Raises:
            ConfigError: The name is taken or cannot be used, or the file cannot be written.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"'{name}' cannot be a key's name",
                hint="use up to 64 letters, digits, dots, hyphens and underscores",
            )
        with self._turn():
            keys = self._read()
            if any(key.name == name for key in keys):
                raise ConfigError(
                    f"there is a key '{name}' already", hint=f"modelbay serve keys rm {name}"
                )
            secret = f"mb-{secrets.token_urlsafe(32)}"
            self._write((*keys, ClientKey(name, frozenset(scopes), digest(secret), now)))
        return secret

    def remove(self, name: str) -> bool:
        """Forget a key; ``False`` if there was none.

        Raises:
            ConfigError: The file is damaged, others may read it, or it cannot be written.
        """
        with self._turn():
            keys = self._read()
            left = tuple(key for key in keys if key.name != name)
            if len(left) == len(keys):
                return False
            self._write(left)
        return True

    def list(self) -> tuple[ClientKey, ...]:
        """Every key, in the order they were made.

        Raises:
            ConfigError: The file is damaged, or others may read it.
        """
        return self._read()

    def current(self) -> tuple[ClientKey, ...]:
        """The keys, read anew when the file has changed; looked at once a second at most.

        Raises:
            ConfigError: The file is damaged, or others may read it.
        """
        now = self._clock()
        if now >= self._next_look:
            mark = self._look()
            if mark != self._mark:
                self._keys = self._read()
                self._mark = mark
                self.had_any = self.had_any or bool(self._keys)
            self._next_look = now + LOOK_AGAIN_S
        return self._keys

    def _look(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    def _read(self) -> tuple[ClientKey, ...]:
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                raw = file.read(_LIMIT_BYTES + 1)
        except FileNotFoundError:
            return ()
        except OSError as exc:
            raise self._wrong(f"cannot be read: {os.strerror(exc.errno or 0)}") from exc
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(
                "others on this machine may read the file of client keys",
                where=str(self.path),
                hint=f"chmod 600 {self.path}",
            )
        try:
            document = json.loads(raw) if len(raw) <= _LIMIT_BYTES else None
            return tuple(_entry(entry) for entry in document["keys"])  # type: ignore[index]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self._wrong("is damaged") from None

    def _write(self, keys: Iterable[ClientKey]) -> None:
        """All or nothing: a file beside it takes its place once it is on the disk."""
        entries = [
            {
                "name": key.name,
                "scopes": sorted(key.scopes),
                "sha256": key.digest,
                "created": key.created,
            }
            for key in keys
        ]
        text = json.dumps({"keys": entries}, indent=2)
        try:
            # mkstemp makes a file that its owner alone may read.
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".gateway-keys-")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(self.path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as exc:
            raise self._wrong(f"cannot be written: {os.strerror(exc.errno or 0)}") from exc

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """One change at a time, of all processes: each reads what the one before has written.

        The folder itself is what is locked, so that no file is left over.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            raise self._wrong(f"cannot be written: {os.strerror(exc.errno or 0)}") from exc
        try:
            import fcntl
        except ImportError:  # Windows, where a folder cannot be locked
            yield
            return
        try:
            folder = os.open(self.path.parent, os.O_RDONLY)
        except OSError as exc:
            raise self._wrong(f"cannot be written: {os.strerror(exc.errno or 0)}") from exc
        try:
            with contextlib.suppress(OSError):  # a network folder that cannot be locked
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _wrong(self, what: str) -> ConfigError:
        return ConfigError(
            f"the file of client keys {what}",
            where=str(self.path),
            hint=f"mend or remove {self.path}, then: modelbay serve keys add NAME",
        )


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def match(secret: str, keys: Iterable[ClientKey]) -> ClientKey | None:
    """The key this is; every key is compared, and each in constant time."""
    given = digest(secret)
    found = None
    for key in keys:
        if hmac.compare_digest(given, key.digest):
            found = key
    return found


def _entry(entry: dict[str, object]) -> ClientKey:
    name, scopes, sha256, created = (
        entry["name"],
        entry["scopes"],
        entry["sha256"],
        entry["created"],
    )
    if not (
        isinstance(name, str)
        and isinstance(scopes, list)
        and all(scope in SCOPES for scope in scopes)
        and isinstance(sha256, str)
        and re.fullmatch(r"[0-9a-f]{64}", sha256)
        and isinstance(created, int)
    ):
        raise ValueError("no key")
    return ClientKey(name, frozenset(scopes), sha256, created)
