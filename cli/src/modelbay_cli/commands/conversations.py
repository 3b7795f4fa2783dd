"""`modelbay conversations`: the models that conversations remember."""

import sys

import click

from modelbay.state import Page, RememberedModel, rules
from modelbay.state.records import ConversationModel
from modelbay_cli import stored
from modelbay_cli.commands.history import after_option, fitted, limit_option, tell_next
from modelbay_cli.failure import FAILED
from modelbay_cli.options import (
    deadline_option,
    examples,
    json_option,
    not_empty,
    refresh_option,
    verbose_option,
)
from modelbay_cli.output import NOTHING, Screen, Section, table
from modelbay_cli.session import Session

_COLUMNS = ("CONVERSATION", "MODEL", "NOTE", "TITLE")
_NOTES = {True: NOTHING, False: "not there any more", None: "not listed at present"}


@click.group(
    invoke_without_command=True,
    epilog=examples(
        "modelbay conversations",
        "modelbay conversations model trip",
        "modelbay conversations model trip desk/qwen3",
        "modelbay conversations normalise --dry-run",
    ),
)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Show and set the models of conversations, and write old names of models anew.

    Without a command: list them.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, as_json=as_json)
    elif as_json:
        raise click.UsageError(f"--json comes after '{ctx.invoked_subcommand}'")


@command.command(
    "list",
    epilog=examples(
        "modelbay conversations list",
        "modelbay conversations list -n 100 --json",
    ),
)
@limit_option
@after_option
@json_option
@refresh_option
@deadline_option
@verbose_option
def list_(
    limit: int, cursor: str | None, as_json: bool, refresh: bool, deadline_s: float | None
) -> None:
    """List conversations with the models they remember, the last used first.

    Those that are kept, as in `modelbay history`, and those that remember a model and nothing else.
    Without a model, turns go to the default.
    """
    with Session(deadline_s=deadline_s, cache=True) as session:
        page, models = session.run(_listed(session, limit, cursor, refresh=refresh))
    out, err = Screen.stdout(), Screen.stderr()
    if as_json:
        documents = [
            {**found.model_dump(mode="json"), "title": each.title}
            for each, found in zip(page.items, models, strict=True)
        ]
        out.json({"conversations": documents, "next": page.next})
        return
    rows = [
        [
            each.conversation_id,
            found.model or NOTHING,
            NOTHING if found.model is None else _NOTES[found.resolvable],
            each.title or NOTHING,
        ]
        for each, found in zip(page.items, models, strict=True)
    ]
    if rows:
        table(out, _COLUMNS, [Section(fitted(_COLUMNS, rows, out))])
    else:
        err.line("no conversation is kept: modelbay chat begins one", style="dim")
    tell_next("modelbay conversations list", limit, page.next)


async def _listed(
    session: Session, limit: int, cursor: str | None, *, refresh: bool
) -> tuple[Page[RememberedModel], list[ConversationModel]]:
    store = stored.existing(session.host)
    if store is None:
        return Page[RememberedModel](items=()), []
    page = await store.conversation_models(limit=limit, cursor=cursor)
    kept = {each.conversation_id: each.model for each in page.items}
    return page, await _described(session, kept, refresh=refresh)


async def _described(
    session: Session, kept: dict[str, str | None], *, refresh: bool
) -> list[ConversationModel]:
    """What each of these conversations remembers means now.

    What a turn would say of a model that is gone is said from lists read now, and so is this: else
    the two would offer different ones.
    """
    host = session.host
    remembered = [model for model in kept.values() if model is not None]
    if remembered:
        await host.refresh(force=refresh, stale_is_enough=True)
        gone = [each for each in remembered if stored.listing(host).standing(each) != "listed"]
        if gone and not refresh:
            await host.refresh(force=True)
    default = await stored.default_model(host)
    listing = stored.listing(host)
    return [
        rules.conversation_model(name, model, listing, default=default)
        for name, model in kept.items()
    ]


@command.command(
    epilog=examples(
        "modelbay conversations model trip              # which one it is",
        "modelbay conversations model trip desk/qwen3   # from the next turn on",
        "modelbay conversations model trip --clear      # back to the default",
    )
)
@click.argument("conversation_id", metavar="CONVERSATION", callback=not_empty)
@click.argument("ref", required=False)
@click.option("--clear", is_flag=True, help="Remember none; turns go to the default again.")
@json_option
@refresh_option
@deadline_option
@verbose_option
def model(
    conversation_id: str,
    ref: str | None,
    clear: bool,
    as_json: bool,
    refresh: bool,
    deadline_s: float | None,
) -> None:
    """Print the model a conversation remembers, or let it remember REF.

    Whether there is such a model is not asked before it is remembered: a turn says so.
    """
    if clear and ref is not None:
        raise click.UsageError("give REF or --clear, not both")
    with Session(deadline_s=deadline_s, cache=True) as session:
        if clear or ref is not None:
            if ref:
                session.run(session.host.refresh(force=refresh, stale_is_enough=True))
            wanted = rules.composite(ref, stored.listing(session.host)) if ref else None
            session.run(session.host.state.set_conversation_model(conversation_id, wanted))
        found = session.run(_model(session, conversation_id, refresh=refresh and not ref))
    out, err = Screen.stdout(), Screen.stderr()
    if as_json:
        out.json(found.model_dump(mode="json"))
        return
    if found.model is None:
        err.line("no model is remembered: turns go to the default", style="dim")
        return
    out.line(found.model)
    if found.resolvable is not True:
        state = "is not there any more" if found.resolvable is False else "is not listed at present"
        err.line(f"warning: '{found.model}' {state}", style="warning")
        if found.fallback is not None:
            err.line(
                f"hint: modelbay conversations model {conversation_id} {found.fallback}",
                style="dim",
            )


async def _model(session: Session, conversation_id: str, *, refresh: bool) -> ConversationModel:
    store = stored.existing(session.host)
    kept = None if store is None else await store.conversation_model(conversation_id)
    (found,) = await _described(session, {conversation_id: kept}, refresh=refresh)
    return found


@command.command(
    epilog=examples(
        "modelbay conversations normalise --dry-run   # what would be rewritten",
        "modelbay conversations normalise -y",
    )
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@json_option
@deadline_option
@verbose_option
@click.pass_context
def normalise(
    ctx: click.Context, yes: bool, dry_run: bool, as_json: bool, deadline_s: float | None
) -> None:
    """Write names of models without a provider, as old versions kept them, as refs.

    Those of conversations and favourites, where there is no doubt: the default provider lists the
    name, no other does, and every provider has been heard. The others stay as they are, and go on
    working. Nothing else ever rewrites them.
    """
    if not (yes or dry_run or sys.stdin.isatty()):
        raise click.UsageError("nobody is here to confirm it: give -y, or --dry-run to look")
    out, err = Screen.stdout(), Screen.stderr()
    with Session(deadline_s=deadline_s, cache=True) as session:
        used, favorites = session.run(_remembered(session))
        found = rules.Normalisation({}, {})
        if used or favorites:
            session.run(session.host.refresh(force=True))
            listing = stored.listing(session.host)
            found = rules.normalisation([*used, *favorites], listing)
        document = _document(found, used, favorites)
        if not as_json:
            _print(document, out)
            for text, why in found.kept.items():
                err.line(f"'{text}' stays as it is: {why}", style="dim")
        agreed = bool(found.rewrites) and not dry_run
        if agreed and not yes:
            agreed = click.confirm(f"Rewrite {_counted(len(found.rewrites), 'name')}?", err=True)
        changed = session.run(_rewrite(session, found)) if agreed else 0
    if as_json:
        out.json({**document, "changed": changed})
    elif agreed:
        err.line(f"{_counted(changed, 'conversation')} rewritten")
    elif not found.rewrites:
        err.line("there is nothing to rewrite", style="dim")
    elif not dry_run:
        ctx.exit(FAILED)


async def _remembered(session: Session) -> tuple[dict[str, int], tuple[str, ...]]:
    store = stored.existing(session.host)
    if store is None:
        return {}, ()
    return await store.models_in_use(), await store.favorites()


async def _rewrite(session: Session, found: rules.Normalisation) -> int:
    """How many conversations changed."""
    store = session.host.state
    await store.rewrite_favorites(found.rewrites)
    return await store.rewrite_conversation_models(found.rewrites)


def _document(
    found: rules.Normalisation, used: dict[str, int], favorites: tuple[str, ...]
) -> dict[str, object]:
    return {
        "rewrites": [
            {
                "from": old,
                "to": new,
                "conversations": used.get(old, 0),
                "favorite": old in favorites,
            }
            for old, new in found.rewrites.items()
        ],
        "kept": [{"id": text, "reason": why} for text, why in found.kept.items()],
    }


def _print(document: dict[str, object], out: Screen) -> None:
    rewrites = document["rewrites"]
    assert isinstance(rewrites, list)  # as made above
    rows = [
        [
            each["from"],
            each["to"],
            str(each["conversations"]),
            "yes" if each["favorite"] else NOTHING,
        ]
        for each in rewrites
    ]
    if rows:
        table(out, ("FROM", "TO", "CONVERSATIONS", "FAVOURITE"), [Section(rows)])


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
