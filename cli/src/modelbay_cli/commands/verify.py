"""`modelbay verify`: find out what a model can do by asking it."""

import click

from modelbay.host.measuring import MEASURABLE, TOKENS_LIMIT
from modelbay.models.capabilities import Measurement
from modelbay_cli import facts
from modelbay_cli.options import deadline_option, events_option, examples, verbose_option
from modelbay_cli.output import Screen
from modelbay_cli.session import Session


@click.command(
    epilog=examples(
        "modelbay verify desk/qwen3",
        "modelbay verify desk/qwen3 --only tools --only json_schema",
        "modelbay verify desk/qwen3 --tokens 200000   # a large context costs tokens to measure",
    )
)
@click.argument("ref")
@click.option(
    "--only", multiple=True, type=click.Choice(MEASURABLE), help="This alone; several may be given."
)
@click.option(
    "--tokens",
    type=click.IntRange(min=1024),
    default=TOKENS_LIMIT,
    show_default=True,
    help="What measuring the context may cost.",
)
@events_option
@deadline_option
@verbose_option
def command(
    ref: str, only: tuple[str, ...], tokens: int, as_json: bool, deadline_s: float | None
) -> None:
    """Ask a model a few small things, and keep what it turns out to be able to do.

    What is found counts at once and in later runs, until the model changes; it ranks below what
    you say in providers.json and above what the server says. The model is loaded for it.
    """
    out, err = Screen.stdout(), Screen.stderr()
    with Session(deadline_s=deadline_s) as session:
        host = session.host

        async def verified() -> None:
            async with host.verify(ref, fields=only or MEASURABLE, tokens_limit=tokens) as found:
                async for measurement in found:
                    _print(out, measurement, as_json)

        session.run(verified())
    if not as_json:
        err.line(f"kept; modelbay explain {ref} shows it beside what others say", style="dim")


def _print(out: Screen, found: Measurement, as_json: bool) -> None:
    if as_json:
        out.line(found.model_dump_json())
        return
    value = "not settled" if found.value is None else facts.worded(found.value)
    out.line(f"{found.field:<15} {value:<12} {found.evidence}")
