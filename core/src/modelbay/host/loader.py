"""Find plugins and load them one at a time; a broken one is a row, never a crash."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Literal, TypeAlias

import importlib_metadata
import pluggy

from modelbay import hookspecs
from modelbay.errors import PluginError, PluginLoadError
from modelbay.host.entry_point_cache import installed_entry_points
from modelbay.host.entry_points import (
    Found,
    Precedence,
    installed_distributions,
    parts_of_modelbay,
    read_entry_points,
)
from modelbay.host.importing import ImportFault, import_guarded
from modelbay.host.versions import CORE_DISTRIBUTION as CORE_DISTRIBUTION
from modelbay.host.versions import misfit
from modelbay.host.wrappers.switching import load_wrappers

GROUP = "modelbay"
WRAPPERS_GROUP = "modelbay.wrappers"

PluginState: TypeAlias = Literal["ok", "disabled", "broken", "duplicate", "incompatible"]


@dataclass(slots=True)
class Plugin:
    """One kind of backend, as found; loaded or not.

    Attributes:
        kind: The entry point's name.
        aliases: Other entry-point names of the same module: other spellings of the kind.
        requires: The range of `modelbay-core` it was written for, read from its metadata.
        manager: Its own plugin manager, when ``state`` is ``ok``.
        took_s: Seconds its import took.
        fault: What makes a ``broken`` one so.
        printed: It wrote to standard output while it was imported.
        threads: Names of the threads that its import left running.
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
    fault: ImportFault | None = None
    printed: bool = False
    threads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Installed:
    """All that is installed for modelbay.

    Attributes:
        plugins: By kind, in alphabetical order.
        damaged: Distributions whose metadata cannot be read, and wrappers that are switched on and
            cannot be used, with the reason.
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

    A disabled plugin is not imported, nor is one whose range leaves this core out. Of several
    distributions that claim a kind, the first that can be loaded has it, in the order of
    `modelbay.host.entry_points.Precedence`, and the others are reported.

    Args:
        wrappers: What to switch on, each ``NAME`` or ``NAME:SETTINGS``.
    """
    source = distributions or installed_distributions
    groups = (GROUP, WRAPPERS_GROUP)
    found, damaged = (
        installed_entry_points(groups)
        if distributions is None
        else read_entry_points(distributions(), groups)
    )
    switched_on, failed = load_wrappers(wrappers, found[WRAPPERS_GROUP])
    plugins: list[Plugin] = []
    owners: dict[str, Plugin] = {}
    for plugin, entry in _in_turn(_claims(found[GROUP]), lambda: parts_of_modelbay(source())):
        plugins.append(plugin)
        names = (plugin.kind, *plugin.aliases)
        owned = [owners[name] for name in names if name in owners]
        taken = next((one for one in owned if one.state in ("ok", "disabled")), None)
        if taken is not None:
            plugin.state = "duplicate"
            plugin.error = PluginLoadError(
                f"the kind '{plugin.kind}' of {plugin.dist} is taken by {taken.dist}",
                hint=f"modelbay plugin uninstall {plugin.dist}",
            )
            continue
        owners.update(dict.fromkeys(names, plugin))
        if _disabled(env) & set(names):
            plugin.state = "disabled"
        elif plugin.error is not None:
            plugin.state = "incompatible"
        else:
            _load(plugin, entry, switched_on, clock)
    # Of those of one kind that are no duplicates the one that works is the last: a host that looks
    # them up by kind finds it.
    order = {"ok": 1, "disabled": 1, "duplicate": 2}
    plugins.sort(key=lambda plugin: (plugin.kind, order.get(plugin.state, 0)))
    return Installed(tuple(plugins), (*damaged, *failed))


def _disabled(env: Mapping[str, str]) -> set[str]:
    return {name.strip() for name in env.get("MODELBAY_DISABLE", "").split(",")}


def _claims(found: list[Found]) -> list[tuple[Plugin, Found]]:
    """Each plugin, not loaded, in alphabetical order of the distributions.

    The ``error`` of one that is not for this core says so.
    """
    claims: list[tuple[Plugin, Found]] = []
    for (dist, value), entries in _by_module(found):
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
        unfit = misfit(f"plugin '{kind}'", dist, first.version, first.requires)
        if unfit is not None:
            plugin.error = PluginLoadError(unfit[0], hint=unfit[1])
        claims.append((plugin, first))
    return claims


def _in_turn(
    claims: list[tuple[Plugin, Found]], parts: Callable[[], frozenset[str]]
) -> list[tuple[Plugin, Found]]:
    """Those that are for this core first; of these who has precedence.

    Args:
        parts: Asked only where a kind is claimed twice, since it reads more metadata.
    """
    by_dist: dict[str, set[str]] = {}
    for plugin, _ in claims:
        by_dist.setdefault(plugin.dist, set()).update((plugin.kind, *plugin.aliases))
    twice = len(set().union(*by_dist.values())) < sum(map(len, by_dist.values()))
    rank = Precedence(by_dist, parts() if twice else ())

    def key(claim: tuple[Plugin, Found]) -> tuple[object, ...]:
        plugin = claim[0]
        return plugin.error is not None, rank(plugin.dist, (plugin.kind, *plugin.aliases))

    return sorted(claims, key=key)


def _load(
    plugin: Plugin,
    entry: Found,
    wrappers: Sequence[tuple[str, object]],
    clock: Callable[[], float],
) -> None:
    """Import it and look at its hooks; what is wrong stands in the plugin."""
    done = import_guarded(
        entry.load, f"plugin '{plugin.kind}'", plugin.dist, plugin.entry_point, clock
    )
    plugin.took_s, plugin.printed, plugin.threads = done.took_s, done.printed, done.threads
    plugin.fault, plugin.error = done.fault, done.error
    if done.error is None:
        try:
            manager = _manager(plugin.kind, done.module, wrappers)
            plugin.hooks = tuple(
                name
                for name in (*hookspecs.REQUIRED, *hookspecs.OPTIONAL)
                if getattr(manager.hook, name).get_hookimpls()
            )
            plugin.manager = manager
        except PluginLoadError as exc:
            exc.hint = exc.hint or _mended(plugin)
            plugin.fault, plugin.error = "hooks", exc
        except Exception as exc:  # pluggy looks at every name in a stranger's module
            plugin.fault = "hooks"
            plugin.error = PluginLoadError(
                f"plugin '{plugin.kind}' cannot be looked at: {type(exc).__name__}: {exc}",
                hint=_mended(plugin),
            )
            plugin.error.__cause__ = exc
    if plugin.error is not None:
        plugin.state = "broken"


def _manager(
    kind: str, module: object, wrappers: Sequence[tuple[str, object]]
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
            f"plugin '{kind}' does not fit this core: {_first_line(exc)}"
        ) from exc
    missing = [
        name for name in hookspecs.REQUIRED if not getattr(manager.hook, name).get_hookimpls()
    ]
    if missing:
        raise PluginLoadError(f"plugin '{kind}' lacks {', '.join(missing)}")
    for name, wrapper in reversed(wrappers):  # pluggy calls the last one first
        manager.register(wrapper, name=f"wrapper:{name}")
    return manager


def _mended(plugin: Plugin) -> str:
    return (
        f"modelbay plugin upgrade {plugin.dist}   # or: modelbay plugin uninstall {plugin.dist};"
        " its author finds the hooks in modelbay/hookspecs.py"
    )


def _first_line(exc: Exception) -> str:
    """Pluggy's reason is on the second line of some of its messages."""
    lines = [line.strip() for line in str(exc).splitlines() if line.strip()]
    return " ".join(lines[:3])


def _plain_first(name: str) -> tuple[bool, str]:
    """Of several names of one module the plain one is the kind, others are its spellings.

    Build tools sort the names, so their order in the file says nothing.
    """
    return not name.replace("-", "").isalnum(), name


def _by_module(found: list[Found]) -> list[tuple[tuple[str, str], list[Found]]]:
    """Entry points grouped by distribution and module, in alphabetical order."""
    groups: dict[tuple[str, str], list[Found]] = {}
    for entry in found:
        groups.setdefault((entry.dist, entry.value), []).append(entry)
    return sorted(groups.items(), key=lambda item: (item[0][0].lower(), item[0][1]))
