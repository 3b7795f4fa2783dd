"""Find plugins and load them one at a time; a broken one is a row, never a crash."""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Literal, TypeAlias, cast

import importlib_metadata
import pluggy

from modelbay import hookspecs
from modelbay.errors import PluginError, PluginLoadError

GROUP = "modelbay"
WRAPPERS_GROUP = "modelbay.wrappers"
CORE_DISTRIBUTION = "modelbay-core"

PluginState: TypeAlias = Literal["ok", "disabled", "broken", "duplicate"]


@dataclass(slots=True)
class Plugin:
    """One kind of backend, as found; loaded or not.

    Attributes:
        kind: The entry point's name.
        aliases: Other entry-point names of the same module: other spellings of the kind.
        requires: The range of `modelbay-core` it was written for, read from its metadata.
        manager: Its own plugin manager, when ``state`` is ``ok``.
        took_s: Seconds its import took.
    """

    kind: str
    dist: str
    version: str
    entry_point: str
    state: PluginState = "ok"
    aliases: tuple[str, ...] = ()
    requires: str = ""
    error: PluginError | None = None
    manager: pluggy.PluginManager | None = None
    took_s: float = 0.0
    hooks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Found:
    """An entry point of a distribution, not loaded."""

    name: str
    value: str
    dist: str
    version: str
    requires: str
    load: Callable[[], object] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Installed:
    """All that is installed for modelbay.

    Attributes:
        plugins: By kind, in alphabetical order.
        damaged: Distributions whose metadata cannot be read, with the reason.
    """

    plugins: tuple[Plugin, ...]
    damaged: tuple[tuple[str, str], ...]


def load_plugins(
    env: Mapping[str, str],
    *,
    wrappers: Iterable[str] = (),
    distributions: Callable[[], Iterable[importlib_metadata.Distribution]] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Installed:
    """Load every plugin that is not switched off by ``MODELBAY_DISABLE=kind,...``.

    A disabled plugin is not imported. Of two distributions that claim a kind, the first in
    alphabetical order has it and the other is reported.
    """
    found, damaged = _entry_points((distributions or _installed)(), (GROUP, WRAPPERS_GROUP))
    disabled = {name.strip() for name in env.get("MODELBAY_DISABLE", "").split(",")}
    wanted = set(wrappers)
    switched_on: list[tuple[str, object]] = []
    for entry in found[WRAPPERS_GROUP]:
        if entry.name in wanted:
            wanted.discard(entry.name)
            try:
                switched_on.append((entry.name, _wrapper(entry)))
            except (Exception, SystemExit) as exc:  # a stranger's module, as below
                damaged.append((f"wrapper {entry.name}", f"{type(exc).__name__}: {exc}"))
    plugins: list[Plugin] = []
    owners: dict[str, Plugin] = {}
    for (dist, value), entries in _by_module(found[GROUP]):
        kind, *aliases = sorted((entry.name for entry in entries), key=_plain_first)
        first = entries[0]
        plugin = Plugin(
            kind=kind,
            dist=dist,
            version=first.version,
            entry_point=value,
            aliases=tuple(aliases),
            requires=first.requires,
        )
        plugins.append(plugin)
        taken = next((owners[name] for name in (kind, *aliases) if name in owners), None)
        if taken is not None:
            plugin.state = "duplicate"
            plugin.error = PluginLoadError(
                f"the kind '{kind}' of {dist} is taken by {taken.dist}",
                hint=f"pip uninstall {dist}   # or {taken.dist}",
            )
            continue
        for name in (kind, *aliases):
            owners[name] = plugin
        if {kind, *aliases} & disabled:
            plugin.state = "disabled"
            continue
        began = clock()
        try:
            plugin.manager = _manager(kind, first.load(), switched_on)
            plugin.hooks = tuple(
                name
                for name in (*hookspecs.REQUIRED, *hookspecs.OPTIONAL)
                if getattr(plugin.manager.hook, name).get_hookimpls()
            )
        except PluginLoadError as exc:
            plugin.state, plugin.error = "broken", exc
        except (Exception, SystemExit) as exc:  # whatever a stranger's module does when imported
            plugin.state = "broken"
            plugin.error = PluginLoadError(
                f"plugin '{kind}' cannot be imported: {type(exc).__name__}: {exc}",
                hint=f"pip install --force-reinstall {dist}   # or: pip uninstall {dist}",
            )
            plugin.error.__cause__ = exc
        if plugin.error is not None:
            plugin.manager = None
        plugin.took_s = clock() - began
    for name in sorted(wanted):
        damaged.append((name, "this wrapper is switched on and not installed"))
    plugins.sort(key=lambda plugin: plugin.kind)
    return Installed(tuple(plugins), tuple(damaged))


def _wrapper(entry: _Found) -> object:
    """The wrapper, proven to fit the hooks.

    Raises:
        Exception: Whatever its import raises, or pluggy of its hooks.
    """
    loaded = entry.load()
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(loaded)
    manager.check_pending()
    return loaded


def _manager(
    kind: str, module: object, wrappers: Iterable[tuple[str, object]]
) -> pluggy.PluginManager:
    """A manager with this one plugin (and the wrappers that are switched on)."""
    if not isinstance(module, ModuleType):
        raise PluginLoadError(
            f"plugin '{kind}' is {type(module).__name__}, not a module of functions",
            hint='the entry point names a module: "acme = modelbay_acme.plugin"',
        )
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module, name=kind)
        manager.check_pending()
    except (pluggy.PluginValidationError, ValueError) as exc:
        raise PluginLoadError(
            f"plugin '{kind}' does not fit this core: {_first_line(exc)}",
            hint="compare its hooks with modelbay/hookspecs.py; a newer core may know more",
        ) from exc
    missing = [
        name for name in hookspecs.REQUIRED if not getattr(manager.hook, name).get_hookimpls()
    ]
    if missing:
        raise PluginLoadError(
            f"plugin '{kind}' lacks {', '.join(missing)}",
            hint="implement them, each marked @hookimpl",
        )
    for name, wrapper in wrappers:
        manager.register(wrapper, name=f"wrapper:{name}")
    return manager


def _first_line(exc: Exception) -> str:
    """Pluggy's reason is on the second line of some of its messages."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return " ".join(lines[:3])


def _plain_first(name: str) -> tuple[bool, str]:
    """Of several names of one module the plain one is the kind, others are its spellings.

    Build tools sort the names, so their order in the file says nothing.
    """
    return not name.replace("-", "").isalnum(), name


def _by_module(
    found: list[_Found],
) -> list[tuple[tuple[str, str], list[_Found]]]:
    """Entry points grouped by distribution and module, in alphabetical order."""
    groups: dict[tuple[str, str], list[_Found]] = {}
    for entry in found:
        groups.setdefault((entry.dist, entry.value), []).append(entry)
    return sorted(groups.items(), key=lambda item: (item[0][0].lower(), item[0][1]))


def _entry_points(
    distributions: Iterable[importlib_metadata.Distribution], groups: tuple[str, ...]
) -> tuple[dict[str, list[_Found]], list[tuple[str, str]]]:
    """The entry points of these groups, read one distribution at a time.

    One damaged distribution would make ``entry_points()`` lose all of them. Of a name that is
    installed twice the first on the path counts; pip's leftovers begin with ``~``.
    """
    found: dict[str, list[_Found]] = {group: [] for group in groups}
    damaged: list[tuple[str, str]] = []
    seen: set[str] = set()
    for dist in distributions:
        name = "(unnamed)"
        try:
            name = dist.metadata["Name"] or name
            if name.startswith("~"):
                continue
            normal = re.sub(r"[-_.]+", "-", name).lower()
            if normal in seen:
                continue
            seen.add(normal)
            for entry in dist.entry_points:
                if entry.group in found:
                    found[entry.group].append(
                        _Found(
                            entry.name,
                            entry.value,
                            name,
                            dist.version,
                            _core_range(dist.requires or ()),
                            entry.load,
                        )
                    )
        except Exception as exc:  # a distribution can be broken in any way
            damaged.append((f"{name} ({_place(dist)})", f"{type(exc).__name__}: {exc}"))
    return found, damaged


def _installed() -> Iterator[importlib_metadata.Distribution]:
    for dist in importlib_metadata.distributions():
        yield cast("importlib_metadata.Distribution", dist)  # typed as a narrower protocol


def _core_range(requirements: Iterable[str]) -> str:
    for requirement in requirements:
        match = re.match(r"\s*([A-Za-z0-9._-]+)\s*(.*)", requirement)
        if match and re.sub(r"[-_.]+", "-", match[1]).lower() == CORE_DISTRIBUTION:
            return match[2].strip("() ")
    return ""


def _place(dist: importlib_metadata.Distribution) -> str:
    return str(getattr(dist, "_path", "unknown place"))
