"""Mirrors modelbay/host/entry_point_cache.py: what was read counts while nothing has changed."""

import importlib
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import importlib_metadata
import pytest

from modelbay.host import entry_point_cache
from modelbay.host.entry_point_cache import SETTLED_NS, installed_entry_points
from modelbay.host.entry_points import read_entry_points

GROUPS = ("modelbay-test-of-the-cache",)
LONG_AGO_NS = 1_000_000_000_000_000_000


class Site:
    """A folder of distributions, first on the path, whose changes lie far back in time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reads = 0
        self.tick = 0

    def add(self, dist: str, *names: str, requires: str = "") -> Path:
        info = self.path / f"{dist}-1.0.dist-info"
        info.mkdir(parents=True)
        needs = f"Requires-Dist: {requires}\n" if requires else ""
        self.write(info / "METADATA", f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n{needs}")
        if names:
            self.write(info / "entry_points.txt", offers(*names))
        self.settle()
        return info

    def write(self, file: Path, text: str) -> None:
        file.write_text(text)
        self.settle()

    def settle(self) -> None:
        """Let what has just changed have changed at a time of its own, long ago."""
        self.tick += 1
        for place in (*self.path.rglob("*"), self.path):
            if place.stat().st_mtime_ns > LONG_AGO_NS * 1.5:
                at = LONG_AGO_NS + self.tick * 1_000_000_000
                os.utime(place, ns=(at, at))

    def find(self) -> list[tuple[str, str]]:
        found, _ = installed_entry_points(GROUPS)
        return [(entry.name, entry.requires) for entry in found[GROUPS[0]]]


def offers(*names: str) -> str:
    return "\n".join([f"[{GROUPS[0]}]", *(f"{name} = nothing" for name in names)])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The only place where is searched."""
    made = Site(tmp_path / "site")
    made.path.mkdir()
    made.settle()
    monkeypatch.setattr(sys, "path", [str(made.path)])
    monkeypatch.setattr(entry_point_cache, "_LAST", {})

    def counted(
        distributions: list[importlib_metadata.Distribution], groups: tuple[str, ...]
    ) -> object:
        made.reads += 1
        return read_entry_points(distributions, groups)

    monkeypatch.setattr(entry_point_cache, "read_entry_points", counted)
    return made


def test_what_has_not_changed_is_read_once(site: Site) -> None:
    site.add("acme", "acme")
    site.add("plain")

    assert [site.find() for _ in range(3)] == [[("acme", "")]] * 3
    assert site.reads == 1


def test_what_a_program_writes_beside_them_changes_nothing(site: Site) -> None:
    site.add("acme", "acme")
    site.find()

    (site.path / "a.log").write_text("x")

    assert site.find() == [("acme", "")]
    assert site.reads == 1


def _another(site: Site) -> None:
    site.add("zeta", "zeta")


def _gone(site: Site) -> None:
    shutil.rmtree(site.path / "acme-1.0.dist-info")
    site.settle()


def _edited(site: Site) -> None:
    site.write(site.path / "acme-1.0.dist-info/entry_points.txt", offers("other"))


def _requires(site: Site) -> None:
    site.write(
        site.path / "acme-1.0.dist-info/METADATA",
        "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\nRequires-Dist: modelbay-core>=9\n",
    )


def _written_later(site: Site) -> None:
    """As an installer does it: the folder stands before all of its files do."""
    site.write(site.path / "plain-1.0.dist-info/entry_points.txt", offers("plain"))


def _edited_in_place(site: Site) -> None:
    site.write(site.path / "offers-1.0.dist-info/entry_points.txt", offers("late"))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (_another, [("acme", ""), ("zeta", "")]),
        (_gone, []),
        (_edited, [("other", "")]),
        (_requires, [("acme", ">=9")]),
        (_written_later, [("acme", ""), ("plain", "")]),
        (_edited_in_place, [("acme", ""), ("late", "")]),
    ],
)
def test_whatever_changes_is_seen_at_the_next_look(
    site: Site, change: Callable[[Site], None], found: list[tuple[str, str]]
) -> None:
    site.add("acme", "acme")
    site.add("plain")
    site.write(site.add("offers") / "entry_points.txt", "[console_scripts]\nx = y:z\n")
    site.find()

    change(site)

    assert [sorted(site.find()) for _ in range(2)] == [found] * 2
    assert site.reads == 2


def test_a_place_that_joins_or_leaves_the_path_is_seen(site: Site, tmp_path: Path) -> None:
    site.add("acme", "acme")
    other = Site(tmp_path / "other")
    other.add("zeta", "zeta")

    found = [site.find()]
    sys.path.append(str(other.path))
    found.append(site.find())
    sys.path.pop()
    found.append(site.find())
    sys.path.append(str(tmp_path / "later"))
    found.append(site.find())
    Site(tmp_path / "later").add("late", "late")
    found.append(site.find())

    names = [[name for name, _ in each] for each in found]
    assert names == [["acme"], ["acme", "zeta"], ["acme"], ["acme"], ["acme", "late"]]


def test_an_archive_on_the_path_is_read_again_when_it_is_another(
    site: Site, tmp_path: Path
) -> None:
    archive = tmp_path / "a.zip"

    def pack(name: str) -> None:
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr("zeta-1.0.dist-info/METADATA", "Name: zeta\nVersion: 1.0\n")
            packed.writestr("zeta-1.0.dist-info/entry_points.txt", offers(name))

    pack("one")
    sys.path.append(str(archive))
    found = [site.find()]
    pack("another")
    importlib.invalidate_caches()
    found.append(site.find())

    assert found == [[("one", "")], [("another", "")]]


def test_what_changed_just_now_may_change_again_and_look_the_same_so_it_is_read_again(
    site: Site,
) -> None:
    """A file system's clock ticks; two changes between two ticks leave one time behind."""
    info = site.add("acme", "acme")
    at = info.joinpath("entry_points.txt").stat().st_mtime_ns

    def find(now_ns: int) -> list[str]:
        found, _ = installed_entry_points(GROUPS, clock=lambda: now_ns)
        return [entry.name for entry in found[GROUPS[0]]]

    found = [find(at + SETTLED_NS)]
    info.joinpath("entry_points.txt").write_text(offers("emca"))
    os.utime(info / "entry_points.txt", ns=(at, at))
    found.append(find(at + SETTLED_NS))

    assert found == [["acme"], ["emca"]]


def test_what_is_damaged_is_read_again(site: Site) -> None:
    info = site.add("acme", "acme")
    (info / "entry_points.txt").write_bytes(b"\xff\xfe")
    site.settle()

    damaged = [installed_entry_points(GROUPS)[1] for _ in range(2)]

    assert [len(each) for each in damaged] == [1, 1]
    assert site.reads == 2


def test_who_changes_what_was_found_changes_nobody_elses(site: Site) -> None:
    site.add("acme", "acme")

    installed_entry_points(GROUPS)[0].clear()
    installed_entry_points(GROUPS)[0][GROUPS[0]].clear()

    assert site.find() == [("acme", "")]
