"""`modelbay models`: what there is, grouped by provider."""

import io
import re
import sys
from dataclasses import replace
from urllib.parse import urlsplit

import click

from modelbay import ModelbayError
from modelbay.errors import BackendTimeoutError
from modelbay.host.proxies import is_loopback
from modelbay.host.registry import TTL_S
from modelbay.models.catalog import Catalog, ModelInfo, ProviderEntry
from modelbay.state.favorites import FavoriteView, view
from modelbay_cli import facts, figures, stored, warm
from modelbay_cli.commands.fav import hidden_note
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
from modelbay_cli.sift import CAPABILITIES, Sift

_COLUMNS = ("MODEL", "STATE", "CONTEXT", "CAN", "SIZE", "NOTE")
_FAVORITE = "favourite"


@click.command(
    epilog=examples(
        "modelbay models",
        "modelbay models qwen          # refs that contain it, or look like it",
        "modelbay models --capability tools --capability vision --loaded",
        "modelbay models --json | jq -r '.providers[].models[].id'",
        "modelbay models --strict      # exit code 7 if a provider did not answer",
    )
)
@click.argument("only", metavar="[FILTER]", default="")
@click.option(
    "--capability",
    "capabilities",
    multiple=True,
    type=click.Choice(CAPABILITIES),
    help="Only models known to do this; may be given several times.",
)
@click.option("--loaded", is_flag=True, help="Only models in memory.")
@click.option("--no-favorites", is_flag=True, help="Without the favourites' section and marks.")
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
    capabilities: tuple[str, ...],
    loaded: bool,
    no_favorites: bool,
    as_json: bool,
    refresh: bool,
    everything: bool,
    strict: bool,
    deadline_s: float | None,
) -> None:
    """List the models of every provider, in the providers' order, and favourites before them.

    A favourite is listed again among its provider's models. FILTER keeps the models whose ref
    contains it, or those of the provider it names; if there are none, those that look like it. In
    the column CONTEXT, "?" is not known, and "<=" is what the model was trained for.
    """
    watched = warm.watched()
    with Session(deadline_s=deadline_s, cache=True) as session:
        catalog = session.run(session.host.refresh(force=refresh, stale_is_enough=True))
        stale = session.host.registry.stale
        cache = session.host.locations.cache
        where = session.host.locations.providers_file
        own = {h.id for h in session.host.providers if h.table is not None and h.table.local}
        found = FavoriteView((), ()) if no_favorites else _favorites(session)
    sift = Sift(only, frozenset(capabilities), loaded)
    groups, is_near = sift.groups(catalog, everything)
    favorites = {model.id for model in found.shown}
    said = io.StringIO()
    out = replace(Screen.stdout(), stream=said)
    if as_json:
        out.json({"providers": [_document(entry, models, favorites) for entry, models in groups]})
    elif groups:
        # Nobody asked for a proposal, so one that has nothing to show is no row.
        shown = [(e, models) for e, models in groups if models or not e.implicit or everything]
        sections = [_section(e, models, e.id in own, favorites) for e, models in shown]
        kept = {model.id for _, models in groups for model in models}
        first = [model for model in found.shown if model.id in kept]
        if first or (found.hidden and not sift.is_narrow):
            hidden = 0 if sift.is_narrow else len(found.hidden)
            sections.insert(0, _first(first, hidden, own, out))
        table(out, _COLUMNS, sections)
    sys.stdout.write(said.getvalue())
    sys.stdout.flush()
    err = Screen.stderr()
    if not any(models for _, models in groups):
        missing = f"no model matches {sift}" if sift.is_narrow else "no models found"
        step = (
            "modelbay models   # lists all of them"
            if sift.is_narrow and catalog.models
            else f"start a model server, or describe one in {where}; modelbay doctor says"
            " what was looked for"
        )
        err.line(f"{missing}: {step}", style="dim")
    elif is_near:
        err.line(f"no model contains '{only}'; these look like it", style="dim")
    for entry, _ in () if as_json or out.is_terminal else groups:
        if since := _as_of(entry):  # at a terminal its title says so, and in JSON its age
            err.line(f"{entry.id}: {since}", style="dim")
    invocation = ctx.ensure_object(Invocation)
    usual = not (
        sift.is_narrow
        or no_favorites
        or everything
        or strict
        or invocation.providers
        or invocation.verbosity
    )
    if usual and catalog.models and found is not _UNREADABLE:
        _keep(catalog, said.getvalue(), as_json, watched)
    if stale:
        renew_later(cache)
    if strict and any(entry.problem for entry in sift.asked(catalog, everything)):
        ctx.exit(PARTIAL)


_UNREADABLE = FavoriteView((), ())


def _favorites(session: Session) -> FavoriteView:
    """A state file that cannot be read takes the favourites away, and not the listing."""
    store = stored.existing(session.host)
    if store is None:
        return FavoriteView((), ())
    try:
        return view(session.run(store.favorites()), stored.listing(session.host))
    except ModelbayError as exc:
        if isinstance(exc, BackendTimeoutError):
            raise  # the command's own deadline
        Screen.stderr().line(f"warning: favourites cannot be read: {exc.message}", style="warning")
        return _UNREADABLE


def _keep(catalog: Catalog, said: str, as_json: bool, watched: str) -> None:
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
    form = ["models", "--json"] if as_json else ["models"]
    warm.keep(form, said, valid_s=valid_s, absent=absent, watched=watched)


def _document(
    entry: ProviderEntry, models: list[ModelInfo], favorites: set[str]
) -> dict[str, object]:
    """The catalogue's entry; favourites are the user's and only marked in it (S0-38)."""
    document = facts.provider_json(entry, models)
    for model in document["models"]:
        if model["id"] in favorites:
            model["favorite"] = True
    return document


def _first(models: list[ModelInfo], hidden: int, own: set[str], out: Screen) -> Section:
    """The favourites, before all providers (S0-58)."""
    # A program sees no title, so each row says what it is.
    mark = "" if out.is_terminal else _FAVORITE
    rows = [_row(model, model.ref.provider_id in own, mark) for model in models]
    more = f", {hidden_note(hidden)}" if hidden else ""
    return Section(rows, f"Favourites{more}")


def _section(
    entry: ProviderEntry, models: list[ModelInfo], is_own: bool, favorites: set[str]
) -> Section:
    """Args:
    is_own: Its models run on the user's hardware as a rule, so that others need a word.
    """
    name = entry.id if entry.label == entry.id else f"{entry.label} ({entry.id})"
    if since := _as_of(entry):
        name = f"{name}, {since}"
    rows = [_row(model, is_own, _FAVORITE if model.id in favorites else "") for model in models]
    problem = None
    if entry.status != "ok" or entry.problem is not None:
        problem = (entry.id, entry.status, facts.problem(entry.problem))
    elif not models:
        problem = (entry.id, entry.status, "no models")
    return Section(rows, f"{name}, {entry.kind}", problem)


def _as_of(entry: ProviderEntry) -> str:
    """How old a list is that should have been renewed before now; else empty."""
    is_old = entry.next_look_s == 0 and entry.age_s is not None
    return f"as of {figures.duration(entry.age_s or 0)} ago" if is_old else ""


def _row(model: ModelInfo, is_own: bool, mark: str) -> list[str]:
    return [
        model.id,
        model.state,
        facts.context(model.capabilities),
        " ".join(facts.can(model.capabilities)),
        facts.size(model),
        "; ".join(part for part in (mark, _place(model, is_own), facts.note(model)) if part),
    ]


def _place(model: ModelInfo, is_own: bool) -> str:
    return "runs elsewhere" if is_own and model.origin == "remote" else ""
