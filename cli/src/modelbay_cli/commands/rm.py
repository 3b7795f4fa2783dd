"""`modelbay rm`: delete a model."""

import sys

import click

from modelbay.models.manage import Delete
from modelbay_cli.actions import act
from modelbay_cli.failure import FAILED
from modelbay_cli.options import deadline_option, events_option, examples, verbose_option
from modelbay_cli.session import Session


@click.command(
    epilog=examples(
        "modelbay rm desk/qwen3:4b",
        "modelbay rm -y desk/qwen3:4b   # without asking",
    )
)
@click.argument("ref")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@events_option
@deadline_option
@verbose_option
@click.pass_context
def command(
    ctx: click.Context, ref: str, yes: bool, as_json: bool, deadline_s: float | None
) -> None:
    """Delete a model from where its provider keeps it. Asks first, at a terminal."""
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody is here to confirm it: give -y to delete without asking")
    with Session(deadline_s=deadline_s) as session:
        info = session.run(session.host.resolve(ref))
        action = Delete(model=info.ref.wire_id)
        # Refused here if the backend cannot delete: no question should come before that.
        session.host.manage(info.ref.provider_id, action)
        if not yes and not click.confirm(f"Delete {info.id}?", err=True):
            ctx.exit(FAILED)
        act(session, info.ref, action, as_json=as_json, done="deleted")
