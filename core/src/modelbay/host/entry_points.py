"""What the installed distributions offer, read from their metadata; nothing is imported here."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import importlib_metadata

from modelbay.host.versions import core_range

WHOLE = "modelbay"  # the distribution that is modelbay with all its parts


@dataclass(frozen=True, slots=True)
class Found:
    """An entry point of a distribution, not loaded.

    Attributes:
        requires: The range of `modelbay-core` its distribution is for.
        folder: Where its distribution's metadata lies.
    """

    name: str
    value: str
    dist: str
    version: str
    requires: str
    load: Callable[[], object] = field(compare=False)
    folder: Path = field(compare=False, default=Path())


def read_entry_points(
    distributions: Iterable[importlib_metadata.Distribution], groups: tuple[str, ...]
) -> tuple[dict[str, list[Found]], list[tuple[str, str]]]:
    """The entry points of these groups, read one distribution at a time, and what is damaged.

    One damaged distribution would make ``entry_points()`` lose all of them. Of a name that is
    installed twice the first on the path counts; pip's leftovers begin with ``~``.
    """
    found: dict[str, list[Found]] = {group: [] for group in groups}
    damaged: list[tuple[str, str]] = []
    seen: set[str] = set()
    headings = tuple(f"[{group}]" for group in groups)
    for dist in distributions:
        folder = folder_of(dist)
        name = folder.name.partition("-")[0]
        try:
            offers = dist.read_text("entry_points.txt")
            if offers is None:
                offers_none = (folder / "METADATA").is_file()
            else:
                offers_none = not any(heading in offers for heading in headings)
            if offers_none:  # most of them; to read what else they say of themselves takes long
                seen.add(_normal(name))
                continue
            name = dist.metadata["Name"] or "(unnamed)"
            if name.startswith("~"):
                continue
            normal = _normal(name)
            if normal in seen:
                continue
            seen.add(normal)
            for entry in dist.entry_points:
                if entry.group in found:
                    found[entry.group].append(
                        Found(
                            entry.name,
                            entry.value,
                            name,
                            dist.version,
                            core_range(dist.requires or ()),
                            entry.load,
                            folder,
                        )
                    )
        except Exception as exc:  # a distribution can be broken in any way
            damaged.append((f"{name} ({_place(dist)})", f"{type(exc).__name__}: {exc}"))
    return found, damaged


class Precedence:
    """Who has a kind that several distributions claim; smaller is earlier.

    First what modelbay itself is made of, then whoever claims no name that is another's own (the
    kind ``acme`` is ``modelbay-acme``'s), then names that begin with ``modelbay-``; the rest is the
    alphabet's.

    Args:
        claims: By distribution the kinds it claims.
        parts: What the distribution ``modelbay`` requires, normalised.
    """

    def __init__(self, claims: Mapping[str, Collection[str]], parts: Collection[str]) -> None:
        self._parts = parts
        self._owners: dict[str, set[str]] = {}
        for dist, names in claims.items():
            for name in names:
                if _letters(dist) == _letters(f"{WHOLE}-{name}"):
                    self._owners.setdefault(name, set()).add(dist)

    def __call__(self, dist: str, names: Iterable[str]) -> tuple[bool, bool, bool, str]:
        return (
            _normal(dist) not in self._parts,
            any(dist not in self._owners.get(name, (dist,)) for name in names),
            not _normal(dist).startswith(f"{WHOLE}-"),
            dist.lower(),
        )


def parts_of_modelbay(
    distributions: Iterable[importlib_metadata.Distribution],
) -> frozenset[str]:
    """Normalised names of what the distribution ``modelbay`` requires; none if it is not there."""
    for dist in distributions:
        if folder_of(dist).name.partition("-")[0] != WHOLE:
            continue
        try:
            if dist.metadata["Name"] == WHOLE:
                needs = [re.match(r"[\w.-]+", text) for text in dist.requires or ()]
                return frozenset(_normal(need[0]) for need in needs if need)
        except Exception:  # damaged in whatever way; `read_entry_points` tells of it
            return frozenset()
    return frozenset()


def installed_distributions() -> Iterator[importlib_metadata.Distribution]:
    """All that are on the path, in its order."""
    for dist in importlib_metadata.distributions():
        yield cast("importlib_metadata.Distribution", dist)  # typed as a narrower protocol


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _letters(name: str) -> str:
    """``modelbay-acme-cloud`` and ``modelbay_acmecloud`` are one: either has the kind's name."""
    return re.sub(r"[-_.]", "", name).lower()


def folder_of(dist: importlib_metadata.Distribution) -> Path:
    """Where its metadata lies; no folder at all for one that was made otherwise."""
    return Path(str(getattr(dist, "_path", "unknown place")))


def _place(dist: importlib_metadata.Distribution) -> str:
    return str(folder_of(dist))
