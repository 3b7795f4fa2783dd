"""docs/reference/cli.md, made from the commands: usage, options, examples."""

import inspect
from collections.abc import Iterator

import click

from docs.docstrings import fenced, table
from modelbay_cli import plugins, ready
from modelbay_cli.app import app

OPENING = (
    "Made from the program's own help. What belongs together is told in"
    " [The command line](../cli.md); exit codes are in [Errors and exit codes](../errors.md)."
)


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Every command and subcommand by the words that call it, those of installed parts too."""
    names = [*ready.COMMANDS, *(found.name for found in plugins.all_commands())]
    for name in names:
        command = app.get_command(click.Context(app), name)
        assert command is not None
        yield from _with_inner(name, command)


def _with_inner(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _with_inner(f"{path} {name}", inner)


def render() -> str:
    """The whole page as Markdown."""
    parts = ["# Every command", OPENING, *_options(app), "## Other names"]
    parts.append(table(("typed", "is"), [(f"`{a}`", f"`{b}`") for a, b in ready.ALIASES.items()]))
    for path, command in every_command():
        depth = "##" if " " not in path else "###"
        parts += [f"{depth} modelbay {path}", *_page(path, command)]
    return "\n\n".join(parts) + "\n"


def _page(path: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=f"modelbay {path}", **command.context_settings)
    yield fenced(
        f"{context.command_path} {' '.join(command.collect_usage_pieces(context))}", "text"
    )
    text = inspect.cleandoc(command.help or command.get_short_help_str(200)).replace("\b\n", "")
    yield text.replace("*", r"\*").replace("<", r"\<")
    yield from _options(command)
    if command.epilog:
        lines = command.epilog.replace("\b\n", "").replace("Examples:\n", "").splitlines()
        yield fenced("\n".join(line.strip() for line in lines if line.strip()), "sh")


def _options(command: click.Command) -> Iterator[str]:
    rows = []
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
            takes = (
                ""
                if option.is_flag or option.count
                else f"`{option.make_metavar(click.Context(command))}`"
            )
            rows.append((names, takes, (option.help or "").replace("*", r"\*")))
    if rows:
        yield table(("option", "takes", "what it does"), rows)
