"""A folder of recorded exchanges, one file each."""

import contextlib
import os
import re
import threading
from pathlib import Path

from pydantic import ValidationError

from modelbay.errors import ConfigError
from modelbay.testing.recording.form import RecordedExchange

_NAME = re.compile(r"(\d{4,})-.*\.json")
_WORDS = re.compile(r"[^a-z0-9]+")
_LONGEST = 60  # characters of a name that is made of an address


class ExchangeFolder:
    """Where exchanges are written; for this user alone, each whole or not at all.

    Numbers go on where those of an earlier recording end. Any thread may use it.

    Args:
        path: Made if it is not there.

    Raises:
        OSError: It cannot be made.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self._lock = threading.Lock()
        self._number = max((number for number, _ in _files(path)), default=0)
        self._written: list[Path] = []

    @property
    def written(self) -> list[Path]:
        """The files of this recording, in the order they were finished."""
        with self._lock:
            return list(self._written)

    def number(self) -> int:
        """The number of the next exchange."""
        with self._lock:
            self._number += 1
            return self._number

    def write(self, exchange: RecordedExchange) -> Path:
        """Raises OSError: there is no room, or no permission."""
        words = f"{exchange.provider_id} {exchange.request.method} {exchange.request.target}"
        name = _WORDS.sub("-", words.partition("?")[0].lower()).strip("-")[:_LONGEST]
        path = self.path / f"{exchange.number:04}-{name}.json"
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        data = exchange.as_text().encode()
        try:
            handle = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with open(handle, "wb") as file:  # noqa: PTH123 - of a descriptor
                file.write(data)
            unfinished.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise
        with self._lock:
            self._written.append(path)
        return path


def read_folder(path: Path) -> list[RecordedExchange]:
    """The exchanges of a folder by their numbers; those of one file, if it is one.

    Raises:
        ConfigError: There are none, or one cannot be read.
    """
    files = [path] if path.is_file() else [file for _, file in _files(path)]
    exchanges = [_read(file) for file in files]
    if not exchanges:
        raise ConfigError(
            "there are no recorded exchanges",
            where=str(path),
            hint=f"modelbay record -o {path} -- modelbay chat hello",
        )
    return sorted(exchanges, key=lambda exchange: exchange.number)


def _files(path: Path) -> list[tuple[int, Path]]:
    if not path.is_dir():
        return []
    named = ((_NAME.fullmatch(file.name), file) for file in path.iterdir())
    return sorted((int(found[1]), file) for found, file in named if found is not None)


def _read(path: Path) -> RecordedExchange:
    try:
        return RecordedExchange.model_validate_json(path.read_bytes())
    except OSError as exc:
        raise ConfigError(
            f"cannot be read: {os.strerror(exc.errno or 0)}", where=str(path)
        ) from exc
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False, include_context=False)[0]
        place = "".join(f"/{step}" for step in first["loc"])
        raise ConfigError(
            f"no recorded exchange: {first['msg']}", where=str(path), pointer=place or None
        ) from exc
