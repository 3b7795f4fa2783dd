"""Server versions, compared as numbers: what a server of some age can do. Pure."""

import re
from typing import TypeAlias

Version: TypeAlias = tuple[int, int, int]

_NUMBERS = re.compile(r"v?([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})")


def parse_version(text: str | None) -> Version | None:
    """``0.33.0-rc2`` is (0, 33, 0); ``None`` for what is no version.

    Also for ``0.0.0``, which a local build says of itself: it counts as the newest.
    """
    found = _NUMBERS.match(text or "")
    if found is None:
        return None
    version = (int(found[1]), int(found[2]), int(found[3]))
    return version if any(version) else None


def reaches(version: Version | None, *wanted: int) -> bool:
    """Whether a server is this new; one that does not say counts as new.

    An older server passes over fields it does not know without an error, so that trying is safe.
    """
    return version is None or version >= wanted
