"""The whole examination: the configuration, the folders, the plugins, then every provider."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from modelbay import Host, ModelbayError, ProviderConfig
from modelbay.config import locations
from modelbay.errors import BackendError
from modelbay.host.handles import ProviderHandle
from modelbay.models.catalog import ProviderEntry
from modelbay.models.manage import Health, HealthReport
from modelbay_cli import facts
from modelbay_cli.actions import MANAGEMENT_S, outcome_of
from modelbay_cli.diagnosis import configuration
from modelbay_cli.diagnosis.cause import Patient, cause, is_too_old
from modelbay_cli.diagnosis.configuration import FileLook, look_at_file
from modelbay_cli.diagnosis.finding import Finding, Level
from modelbay_cli.diagnosis.folders import look_at_folders
from modelbay_cli.diagnosis.installation import look_at_plugins
from modelbay_cli.diagnosis.network import look, proxy_for
from modelbay_cli.diagnosis.report import Diagnosis, ProviderCheck
from modelbay_cli.diagnosis.variants import address_variant, first_that_works, variants
from modelbay_cli.output import shown_url

# A usual address at which nothing, or somebody else, answers: nobody said it should.
_NOBODY_HOME = {"backend_unreachable", "backend_timeout", "wrong_server"}
_PLUGIN_CODES = {
    "plugin_broken",
    "plugin_dependency_missing",
    "plugin_incompatible",
    "plugin_mismatch",
    "plugin_contract",
}
_KEYS_CODES = {"keys_exposed", "keys_damaged"}
_SKEW_S = 300.0


def examine_places(diagnosis: Diagnosis) -> FileLook:
    """The file and the folders; nobody is asked."""
    places = locations(os.environ)
    file = look_at_file(Path(places.providers_file))
    diagnosis.findings += file.findings
    diagnosis.findings += look_at_folders(places)
    return file


async def examine(
    host: Host, diagnosis: Diagnosis, file: FileLook, deadline_s: float | None
) -> None:
    """Look at every plugin and every provider, hidden ones too, side by side."""
    rows, found = look_at_plugins(host)
    diagnosis.plugins += rows
    diagnosis.findings += found
    ids = [*(handle.id for handle in host.providers), *(one.id for one in file.providers)]
    diagnosis.findings += configuration.default_provider(file, list(dict.fromkeys(ids)))
    catalog = await host.refresh(force=True)
    limit_s = deadline_s or MANAGEMENT_S
    usual = _usual(host)
    checks = await asyncio.gather(
        *(
            _provider(host, handle, entry, usual, limit_s)
            for handle, entry in zip(host.providers, catalog.providers, strict=True)
        )
    )
    # A plugin or a file that many providers need is told of once.
    known = {finding.message for finding in diagnosis.findings}
    for check, told in checks:
        diagnosis.providers.append(check)
        diagnosis.findings += [
            finding
            for finding in told
            if not (finding.code in _PLUGIN_CODES | _KEYS_CODES and finding.message in known)
        ]
    await _default_model(host, diagnosis, file)


async def _default_model(host: Host, diagnosis: Diagnosis, file: FileLook) -> None:
    variable = host.env.get("DEFAULT_MODEL")
    named = variable or file.top("defaultModel")
    told = diagnosis.findings
    try:
        model = await host.resolve(named)
    except ModelbayError as exc:
        if named is None and any(
            f.level == "error" or f.subject.startswith("provider ") for f in told
        ):
            return  # that no model answers follows from what has been told already
        if isinstance(exc, BackendError) and f"provider {exc.provider_id}" in {
            f.subject for f in told
        }:
            return
        ids = [model.id for model in host.catalog.models]
        diagnosis.findings.append(configuration.default_model(exc, named, bool(variable), ids))
    else:
        diagnosis.default_model, diagnosis.default_model_note = model.id, facts.note(model)


def _usual(host: Host) -> list[ProviderConfig]:
    """What plugins would propose if nothing were configured."""
    nobody = Host.open(providers=(), env=host.env, installed=host.installed)
    return [handle.config for handle in nobody.providers if handle.config.implicit]


async def _provider(
    host: Host,
    handle: ProviderHandle,
    entry: ProviderEntry,
    usual: Sequence[ProviderConfig],
    limit_s: float,
) -> tuple[ProviderCheck, list[Finding]]:
    findings: list[Finding] = []
    level = _level(entry, handle.config.source)
    problem = host.registry.problem_of(entry.id)
    if problem is not None and level is not None:
        findings.append(await _diagnosed(host, handle, problem, level, usual))
    report: HealthReport | None = None
    if entry.status == "ok":
        findings += await _about_healthy(host, handle, entry)
        asked = handle.table is not None and "health" in handle.table.actions
        if asked:
            report, told = await _health(host, entry, limit_s)
            findings += told
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


async def _diagnosed(
    host: Host,
    handle: ProviderHandle,
    problem: ModelbayError,
    level: Level,
    usual: Sequence[ProviderConfig],
) -> Finding:
    config = handle.config
    filed = any(config.id == one.id for one in host.file.providers)
    proxy, seen = "", None
    if config.base_url and handle.backend is not None:
        proxy = proxy_for(config.base_url, host.env)
        seen = await look(proxy or config.base_url)
    named = not config.implicit or config.source == "environment"
    if seen is not None and named and isinstance(problem, BackendError) and not is_too_old(problem):
        outcome = "answered" if proxy else seen.outcome
        tried = variants(
            config, problem, usual, host.plugins, host.env, outcome=outcome, filed=filed
        )
        found = await first_that_works(host, tried)
        if found is not None:
            subject = f"provider {config.id}"
            return Finding(level, found.code, subject, found.message, found.fix, problem.code)
    return cause(
        Patient(
            config=config,
            problem=problem,
            level=level,
            look=seen,
            proxy=proxy,
            start_hint=handle.table.start_hint if handle.table and handle.table.local else "",
            origin=host.roster.origins.get(config.id, ""),
            filed=filed,
            key_in_file=config.api_key is not None and config.id not in host.roster.key_places,
            disabled=host.env.get("MODELBAY_DISABLE", "").split(","),
        )
    )


async def _about_healthy(host: Host, handle: ProviderHandle, entry: ProviderEntry) -> list[Finding]:
    """What may be wrong with a provider that works."""
    found: list[Finding] = []
    config, subject = handle.config, f"provider {entry.id}"
    if config.base_url:
        filed = any(config.id == one.id for one in host.file.providers)
        better = address_variant(config, filed=filed)
        if better is not None:
            found.append(Finding("warning", better.code, subject, better.message, better.fix))
        if not proxy_for(config.base_url, host.env) and not config.implicit:
            seen = await look(config.base_url)
            if seen.ahead_s is not None and abs(seen.ahead_s) > _SKEW_S:
                words = "ahead of" if seen.ahead_s > 0 else "behind"
                found.append(
                    Finding(
                        "warning",
                        "clock_wrong",
                        subject,
                        f"its server's clock is {abs(seen.ahead_s) / 60:.0f} min {words} this one",
                        "timedatectl set-ntp true   # here, or where the server runs",
                    )
                )
    if not entry.models and not config.implicit:
        found.append(_no_models(handle))
    broken = [model for model in entry.models if model.state == "failed"]
    if broken:
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        reason = broken[0].problem or "no reason given"
        found.append(
            Finding(
                "warning",
                "model_unusable",
                subject,
                f"{broken[0].id}: {reason}{more}",
                f"modelbay show {broken[0].id}",
            )
        )
    return found


def _no_models(handle: ProviderHandle) -> Finding:
    table = handle.table
    fix = f"modelbay pull {handle.id}/MODEL"
    if table is not None and "pull" not in table.actions:
        fix = table.hints.get("pull") or table.start_hint or f"modelbay show {handle.id}"
    message = "it answers and lists no model"
    return Finding("warning", "no_models", f"provider {handle.id}", message, fix)


async def _health(
    host: Host, entry: ProviderEntry, limit_s: float
) -> tuple[HealthReport | None, list[Finding]]:
    subject = f"provider {entry.id}"
    try:
        events = host.manage(entry.id, Health(), deadline_s=limit_s)
        report = await outcome_of(events, HealthReport)
    except ModelbayError as exc:
        config = host.registry.handle(entry.id).config
        return None, [cause(Patient(config, exc, "warning"))]
    if report is None:
        return None, []
    found = []
    if not report.healthy:
        found.append(
            Finding(
                "warning",
                "server_unhealthy",
                subject,
                f"{report.server or 'its server'} says that it is not healthy",
                "look at the server's own log",
            )
        )
    if report.details.get("autoload") is False:
        loaded = [model for model in entry.models if model.state == "loaded"]
        sleeping = [model for model in entry.models if model.state == "unloaded"]
        if sleeping and not loaded:
            found.append(
                Finding(
                    "warning",
                    "autoload_off",
                    subject,
                    f"{report.server or 'its server'} does not load a model when it is asked, and"
                    " none is loaded",
                    f"modelbay load {sleeping[0].id}   # or start it with autoload on",
                )
            )
    return report, found


def _level(entry: ProviderEntry, source: str) -> Level | None:
    """How bad a provider's problem is: what somebody named should be there."""
    if entry.problem is None:
        return None
    if entry.status == "loading":
        return "warning"
    if source in ("configured", "environment"):
        return "error"
    return None if entry.problem.code in _NOBODY_HOME else "warning"
