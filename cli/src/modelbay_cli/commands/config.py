"""`modelbay config`: where the configuration is, what it says, and who says it."""

import difflib
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import click

from modelbay.config import TOP_LEVEL, locations
from modelbay.config_check import examine, load
from modelbay.config_edit import set_value
from modelbay.errors import ConfigError
from modelbay_cli import facts, layers, providers_file
from modelbay_cli.commands.default import whole_ref
from modelbay_cli.failure import Invocation
from modelbay_cli.options import examples, json_option, verbose_option
from modelbay_cli.output import Screen, Section, table
from modelbay_cli.secrecy import veil_of
from modelbay_cli.session import Session

WRONG = 2  # as an error of the configuration everywhere


@click.group(
    epilog=examples(
        "modelbay config path",
        "modelbay config show --json",
        "modelbay config explain defaultModel",
        "modelbay config edit",
        "modelbay config check && echo good",
    )
)
def command() -> None:
    """Show the configuration and where it comes from; check and change it."""


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
        values: dict[str, object] = {
            "file": host.file.where,
            "defaultProvider": host.catalog.default_provider,
            "defaultModel": host.env.get("DEFAULT_MODEL") or host.file.default_model,
            "wrappers": list(host.file.wrappers),
        }
    veil = veil_of(providers_file.read(locations(os.environ).providers_file))
    values = {name: veil.texts(value) for name, value in values.items()}
    providers = [
        {veil.text(name): veil.texts(value) for name, value in one.items()} for one in providers
    ]
    out = Screen.stdout()
    if as_json:
        out.json({**values, "providers": providers})
        return
    sections = [Section([[name, facts.worded(value)] for name, value in values.items()])]
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
    veil = veil_of(providers_file.read(locations(os.environ).providers_file))
    found = [
        replace(
            voice,
            key=veil.text(voice.key),
            value=veil.texts(voice.value),
            where=veil.text(voice.where),
        )
        for voice in found
    ]
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


@command.command(
    epilog=examples("modelbay config check && echo good", "modelbay config check --json")
)
@json_option
@verbose_option
@click.pass_context
def check(ctx: click.Context, as_json: bool) -> None:
    """Check providers.json, every problem at once; no server is asked.

    Exit code 2 if anything is wrong with it, or with what it names: a kind that is not installed,
    a key its plugin does not know, a default that does not exist.
    """
    from modelbay_cli.diagnosis.checking import check_configuration

    file = locations(os.environ).providers_file
    found = check_configuration(file)
    out = Screen.stdout()
    if as_json:
        out.json([asdict(finding) for finding in found])
    for finding in () if as_json else found:
        mark = out.styled(f"{finding.level}:", finding.level)
        said = out.clean(f"{finding.subject}: {finding.message} [{finding.code}]")
        out.line(f"{mark} {said}", raw=True)
        out.line(f"  fix: {finding.fix}")
    if any(finding.level == "error" for finding in found):
        ctx.exit(WRONG)
    if not as_json:
        there = "is good" if file.exists() else "is not there, which is normal"
        Screen.stderr().line(f"{file} {there}", style="dim")


@command.command(epilog=examples("modelbay config edit", "EDITOR=nano modelbay config edit"))
@verbose_option
@click.pass_context
def edit(ctx: click.Context) -> None:
    """Open providers.json in $VISUAL or $EDITOR, and check it afterwards.

    A missing file is made first. What you have written stays as it is, also where it is wrong.
    """
    from modelbay_cli.diagnosis.checking import check_configuration

    path = locations(os.environ).providers_file
    editor = _editor()
    if not path.exists():
        providers_file.rewrite(path, lambda text: text)
    err = Screen.stderr()
    while True:
        _open(editor, path)
        found = [one for one in check_configuration(path) if one.level == "error"]
        if not found:
            Screen.stdout().line(f"{path} is good")
            return
        for finding in found:
            mark = err.styled("error:", "error")
            err.line(f"{mark} {err.clean(finding.message)} [{finding.code}]", raw=True)
        err.line(f"nothing is lost: {path} is as you left it")
        can_ask = sys.stdin.isatty() and sys.stderr.isatty()
        if not (can_ask and click.confirm("edit it again?", default=True, err=True)):
            ctx.exit(WRONG)


def _editor() -> list[str]:
    """The user's editor, and its options.

    Raises:
        ConfigError: There is none.
    """
    both = (os.environ.get(name, "").strip() for name in ("VISUAL", "EDITOR"))
    named = next((text for text in both if text), None)
    if named:
        try:
            return shlex.split(named, posix=os.name == "posix")
        except ValueError as exc:
            raise ConfigError(
                f"cannot be read: {exc}", where="$VISUAL or $EDITOR", hint="export EDITOR=nano"
            ) from None
    usual = ("notepad",) if os.name == "nt" else ("editor", "nano", "vi")
    found = next((path for name in usual if (path := shutil.which(name))), None)
    if found is None:
        raise ConfigError("no editor is found", hint="EDITOR=nano modelbay config edit")
    return [found]


def _open(editor: list[str], path: Path) -> None:
    """Wait until the editor ends.

    Raises:
        ConfigError: It cannot be started, or says that it failed.
    """
    try:
        code = subprocess.run([*editor, str(path)], check=False).returncode  # noqa: S603 - theirs
    except OSError as exc:
        raise ConfigError(
            f"the editor '{editor[0]}' cannot be started: {os.strerror(exc.errno or 0)}",
            hint="EDITOR=nano modelbay config edit",
        ) from exc
    if code != 0:
        raise ConfigError(
            f"the editor '{editor[0]}' ended with code {code}; {path} is as it left it",
            hint="modelbay config check",
        )


@command.command(epilog=examples("modelbay config schema > providers.schema.json"))
@verbose_option
def schema() -> None:
    """Print the JSON Schema of providers.json, for editors that complete and check."""
    from modelbay.config_schema import schema as make

    Screen.stdout().json(make())


@command.command(
    "set",
    epilog=examples(
        "modelbay config set defaultProvider desk", """modelbay config set wrappers '["trace"]'"""
    ),
)
@click.argument("key")
@click.argument("value")
@verbose_option
def set_(key: str, value: str) -> None:
    """Set a value at the top of providers.json, such as defaultProvider.

    VALUE is JSON where it is a list, and else a text. A defaultModel is written as PROVIDER/MODEL,
    as by `modelbay default`.
    """
    if value == "null":
        raise click.UsageError(f"null is no value: modelbay config unset {key}")
    _change(key, _meant(value))


@command.command(epilog=examples("modelbay config unset defaultProvider"))
@click.argument("key")
@verbose_option
def unset(key: str) -> None:
    """Remove a key at the top of providers.json."""
    path = locations(os.environ).providers_file
    if key not in load(providers_file.read(path), str(path)):
        near = difflib.get_close_matches(key, TOP_LEVEL, 1)
        if key not in TOP_LEVEL:
            meant = f"; did you mean '{near[0]}'?" if near else ""
            raise click.BadParameter(f"{path} has no key '{key}'{meant}", param_hint="KEY")
        Screen.stdout().line(f"{key} was not set")
        return
    _change(key, None)


def _change(key: str, value: object) -> None:
    if key == "providers":
        raise click.BadParameter("use modelbay providers add, set and remove", param_hint="KEY")
    path = locations(os.environ).providers_file
    if key == "defaultProvider" and isinstance(value, str) and value:
        _require_provider(value, path)
    if key == "defaultModel" and isinstance(value, str) and value:
        with Session() as session:
            value = session.run(whole_ref(session.host, value, Screen.stderr()))
    providers_file.rewrite(path, lambda text: set_value(text, key, value, str(path)))
    Screen.stdout().line(f"{key} is {'removed' if value is None else 'set'}")


def _require_provider(name: str, path: Path) -> None:
    """One of the file or one that a plugin proposes.

    Raises:
        ConfigError: It is neither; with it as the default no command could read the file.
    """
    configured, _ = examine(providers_file.read(path), str(path))
    with Session(providers=configured) as session:
        proposed = [h.id for h in session.host.providers if h.config.source != "configured"]
    ids = [*(config.id for config in configured), *proposed]
    if name in ids:
        return
    near = difflib.get_close_matches(name, ids, 1)
    raise ConfigError(
        f"'{name}' is none of the providers ({', '.join(ids) or 'none'})",
        where=str(path),
        pointer="/defaultProvider",
        hint=f"modelbay config set defaultProvider {shlex.quote(near[0])}"
        if near
        else "modelbay providers list",
    )


def _meant(value: str) -> object:
    try:
        meant = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return meant if isinstance(meant, list) else value
