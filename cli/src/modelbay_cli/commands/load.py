"""`modelbay load`: make a model ready before it is needed."""

import click

from modelbay.models.manage import Load
from modelbay_cli.actions import act, require_lasting
from modelbay_cli.options import deadline_option, events_option, examples, verbose_option
from modelbay_cli.session import Session


@click.command(
    epilog=examples(
        "modelbay load desk/qwen3",
        "modelbay load desk/qwen3 --deadline 120",
    )
)
@click.argument("ref")
@events_option
@deadline_option
@verbose_option
def command(ref: str, as_json: bool, deadline_s: float | None) -> None:
    """Load a model into memory, and wait until it is ready."""
    with Session(deadline_s=deadline_s) as session:
        model = session.run(session.host.resolve(ref)).ref
        require_lasting(session.host, model.provider_id)
        act(session, model, Load(model=model.wire_id), as_json=as_json, done="loaded")
