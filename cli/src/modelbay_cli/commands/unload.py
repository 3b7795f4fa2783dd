"""`modelbay unload`: free the memory of one model, or of all models of a provider."""

import click

from modelbay.models.manage import Unload
from modelbay_cli.actions import act, require_lasting
from modelbay_cli.options import deadline_option, events_option, examples, verbose_option
from modelbay_cli.session import Session


@click.command(
    epilog=examples(
        "modelbay unload desk/qwen3",
        "modelbay unload --provider desk --all",
        "modelbay stop desk/qwen3 --force   # also while it is answering",
    )
)
@click.argument("ref", default="")
@click.option("--provider", "provider_id", metavar="ID", help="With --all: whose models.")
@click.option("--all", "everything", is_flag=True, help="All models of --provider.")
@click.option("--force", is_flag=True, help="Also while answers are running; they break off.")
@events_option
@deadline_option
@verbose_option
def command(
    ref: str,
    provider_id: str | None,
    everything: bool,
    force: bool,
    as_json: bool,
    deadline_s: float | None,
) -> None:
    """Free the memory of a model. It stays where it is on disk."""
    if bool(ref) == everything or bool(provider_id) != everything:
        raise click.UsageError("name one model, or give --provider ID and --all")
    with Session(deadline_s=deadline_s) as session:
        if provider_id:
            require_lasting(session.host, provider_id)
            act(session, provider_id, Unload(force=force), as_json=as_json, done="unloaded")
            return
        model = session.run(session.host.resolve(ref)).ref
        require_lasting(session.host, model.provider_id)
        action = Unload(model=model.wire_id, force=force)
        act(session, model, action, as_json=as_json, done="unloaded")
