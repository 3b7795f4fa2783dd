"""`modelbay cp`: give a model a second name on its server."""

import sys

import click

from modelbay.models.manage import Copy
from modelbay_cli.actions import act
from modelbay_cli.failure import FAILED
from modelbay_cli.options import deadline_option, events_option, examples, verbose_option
from modelbay_cli.session import Session


@click.command(
    epilog=examples(
        "modelbay cp desk/qwen3:4b mine",
        "modelbay cp desk/qwen3:4b desk/mine   # the same",
        "modelbay cp -y desk/qwen3:4b mine     # also if there is a model of that name",
    )
)
@click.argument("ref")
@click.argument("name")
@click.option("-y", "--yes", "--force", "yes", is_flag=True, help="Replace without asking.")
@events_option
@deadline_option
@verbose_option
@click.pass_context
def command(
    ctx: click.Context, ref: str, name: str, yes: bool, as_json: bool, deadline_s: float | None
) -> None:
    """Give a model a second name, at the same provider.

    Asks before it replaces another model, at a terminal.
    """
    with Session(deadline_s=deadline_s) as session:
        host = session.host
        model = session.run(host.resolve(ref)).ref
        own, other = model.provider_id, name.partition("/")[0]
        if other != own and other in host.registry.provider_ids and "/" in name:
            raise click.UsageError(
                f"a copy stays at its provider '{own}', and '{other}' is another one"
                f" (if it is meant as a namespace: {own}/{name})"
            )
        to = name.removeprefix(f"{own}/")
        action = Copy(model=model.wire_id, to=to)
        # Refused here if the backend cannot copy: no question should come before that.
        host.manage(own, action)
        if not yes:
            session.run(host.refresh(own, force=True))
            there = host.registry.find(f"{own}/{to}")
            if there is not None:
                if not sys.stdin.isatty():
                    raise click.UsageError(
                        f"{there.id} is there, and nobody can be asked: give -y to replace it"
                    )
                if not click.confirm(f"Replace {there.id}?", err=True):
                    ctx.exit(FAILED)
        act(session, model, action, as_json=as_json, done=f"copied to {own}/{to}")
