"""The plugins a user asked for, remembered where no upgrade of modelbay reaches: the wish list."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

from modelbay.config import locations
from modelbay.config_edit import TEMPLATE
from modelbay.errors import ConfigError
from modelbay_cli import providers_file
from modelbay_cli.installing.requirement import Requirement, normal

_VERSION = 1
_Change: TypeAlias = Callable[[dict[str, Requirement]], dict[str, Requirement]]


def place(env: Mapping[str, str]) -> Path:
    """``plugins.json`` in the data folder."""
    return locations(env).data / "plugins.json"


def read(path: Path) -> tuple[Requirement, ...]:
    """All wishes, by name; none if there is no file.

    Raises:
        ConfigError: The file cannot be read.
    """
    return _parsed(providers_file.read(path), path) if path.exists() else ()


def add(path: Path, wanted: Iterable[Requirement]) -> None:
    """Remember these, in place of others of the same name.

    Raises:
        ConfigError: The file cannot be read or written.
    """
    new = {one.name: one for one in wanted}
    _change(path, lambda old: {**old, **new})


def remove(path: Path, names: Iterable[str]) -> None:
    """Forget these.

    Raises:
        ConfigError: The file cannot be read or written.
    """
    gone = {normal(name) for name in names}
    if path.exists():
        _change(path, lambda old: {name: one for name, one in old.items() if name not in gone})


def _change(path: Path, change: _Change) -> None:
    def edit(text: str) -> str:
        # A file that is not there begins as the template of providers.json, which this never is.
        old = () if text == TEMPLATE else _parsed(text, path)
        new = change({one.name: one for one in old})
        rows = [
            {"name": one.name, "requirement": one.spec, "editable": one.editable}
            for _, one in sorted(new.items())
        ]
        return json.dumps({"version": _VERSION, "plugins": rows}, indent=2) + "\n"

    providers_file.rewrite(path, edit)


def _parsed(text: str, path: Path) -> tuple[Requirement, ...]:
    try:
        content = json.loads(text)
        if content["version"] != _VERSION:
            raise _unreadable(path, f"version {content['version']} is not known to this modelbay")
        found = [
            Requirement(normal(row["name"]), row["requirement"], row.get("editable") is True)
            for row in content["plugins"]
        ]
        if not all(isinstance(one.spec, str) and not one.spec.startswith("-") for one in found):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _unreadable(path, "it is not the list of plugins that modelbay wrote") from None
    return tuple(sorted(found, key=lambda one: one.name))


def _unreadable(path: Path, why: str) -> ConfigError:
    return ConfigError(why, where=str(path), hint=f"mv {path} {path}.old   # then install anew")
