"""`modelbay help`: the list of commands with those of plugins, or the help of one."""

import click

from modelbay_cli import plugins
from modelbay_cli.options import examples
from modelbay_cli.ready import ALIASES, help_text


@click.command(epilog=examples("modelbay help", "modelbay help chat"))
@click.argument("name", metavar="[COMMAND]", default="")
@click.pass_context
def command(ctx: click.Context, name: str) -> None:
    """Show the commands, those of plugins and other spellings too, or one command's help."""
    if name:
        root = ctx.find_root()
        group = root.command
        assert isinstance(group, click.Group)  # the one that called this command
        _, wanted, _ = group.resolve_command(root, [name])
        assert wanted is not None  # resolve_command has refused unknown names
        click.echo(wanted.get_help(click.Context(wanted, info_name=name, parent=root)))
        return
    rows = [(c.name, f"{c.summary} ({c.dist})") for c in plugins.all_commands()]
    formatter = click.HelpFormatter()
    with formatter.section("Other spellings"):
        formatter.write_dl([(alias, f"{name}") for alias, name in ALIASES.items()])
    if rows:
        with formatter.section("Commands of plugins"):
            formatter.write_dl(rows)
    click.echo(f"{help_text()}\n{formatter.getvalue()}".rstrip())
