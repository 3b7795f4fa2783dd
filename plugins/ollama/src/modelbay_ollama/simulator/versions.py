"""Which Ollama a simulator pretends to be; what a version changed is asked by number.

Source: the version table of the protocol notes, made by comparing consecutive release tags.
"""

import re
from dataclasses import dataclass

_NUMBER = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:[-+].*)?")


def version_number(text: str) -> tuple[int, int, int]:
    """The three numbers of a version; a suffix such as ``-rc2`` does not count.

    Raises:
        ValueError: It is none.
    """
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError(f"not a version of Ollama: {text!r}")
    major, minor, patch = (int(part) for part in found.groups())
    return major, minor, patch


@dataclass(frozen=True, slots=True)
class Release:
    """A version of the server, as ``/api/version`` prints it."""

    text: str

    def since(self, version: str) -> bool:
        """Whether this release is that version or a later one; 0.0.0 is a build from the tip."""
        number = version_number(self.text)
        return number == (0, 0, 0) or number >= version_number(version)

    def is_exactly(self, version: str) -> bool:
        return version_number(self.text) == version_number(version)
