"""`modelbay plugin`: write, check, install and remove plugins.

Nothing here opens a host, and only `list` loads plugins: a broken one must not stand in the way of
its own removal.
"""

import os
import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelbay.errors import ConfigError, PluginError
from modelbay_cli.installing import inventory, wishes
from modelbay_cli.installing.listing import Row, rows
from modelbay_cli.installing.manner import Commands, Manner, detect
from modelbay_cli.installing.requirement import Requirement, normal, requirement
from modelbay_cli.installing.running import run_all
from modelbay_cli.options import examples, json_option, verbose_option
from modelbay_cli.output import NOTHING, Screen, Section, table
from modelbay_cli.scaffold import STYLES, Style, plugin_name, write

if TYPE_CHECKING:
    from modelbay.testing.conformance.report import Level

LEVELS = ("bronze", "silver", "gold")

dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print the command and do not run it."
)
editable_option = click.option(
    "-e", "--editable", is_flag=True, help="WHAT are folders; use their files where they are."
)


@click.group(
    epilog=examples(
        "modelbay plugin list",
        "modelbay plugin install modelbay-acme",
        "modelbay plugin new acme --kind native",
        "modelbay plugin check acme --level silver",
    )
)
def command() -> None:
    """List, install and remove plugins; write and check your own."""


@command.command(
    epilog=examples(
        "modelbay plugin new acme                     # makes ./modelbay-acme",
        "modelbay plugin new acme --kind native --dir ~/src/acme",
    )
)
@click.argument("name")
@click.option(
    "--kind",
    "style",
    type=click.Choice(STYLES),
    default="openai",
    show_default=True,
    help="openai: the server speaks the OpenAI API; native: it has a wire format of its own.",
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    help="The new folder, instead of ./modelbay-NAME.",
)
@verbose_option
def new(name: str, style: Style, folder: Path | None) -> None:
    """Write a new plugin that installs, is found, and passes the conformance kit.

    NAME becomes the kind; the distribution is modelbay-NAME.
    """
    found = plugin_name(name)
    among = inventory.installed()
    taken = inventory.alike(found.kind, among)
    if taken is not None:
        raise click.BadParameter(
            f"the kind '{found.kind}' is taken by {taken.name}", param_hint="NAME"
        )
    if found.dist in among or found.dist in inventory.parts_of_modelbay(among):
        raise click.BadParameter(
            f"there is a distribution {found.dist} already; to install yours would replace it",
            param_hint="NAME",
        )
    place = folder if folder is not None else Path(found.dist)
    out, err = Screen.stdout(), Screen.stderr()
    for path in write(found, style, place):
        out.line(str(place / path))
    shown = shlex.quote(f"{place if place.is_absolute() else f'./{place}'}[test]")
    err.line(f"next: modelbay plugin install -e {shown}", style="dim")
    err.line(f"      modelbay plugin check {found.kind}", style="dim")


@command.command(
    epilog=examples(
        "modelbay plugin check acme",
        "modelbay plugin check modelbay-acme --level silver --json report.json",
        "modelbay plugin check acme --badge badge.svg",
    )
)
@click.argument("name", metavar="DIST|KIND")
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default="gold",
    show_default=True,
    help="The level it must reach; checks that are for higher ones are not run.",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write the whole report; - is standard output.",
)
@click.option(
    "--badge",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write an SVG image with the level.",
)
@verbose_option
@click.pass_context
def check(
    ctx: click.Context, name: str, level: "Level", json_file: Path | None, badge: Path | None
) -> None:
    """Run the conformance kit on an installed plugin, against the plugin's own simulator.

    The exit code is 1 if the level is not reached.
    """
    import json

    from modelbay_cli import checking

    checking.require_writable(json_file, badge)
    report = checking.check(name, level, os.environ)
    document = json.dumps(report.as_json(), ensure_ascii=False, indent=2) + "\n"
    to_stdout = json_file is not None and str(json_file) == "-"
    checking.show(report, Screen.stderr() if to_stdout else Screen.stdout())
    if to_stdout:
        click.echo(document, nl=False)
    elif json_file is not None:
        json_file.write_text(document, encoding="utf-8")
    if badge is not None:
        badge.write_text(report.as_svg(), encoding="utf-8")
    if not report.passed:
        ctx.exit(1)


@command.command(
    epilog=examples(
        "modelbay plugin install modelbay-acme",
        "modelbay plugin install 'modelbay-acme>=2'",
        "modelbay plugin install -e ./modelbay-acme",
    )
)
@click.argument("what", nargs=-1, required=True)
@editable_option
@dry_run_option
@verbose_option
def install(what: Sequence[str], editable: bool, dry_run: bool) -> None:
    """Install plugins in the way modelbay itself was installed, and remember them.

    WHAT is the name of a distribution, NAME>=VERSION, NAME @ URL, a folder or a wheel.
    """
    wanted = [requirement(text, editable=editable) for text in what]
    ours = inventory.parts_of_modelbay(inventory.installed())
    for one in wanted:
        if one.name in inventory.OURS:
            raise click.BadParameter(
                f"{one.name} is a part of modelbay itself, and no plugin", param_hint="WHAT"
            )
        if one.name in ours and not one.from_registry:
            raise click.BadParameter(
                f"{one.name} is a part of modelbay itself, which nothing may replace; a plugin of"
                " your own needs another name and kind",
                param_hint="WHAT",
            )
    if _do(_manner().install(wanted), dry_run):
        wishes.add(wishes.place(os.environ), wanted)
        _tell(wanted)


@command.command(
    epilog=examples("modelbay plugin uninstall modelbay-acme", "modelbay plugin uninstall acme")
)
@click.argument("names", nargs=-1, required=True, metavar="DIST|KIND...")
@dry_run_option
@verbose_option
def uninstall(names: Sequence[str], dry_run: bool) -> None:
    """Remove plugins and forget them. Works for broken ones too: none is loaded."""
    among, err = inventory.installed(), Screen.stderr()
    ours = inventory.parts_of_modelbay(among)
    path = wishes.place(os.environ)
    try:
        wished = {one.name for one in wishes.read(path)}
    except ConfigError as exc:  # a broken list must not keep a broken plugin
        err.line(f"the list of wished plugins is left as it is: {exc.message}", style="warning")
        wished = set[str]()
    gone: list[str] = []
    for word in names:
        name = _named(word, among, wished)
        if name in ours:
            kinds = ",".join(among[name].kinds if name in among else ())
            raise PluginError(
                f"{name} is a part of modelbay itself",
                hint=f"export MODELBAY_DISABLE={kinds}" if kinds else "modelbay plugin list",
            )
        gone.append(name)
    present = [name for name in gone if name in among]
    commands = _manner().uninstall(present) if present else ()
    if _do(commands, dry_run):
        if wished & set(gone):
            wishes.remove(path, gone)
        for name in gone:
            Screen.stdout().line(f"{name} is removed")


@command.command(
    epilog=examples("modelbay plugin upgrade", "modelbay plugin upgrade modelbay-acme")
)
@click.argument("names", nargs=-1, metavar="[DIST|KIND]...")
@dry_run_option
@verbose_option
def upgrade(names: Sequence[str], dry_run: bool) -> None:
    """Bring plugins to their newest version; without a name all that you installed."""
    among = inventory.installed()
    wished = {one.name: one for one in wishes.read(wishes.place(os.environ))}
    wanted: list[Requirement] = []
    for word in names or tuple(wished):
        name = _named(word, among, wished.keys())
        wanted.append(wished.get(name, Requirement(name, name)))
    if not wanted:
        Screen.stderr().line("no plugin was installed by `modelbay plugin install`", style="dim")
        return
    if _do(_manner().upgrade(wanted), dry_run):
        _tell(wanted)


@command.command(epilog=examples("modelbay plugin sync"))
@dry_run_option
@verbose_option
def sync(dry_run: bool) -> None:
    """Install again what you once installed and what is gone, as after a new start."""
    among = inventory.installed()
    wanted = [one for one in wishes.read(wishes.place(os.environ)) if one.name not in among]
    if not wanted:
        Screen.stderr().line("all that was asked for is installed", style="dim")
        return
    if _do(_manner().install(wanted), dry_run):
        _tell(wanted)


@command.command("list", epilog=examples("modelbay plugin list", "modelbay plugin list --json"))
@json_option
@verbose_option
def list_(as_json: bool) -> None:
    """List the plugins, what each can do, and why one is absent.

    A plugin that MODELBAY_DISABLE names is not imported.
    """
    out, err = Screen.stdout(), Screen.stderr()
    try:
        wished = wishes.read(wishes.place(os.environ))
    except ConfigError as exc:
        err.line(f"the list of wished plugins: {exc}", style="warning")
        wished = ()
    found = rows(os.environ, wished, inventory.installed())
    if as_json:
        out.json([row.as_json() for row in found])
        return
    columns = ("KIND", "DISTRIBUTION", "VERSION", "CORE", "HOOKS", "STATE", "REASON")
    table(out, columns, [Section([_cells(row) for row in found])])
    for row in found:
        if row.hint and row.state != "disabled":
            err.line(f"{row.kind or row.dist}: {row.hint}", style="dim")


def _cells(row: Row) -> list[str]:
    hooks = NOTHING if row.hooks is None else str(len(row.hooks))
    told = row.state != "disabled" and row.code
    reason = f"{row.reason} [{row.code}]" if told else row.reason
    cells = (row.kind, row.dist, row.version, row.api_range, hooks, row.state, reason)
    return [cell or NOTHING for cell in cells]


def _named(word: str, among: dict[str, inventory.Distribution], wished: Collection[str]) -> str:
    """The name of the distribution that is meant; only of a plugin, or of what was wished.

    Raises:
        PluginError: It is neither, or a kind that several bring.
    """
    dist = inventory.find_plugin(word, among)
    several = [one.name for one in inventory.bringing(word, among)]
    if dist is not None and dist.name != normal(word) and len(several) > 1:
        raise PluginError(
            f"the kind '{word}' is brought by {' and by '.join(several)}; name the distribution",
            hint=f"modelbay plugin uninstall {several[-1]}",
        )
    if dist is not None:
        return dist.name
    name = normal(word)
    if name in wished:
        return name
    if name in inventory.OURS:
        raise PluginError(f"{name} is a part of modelbay itself", hint="modelbay plugin list")
    raise PluginError(
        f"'{word}' is no plugin of modelbay" if name in among else f"'{word}' is not installed",
        hint="modelbay plugin list",
    )


def _manner() -> Manner:
    return detect(Path(sys.prefix), Path(sys.base_prefix), sys.executable)


def _do(commands: Commands, dry_run: bool) -> bool:
    """Whether the commands were run; a dry run prints them on standard output instead."""
    if dry_run:
        for words in commands:
            Screen.stdout().line(shlex.join(words))
        return False
    run_all(commands)
    return True


def _tell(wanted: Sequence[Requirement]) -> None:
    """Which kinds came, or that none did."""
    out, err = Screen.stdout(), Screen.stderr()
    among = inventory.installed()
    for one in wanted:
        dist = among.get(one.name)
        if dist is None:
            err.line(f"{one.name} is not seen yet; see: modelbay plugin list", style="warning")
        elif dist.points:
            brings = f" ({', '.join(dist.kinds)})" if dist.kinds else ""
            out.line(f"{dist.name} {dist.version} is installed{brings}")
        else:
            err.line(f"{dist.name} is installed, and is no plugin of modelbay", style="warning")
