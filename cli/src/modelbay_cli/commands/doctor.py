"""`modelbay doctor`: what works, what does not, and what to do about it."""

from pathlib import Path

import click

from modelbay import ModelbayError
from modelbay.errors import ConfigError
from modelbay_cli import diagnosis, facts, figures
from modelbay_cli.diagnosis import Diagnosis, ProviderCheck
from modelbay_cli.diagnosis.configuration import FileLook
from modelbay_cli.diagnosis.finding import Finding
from modelbay_cli.failure import FAILED
from modelbay_cli.options import deadline_option, examples, json_option, verbose_option
from modelbay_cli.output import NOTHING, Screen, Section, table
from modelbay_cli.secrecy import veil_of
from modelbay_cli.session import Session


@click.command(
    epilog=examples(
        "modelbay doctor",
        "modelbay doctor --json | jq '.findings[] | {code, subject, fix}'",
        "modelbay doctor --bundle report.zip",
    )
)
@json_option
@click.option(
    "--bundle",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.zip",
    help="Also write a report to send on, without keys and other secrets.",
)
@deadline_option
@verbose_option
@click.pass_context
def command(
    ctx: click.Context, as_json: bool, bundle: Path | None, deadline_s: float | None
) -> None:
    """Check every file, plugin and provider, and say how to mend what is wrong.

    Asks every provider anew, also those `modelbay models` does not list because nothing answered.
    Exit code 1 if anything that should work does not. docs/doctor.md explains every code.
    """
    found = diagnosis.begin()
    file = diagnosis.examine_places(found)
    with _session(file, deadline_s) as session:
        try:
            session.run(diagnosis.examine(session.host, found, file, deadline_s))
        except ModelbayError as exc:
            found.findings.append(Finding.of("error", "other", "doctor", exc))
        found.veil(veil_of(file.text))
        if bundle is not None:
            from modelbay_cli.diagnosis.bundle import write_bundle

            write_bundle(bundle, found, session.host, file.text)
    out = Screen.stdout()
    if as_json:
        out.json(found.json())
    else:
        _print(out, found)
    if bundle is not None:
        Screen.stderr().line(f"the report is in {bundle}", style="dim")
    if found.failed:
        ctx.exit(FAILED)


def _session(file: FileLook, deadline_s: float | None) -> Session:
    """With the file, or where that is refused with those of its providers that can be read."""
    if not any(finding.level == "error" for finding in file.findings):
        try:
            return Session(deadline_s=deadline_s)
        except ConfigError:
            pass  # the file names what is not there, and `examine` says what
    return Session(deadline_s=deadline_s, providers=file.providers)


def _print(out: Screen, found: Diagnosis) -> None:
    program = found.program
    out.line(f"modelbay {program['modelbay']}, Python {program['python']}, {program['platform']}")
    out.line(f"  {program['executable']}")
    packages = (f"{name} {number or '(from source)'}" for name, number in found.packages.items())
    out.line(f"  {', '.join(packages)}")
    out.line()
    table(
        out,
        ("FILE", "THERE", "DECIDED BY", "PATH"),
        [
            Section(
                [
                    [file.what, "yes" if file.exists else "no", file.decided_by, file.path]
                    for file in found.files
                ]
            )
        ],
    )
    out.line()
    table(
        out,
        ("PLUGIN", "STATE", "PACKAGE", "LOADED IN", "NOTE"),
        [
            Section(
                [
                    [
                        "/".join((plugin.kind, *plugin.aliases)),
                        plugin.state,
                        f"{plugin.dist} {plugin.version}",
                        figures.duration(plugin.took_s) if plugin.took_s else NOTHING,
                        plugin.problem or "",
                    ]
                    for plugin in found.plugins
                ]
            )
        ],
    )
    out.line()
    table(
        out,
        ("PROVIDER", "STATUS", "MODELS", "TOOK", "FROM", "ADDRESS", "NOTE"),
        [Section([_provider(check) for check in found.providers])],
    )
    told = [
        Section([[check.id, *row] for row in facts.flattened(check.details)])
        for check in found.providers
        if check.details
    ]
    if told:
        out.line()
        table(out, ("PROVIDER", "DETAIL", "VALUE"), told)
    out.line()
    note = f" ({found.default_model_note})" if found.default_model_note else ""
    out.line(f"default model: {found.default_model or 'none'}{note}")
    for finding in found.findings:
        out.line()
        mark = out.styled(f"{finding.level}:", finding.level)
        said = out.clean(f"{finding.subject}: {finding.message} [{finding.code}]")
        out.line(f"{mark} {said}", raw=True)
        out.line(f"  fix: {finding.fix}")
    if not found.findings:
        out.line()
        out.line("no problems found", style="good")


def _provider(check: ProviderCheck) -> list[str]:
    server = " ".join(part for part in (check.server, check.version) if part)
    hidden = "not listed" if check.hidden else ""
    note = "; ".join(part for part in (server, hidden, check.problem) if part)
    return [
        f"{check.id} ({check.kind})",
        check.status,
        str(check.models),
        NOTHING if check.took_s is None else figures.duration(check.took_s),
        check.source,
        check.address,
        note,
    ]
