"""The options that several commands share."""

import click

from modelbay_cli.failure import Invocation
from modelbay_cli.log import set_verbosity


def examples(*lines: str) -> str:
    """The last section of a command's help; ``\\b`` keeps click from filling the lines."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _verbose(ctx: click.Context, parameter: click.Parameter, value: int) -> None:
    set_verbosity(ctx.ensure_object(Invocation), value)


def not_empty(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """For what names something: nothing is named by an empty text."""
    if value == "":
        raise click.BadParameter("it is empty", ctx, parameter)
    return value


verbose_option = click.option(
    "-v",
    "--verbose",
    count=True,
    expose_value=False,
    is_eager=True,
    callback=_verbose,
    help="Log HTTP requests on stderr; -vv: everything, and tracebacks.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
events_option = click.option(
    "--json", "as_json", is_flag=True, help="Print every event as one line of JSON."
)
refresh_option = click.option(
    "--refresh", is_flag=True, help="Ask every provider anew, whatever is remembered."
)
deadline_option = click.option(
    "--deadline",
    "deadline_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Give up after this long, with exit code 124.",
)
