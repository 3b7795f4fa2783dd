"""What was measured of models, kept between programs.

A file for each model. It counts for the very same model only: the same ref with the same digest, or
where a server gives none, with an entry in its list that contradicts nothing the entry said when it
was measured. To say more is no contradiction: servers tell most of a model that is in memory, and
measuring brings it there.

Several programs may measure at once: each adds to what the others have written, one at a time. What
keeps them apart is a lock of the operating system, which ends with the program that holds it.
"""

import contextlib
import errno
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError

from modelbay.errors import ConfigError
from modelbay.models.capabilities import Measurement
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.frozen import Frozen
from modelbay.refs import ModelRef

FOLDER = "measured"
LOCK_S = 2.0  # a page is written in milliseconds; who takes longer is stopped or hangs
_AGAIN_S = 0.002
_LOADED = "loaded"
_CONTEXT = "context_window"


class _Page(Frozen):
    """What was measured of a model.

    Attributes:
        entry: What its entry said that tells one model from another, where it has no digest.
    """

    ref: ModelRef
    digest: str | None
    entry: dict[str, JsonValue]
    measurements: list[Measurement]


_PAGE = TypeAdapter(_Page)


class Ledger:
    """The folder of measurements.

    Args:
        folder: Made when the first model is measured.
        lock_s: Seconds to wait for another program that writes at this moment.
    """

    def __init__(self, folder: Path, *, lock_s: float = LOCK_S) -> None:
        self._folder = folder / FOLDER
        self._lock_s = lock_s
        self._names: frozenset[str] | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing was measured of any model."""
        return not self._known()

    def holds(self, ref: ModelRef) -> bool:
        """There is something of a model of this name, which may have been another one."""
        return not self.is_empty and _name(ref) in self._known()

    def read(self, ref: ModelRef, model: DiscoveredModel) -> tuple[Measurement, ...]:
        """What is known of this model; nothing of another that had its name before."""
        if not self.holds(ref):
            return ()
        page = self._page(_name(ref))
        return tuple(page.measurements) if page is not None and _is_of(page, model) else ()

    def write(
        self, ref: ModelRef, model: DiscoveredModel, measurements: Sequence[Measurement]
    ) -> None:
        """Keep these, and of earlier ones the fields that were not measured now.

        Raises:
            ConfigError: The folder cannot be written, or another program does not let go of it.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _turn(self._folder, self._lock_s):
                self._replace(self._merged(ref, model, measurements))
        except TimeoutError as exc:
            raise ConfigError(
                "what was measured cannot be kept: another program is writing here, and does not"
                f" end within {self._lock_s:g} s",
                where=str(self._folder),
                hint="look for a modelbay that is stopped or hangs, and end it",
            ) from exc
        except OSError as exc:
            raise ConfigError(
                f"what was measured cannot be kept: {os.strerror(exc.errno or 0)}",
                where=str(self._folder),
                hint=f"check the permissions of {self._folder}",
            ) from exc
        self._names = None

    def _merged(
        self, ref: ModelRef, model: DiscoveredModel, measurements: Sequence[Measurement]
    ) -> _Page:
        before = self._page(_name(ref))
        kept: dict[str, Measurement] = {}
        entry = _entry(model)
        if before is not None and _is_of(before, model):
            kept = {found.field: found for found in before.measurements}
            entry = before.entry | entry
        kept |= {found.field: found for found in measurements}
        return _Page(ref=ref, digest=model.digest, entry=entry, measurements=list(kept.values()))

    def _replace(self, page: _Page) -> None:
        handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_PAGE.dump_json(page))
            Path(temporary).replace(self._folder / _name(page.ref))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _page(self, name: str) -> _Page | None:
        try:
            return _PAGE.validate_json((self._folder / name).read_bytes())
        except (OSError, ValidationError):
            return None

    def _known(self) -> frozenset[str]:
        """The files there are; one look at the folder instead of one for each of 5,000 models."""
        if self._names is None:
            try:
                self._names = frozenset(path.name for path in self._folder.iterdir())
            except OSError:
                self._names = frozenset()
        return self._names


if sys.platform == "win32":
    import msvcrt

    def _open(folder: Path) -> int:
        """What is locked; a folder cannot be opened here, so a file stays in it."""
        return os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)

    def _lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _open(folder: Path) -> int:
        """What is locked: the folder itself, so that no file is left over."""
        return os.open(folder, os.O_RDONLY)

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_TAKEN = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextlib.contextmanager
def _turn(folder: Path, wait_s: float) -> Iterator[None]:
    """One writer at a time, of all programs; to close the descriptor gives the lock back.

    Raises:
        TimeoutError: Another has held it for longer than ``wait_s``.
    """
    until = time.monotonic() + wait_s
    descriptor = _open(folder)
    try:
        while True:
            try:
                _lock(descriptor)
            except OSError as exc:
                if exc.errno not in _TAKEN:
                    break  # a network folder that cannot be locked
                if time.monotonic() >= until:
                    raise TimeoutError from exc
                time.sleep(_AGAIN_S)
            else:
                break
        yield
    finally:
        os.close(descriptor)


def _name(ref: ModelRef) -> str:
    return f"{hashlib.sha256(str(ref).encode()).hexdigest()[:32]}.json"


def _is_of(page: _Page, model: DiscoveredModel) -> bool:
    if page.digest or model.digest:
        return page.digest == model.digest
    now = _entry(model)
    both = page.entry.keys() & now.keys()
    if page.entry.get(_LOADED) != now.get(_LOADED):
        # The one is what it will get by its configuration, the other what it has got.
        both -= {_CONTEXT, _LOADED}
    return all(page.entry[name] == now[name] for name in both)


def _entry(model: DiscoveredModel) -> dict[str, JsonValue]:
    """What of an entry makes a model the one it is, as far as the server says."""
    facts = model.facts.model_dump(mode="json", exclude_none=True, exclude={"prices"})
    rest = {"origin", "size_bytes", "family", "quantization"}
    found = facts | model.model_dump(mode="json", exclude_none=True, include=rest)
    return {**found, _LOADED: model.loaded_context is not None} if _CONTEXT in found else found
