"""Keys people store with `modelbay keys`: in the system's keyring, or in a file of their own.

One small file, readable by its owner alone, says which keys there are, where each lies and which
server it is for. A key in the keyring is not in that file. The environment always comes first: this
store is asked only for what no variable holds.
"""

import json
import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, TypeVar
from urllib.parse import urlsplit

from modelbay.errors import ConfigError

SERVICE = "modelbay"  # the name people see in their keyring
LIMIT_BYTES = 1024 * 1024

T = TypeVar("T")

Place: TypeAlias = Literal["keyring", "file"]


class Keyring(Protocol):
    """The part of the `keyring` library that is used."""

    def get_password(self, service_name: str, username: str) -> str | None: ...

    def set_password(self, service_name: str, username: str, password: str) -> None: ...

    def delete_password(self, service_name: str, username: str) -> None: ...


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is known of a key without reading it.

    Attributes:
        name: A provider's id, or the name of the variable it stands in for.
        host: The origin it is sent to alone, as `origin` writes it: ``https://api.acme.test``.
            ``None`` until it is sent for the first time.
    """

    name: str
    place: Place
    host: str | None = None


def origin(url: str) -> str:
    """Scheme, host and port of an address, a usual port left out; empty for none.

    Another port is another server, and without TLS anybody may be the server.
    """
    if not url:
        return ""
    address = urlsplit(url)
    host = f"[{address.hostname}]" if ":" in (address.hostname or "") else address.hostname
    try:
        port = address.port
    except ValueError:
        return f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
    usual = {"http": 80, "https": 443}.get(address.scheme)
    return f"{address.scheme}://{host}{'' if port in (None, usual) else f':{port}'}"


class KeyStore:
    """The stored keys.

    Args:
        path: The file; it need not exist.
        keyring: Gives the system's keyring; called only when one of its keys is wanted.
    """

    def __init__(self, path: Path, keyring: Callable[[], Keyring] | None = None) -> None:
        self.path = path
        self._keyring = keyring or _system_keyring

    def list(self) -> tuple[StoredKey, ...]:
        """Every stored key, by name; none is read.

        Raises:
            ConfigError: The file is damaged, or others may read it.
        """
        return tuple(
            StoredKey(name, "file" if "key" in entry else "keyring", entry.get("host"))
            for name, entry in sorted(self._read().items())
        )

    def get(self, name: str) -> str | None:
        """A key; ``None`` if it is not stored.

        Raises:
            ConfigError: The file or the keyring cannot be read.
        """
        entry = self._read().get(name)
        if entry is None:
            return None
        if "key" in entry:
            return entry["key"]
        return self._asked(lambda keyring: keyring.get_password(SERVICE, name))

    def set(self, name: str, key: str, *, place: Place, host: str | None = None) -> None:
        """Store a key, in the place of an earlier one.

        Raises:
            ConfigError: There is no keyring, or the file cannot be written.
        """
        entries = self._read()
        before = entries.get(name)
        entry = {} if host is None else {"host": host}
        if place == "file":
            entry["key"] = key
        else:
            self._asked(lambda keyring: keyring.set_password(SERVICE, name, key))
        self._write({**entries, name: entry})
        if place == "file" and before is not None and "key" not in before:
            self._drop_from_keyring(name)

    def bind(self, name: str, host: str) -> None:
        """From now on a key is for this origin alone.

        Raises:
            ConfigError: The file cannot be read or written.
        """
        entries = self._read()
        if name in entries:
            self._write({**entries, name: {**entries[name], "host": host}})

    def remove(self, name: str) -> bool:
        """Forget a key; ``False`` if there was none.

        Raises:
            ConfigError: It is forgotten here, and the keyring may still hold it.
        """
        entries = self._read()
        entry = entries.pop(name, None)
        if entry is None:
            return False
        self._write(entries)
        if "key" not in entry:
            self._drop_from_keyring(name)
        return True

    def _drop_from_keyring(self, name: str) -> None:
        """People delete keys in the keyring's own window too: then there is nothing to do."""

        def drop(keyring: Keyring) -> None:
            if keyring.get_password(SERVICE, name) is not None:
                keyring.delete_password(SERVICE, name)

        try:
            self._asked(drop)
        except ConfigError as exc:
            raise ConfigError(
                f"the old key of '{name}' is no longer used, but may still be in the system's"
                f" keyring: {exc.message}",
                hint=f"delete '{name}' of '{SERVICE}' in the keyring",
            ) from exc

    def _read(self) -> dict[str, dict[str, str]]:
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                raw = file.read(LIMIT_BYTES + 1)
        except FileNotFoundError:
            return {}
        except OSError as exc:
            raise self._wrong(f"cannot be read: {os.strerror(exc.errno or 0)}") from exc
        if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(
                "others on this machine may read the stored keys",
                where=str(self.path),
                hint=f"chmod 600 {self.path}",
            )
        try:
            document = json.loads(raw) if len(raw) <= LIMIT_BYTES else None
            entries = document["keys"] if isinstance(document, dict) else None
        except (ValueError, KeyError, RecursionError):
            entries = None
        if not isinstance(entries, dict) or not all(map(_is_entry, entries.values())):
            raise self._wrong("is damaged")  # never with its text: it holds keys
        return entries

    def _write(self, entries: dict[str, dict[str, str]]) -> None:
        """All or nothing: a file beside it takes its place once it is on the disk."""
        text = json.dumps({"keys": entries}, indent=2, sort_keys=True)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # mkstemp makes a file that its owner alone may read.
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".keys-")
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

    def _wrong(self, what: str) -> ConfigError:
        return ConfigError(
            f"the file of stored keys {what}",
            where=str(self.path),
            hint=f"mend or remove {self.path}, then: modelbay keys set PROVIDER",
        )

    def _asked(self, question: Callable[[Keyring], T]) -> T:
        """What the keyring says.

        Raises:
            ConfigError: There is none, it is locked, or it refuses.
        """
        try:
            return question(self._keyring())
        except ConfigError:
            raise
        except Exception as exc:  # every backend of the library has errors of its own
            raise ConfigError(
                f"the system's keyring does not answer ({type(exc).__name__})",
                hint="modelbay keys set PROVIDER --file   # keeps the key in a file of your own",
            ) from exc


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and all(
        name in ("key", "host") and isinstance(value, str) for name, value in entry.items()
    )


def _system_keyring() -> Keyring:
    try:
        import keyring
    except ImportError as exc:
        raise ConfigError(
            "the library for the system's keyring is not installed",
            hint="pip install keyring   # or: modelbay keys set PROVIDER --file",
        ) from exc
    found: Keyring = keyring.get_keyring()
    return found
