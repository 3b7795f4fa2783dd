"""The installed entry points as they were last read, for as long as nothing installed changes.

A program may open many hosts. To see that nothing has changed takes far less than to read it all.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import TypeAlias

import importlib_metadata

from modelbay.host.entry_points import (
    Found,
    folder_of,
    installed_distributions,
    read_entry_points,
)

# Device, node, time of change, size; `None` of what is not there.
_State: TypeAlias = tuple[int, int, int, int] | None

SETTLED_NS = 3_000_000_000  # the coarsest clocks of file systems tick every 2 s
_READ = ("entry_points.txt", "METADATA", "PKG-INFO", "requires.txt")


def installed_entry_points(
    groups: tuple[str, ...], *, clock: Callable[[], int] = time.time_ns
) -> tuple[dict[str, list[Found]], list[tuple[str, str]]]:
    """What `read_entry_points` finds in all that is installed.

    Args:
        clock: Nanoseconds since 1970, as the file system counts them.
    """
    reading = _LAST.get(groups)
    if reading is None or not reading.holds():
        reading = _LAST[groups] = _Reading(groups, clock)
    return {group: [*found] for group, found in reading.found.items()}, [*reading.damaged]


class _Reading:
    """What was found, and the state of the places where it lay.

    A distribution that comes or goes changes what is listed on the path, one that is replaced or
    being written the folder it lies in, one that is edited a file. What changed only just now may
    change once more and look the same, and of what is damaged or lies in no folder nothing can be
    told: then the next look reads again.
    """

    __slots__ = ("_finders", "_listed", "_places", "_search", "_states", "damaged", "found")

    def __init__(self, groups: tuple[str, ...], clock: Callable[[], int]) -> None:
        began = clock()
        self._search, self._finders = list(sys.path), list(sys.meta_path)
        self._listed = [_listed(path) for path in self._search]
        distributions = list(installed_distributions())
        self.found, self.damaged = read_entry_points(distributions, groups)
        ours = {entry.folder for found in self.found.values() for entry in found}
        self._places: list[str] = []
        for dist in distributions:
            folder = folder_of(dist)
            names = _READ if folder in ours else _READ[:1]
            files = [f"{folder}/{name}" for name in names]
            # What is missing does not come without a change of the folder.
            self._places += [str(folder), *filter(_state, files)]
        self._states: list[_State] | None = [_state(place) for place in self._places]
        seen = [at for at in (*self._states, *self._listed) if isinstance(at, tuple)]
        settled = all(at[2] < began - SETTLED_NS for at in seen)
        if self.damaged or not settled or not all(map(_lies_in_a_folder, distributions)):
            self._states = None

    def holds(self) -> bool:
        """Nothing has changed since."""
        return (
            self._states is not None
            and self._search == sys.path
            and self._finders == sys.meta_path
            and self._listed == [_listed(path) for path in self._search]
            and self._states == [_state(place) for place in self._places]
        )


_LAST: dict[tuple[str, ...], _Reading] = {}


def _listed(path: str) -> frozenset[str] | _State:
    """The folders of metadata in a folder; programs may write other things beside them.

    Of what is no folder, such as an archive, the state.
    """
    try:
        # Of hundreds of names, none with an object for its path.
        names = os.listdir(path or ".")  # noqa: PTH208
    except (OSError, ValueError):
        return _state(path)
    return frozenset([name for name in names if name[-5:].lower() == "-info"])


def _state(place: str) -> _State:
    try:
        at = os.stat(place)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return at.st_dev, at.st_ino, at.st_mtime_ns, at.st_size


def _lies_in_a_folder(dist: importlib_metadata.Distribution) -> bool:
    return isinstance(getattr(dist, "_path", None), os.PathLike)
