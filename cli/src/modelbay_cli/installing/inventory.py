"""What is installed, by metadata alone: nothing is imported, so nothing can break here."""

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import importlib_metadata

from modelbay.host.entry_points import Precedence
from modelbay.host.loader import GROUP
from modelbay_cli.installing.requirement import normal

OURS = frozenset({"modelbay", "modelbay-core", "modelbay-cli"})


@dataclass(frozen=True, slots=True)
class Distribution:
    """One that is installed.

    Attributes:
        name: Normalised.
        points: Group, name and value of each entry point of ours.
        requires: Normalised names of what it needs.
        damaged: Its metadata cannot be read; nothing but its name is known.
    """

    name: str
    version: str
    points: tuple[tuple[str, str, str], ...]
    requires: frozenset[str]
    damaged: bool = False

    @property
    def is_plugin(self) -> bool:
        """Whether it adds anything to modelbay; of a damaged one its name decides."""
        return bool(self.points) or (self.damaged and self.name.startswith("modelbay-"))

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(name for group, name, _ in self.points if group == GROUP)

    def values(self, group: str) -> dict[str, str]:
        """Entry points of a group: value by name."""
        return {name: value for of, name, value in self.points if of == group}


def installed() -> dict[str, Distribution]:
    """Every distribution by normalised name; of two of a name the first on the path counts."""
    importlib.invalidate_caches()  # an installer may have run a moment ago
    found: dict[str, Distribution] = {}
    for dist in _all():
        found.setdefault(dist.name, dist)
    return found


def find_plugin(word: str, among: dict[str, Distribution]) -> Distribution | None:
    """The plugin whose distribution is called so, or that brings the kind of that name.

    Packages that have nothing to do with modelbay are never found: the kind ``ollama`` is not the
    distribution ``ollama``. Of several that bring the kind it is the one with precedence.
    """
    by_name = among.get(normal(word))
    if by_name is not None and by_name.is_plugin:
        return by_name
    return next(iter(bringing(word, among)), None)


def bringing(kind: str, among: dict[str, Distribution]) -> list[Distribution]:
    """All that bring a kind, in the order in which the host tries them."""
    found = [dist for dist in among.values() if kind in dist.kinds]
    claims = {dist.name: dist.kinds for dist in among.values()}
    rank = Precedence(claims, parts_of_modelbay(among))
    return sorted(found, key=lambda dist: rank(dist.name, dist.kinds))


def alike(kind: str, among: dict[str, Distribution]) -> Distribution | None:
    """One that brings this kind, or one that differs from it in ``-``, ``_`` and ``.`` alone."""
    same = (
        dist
        for dist in among.values()
        if normal(kind).replace("-", "") in {normal(one).replace("-", "") for one in dist.kinds}
    )
    return next(same, None)


def parts_of_modelbay(among: dict[str, Distribution]) -> frozenset[str]:
    """Names of what modelbay itself is made of."""
    whole = among.get("modelbay")
    return OURS | (whole.requires if whole is not None else frozenset())


def _all() -> Iterator[Distribution]:
    for dist in importlib_metadata.distributions():
        place = getattr(dist, "_path", None)
        name, version = _from_folder(place.name if isinstance(place, Path) else "")
        points: tuple[tuple[str, str, str], ...] = ()
        requires: frozenset[str] = frozenset()
        damaged = False
        try:
            name = dist.metadata["Name"] or name
            version = dist.version
            points = tuple(
                (entry.group, entry.name, entry.value)
                for entry in dist.entry_points
                if entry.group == GROUP or entry.group.startswith(f"{GROUP}.")
            )
            requires = frozenset(map(_name, dist.requires or ()))
        except Exception:  # damaged in whatever way; its folder's name has to do
            damaged = True
        if name and not name.startswith("~"):  # pip's leftovers
            yield Distribution(normal(name), version, points, requires, damaged)


def _from_folder(name: str) -> tuple[str, str]:
    """``modelbay_acme-1.0.dist-info``"""
    name, _, version = name.removesuffix(".dist-info").partition("-")
    return name, version


def _name(requirement: str) -> str:
    found = re.match(r"\s*([A-Za-z0-9._-]+)", requirement)
    return normal(found[1]) if found else ""
