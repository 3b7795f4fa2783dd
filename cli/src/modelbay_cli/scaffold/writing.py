"""Fill the templates and write them into a new folder."""

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from modelbay.errors import ConfigError
from modelbay_cli.scaffold.name import PluginName

Style: TypeAlias = Literal["openai", "native"]
STYLES: tuple[Style, ...] = get_args(Style)

_TEMPLATES = Path(__file__).with_name("templates")
_RANGE = ">=0.1,<1"  # the core whose hooks the templates were written for
_PORTS: dict[Style, int] = {"openai": 7070, "native": 7071}
_FIELD = re.compile(r"@([a-z]+)@")

# Where each template goes. Suffixed `.txt` so that no tool takes one for a module of ours.
_PLACES: dict[str, str] = {
    "shared/README.md.txt": "README.md",
    "shared/gitignore.txt": ".gitignore",
    "shared/workflow.yml.txt": ".github/workflows/test.yml",
    "shared/init.py.txt": "src/{package}/__init__.py",
    "shared/typed.txt": "src/{package}/py.typed",
    "shared/test_conformance.py.txt": "tests/test_conformance.py",
    "{style}/pyproject.toml.txt": "pyproject.toml",
    "{style}/plugin.py.txt": "src/{package}/plugin.py",
    "{style}/table.py.txt": "src/{package}/table.py",
    "{style}/simulator.py.txt": "src/{package}/simulator.py",
    "{style}/target.py.txt": "src/{package}/target.py",
    "native/wire.py.txt": "src/{package}/wire.py",
}


def write(name: PluginName, style: Style, folder: Path) -> list[Path]:
    """Write a whole distribution; the folder is made, and must not be there.

    All or nothing: it is written beside its place and moved there at the end.

    Returns:
        The files, relative to the folder, in alphabetical order.

    Raises:
        ConfigError: The folder is there, or cannot be made.
    """
    if folder.exists() or folder.is_symlink():
        raise ConfigError(
            "this folder is there already",
            where=str(folder),
            hint=f"modelbay plugin new {name.kind} --dir ANOTHER",
        )
    texts = _filled(name, style)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            for place, text in texts.items():
                path = unfinished / place
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8", newline="\n")
            unfinished.chmod(0o777 & ~_umask())
            unfinished.rename(folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    except OSError as exc:
        raise ConfigError(
            f"cannot be written: {exc.strerror or exc}",
            where=str(folder),
            hint=f"modelbay plugin new {name.kind} --dir ANOTHER",
        ) from exc
    return sorted(texts)


def _filled(name: PluginName, style: Style) -> dict[Path, str]:
    """The files' texts."""
    fields = {
        "kind": name.kind,
        "dist": name.dist,
        "package": name.package,
        "class": name.class_name,
        "title": name.title,
        "range": _RANGE,
        "port": str(_PORTS[style]),
        "address": f"http://127.0.0.1:{_PORTS[style]}",
    }
    texts: dict[Path, str] = {}
    for template, place in _PLACES.items():
        if template.startswith("native/") and style != "native":
            continue
        text = (_TEMPLATES / template.format(style=style)).read_text(encoding="utf-8")
        # An unknown field is a mistake in a template, and must not pass.
        filled = _FIELD.sub(lambda match: fields[match[1]], text)
        texts[Path(place.format(package=name.package))] = filled
    return texts


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
