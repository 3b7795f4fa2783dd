"""`modelbay config`: where the configuration is, what it says, and who says it."""

import os
from dataclasses import asdict

import click

from modelbay.config import locations
from modelbay_cli import facts, layers
from modelbay_cli.failure import Invocation
from modelbay_cli.options import examples, json_option, verbose_option
from modelbay_cli.output import Screen, Section, table
from modelbay_cli.session import Session


@click.group(
    epilog=examples(
        "modelbay config path",
        "modelbay config show --json",
        "modelbay config explain defaultModel",
    )
)
def command() -> None:
    """Show the configuration and where it comes from."""


@command.command(epilog=examples('"$EDITOR" "$(modelbay config path)"', "modelbay config path -v"))
@verbose_option
@click.pass_context
def path(ctx: click.Context) -> None:
    """Print where providers.json is looked for; with -v also what decided it."""
    found = locations(os.environ)
    Screen.stdout().line(str(found.providers_file))
    if ctx.ensure_object(Invocation).verbosity:
        there = "it is there" if found.providers_file.exists() else "there is no such file"
        Screen.stderr().line(f"decided by: {found.providers_file_from}; {there}", style="dim")


@command.command(epilog=examples("modelbay config show", "modelbay config show --json"))
@json_option
@verbose_option
def show(as_json: bool) -> None:
    """Print the providers as they are used, with those that plugins propose.

    Keys and headers are never shown, only that they are set.
    """
    with Session() as session:
        host = session.host
        providers = [layers.shown(config) for config in layers.configured(host)]
        values = {
            "file": host.file.where,
            "defaultProvider": host.catalog.default_provider,
            "defaultModel": host.env.get("DEFAULT_MODEL") or host.file.default_model,
            "wrappers": list(host.file.wrappers),
            "providers": providers,
        }
    out = Screen.stdout()
    if as_json:
        out.json(values)
        return
    rows = [[name, facts.worded(value)] for name, value in values.items() if name != "providers"]
    sections = [Section(rows)]
    for provider in providers:
        title = f"providers.{provider['id']}"
        entries = [[f"{title}.{name}", facts.worded(value)] for name, value in provider.items()]
        sections.append(Section(entries, title))
    table(out, ("KEY", "VALUE"), sections)


@command.command(
    epilog=examples(
        "modelbay config explain",
        "modelbay config explain defaultModel",
        "modelbay config explain providers.desk",
    )
)
@click.argument("key", default="")
@json_option
@verbose_option
def explain(key: str, as_json: bool) -> None:
    """Print every value with its source; a value that another one hides is marked.

    Flags win over the file, the file over the environment, that over what is discovered, and that
    over defaults; DEFAULT_MODEL alone wins over the file. KEY is the name of a value or the start
    of one. What is known of a model explains `modelbay explain`.
    """
    with Session() as session:
        found = [
            voice
            for voice in layers.voices(session.host)
            if key in ("", voice.key) or voice.key.startswith(f"{key}.")
        ]
    if not found:
        raise click.BadParameter(
            f"there is no value '{key}'; modelbay config explain lists all", param_hint="KEY"
        )
    out = Screen.stdout()
    if as_json:
        out.json([asdict(voice) for voice in found])
        return
    rows = [
        [
            voice.key,
            facts.worded(voice.value),
            voice.source,
            voice.where,
            "" if voice.wins else "hidden",
        ]
        for voice in found
    ]
    table(out, ("KEY", "VALUE", "SOURCE", "WHERE", "NOTE"), [Section(rows)])
