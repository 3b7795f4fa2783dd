"""`modelbay models`: what there is, grouped by provider."""

import io
import re
import sys
from dataclasses import replace
from urllib.parse import urlsplit

import click

from modelbay.host.registry import TTL_S
from modelbay.host.resources import is_loopback
from modelbay.models.catalog import Catalog, ModelInfo, ProviderEntry
from modelbay_cli import facts, figures, warm
from modelbay_cli.failure import PARTIAL, Invocation
from modelbay_cli.options import (
    deadline_option,
    examples,
    json_option,
    refresh_option,
    verbose_option,
)
from modelbay_cli.output import Screen, Section, table
from modelbay_cli.renewal import renew_later
from modelbay_cli.session import Session

_COLUMNS = ("MODEL", "STATE", "CONTEXT", "CAN", "SIZE", "NOTE")


@click.command(
    epilog=examples(
        "modelbay models",
        "modelbay models qwen          # refs that contain it, or one provider's",
        "modelbay models --json | jq -r '.providers[].models[].id'",
        "modelbay models --strict      # exit code 7 if a provider did not answer",
    )
)
@click.argument("only", metavar="[FILTER]", default="")
@json_option
@refresh_option
@click.option("--all", "everything", is_flag=True, help="Also providers that never answered.")
@click.option("--strict", is_flag=True, help="Exit code 7 if any provider had a problem.")
@deadline_option
@verbose_option
@click.pass_context
def command(
    ctx: click.Context,
    only: str,
    as_json: bool,
    refresh: bool,
    everything: bool,
    strict: bool,
    deadline_s: float | None,
) -> None:
    """List the models of every provider, in the providers' order.

    FILTER keeps the models whose ref contains it, or those of the provider it names. In the
    column CONTEXT, "?" is not known, and "<=" is what the model was trained for.
    """
    with Session(deadline_s=deadline_s, cache=True) as session:
        catalog = session.run(session.host.refresh(force=refresh, stale_is_enough=True))
        stale = session.host.registry.stale
        cache = session.host.locations.cache
        where = session.host.locations.providers_file
        own = {h.id for h in session.host.providers if h.table is not None and h.table.local}
    groups = _groups(catalog, only, everything)
    said = io.StringIO()
    out = replace(Screen.stdout(), stream=said)
    if as_json:
        out.json({"providers": [facts.provider_json(entry, models) for entry, models in groups]})
    elif groups:
        # Nobody asked for a proposal, so one that has nothing to show is no row.
        shown = [(e, found) for e, found in groups if found or not e.implicit or everything]
        table(out, _COLUMNS, [_section(entry, models, entry.id in own) for entry, models in shown])
    sys.stdout.write(said.getvalue())
    sys.stdout.flush()
    if not any(models for _, models in groups):
        missing = f"no model matches '{only}'" if only else "no models found"
        step = (
            "modelbay models   # lists all of them"
            if only and catalog.models
            else f"start a model server, or describe one in {where}; modelbay doctor says"
            " what was looked for"
        )
        Screen.stderr().line(f"{missing}: {step}", style="dim")
    invocation = ctx.ensure_object(Invocation)
    usual = not (only or everything or strict or invocation.providers or invocation.verbosity)
    if usual and catalog.models:
        _keep(catalog, said.getvalue(), as_json)
    if stale:
        renew_later(cache)
    if strict and any(entry.problem for entry, _ in groups):
        ctx.exit(PARTIAL)


def _keep(catalog: Catalog, said: str, as_json: bool) -> None:
    """Leave what was printed for the next call; see `modelbay_cli.warm`."""
    absent, valid_s = [], TTL_S
    for entry in catalog.providers:
        address = urlsplit(entry.base_url)
        if entry.hidden and is_loopback(address.hostname or ""):
            absent.append(address.netloc)
        elif entry.next_look_s is not None:
            valid_s = min(valid_s, entry.next_look_s)
        elif entry.problem is None:
            return  # it has not been looked at
    if as_json:
        said = re.sub(r'("age_s": )([0-9.]+)', "\\1\0\\2\0", said)
        said = re.sub(r'("next_look_s": )([0-9.]+)', "\\1\1\\2\1", said)
    warm.keep(["models", "--json"] if as_json else ["models"], said, valid_s=valid_s, absent=absent)


def _groups(
    catalog: Catalog, only: str, everything: bool
) -> list[tuple[ProviderEntry, list[ModelInfo]]]:
    """The providers to show, each with its models; one that is filtered empty is left out."""
    groups = []
    for entry in catalog.providers:
        if entry.hidden and not everything:
            continue
        whole = only in ("", entry.id)
        models = [model for model in entry.models if whole or only.lower() in model.id.lower()]
        if models or whole:
            groups.append((entry, models))
    return groups


def _section(entry: ProviderEntry, models: list[ModelInfo], is_own: bool) -> Section:
    """Args:
    is_own: Its models run on the user's hardware as a rule, so that others need a word.
    """
    name = entry.id if entry.label == entry.id else f"{entry.label} ({entry.id})"
    if entry.next_look_s == 0 and entry.age_s is not None:
        name = f"{name}, as of {figures.duration(entry.age_s)} ago"
    rows = [
        [
            model.id,
            model.state,
            facts.context(model.capabilities),
            " ".join(facts.can(model.capabilities)),
            facts.size(model),
            "; ".join(part for part in (_place(model, is_own), facts.note(model)) if part),
        ]
        for model in models
    ]
    problem = None
    if entry.status != "ok" or entry.problem is not None:
        problem = (entry.id, entry.status, facts.problem(entry.problem))
    elif not models:
        problem = (entry.id, entry.status, "no models")
    return Section(rows, f"{name}, {entry.kind}", problem)


def _place(model: ModelInfo, is_own: bool) -> str:
    return "runs elsewhere" if is_own and model.origin == "remote" else ""
