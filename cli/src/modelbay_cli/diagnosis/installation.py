"""What is wrong with what is installed: plugins, wrappers, commands, packages."""

import json
import re
import shlex
from collections.abc import Iterator, Sequence

from modelbay import Host
from modelbay.errors import ConfigError
from modelbay.host.loader import Plugin
from modelbay_cli import plugins
from modelbay_cli.diagnosis.finding import Finding
from modelbay_cli.diagnosis.report import PluginCheck
from modelbay_cli.installing import inventory, wishes
from modelbay_cli.installing.trouble import Trouble, troubles

_NOT_INSTALLED = "not installed"


def look_at_plugins(host: Host) -> tuple[list[PluginCheck], list[Finding]]:
    """Every plugin as a row, and what is wrong with any."""
    found: list[Finding] = []
    rows: list[PluginCheck] = []
    for plugin, seen in zip(host.plugins, troubles(host.installed, host.env), strict=True):
        rows.append(_row(plugin, seen))
        if seen is not None:
            subject = f"plugin {plugin.kind}"
            found.append(Finding(seen.level, seen.code, subject, seen.reason, seen.fix, seen.error))
    found += (_damaged(name, reason, host.file.wrappers) for name, reason in host.installed.damaged)
    found += _commands()
    found += _missing(host)
    return rows, found


def look_at_wrappers(host: Host) -> list[Finding]:
    """The wrappers that the file switches on and that cannot be used."""
    wanted = host.file.wrappers
    return [
        _damaged(name, reason, wanted)
        for name, reason in host.installed.damaged
        if name.removeprefix("wrapper ") in map(_wrapper_name, wanted)
    ]


def _damaged(name: str, reason: str, wrappers: Sequence[str]) -> Finding:
    wrapper = name.removeprefix("wrapper ")
    if wrapper in map(_wrapper_name, wrappers):
        left = [one for one in wrappers if _wrapper_name(one) != wrapper]
        kept = f"set wrappers {shlex.quote(json.dumps(left))}" if left else "unset wrappers"
        missing = _NOT_INSTALLED in reason
        return Finding(
            "warning",
            "wrapper_missing" if missing else "wrapper_broken",
            f"wrapper {wrapper}",
            reason if missing else f"it cannot be loaded: {reason}",
            f"modelbay config {kept}   # or {'install it' if missing else 'mend its settings'}",
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
                f"modelbay plugin upgrade {dist}   # or: modelbay plugin uninstall {dist}",
            )


def _missing(host: Host) -> Iterator[Finding]:
    """What `modelbay plugin install` once installed, and a new environment has lost."""
    try:
        wished = wishes.read(wishes.place(host.env))
    except ConfigError as exc:
        fix = exc.hint or "modelbay plugin list"
        yield Finding.of("warning", "other", "list of wished plugins", exc, fix)
        return
    present = inventory.installed() if wished else {}
    for one in wished:
        if one.name not in present:
            yield Finding(
                "warning",
                "plugin_missing",
                f"plugin {one.name}",
                f"it was asked for as {one.spec}, and is not installed",
                "modelbay plugin sync",
            )


def _wrapper_name(switched_on: str) -> str:
    """Of ``NAME:SETTINGS``, as it stands in the file."""
    return switched_on.partition(":")[0]


def _row(plugin: Plugin, seen: Trouble | None) -> PluginCheck:
    failed = seen is not None and seen.level == "error"
    return PluginCheck(
        kind=plugin.kind,
        aliases=plugin.aliases,
        dist=plugin.dist,
        version=plugin.version,
        requires=plugin.requires,
        entry_point=plugin.entry_point,
        state="broken" if failed and plugin.state == "ok" else plugin.state,
        took_s=plugin.took_s,
        problem=None if seen is None else seen.reason,
    )
