"""Lists of models kept on disk, so that the next program need not ask before it can answer.

One file for each provider. It counts only for the same kind, address, key and versions; what
changes a provider's models makes this program forget its list. Anything that cannot be read counts
as nothing, since a look at the server replaces it. Deleting the folder is always safe.
"""

import hashlib
import hmac
import logging
import os
import secrets
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
CHANGED = "changed"  # written anew whenever a list is forgotten; what is made of lists watches it
SALT = "salt"
LIMIT_BYTES = 64 * 1024 * 1024  # 20,000 models with long details
_SALT_BYTES = 32
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
        if kept.key != self._key(config, plugin_version):
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
        key = self._key(config, plugin_version)
        if key is None:
            return
        kept = _Kept(
            key=key,
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

    def forget(self, provider_id: str) -> None:
        """Whatever was kept of this provider counts no more, in programs that begin from now on."""
        if not self._folder.is_dir():
            return
        try:
            (self._folder / FOLDER / f"{provider_id}.json").unlink(missing_ok=True)
            (self._folder / CHANGED).write_text(f"{provider_id}\n", encoding="utf-8")
        except OSError as exc:  # the change itself is done, and must not look as if it had failed
            log.debug("the list of provider '%s' is not forgotten: %s", provider_id, exc)

    def _key(self, config: ProviderConfig, plugin_version: str) -> str | None:
        """Changes with whatever could change the list; ``None`` if that cannot be told.

        A digest, since addresses may be private; of a key or headers, which are secret and may be
        short, one that nobody can try out without this folder's salt.
        """
        parts: list[object] = [
            config.kind,
            config.base_url,
            plugin_version,
            version("modelbay-core"),
            sorted(config.extra.items(), key=lambda item: item[0]),
        ]
        if config.api_key is not None or config.headers:
            salt = self._salt()
            if salt is None:
                return None
            secret = config.api_key.get_secret_value() if config.api_key else None
            said = repr((secret, sorted(config.headers.items())))
            parts.append(hmac.new(salt, said.encode(), hashlib.sha256).hexdigest())
        return hashlib.sha256(repr(tuple(parts)).encode()).hexdigest()

    def _salt(self) -> bytes | None:
        """Random bytes of this folder, made at the first use; ``None`` if they cannot be kept."""
        path = self._folder / SALT
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(_SALT_BYTES))
        except FileExistsError:
            pass
        except OSError:
            return None
        try:
            salt = path.read_bytes()
            if len(salt) == _SALT_BYTES:
                return salt
            path.unlink()  # damaged, or another program is writing it: the next one makes it anew
        except OSError:
            pass
        return None

    def _path(self, config: ProviderConfig) -> Path:
        return self._folder / FOLDER / f"{config.id}.json"

    def _since(self, moment: float | None) -> float | None:
        """Seconds since then; ``None`` for what is too old, or lies in the future."""
        if moment is None:
            return None
        age_s = self._clock() - moment
        return age_s if 0 <= age_s <= OLDEST_S else None
