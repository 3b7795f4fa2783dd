"""What was measured of models, kept between programs.

A file for each model. It counts for the very same model only: the same ref with the same digest, or
where a server gives none, with the same entry in its list.
"""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from modelbay.errors import ConfigError
from modelbay.models.capabilities import Measurement
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.frozen import Frozen
from modelbay.refs import ModelRef

FOLDER = "measured"
# What changes while a model stays the same one.
_PASSING = {"state", "loaded_context", "problem", "details", "aliases", "name"}


class _Page(Frozen):
    ref: ModelRef
    key: str
    measurements: list[Measurement]


_PAGE = TypeAdapter(_Page)


class Ledger:
    """The folder of measurements.

    Args:
        folder: Made when the first model is measured.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._names: frozenset[str] | None = None

    def read(self, ref: ModelRef, model: DiscoveredModel) -> tuple[Measurement, ...]:
        """What is known of this model; nothing of another that had its name before."""
        known = self._known()
        if not known or (name := _name(ref)) not in known:
            return ()
        try:
            page = _PAGE.validate_json((self._folder / name).read_bytes())
        except (OSError, ValidationError):
            return ()
        return tuple(page.measurements) if page.key == _key(model) else ()

    def write(
        self, ref: ModelRef, model: DiscoveredModel, measurements: Sequence[Measurement]
    ) -> None:
        """Keep these, and of earlier ones the fields that were not measured now.

        Raises:
            ConfigError: The folder cannot be written.
        """
        new = {found.field: found for found in measurements}
        kept = {found.field: found for found in self.read(ref, model)} | new
        page = _Page(ref=ref, key=_key(model), measurements=list(kept.values()))
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_PAGE.dump_json(page))
                Path(temporary).replace(self._folder / _name(ref))
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as exc:
            raise ConfigError(
                f"what was measured cannot be kept: {os.strerror(exc.errno or 0)}",
                where=str(self._folder),
                hint=f"check the permissions of {self._folder}",
            ) from exc
        self._names = None

    def _known(self) -> frozenset[str]:
        """The files there are; one look at the folder instead of one for each of 5,000 models."""
        if self._names is None:
            try:
                self._names = frozenset(path.name for path in self._folder.iterdir())
            except OSError:
                self._names = frozenset()
        return self._names


def _name(ref: ModelRef) -> str:
    return f"{hashlib.sha256(str(ref).encode()).hexdigest()[:32]}.json"


def _key(model: DiscoveredModel) -> str:
    if model.digest:
        return f"digest {model.digest}"
    entry = model.model_dump_json(exclude=_PASSING)
    return f"entry {hashlib.sha256(entry.encode()).hexdigest()}"
