"""`modelbay fav`: the models one comes back to."""

import click

from modelbay.errors import InvalidRequestError
from modelbay.host import select
from modelbay.models.catalog import Catalog, ModelInfo
from modelbay.state import favorites
from modelbay.state.rules import Listing, composite
from modelbay_cli import facts, stored
from modelbay_cli.options import (
    deadline_option,
    examples,
    json_option,
    refresh_option,
    verbose_option,
)
from modelbay_cli.output import NOTHING, Screen, Section, table
from modelbay_cli.session import Session

_COLUMNS = ("MODEL", "STATE", "CONTEXT", "CAN", "NOTE")


@click.group(
    invoke_without_command=True,
    epilog=examples(
        "modelbay fav add desk/qwen3",
        "modelbay fav list",
        "modelbay fav move desk/qwen3 --before desk/gemma3",
        "modelbay fav rm desk/qwen3",
    ),
)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Keep favourites, which `modelbay models` shows first; without a command: list them.

    Favourites of a provider that does not answer are hidden, and are there again when it does.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, as_json=as_json)
    elif as_json:
        raise click.UsageError(f"--json comes after '{ctx.invoked_subcommand}'")


@command.command(
    epilog=examples("modelbay fav add desk/qwen3", "modelbay fav add qwen3 lab/gemma3")
)
@click.argument("refs", metavar="REF...", nargs=-1, required=True)
@deadline_option
@verbose_option
def add(refs: tuple[str, ...], deadline_s: float | None) -> None:
    """Add favourites at the end; one that is there keeps its place.

    A name without a provider is the default provider's, which has to list it. With its provider a
    model need not be there at the moment.
    """
    out, err = Screen.stdout(), Screen.stderr()
    with Session(deadline_s=deadline_s, cache=True) as session:
        host = session.host
        session.run(host.refresh(stale_is_enough=True))
        listing, catalog = stored.listing(host), host.catalog
        # All of them are looked at before the first is written.
        wanted = {_wanted(ref, listing, catalog): ref for ref in refs}
        store = stored.existing(host)
        before = () if store is None else session.run(store.favorites())
        for ref in wanted:
            session.run(host.state.add_favorite(ref))
    for ref, text in wanted.items():
        out.line(f"{ref} {'was already' if ref in before else 'is'} a favourite")
        if listing.model(ref) is None:
            hint = select.unknown(text, catalog).hint or ""
            near = f"; {hint}" if hint.startswith("did you mean") else ""
            err.line(f"'{ref}' is not listed at present, and hidden until it is{near}", style="dim")


@command.command(epilog=examples("modelbay fav rm desk/qwen3", "modelbay fav rm --all"))
@click.argument("refs", metavar="REF...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All of them, also a damaged list.")
@verbose_option
def rm(refs: tuple[str, ...], everything: bool) -> None:
    """Remove favourites; the models stay."""
    if bool(refs) == everything:
        raise click.UsageError("give REF or --all" + (", not both" if refs else ""))
    out = Screen.stdout()
    if everything:
        stored.read(lambda store: store.set_favorites(()), ())
        out.line("there are no favourites any more")
        return
    with Session(cache=True) as session:
        store = stored.existing(session.host)
        kept = () if store is None else session.run(store.favorites())
        listing = stored.listing(session.host)
        found = {ref: _named(ref, kept, listing) for ref in refs}
        for names in found.values():
            for name in names:
                session.run(session.host.state.remove_favorite(name))
    for ref in refs:
        out.line(f"{ref} is no favourite any more")


@command.command(
    epilog=examples(
        "modelbay fav move desk/qwen3 --before desk/gemma3",
        "modelbay fav move desk/qwen3      # to the end",
    )
)
@click.argument("ref")
@click.option("--before", metavar="REF", help="The favourite it goes before; else to the end.")
@verbose_option
def move(ref: str, before: str | None) -> None:
    """Move a favourite to another place."""
    with Session(cache=True) as session:
        store = stored.existing(session.host)
        kept = () if store is None else session.run(store.favorites())
        listing = stored.listing(session.host)
        name = _named(ref, kept, listing)[0]
        place = None if before is None else _named(before, kept, listing)[0]
        session.run(session.host.state.move_favorite(name, before=place))
    where = "at the end" if before is None else f"before {before}"
    Screen.stdout().line(f"{ref} is {where} now")


@command.command("list", epilog=examples("modelbay fav list", "modelbay fav list --all"))
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Also those that are hidden, and why; --json has them anyway.",
)
@json_option
@refresh_option
@deadline_option
@verbose_option
def list_(everything: bool, as_json: bool, refresh: bool, deadline_s: float | None) -> None:
    """Print the favourites in their order. Looking never changes them."""
    with Session(deadline_s=deadline_s, cache=True) as session:
        host = session.host
        store = stored.existing(host)
        kept = () if store is None else session.run(store.favorites())
        if kept:
            session.run(host.refresh(force=refresh, stale_is_enough=True))
        listing = stored.listing(host)
        catalog = host.catalog
    found = favorites.view(kept, listing)
    hidden = {text: _why_hidden(text, listing, catalog) for text in found.hidden}
    out, err = Screen.stdout(), Screen.stderr()
    if as_json:
        out.json(
            {
                "favorites": [facts.model_json(model) for model in found.shown],
                "hidden": [{"id": text, "reason": why} for text, why in hidden.items()],
            }
        )
        return
    rows = {model.id: _row(model) for model in found.shown}
    if everything:  # each at its place among the others
        places = [(text, text if text in hidden else _written(text, listing)) for text in kept]
        rows = {
            name: _hidden_row(text, hidden[text]) if text in hidden else rows[name]
            for text, name in places
        }
    if rows:
        table(out, _COLUMNS, [Section(list(rows.values()))])
    if not kept:
        err.line("there are no favourites: modelbay fav add REF", style="dim")
    elif hidden and not everything:
        err.line(hidden_note(len(hidden)), style="dim")


def _row(model: ModelInfo) -> list[str]:
    can = " ".join(facts.can(model.capabilities))
    return [model.id, model.state, facts.context(model.capabilities), can, facts.note(model)]


def _hidden_row(text: str, why: str) -> list[str]:
    return [text, "hidden", NOTHING, NOTHING, why]


def hidden_note(count: int) -> str:
    return f"{count} hidden (offline)"


def _why_hidden(text: str, listing: Listing, catalog: Catalog) -> str:
    ref = listing.ref(text)
    provider = None if ref is None else catalog.provider(ref.provider_id)
    if ref is None or provider is None:
        return "it has no provider"
    if provider.problem is not None:
        return f"'{provider.id}' is {provider.status}"
    doubt = listing.why_ambiguous(text) if ref.is_legacy_bare else None
    return doubt or f"'{provider.id}' does not list it"


def _wanted(text: str, listing: Listing, catalog: Catalog) -> str:
    """What to keep for this.

    Raises:
        UnknownModelError: It begins with no provider, and the default provider does not list it:
            it is a guess.
        InvalidRequestError: It is no ref.
    """
    if not text or text != text.strip():
        raise InvalidRequestError(
            f"{text!r} is no model: it is empty, or begins or ends with a blank",
            hint="modelbay models",
        )
    ref = listing.ref(text)
    if ref is not None and ref.is_legacy_bare and listing.model(text) is None:
        raise select.unknown(text, catalog)
    return favorites.checked(_written(text, listing))


def _written(text: str, listing: Listing) -> str:
    """How a favourite is written down: with its provider, and by its name, not by an alias."""
    model = listing.model(text)
    return composite(text, listing) if model is None else model.id


def _named(text: str, kept: favorites.Favorites, listing: Listing) -> list[str]:
    """The favourites, as they are kept, that this names.

    Raises:
        InvalidRequestError: There is none.
    """

    def meant(each: str) -> str:
        ref = listing.ref(each)
        in_doubt = ref is not None and ref.is_legacy_bare and listing.why_ambiguous(each)
        return each if in_doubt else _written(each, listing)

    same = meant(text) if text in kept else _written(text, listing)
    found = [each for each in kept if each == text or meant(each) == same]
    if not found:
        raise InvalidRequestError(f"'{text}' is no favourite", hint="modelbay fav list --all")
    return found
