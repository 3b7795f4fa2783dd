"""Lists of models kept on disk, so that the next program need not ask before it can answer.

One file for each provider. It counts only for the same kind, address and versions; anything that
cannot be read counts as nothing, since a look at the server replaces it. Deleting the folder is
always safe.
"""

import hashlib
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from modelbay.models.catalog import DiscoveredModel, Problem
from modelbay.models.frozen import Frozen
from modelbay.models.provider import ProviderConfig

log = logging.getLogger("modelbay")

FOLDER = "models"
LIMIT_BYTES = 64 * 1024 * 1024  # 20,000 models with long details
OLDEST_S = 7 * 24 * 3600.0  # a list of last week says little


class _Kept(Frozen):
    key: str
    read_at: float | None = None
    models: list[DiscoveredModel] = []
    failed_at: float | None = None
    problem: Problem | None = None


_KEPT = TypeAdapter(_Kept)


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an earlier program knew of a provider.

    Attributes:
        age_s: Seconds since the models were read; ``None`` if they never were.
        failed_s: Seconds since the last look failed; ``None`` if it did not.
        problem: Why it failed.
    """

    models: tuple[DiscoveredModel, ...] = ()
    age_s: float | None = None
    failed_s: float | None = None
    problem: Problem | None = None


class ListCache:
    """The folder of lists.

    Args:
        folder: Made when the first list is kept.
        clock: Seconds since 1970; other programs must read the same.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    def load(self, config: ProviderConfig, plugin_version: str) -> Remembered | None:
        """What was kept for this provider; ``None`` for nothing that still counts."""
        path = self._path(config)
        try:
            if path.stat().st_size > LIMIT_BYTES:
                return None
            kept = _KEPT.validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None
        if kept.key != _key(config, plugin_version):
            return None
        age_s, failed_s = self._since(kept.read_at), self._since(kept.failed_at)
        if age_s is None and failed_s is None:
            return None
        return Remembered(
            models=tuple(kept.models) if age_s is not None else (),
            age_s=age_s,
            failed_s=failed_s,
            problem=kept.problem if failed_s is not None else None,
        )

    def keep(
        self,
        config: ProviderConfig,
        plugin_version: str,
        models: Sequence[DiscoveredModel],
        *,
        age_s: float | None,
        problem: Problem | None = None,
    ) -> None:
        """Keep the last good list, and why the last look failed if it did."""
        now = self._clock()
        kept = _Kept(
            key=_key(config, plugin_version),
            read_at=None if age_s is None else now - age_s,
            models=list(models),
            failed_at=None if problem is None else now,
            problem=problem,
        )
        path = self._path(config)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_KEPT.dump_json(kept, exclude_defaults=True))
                Path(name).replace(path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as exc:  # a full disk or a read-only home must not stop a listing
            log.debug("the list of provider '%s' is not kept: %s", config.id, exc)

    def _path(self, config: ProviderConfig) -> Path:
        return self._folder / FOLDER / f"{config.id}.json"

    def _since(self, moment: float | None) -> float | None:
        """Seconds since then; ``None`` for what is too old, or lies in the future."""
        if moment is None:
            return None
        age_s = self._clock() - moment
        return age_s if 0 <= age_s <= OLDEST_S else None


def _key(config: ProviderConfig, plugin_version: str) -> str:
    """Changes with whatever could change the list; a digest, since addresses may be private."""
    parts = (
        config.kind,
        config.base_url,
        plugin_version,
        version("modelbay-core"),
        sorted(config.extra.items(), key=lambda item: item[0]),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()
