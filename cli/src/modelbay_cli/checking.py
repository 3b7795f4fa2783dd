"""The conformance kit for a plugin that is installed: `modelbay plugin check`."""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import importlib_metadata

from modelbay.errors import ConfigError, PluginError
from modelbay_cli.installing import inventory
from modelbay_cli.installing.inventory import Distribution
from modelbay_cli.installing.requirement import normal
from modelbay_cli.output import Screen

if TYPE_CHECKING:
    from modelbay.testing.conformance.report import Level, Report

PLUGINS_GROUP = "modelbay"
TARGETS_GROUP = "modelbay.targets"
_NEEDED = ("pytest", "anyio")
_MISSING = "modelbay: missing module "
_IMPORT = f"""
import importlib, sys
try:
    importlib.import_module(sys.argv[1])
except ModuleNotFoundError as exc:
    sys.stdout.write({_MISSING!r} + (exc.name or ""))
except BaseException:
    pass
"""  # anything else that is wrong with it is the kit's to say
_IMPORT_LIMIT_S = 60.0


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
    try:
        results = run_kit(target, level, env)
    except PluginError:
        _require_importable(dist, target, env)  # says more, if that is why
        raise
    return Report(
        kind=kind,
        dist=dist.name,
        version=dist.version,
        asked=level,
        results=results,
        digest=kit_digest(),
        core=inventory.installed()["modelbay-core"].version,
    )


def require_writable(*files: Path | None) -> None:
    """Look before the kit runs whether its report can be written.

    Raises:
        ConfigError: One of the files cannot be written, because of its folder or itself.
    """
    for file in files:
        if file is None or str(file) == "-":
            continue
        folder = file.absolute().parent
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {folder}", hint=f"mkdir -p {quote(str(folder))}")
        place = file if file.exists() else folder
        if not os.access(place, os.W_OK):
            raise ConfigError(
                f"{place} cannot be written", hint=f"ls -ld {quote(str(place))}; or name another"
            )


def _require_importable(dist: Distribution, target: str, env: Mapping[str, str]) -> None:
    """What only tests need is in an extra of the plugin's; its name is the way out.

    Raises:
        PluginError: A module that the target imports is not installed.
    """
    module = target.partition(":")[0]
    done = subprocess.run(  # noqa: S603 - our own interpreter, our own script
        [sys.executable, "-c", _IMPORT, module],
        env=dict(env),
        cwd=tempfile.gettempdir(),
        capture_output=True,
        text=True,
        timeout=_IMPORT_LIMIT_S,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    missing = done.stdout.rpartition(_MISSING)[2].strip()
    if _MISSING in done.stdout and missing:
        raise PluginError(
            f"the target of {dist.name} needs {missing}, which is not installed",
            hint=_install(dist.name, missing),
        )


def _install(dist: str, missing: str) -> str:
    """The command that brings a missing module: by an extra of the plugin's, if there is one."""
    needed = importlib_metadata.requires(dist) or []
    extras = importlib_metadata.metadata(dist).get_all("Provides-Extra") or []
    names = normal(missing.partition(".")[0])
    for extra in extras:
        for requirement in needed:
            wanted, _, marker = requirement.partition(";")
            named = re.match(r"[A-Za-z0-9._-]+", wanted)
            if named and normal(named[0]) == names and re.search(rf"['\"]{extra}['\"]", marker):
                return f'{quote(sys.executable)} -m pip install "{dist}[{extra}]"'
    return f"modelbay plugin install {names}"


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
