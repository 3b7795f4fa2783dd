"""Where other programs keep model files, and which ones lie there.

Reads nothing but directories and Ollama's small manifests; whether a file is any good is a question
for `gguf_file`. Environment and home folder are arguments. Folders that cannot be read, loops of
links and half-finished downloads cost a line for ``doctor``, never an error.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Literal

from modelbay_embedded import filenames
from modelbay_embedded.places import Store, all_places
from modelbay_embedded.small_files import json_object, small_text

PlaceState = Literal["searched", "missing", "unreadable", "cut short"]

MAX_DEPTH = 4  # folders below the one that was named
MAX_ENTRIES = 10_000  # per place; per repository in the hub's cache
_OLLAMA_LAYER = "application/vnd.ollama.image"
_DIGEST = re.compile(r"^sha256[:-](?P<hex>[0-9a-f]{64})$")


@dataclass(frozen=True, slots=True)
class FoundModel:
    """One model that could be loaded."""

    name: str
    """The wire id."""
    path: Path
    """The file to load; the first of several."""
    store: Store
    place: Path
    """The folder (or file) of the search that found it."""
    size_bytes: int
    """Of all its files, without the projector."""
    shards: tuple[Path, ...] = ()
    """All files of a model in several, in order; empty for an ordinary one."""
    projector: Path | None = None
    aliases: tuple[str, ...] = ()
    """Other names of the same file, such as a second tag in Ollama's store."""


@dataclass(frozen=True, slots=True)
class Place:
    """One place that was searched, for ``doctor``."""

    store: Store
    path: Path
    state: PlaceState
    models: int = 0
    problems: tuple[str, ...] = ()
    """What was there and could not be used, a line each."""


@dataclass(frozen=True, slots=True)
class Search:
    """All that was found, in the order of the stores, and every place looked at."""

    models: tuple[FoundModel, ...]
    places: tuple[Place, ...]


def find_models(env: Mapping[str, str], home: Path, *, platform: str = sys.platform) -> Search:
    """Search every store.

    Names are unique. A file that is in two stores is listed for the first of them; a name that
    another file has already is made longer until it is free.
    """
    places: list[Place] = []
    models: list[FoundModel] = []
    for store, path in all_places(env, home, platform):
        if any(place.path == path and place.store == store for place in places):
            continue
        looked = _Look(store, path)
        found = list(looked.models())
        models += found
        places.append(looked.report(len(found)))
    return Search(tuple(_with_unique_names(_once_per_file(models))), tuple(places))


class _Look:
    """One search of one place, with its budget and what went wrong."""

    def __init__(self, store: Store, root: Path) -> None:
        self._store = store
        self._root = root
        self._budget = MAX_ENTRIES
        self._cut_short = False
        self._problems: list[str] = []

    def report(self, models: int) -> Place:
        state: PlaceState = "cut short" if self._cut_short else "searched"
        try:
            with os.scandir(self._root):
                pass
        except NotADirectoryError:
            pass
        except (FileNotFoundError, ValueError):
            state = "missing"
        except OSError:
            state = "unreadable"
        return Place(self._store, self._root, state, models, tuple(self._problems))

    def models(self) -> Iterator[FoundModel]:
        match self._store:
            case "ollama":
                yield from self._ollama()
            case "huggingface":
                yield from self._hub()
            case "llama-cache":
                yield from self._hub()
                yield from self._folder(depth=0)
            case "modelbay" | "lm-studio":
                yield from self._folder(depth=MAX_DEPTH)

    def _folder(self, depth: int) -> Iterator[FoundModel]:
        """Any folder: the file's own name; in LM Studio's, publisher and repository as well."""
        if _is_file(self._root):
            yield from self._named(self._root, filenames.stem, self._entries(self._root.parent))
            return
        files = list(self._walk(self._root, depth))
        for path in files:
            yield from self._named(path, self._folder_name, files)

    def _folder_name(self, path: Path) -> str:
        parts = path.relative_to(self._root).parts
        if self._store == "lm-studio" and len(parts) > 2:
            return filenames.tagged(f"{parts[0]}/{parts[1]}", path)
        return filenames.stem(path)

    def _hub(self) -> Iterator[FoundModel]:
        """``models--owner--repo/snapshots/<commit>/**.gguf``, named ``owner/repo:TAG``.

        The commit that ``refs/main`` names comes first, then the others, newest first; a file that
        only an older commit has is still a model.

        Source: huggingface_hub, "Understand caching"; llama-server's names.
        """
        for folder in self._entries(self._root):
            owner, separator, repo = folder.name.removeprefix("models--").partition("--")
            if not folder.name.startswith("models--") or not separator:
                continue
            self._budget = MAX_ENTRIES
            known: set[Path] = set()
            for snapshot in self._snapshots(folder):
                files = list(self._walk(snapshot, MAX_DEPTH))
                for path in files:
                    inside = path.relative_to(snapshot)
                    if inside not in known:
                        known.add(inside)
                        name = partial(filenames.tagged, f"{owner}/{repo}")
                        yield from self._named(path, name, files)

    def _snapshots(self, folder: Path) -> list[Path]:
        main = (small_text(folder / "refs" / "main") or "").strip()
        snapshots = self._entries(folder / "snapshots")
        return sorted(snapshots, key=lambda path: (path.name != main, -_modified(path), path.name))

    def _ollama(self) -> Iterator[FoundModel]:
        """``manifests/<host>/<namespace>/<model>/<tag>`` name blobs: ``blobs/sha256-<hex>``.

        Source: ollama manifest/ and types/model/name.go: the default host and the namespace
        ``library`` are left out of a name.
        """
        manifests = self._root / "manifests"
        for path in self._walk(manifests, MAX_DEPTH, suffix=""):
            parts = path.relative_to(manifests).parts
            if len(parts) != 4:
                continue
            host, namespace, model, tag = parts
            spelt = [] if host == "registry.ollama.ai" else [host]
            spelt += [] if namespace == "library" and not spelt else [namespace]
            name = "/".join([*spelt, f"{model}:{tag}"])
            layers = _layers(json_object(small_text(path)))
            blob = self._blob(layers.get(f"{_OLLAMA_LAYER}.model"))
            if f"{_OLLAMA_LAYER}.adapter" in layers:
                self._problems.append(f"{name}: has an adapter, which is not supported here")
            elif blob is None:  # a cloud model, one in safetensors, or half a download
                self._problems.append(f"{name}: no GGUF file in the store")
            else:
                projector = self._blob(layers.get(f"{_OLLAMA_LAYER}.projector"))
                yield from self._found(name, blob, (), projector)

    def _blob(self, digest: str | None) -> Path | None:
        match = _DIGEST.match(digest or "")
        if match is None:
            return None
        path = self._root / "blobs" / f"sha256-{match['hex']}"
        return path if _is_file(path) else None

    def _named(
        self, path: Path, name: Callable[[Path], str], files: Sequence[Path]
    ) -> Iterator[FoundModel]:
        """The model that this file starts, if it starts one and all of it is there."""
        shards = filenames.shards(path)
        if filenames.is_companion(path) or shards is None:
            return
        missing = sum(not _is_file(shard) for shard in shards)
        if missing:
            self._problems.append(f"{path}: {missing} of {len(shards)} files are missing")
            return
        beside = [file for file in files if file.parent == path.parent]
        projector = filenames.projector_for(path, beside)
        if projector is None and self._store in ("huggingface", "llama-cache"):
            # A repository may keep its models in folders, one per precision, and this at its root.
            above = [
                file for file in files if path.parent.parent in (file.parent, file.parent.parent)
            ]
            projector = filenames.projector_for(path, above)
        yield from self._found(name(path), path, shards, projector)

    def _found(
        self, name: str, path: Path, shards: tuple[Path, ...], projector: Path | None
    ) -> Iterator[FoundModel]:
        try:
            name.encode("utf-8")  # a name that is no text could not be asked for
            size = sum(file.stat().st_size for file in shards or (path,))
        except (UnicodeEncodeError, OSError) as error:
            self._problems.append(f"{name!r}: {error}")
            return
        yield FoundModel(name, path, self._store, self._root, size, shards, projector)

    def _walk(self, folder: Path, depth: int, suffix: str = ".gguf") -> Iterator[Path]:
        """Regular files below a folder, in order of their names, down to a depth and a budget."""
        seen: set[object] = set()
        pending = [(folder, depth)]
        while pending:
            here, left = pending.pop()
            below = []
            for path in self._entries(here):
                try:
                    status = path.stat()
                except (OSError, ValueError):  # a link to nothing or to itself
                    continue
                if stat.S_ISREG(status.st_mode):
                    if path.name.lower().endswith(suffix):
                        yield path
                elif stat.S_ISDIR(status.st_mode) and left > 0:
                    identity = _identity(path, status)
                    if identity not in seen:
                        seen.add(identity)
                        below.append((path, left - 1))
            pending += reversed(below)

    def _entries(self, folder: Path) -> list[Path]:
        """What is in a folder, by name, without hidden files (``._model.gguf`` is no model)."""
        names: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if self._budget <= 0:
                        self._cut_short = True
                        break
                    self._budget -= 1
                    if not entry.name.startswith("."):
                        names.append(entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._problems.append(f"{folder}: {reason}")
            return []
        return [folder / name for name in sorted(names)]


def _once_per_file(models: Sequence[FoundModel]) -> list[FoundModel]:
    """One entry per file on disk; further names of it become aliases.

    Within one store a tag that says something beats ``latest``.
    """
    groups: dict[object, list[FoundModel]] = {}
    for model in models:
        groups.setdefault(_identity(model.path), []).append(model)
    once = []
    for group in groups.values():
        same_store = [model for model in group if model.store == group[0].store]
        best = min(same_store, key=lambda model: model.name.endswith(":latest"))
        names = dict.fromkeys(model.name for model in group if model.name != best.name)
        once.append(replace(best, aliases=tuple(names)))
    return once


def _with_unique_names(models: Sequence[FoundModel]) -> Iterator[FoundModel]:
    names: dict[str, FoundModel] = {}
    for model in models:
        free = next(name for name in _spellings(model) if name not in names)
        names[free] = model
    taken = set(names)
    for name, model in names.items():
        aliases = tuple(alias for alias in model.aliases if alias not in taken)
        taken.update(aliases)
        yield replace(model, name=name, aliases=aliases)


def _spellings(model: FoundModel) -> Iterator[str]:
    """The name, then longer ones, then numbered ones."""
    yield model.name
    if model.store in ("huggingface", "lm-studio", "llama-cache") and ":" in model.name:
        yield f"{model.name.rpartition(':')[0]}:{filenames.stem(model.path)}"
    if model.store == "modelbay" and model.path != model.place:
        inside = model.path.relative_to(model.place)
        yield inside.with_name(model.name).as_posix()
    yield f"{model.store}/{model.name}"
    for number in count(2):
        yield f"{model.name}#{number}"


def _layers(manifest: Mapping[str, object]) -> dict[str, str]:
    """Media type -> digest, the first of each."""
    found: dict[str, str] = {}
    layers = manifest.get("layers")
    for layer in layers if isinstance(layers, list) else []:
        if isinstance(layer, dict):
            kind, digest = layer.get("mediaType"), layer.get("digest")
            if isinstance(kind, str) and isinstance(digest, str):
                found.setdefault(kind, digest)
    return found


def _identity(path: Path, status: os.stat_result | None = None) -> object:
    """The same for every name of one file or folder; the path itself where there are no inodes."""
    try:
        status = status or path.stat()
    except OSError:
        return path
    return (status.st_dev, status.st_ino) if status.st_ino else path


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
