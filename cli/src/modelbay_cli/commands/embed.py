"""`modelbay embed`: texts to vectors."""

import json
import sys

import click

from modelbay import EmbedRequest
from modelbay_cli.options import deadline_option, examples, json_option, verbose_option
from modelbay_cli.output import Screen
from modelbay_cli.session import Session


@click.command(
    epilog=examples(
        "modelbay embed -m desk/nomic-embed-text 'some text' 'another one'",
        "modelbay embed --json < lines.txt   # a text for each line",
    )
)
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("-m", "--model", metavar="REF", help="The model; otherwise one is chosen.")
@click.option("--dimensions", type=click.IntRange(min=1), help="Length of the vectors.")
@json_option
@deadline_option
@verbose_option
def command(
    texts: tuple[str, ...],
    model: str | None,
    dimensions: int | None,
    as_json: bool,
    deadline_s: float | None,
) -> None:
    """Turn each TEXT, or each line that is piped in, into a vector: a line of numbers."""
    wanted = list(texts)
    if not wanted and not sys.stdin.isatty():
        wanted = [line for line in sys.stdin.read().splitlines() if line.strip()]
    if not wanted:
        raise click.UsageError("nothing to embed: give TEXT, or pipe lines in")
    with Session(deadline_s=deadline_s) as session:
        request = EmbedRequest(model=model, input=wanted, dimensions=dimensions)
        result = session.run(session.host.embed(request))
    out = Screen.stdout()
    if as_json:
        out.json(result.model_dump(mode="json"))
        return
    for vector in result.vectors:
        out.line(json.dumps(vector))
