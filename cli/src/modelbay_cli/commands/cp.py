"""`modelbay cp`: give a model a second name on its server."""

import click

from modelbay.models.manage import Copy
from modelbay_cli.actions import act
from modelbay_cli.options import deadline_option, events_option, examples, verbose_option
from modelbay_cli.session import Session


@click.command(
    epilog=examples(
        "modelbay cp desk/qwen3:4b mine",
        "modelbay cp desk/qwen3:4b desk/mine   # the same",
    )
)
@click.argument("ref")
@click.argument("name")
@events_option
@deadline_option
@verbose_option
def command(ref: str, name: str, as_json: bool, deadline_s: float | None) -> None:
    """Give a model a second name, at the same provider."""
    with Session(deadline_s=deadline_s) as session:
        model = session.run(session.host.resolve(ref)).ref
        to = name.removeprefix(f"{model.provider_id}/")
        action = Copy(model=model.wire_id, to=to)
        act(session, model, action, as_json=as_json, done=f"copied to {model.provider_id}/{to}")
