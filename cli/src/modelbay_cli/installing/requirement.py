"""What is to be installed: a name, a folder, a file or a URL, as pip, pipx and uv understand it."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import click

_EXTRAS = r"(\[[A-Za-z0-9._,\s-]*\])?"
_NAMED = re.compile(rf"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*{_EXTRAS}\s*(.*)", re.DOTALL)
_PATH = re.compile(rf"(.+?){_EXTRAS}", re.DOTALL)
_ARCHIVES = (".whl", ".tar.gz", ".zip")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing to install.

    Attributes:
        name: Of its distribution, normalised (PEP 503).
        spec: As an argument: ``modelbay-acme>=2``, ``/home/sam/acme[test]``, ``acme @ URL``.
        editable: A folder whose files are used where they are.
    """

    name: str
    spec: str
    editable: bool = False

    @property
    def from_registry(self) -> bool:
        """It names no place of its own: what comes is what the registry has under that name."""
        return not (self.editable or "@" in self.spec or Path(self.spec).is_absolute())


def normal(name: str) -> str:
    """A distribution's name as PEP 503 has it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement(text: str, *, editable: bool = False) -> Requirement:
    """Read what a user wrote.

    Raises:
        click.BadParameter: It names nothing that can be installed and found again.
    """
    text = text.strip()
    found = _PATH.fullmatch(text)
    if found is not None and _is_path(found[1], editable):
        return _local(Path(found[1]).expanduser().resolve(), found[2] or "", editable)
    named = _NAMED.fullmatch(text)
    if "://" in text and (named is None or not named[3].startswith("@")):
        raise _bad(text, "write NAME @ URL, so that it can be found again")
    if named is None or (named[3] and named[3][0] not in "<>=!~(;@"):
        raise _bad(text, "a name, NAME>=VERSION, NAME @ URL, a folder or a wheel is expected")
    return Requirement(normal(named[1]), text)


def _is_path(text: str, editable: bool) -> bool:
    return (
        editable
        or text.startswith((".", "/", "~"))
        or (text.endswith(_ARCHIVES) and "://" not in text)
        or ("\\" in text or ("/" in text and "@" not in text and "://" not in text))
    )


def _local(path: Path, extras: str, editable: bool) -> Requirement:
    spec = f"{path}{extras}"
    if path.is_dir():
        try:
            project = tomllib.loads((path / "pyproject.toml").read_text(encoding="utf-8"))
            name = project["project"]["name"]
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError):
            raise _bad(str(path), "there is no pyproject.toml with a project name") from None
        return Requirement(normal(str(name)), spec, editable)
    if editable or not path.is_file():
        raise _bad(str(path), "there is no such folder" if editable else "it is not there")
    if path.name.endswith(".whl"):
        return Requirement(normal(path.name.partition("-")[0]), spec)
    return Requirement(normal(path.name.rpartition("-")[0]), spec)


def _bad(text: str, why: str) -> click.BadParameter:
    return click.BadParameter(f"'{text}': {why}", param_hint="WHAT")
