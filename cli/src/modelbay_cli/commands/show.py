"""`modelbay show`: all that is known of one model."""

import click

from modelbay.models.capabilities import FACT_NAMES, Prices
from modelbay.models.catalog import ModelInfo
from modelbay.models.manage import ModelDetails, Show
from modelbay_cli import facts, figures
from modelbay_cli.actions import outcome_of
from modelbay_cli.options import (
    deadline_option,
    examples,
    json_option,
    refresh_option,
    verbose_option,
)
from modelbay_cli.output import Screen, Section, table
from modelbay_cli.session import Session


@click.command(
    epilog=examples(
        "modelbay show desk/qwen3",
        "modelbay show desk/qwen3 --json | jq .capabilities.context_window",
    )
)
@click.argument("ref")
@json_option
@refresh_option
@deadline_option
@verbose_option
def command(ref: str, as_json: bool, refresh: bool, deadline_s: float | None) -> None:
    """Show all that is known of a model: its state, what it can, and what its server tells.

    Where each fact comes from: modelbay explain REF.
    """
    with Session(deadline_s=deadline_s) as session:
        host = session.host
        if refresh:
            session.run(host.refresh(force=True))
        info = session.run(host.resolve(ref))
        handle = next(handle for handle in host.providers if handle.id == info.ref.provider_id)
        details: ModelDetails | None = None
        if handle.table is not None and "show" in handle.table.actions:
            events = host.manage(handle.id, Show(model=info.ref.wire_id))
            details = session.run(outcome_of(events, ModelDetails))
    told = {} if details is None else details.details
    out = Screen.stdout()
    if as_json:
        out.json({**facts.model_json(info), "server": told})
        return
    sections = [
        Section(_known(info), info.id),
        Section(facts.flattened(info.details), "Details"),
        Section(facts.flattened(told), "Its server says"),
    ]
    table(out, ("FIELD", "VALUE"), [section for section in sections if section.rows])


def _known(info: ModelInfo) -> list[list[str]]:
    rows = [["id", info.id], ["name", info.name], ["kind", info.kind], ["state", info.state]]
    note = facts.note(info)
    optional = {
        "note": note,
        "aliases": ", ".join(info.aliases),
        "origin": info.origin,
        "size": "" if info.size_bytes is None else figures.size(info.size_bytes),
        "family": info.family or "",
        "quantization": info.quantization or "",
        "digest": info.digest or "",
        "loaded context": "" if info.loaded_context is None else f"{info.loaded_context} tokens",
    }
    rows += [[name, value] for name, value in optional.items() if value]
    for name in FACT_NAMES:
        value = getattr(info.capabilities, name)
        rows.append([name.replace("_", " "), _worded(value)])
    return rows


def _worded(value: object) -> str:
    match value:
        case None:
            return "?"
        case True:
            return "yes"
        case False:
            return "no"
        case int():
            return f"{value} tokens"
        case Prices(input_per_mtok=0, output_per_mtok=0):
            return "free"
        case Prices():
            given, taken = value.input_per_mtok, value.output_per_mtok
            return f"{given} in, {taken} out ({value.currency} per million tokens)"
        case _:
            return str(value)
