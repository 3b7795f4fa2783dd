"""`modelbay pull`: fetch a model to where a provider keeps its own."""

import click

from modelbay.errors import UnknownProviderError
from modelbay.models.manage import Pull
from modelbay_cli.actions import act, new_model
from modelbay_cli.options import deadline_option, events_option, examples, verbose_option
from modelbay_cli.output import Screen
from modelbay_cli.session import Session


@click.command(
    epilog=examples(
        "modelbay pull desk/qwen3:4b",
        "modelbay get desk/qwen3:4b --json   # progress as lines of JSON",
    )
)
@click.argument("ref", metavar="PROVIDER/NAME")
@events_option
@deadline_option
@verbose_option
def command(ref: str, as_json: bool, deadline_s: float | None) -> None:
    """Download a model.

    NAME is what the provider's server calls it. Without PROVIDER it is the default provider's.
    """
    with Session(deadline_s=deadline_s) as session:
        model = new_model(session.host, ref)
        if not model.provider_id:
            raise UnknownProviderError(
                f"'{ref}' has no provider in front, and there is no default provider",
                hint="modelbay doctor   # lists the providers",
            )
        if model.is_legacy_bare:
            Screen.stderr().line(f"provider: {model.provider_id}", style="dim")
        action = Pull(model=model.wire_id)
        tick = f"✓ {model} ready"
        act(session, model, action, as_json=as_json, done="pulled", tick=tick)
