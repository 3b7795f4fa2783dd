"""The click group: commands are imported when they are called, and every failure ends here."""

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from modelbay_cli import plugins, ready
from modelbay_cli.failure import Invocation, exit_code_of
from modelbay_cli.log import logging_to_stderr

_NEAR = 3


class Commands(click.Group):
    """A group that knows its commands by name and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(ready.COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = ready.ALIASES.get(cmd_name, cmd_name)
        if name not in ready.COMMANDS:
            return plugins.find_command(name)
        command = import_module(f"modelbay_cli.commands.{name}").command
        assert isinstance(command, click.Command)  # each module's one promise
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name.startswith("-"):
            return super().resolve_command(ctx, args)  # it knows how to refuse an option
        command = self.get_command(ctx, name)
        if command is None and not ctx.resilient_parsing:
            names = [*ready.COMMANDS, *ready.ALIASES]
            close = difflib.get_close_matches(name, names, _NEAR, 0.6)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            ctx.fail(f"No such command '{name}'.{hint}")
        return name if command else None, command, args[1:]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        # Click would import every command here too, while somebody waits for the Tab key.
        return [
            CompletionItem(name, help=text)
            for name, text in ready.COMMANDS.items()
            if name.startswith(incomplete)
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # Click would import every command to ask it for its first line.
        with formatter.section("Commands"):
            formatter.write_dl(list(ready.COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; whatever it raises becomes a message and an exit code."""
        invocation = ctx.ensure_object(Invocation)
        _never_fail_to_encode()
        with logging_to_stderr(invocation):
            try:
                result = super().invoke(ctx)
                sys.stdout.flush()  # a reader that went away must show here, not at the very end
            except (click.exceptions.Exit, click.ClickException):
                raise
            except BaseException as exc:
                ctx.exit(exit_code_of(exc, invocation))
        return result


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the result is the exit code."""
    try:
        app.main(list(arguments), prog_name="modelbay")
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 1
    return 0


def _never_fail_to_encode() -> None:
    """A model may write what the terminal's encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


@click.command(
    cls=Commands,
    name="modelbay",
    help=ready.SUMMARY,
    epilog=ready.MORE,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "-p",
    "--provider",
    "providers",
    multiple=True,
    metavar="DSN",
    help="Use KIND://TOKEN@HOST:PORT too.",
)
@click.version_option(
    ready.VERSION, "-V", "--version", prog_name="modelbay", message="%(prog)s %(version)s"
)
@click.pass_context
def app(ctx: click.Context, providers: tuple[str, ...]) -> None:
    ctx.ensure_object(Invocation).providers = providers
