"""What `modelbay doctor` finds: files, plugins, providers, and what is wrong with them."""

import asyncio
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, TypeAlias

from modelbay import Host, ModelbayError
from modelbay.config import locations
from modelbay.host.handles import ProviderHandle
from modelbay.host.loader import Plugin
from modelbay.models.catalog import ProviderEntry
from modelbay.models.manage import Health, HealthReport
from modelbay_cli import facts
from modelbay_cli.actions import MANAGEMENT_S, outcome_of
from modelbay_cli.output import shown_url
from modelbay_cli.ready import VERSION

Level: TypeAlias = Literal["error", "warning"]

_PACKAGES = (
    "modelbay-core",
    "pluggy",
    "httpx2",
    "pydantic",
    "msgspec",
    "click",
    "rich",
)
# A usual address at which nothing, or somebody else, answers: nobody said it should.
_NOBODY_HOME = {"backend_unreachable", "backend_timeout", "wrong_server"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    Attributes:
        code: The code of the error.
        subject: What it is about: a file, ``plugin NAME``, ``provider ID``.
        hint: The next step.
    """

    level: Level
    code: str
    subject: str
    message: str
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class FileCheck:
    what: str
    path: str
    exists: bool
    decided_by: str


@dataclass(frozen=True, slots=True)
class PluginCheck:
    kind: str
    aliases: tuple[str, ...]
    dist: str
    version: str
    requires: str
    entry_point: str
    state: str
    took_s: float
    problem: str | None


@dataclass(frozen=True, slots=True)
class ProviderCheck:
    """One provider after a fresh look.

    Attributes:
        source: Who configured or proposed it.
        hidden: Not listed by `modelbay models`.
        server: What answers there, and in which version, where the provider can tell.
    """

    id: str
    label: str
    kind: str
    address: str
    source: str
    status: str
    hidden: bool
    models: int
    took_s: float | None
    problem: str | None
    server: str = ""
    version: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Diagnosis:
    """All of it, in the order in which it is shown."""

    program: dict[str, str]
    packages: dict[str, str | None]
    files: list[FileCheck] = field(default_factory=list)
    plugins: list[PluginCheck] = field(default_factory=list)
    providers: list[ProviderCheck] = field(default_factory=list)
    default_model: str | None = None
    default_model_note: str = ""
    findings: list[Finding] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return any(finding.level == "error" for finding in self.findings)

    def add(self, level: Level, subject: str, exc: ModelbayError) -> None:
        self.findings.append(Finding(level, exc.code, subject, exc.message, exc.hint))

    def json(self) -> dict[str, Any]:
        return asdict(self)


def begin() -> Diagnosis:
    """Versions and places; nothing is opened and nobody is asked."""
    places = locations(os.environ)
    return Diagnosis(
        program={
            "modelbay": VERSION,
            "python": platform.python_version(),
            "executable": sys.executable,
            "platform": platform.platform(),
        },
        packages={name: _version(name) for name in _PACKAGES},
        files=[
            _file("providers.json", places.providers_file, places.providers_file_from),
            _file("data folder", places.data, places.data_from),
            _file("cache folder", places.cache, places.cache_from),
        ],
    )


async def examine(host: Host, diagnosis: Diagnosis, deadline_s: float | None) -> None:
    """Look at every plugin and every provider, hidden ones too, side by side."""
    for plugin in host.plugins:
        diagnosis.plugins.append(_plugin(plugin))
        if plugin.error is not None:
            level: Level = "warning" if plugin.state == "duplicate" else "error"
            diagnosis.add(level, f"plugin {plugin.kind}", plugin.error)
    for name, reason in host.installed.damaged:
        diagnosis.findings.append(
            Finding(
                "warning",
                "plugin_load_error",
                f"package {name}",
                f"its metadata cannot be read: {reason}",
                "install it again, or remove its folder",
            )
        )
    catalog = await host.refresh(force=True)
    limit_s = deadline_s or MANAGEMENT_S
    checks = await asyncio.gather(
        *(
            _provider(host, handle, entry, limit_s)
            for handle, entry in zip(host.providers, catalog.providers, strict=True)
        )
    )
    for check, found in checks:
        diagnosis.providers.append(check)
        diagnosis.findings += found
    try:
        model = await host.resolve(None)
        diagnosis.default_model, diagnosis.default_model_note = model.id, facts.note(model)
    except ModelbayError as exc:
        named = host.env.get("DEFAULT_MODEL") or host.file.default_model
        diagnosis.add("error" if named else "warning", "default model", exc)


async def _provider(
    host: Host, handle: ProviderHandle, entry: ProviderEntry, limit_s: float
) -> tuple[ProviderCheck, Sequence[Finding]]:
    findings = []
    level = _level(entry, handle.config.source)
    if entry.problem is not None and level is not None:
        problem = entry.problem
        findings.append(
            Finding(level, problem.code, f"provider {entry.id}", problem.message, problem.hint)
        )
    report: HealthReport | None = None
    asked = entry.status == "ok" and handle.table is not None and "health" in handle.table.actions
    if asked:
        try:
            events = host.manage(entry.id, Health(), deadline_s=limit_s)
            report = await outcome_of(events, HealthReport)
        except ModelbayError as exc:
            findings.append(
                Finding("warning", exc.code, f"provider {entry.id}", exc.message, exc.hint)
            )
    if report is not None and not report.healthy:
        findings.append(
            Finding(
                "warning",
                "backend_error",
                f"provider {entry.id}",
                f"{report.server or 'its server'} says that it is not healthy",
                "look at the server's own log",
            )
        )
    check = ProviderCheck(
        id=entry.id,
        label=entry.label,
        kind=entry.kind,
        address=shown_url(entry.base_url) if entry.base_url else "",
        source=handle.config.source,
        status=entry.status,
        hidden=entry.hidden,
        models=len(entry.models),
        took_s=entry.took_s,
        problem=None if entry.problem is None else entry.problem.message,
        server="" if report is None else report.server,
        version=None if report is None else report.version,
        details={} if report is None else dict(report.details),
    )
    return check, findings


def _level(entry: ProviderEntry, source: str) -> Level | None:
    """How bad a provider's problem is: what somebody named should be there."""
    if entry.problem is None:
        return None
    if entry.status == "loading":
        return "warning"
    if source in ("configured", "environment"):
        return "error"
    return None if entry.problem.code in _NOBODY_HOME else "warning"


def _plugin(plugin: Plugin) -> PluginCheck:
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


def _file(what: str, path: Path, decided_by: str) -> FileCheck:
    try:
        exists = path.exists()
    except OSError:  # in a folder that may not be looked into
        exists = False
    return FileCheck(what, str(path), exists, decided_by)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
