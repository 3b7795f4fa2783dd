"""What is wrong with what is installed: plugins, wrappers, commands, packages."""

import json
import re
import shlex
from collections.abc import Iterator, Sequence

from modelbay import Host
from modelbay.errors import PluginContractError, PluginError
from modelbay.host.loader import Plugin
from modelbay_cli import plugins
from modelbay_cli.diagnosis.finding import Finding
from modelbay_cli.diagnosis.report import PluginCheck

_NOT_INSTALLED = "not installed"


def look_at_plugins(host: Host) -> tuple[list[PluginCheck], list[Finding]]:
    """Every plugin as a row, and what is wrong with any."""
    found: list[Finding] = []
    for plugin in host.plugins:
        if plugin.error is not None:
            found.append(_finding(plugin, plugin.error))
    found += (_damaged(name, reason, host.file.wrappers) for name, reason in host.installed.damaged)
    found += _commands()
    return [_row(plugin) for plugin in host.plugins], found


def look_at_wrappers(host: Host) -> list[Finding]:
    """The wrappers that the file switches on and that cannot be used."""
    wanted = host.file.wrappers
    return [
        _damaged(name, reason, wanted)
        for name, reason in host.installed.damaged
        if name.removeprefix("wrapper ") in wanted
    ]


def _finding(plugin: Plugin, error: PluginError) -> Finding:
    subject, dist = f"plugin {plugin.kind}", shlex.quote(plugin.dist)
    if plugin.state == "duplicate":
        return Finding.of("warning", "kind_duplicate", subject, error, f"pip uninstall -y {dist}")
    if isinstance(error, PluginContractError):
        code, fix = "plugin_contract", f"pip install --upgrade {dist}"
    elif "cannot be imported" in error.message:
        code, fix = "plugin_broken", f"pip install --force-reinstall {dist}"
    else:
        code, fix = "plugin_mismatch", f"pip install --upgrade {dist} modelbay-core"
    return Finding.of("error", code, subject, error, f"{fix}   # or: pip uninstall {dist}")


def _damaged(name: str, reason: str, wrappers: Sequence[str]) -> Finding:
    wrapper = name.removeprefix("wrapper ")
    if wrapper in wrappers:
        left = [one for one in wrappers if one != wrapper]
        kept = f"set wrappers {shlex.quote(json.dumps(left))}" if left else "unset wrappers"
        missing = _NOT_INSTALLED in reason
        return Finding(
            "warning",
            "wrapper_missing" if missing else "wrapper_broken",
            f"wrapper {wrapper}",
            reason if missing else f"it cannot be loaded: {reason}",
            f"modelbay config {kept}   # or install it",
        )
    place = re.search(r"\((/.*|[A-Za-z]:.*)\)$", name)
    return Finding(
        "warning",
        "package_damaged",
        f"package {name}",
        f"its metadata cannot be read: {reason}",
        f"rm -r {shlex.quote(place[1])}   # then install it again, if you need it"
        if place
        else "pip check",
    )


def _commands() -> Iterator[Finding]:
    for command in plugins.all_commands():
        if command.summary.startswith("(broken"):
            dist = shlex.quote(command.dist)
            yield Finding(
                "warning",
                "command_broken",
                f"command {command.name}",
                command.summary.removeprefix("(broken: ").removesuffix(")"),
                f"pip install --upgrade {dist}   # or: pip uninstall {dist}",
            )


def _row(plugin: Plugin) -> PluginCheck:
    return PluginCheck(
        kind=plugin.kind,
        aliases=plugin.aliases,
        dist=plugin.dist,
        version=plugin.version,
        requires=plugin.requires,
        entry_point=plugin.entry_point,
        state=plugin.state,
        took_s=plugin.took_s,
        problem=None if plugin.error is None else plugin.error.message,
    )
