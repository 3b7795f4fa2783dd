"""The conformance kit for a plugin that is installed: `modelbay plugin check`."""

import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING

from modelbay.errors import PluginError
from modelbay_cli.installing import inventory
from modelbay_cli.installing.inventory import Distribution
from modelbay_cli.output import Screen

if TYPE_CHECKING:
    from modelbay.testing.conformance.report import Level, Report

PLUGINS_GROUP = "modelbay"
TARGETS_GROUP = "modelbay.targets"
_NEEDED = ("pytest", "anyio")


def find_target(word: str) -> tuple[Distribution, str, str]:
    """The distribution, the kind and the target as ``module:function``.

    Args:
        word: A kind, or the name of a distribution with one kind.

    Raises:
        PluginError: There is no such plugin, or it has no target.
    """
    among = inventory.installed()
    dist = inventory.find_plugin(word, among)
    if dist is None or not dist.kinds:
        raise PluginError(f"no plugin '{word}' is installed", hint="modelbay plugin list")
    targets = dist.values(TARGETS_GROUP)
    modules = dist.values(PLUGINS_GROUP)
    kind = word if word in dist.kinds else next(iter(targets), dist.kinds[0])
    # Another spelling of a kind is tested as the one that has the target.
    spellings = [name for name in targets if modules.get(name) == modules.get(kind)]
    kind = kind if kind in targets else next(iter(spellings), kind)
    if word not in dist.kinds and len(targets) > 1:
        raise PluginError(
            f"{dist.name} has several kinds", hint=f"modelbay plugin check {' or '.join(targets)}"
        )
    if kind not in targets:
        raise PluginError(
            f"{dist.name} does not say how '{kind}' is tested",
            hint=f"its pyproject.toml needs an entry point in the group {TARGETS_GROUP}:"
            f' {kind} = "MODULE:FUNCTION", which gives a Target; see `modelbay plugin new`',
        )
    return dist, kind, targets[kind]


def check(word: str, level: "Level", env: Mapping[str, str]) -> "Report":
    """Run the kit; takes some seconds.

    Raises:
        PluginError: The kit cannot be run on this plugin.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise PluginError(
            f"the kit needs {' and '.join(missing)}",
            hint=f"modelbay plugin install {' '.join(missing)}",
        )
    from modelbay.testing.conformance.report import Report, kit_digest
    from modelbay.testing.conformance.running import run_kit

    dist, kind, target = find_target(word)
    Screen.stderr().line(f"running the kit on {kind} ({dist.name} {dist.version})", style="dim")
    return Report(
        kind=kind,
        dist=dist.name,
        version=dist.version,
        asked=level,
        results=run_kit(target, level, env),
        digest=kit_digest(),
        core=inventory.installed()["modelbay-core"].version,
    )


def show(report: "Report", out: Screen) -> None:
    """The broken checks with what was seen, and a last line that says it all."""
    for result in report.results:
        if result.verdict in ("broken", "excused"):
            out.line(f"{result.verdict}: {result.name} ({result.group})", style="error")
            for line in result.reason.splitlines():
                out.line(f"  {line}")
    counts = f"{report.count('held')} held, {report.count('ruled_out')} ruled out"
    bad = report.count("broken") + report.count("excused")
    out.line(
        f"{report.kind}: {report.level or 'no level yet'}"
        f" ({counts}, {bad} broken; kit {report.digest})",
        style="good" if report.passed else "error",
    )
