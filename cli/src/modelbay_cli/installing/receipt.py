"""``uv-receipt.toml``: what uv was asked for when it installed a tool, to be asked for again.

``[tool]`` has ``requirements`` (the tool and every ``--with``), ``entrypoints``
and, where one was given, ``python``. Whatever else stands there came from an option that cannot
be repeated from it with certainty, and so no command is made up.
"""

import shlex
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit

from modelbay.errors import ConfigError
from modelbay_cli.installing.requirement import Requirement, normal

_TOP = {"requirements", "entrypoints", "python"}
_ENTRY = {"name", "specifier", "extras", "marker", "url", "git", "path", "directory", "editable"}


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the environment of a tool was made from.

    Attributes:
        root: The tool itself.
        python: The interpreter that was asked for; empty if none was.
        executables_from: Names of the packages in `also` whose programs are installed too.
    """

    root: Requirement
    also: tuple[Requirement, ...] = ()
    python: str = ""
    executables_from: tuple[str, ...] = ()

    def adding(self, wanted: Iterable[Requirement]) -> "Receipt":
        """With these; one of the same name is replaced."""
        new = {one.name: one for one in (*self.also, *wanted)}
        return replace(self, also=tuple(new.values()))

    def without(self, names: Iterable[str]) -> "Receipt":
        gone = set(names)
        return replace(self, also=tuple(one for one in self.also if one.name not in gone))

    def words(self) -> list[str]:
        """The arguments of ``uv tool install``."""
        words = ["--editable"] * self.root.editable + [self.root.spec]
        for one in self.also:
            if one.editable:
                words += ["--with-editable", one.spec]
            elif one.name in self.executables_from:
                words += ["--with-executables-from", one.spec]
            else:
                words += ["--with", one.spec]
        return [*words, *(["--python", self.python] if self.python else [])]


def read_receipt(path: Path, tool: str) -> Receipt:
    """Read the receipt of a tool.

    Args:
        tool: Its name, which is that of its environment's folder.

    Raises:
        ConfigError: It cannot be read, or was made with what cannot be repeated.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))["tool"]
        strange = sorted(name for name in content.keys() - _TOP if content[name])
        entries = [_entry(entry) for entry in content["requirements"]]
        named = {
            normal(point["from"]) for point in content.get("entrypoints", ()) if "from" in point
        }
        python = str(content.get("python") or "")
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise _unusable(path, tool, str(exc)) from exc
    except (KeyError, TypeError, AttributeError) as exc:
        raise _unusable(path, tool, "it has another form than is known") from exc
    except ValueError as exc:
        raise _unusable(path, tool, str(exc)) from exc
    if strange:
        raise _unusable(path, tool, f"it was made with {', '.join(strange)}")
    roots = [one for one in entries if one.name == normal(tool)]
    if not roots:
        raise _unusable(path, tool, f"it does not name {tool}")
    return Receipt(
        roots[0],
        tuple(one for one in entries if one.name != roots[0].name),
        python,
        tuple(sorted(named - {roots[0].name})),
    )


def _entry(entry: dict[str, object]) -> Requirement:
    """Raises ValueError: it has a key that is not known."""
    strange = sorted(entry.keys() - _ENTRY)
    if strange:
        raise ValueError(f"a requirement has {', '.join(strange)}")
    name = str(entry["name"])
    extras = entry.get("extras")
    named = name + (f"[{','.join(map(str, extras))}]" if isinstance(extras, list) else "")
    marker = f" ; {entry['marker']}" if entry.get("marker") else ""
    for key in ("editable", "directory", "path"):
        if key in entry:
            place = str(entry[key])
            spec = f"{named} @ {Path(place).as_uri()}" if extras and key != "editable" else place
            return Requirement(normal(name), spec, editable=key == "editable")
    if "git" in entry:
        return Requirement(normal(name), f"{named} @ {_git(str(entry['git']))}{marker}")
    if "url" in entry:
        return Requirement(normal(name), f"{named} @ {entry['url']}{marker}")
    return Requirement(normal(name), f"{named}{entry.get('specifier', '')}{marker}")


def _git(url: str) -> str:
    """uv keeps the revision in the query: ``https://host/x?rev=main#<commit>``."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    revision = next((query[key][0] for key in ("rev", "tag", "branch") if key in query), "")
    place = query.get("subdirectory", [""])[0]
    bare = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    return (
        f"git+{bare}"
        + (f"@{revision}" if revision else "")
        + (f"#subdirectory={place}" if place else "")
    )


def _unusable(path: Path, tool: str, why: str) -> ConfigError:
    return ConfigError(
        f"what uv wrote down of this installation cannot be repeated: {why}",
        where=str(path),
        hint=f"uv tool install {shlex.quote(tool)} --with ...   # with all that you want to keep",
    )
