"""What is wrong with each plugin: the code, the reason and the fix, for `list` and for `doctor`."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from modelbay import Host, ProviderConfig
from modelbay.errors import PluginContractError, PluginError
from modelbay.host.loader import Installed, Plugin

SLOW_S = 2.0  # an import that everybody who starts modelbay waits for

Level: TypeAlias = Literal["error", "warning"]

_CODES = {
    "import": "plugin_broken",
    "dependency": "plugin_dependency_missing",
    "hooks": "plugin_mismatch",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """One plugin's.

    Attributes:
        level: ``warning`` for a plugin that works all the same, or that another stands in for.
        code: Of the diagnoses that docs/doctor.md lists.
        fix: Something to type.
        error: The code of the error it was found by; ``None`` where there was none.
    """

    level: Level
    code: str
    reason: str
    fix: str
    error: str | None = None


def troubles(installed: Installed, env: Mapping[str, str]) -> list[Trouble | None]:
    """For each plugin what is wrong with it, in their order.

    Those that could be loaded are asked for their proposals and their table as a host asks; no
    server is.
    """
    Host.open(providers=(), env=env, installed=installed)
    tables = _table_errors(installed, env)
    return [trouble(plugin, env, tables.get(plugin.kind)) for plugin in installed.plugins]


def trouble(
    plugin: Plugin, env: Mapping[str, str], table_error: PluginError | None = None
) -> Trouble | None:
    """What is wrong with one plugin.

    Args:
        table_error: What it raised when it was asked for its table.
    """
    error = plugin.error or table_error
    dist = shlex.quote(plugin.dist)
    if error is not None:
        # An error's own hint may be about one provider, or for the plugin's author.
        contract = isinstance(error, PluginContractError)
        fix = f"modelbay plugin upgrade {dist}   # or: modelbay plugin uninstall {dist}"
        if not contract and error.hint and error.hint.startswith("modelbay plugin "):
            fix = error.hint
        if plugin.state == "duplicate":
            return Trouble("warning", "kind_duplicate", error.message, fix, error.code)
        if plugin.state == "incompatible":
            return Trouble("error", "plugin_incompatible", error.message, fix, error.code)
        code = "plugin_contract" if contract else _CODES[plugin.fault or "import"]
        return Trouble("error", code, error.message, fix, error.code)
    if plugin.took_s >= SLOW_S:
        reason = f"its import took {plugin.took_s:.1f} s, for which every start waits"
        return Trouble("warning", "plugin_slow", reason, _without(plugin, env))
    fix = f"modelbay plugin upgrade {dist}   # or: {_without(plugin, env)}"
    if plugin.threads:
        named = ", ".join(plugin.threads)
        reason = f"its import leaves a thread running, for which a command's end may wait: {named}"
        return Trouble("warning", "plugin_thread", reason, fix)
    if plugin.printed:
        reason = "it prints when it is imported; that went to standard error"
        return Trouble("warning", "plugin_prints", reason, fix)
    return None


def _table_errors(installed: Installed, env: Mapping[str, str]) -> dict[str, PluginError]:
    """By kind what `capabilities` did wrong. No provider need be configured for it to be asked."""
    asked = [
        ProviderConfig(id=f"plugin-{number}", kind=plugin.kind)
        for number, plugin in enumerate(installed.plugins)
        if plugin.manager is not None
    ]
    host = Host.open(providers=asked, env=env, installed=installed)
    return {
        handle.config.kind: handle.problem
        for handle in host.providers
        if isinstance(handle.problem, PluginError)
    }


def _without(plugin: Plugin, env: Mapping[str, str]) -> str:
    names = [name.strip() for name in env.get("MODELBAY_DISABLE", "").split(",")]
    off = ",".join((*filter(None, names), plugin.kind))
    return f"export MODELBAY_DISABLE={shlex.quote(off)}"
