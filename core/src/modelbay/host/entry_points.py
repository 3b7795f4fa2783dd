"""What the installed distributions offer, read from their metadata; nothing is imported here."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import importlib_metadata

from modelbay.host.versions import core_range


@dataclass(frozen=True, slots=True)
class Found:
    """An entry point of a distribution, not loaded.

    Attributes:
        requires: The range of `modelbay-core` its distribution is for.
    """

    name: str
    value: str
    dist: str
    version: str
    requires: str
    load: Callable[[], object] = field(compare=False)


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
        folder = _folder(dist)
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
                        )
                    )
        except Exception as exc:  # a distribution can be broken in any way
            damaged.append((f"{name} ({_place(dist)})", f"{type(exc).__name__}: {exc}"))
    return found, damaged


def installed_distributions() -> Iterator[importlib_metadata.Distribution]:
    """All that are on the path, in its order."""
    for dist in importlib_metadata.distributions():
        yield cast("importlib_metadata.Distribution", dist)  # typed as a narrower protocol


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _folder(dist: importlib_metadata.Distribution) -> Path:
    """Where its metadata lies; no folder at all for one that was made otherwise."""
    return Path(str(getattr(dist, "_path", "unknown place")))


def _place(dist: importlib_metadata.Distribution) -> str:
    return str(_folder(dist))
