"""The page's files as they lie in the package, each with its type and its tag."""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

# Only these are served; a script with another type would not run.
_TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class File:
    """One file of the page.

    Attributes:
        tag: The value of its ``etag`` header.
    """

    body: bytes
    content_type: bytes
    tag: str


@cache
def page_files() -> dict[str, File]:
    """Every file by its path below ``/page/``; read once, so that no path reaches the disk."""
    return dict(_read(files(__package__) / "static", ""))


def _read(folder: Traversable, prefix: str) -> list[tuple[str, File]]:
    found: list[tuple[str, File]] = []
    for each in folder.iterdir():
        name = prefix + each.name
        if each.is_dir():
            found += _read(each, f"{name}/")
            continue
        content_type = _TYPES.get(name[name.rfind(".") :])
        if content_type is not None:
            body = each.read_bytes()
            found.append((name, File(body, content_type, f'"{sha256(body).hexdigest()[:32]}"')))
    return found
