"""`modelbay history`: the conversations that were kept, and what was said in them."""

import shlex
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

import click

from modelbay.errors import InvalidRequestError
from modelbay.models.chat import Message, TextPart
from modelbay.state import Conversation, Found, Page, StateStore, StoredMessage
from modelbay_cli import stored
from modelbay_cli.conversation import is_partial
from modelbay_cli.failure import FAILED
from modelbay_cli.options import examples, json_option, verbose_option
from modelbay_cli.output import NOTHING, Screen, Section, table

_SHOWN = 20
_NARROWEST = 20  # columns a title may have left
_COLUMNS = ("CONVERSATION", "USED", "MESSAGES", "TITLE")

limit_option = click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, 200),
    default=_SHOWN,
    show_default=True,
    help="How many.",
)
after_option = click.option(
    "--cursor", metavar="CURSOR", help="Go on where a page ended: what it said there."
)


@click.group(
    invoke_without_command=True,
    epilog=examples(
        "modelbay history",
        "modelbay history show 20260214-0930-5c1a77",
        "modelbay history search 'night train'",
        "modelbay history rm 20260214-0930-5c1a77",
        "modelbay chat -c      # goes on with the last one",
    ),
)
@json_option
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Read conversations that were kept, search and delete them; without a command: list them.

    Kept is what is said in `modelbay chat` at a terminal, or with --conversation.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, as_json=as_json)
    elif as_json:
        raise click.UsageError(f"--json comes after '{ctx.invoked_subcommand}'")


@command.command(
    "list",
    epilog=examples("modelbay history list", "modelbay history list -n 100 --json"),
)
@limit_option
@after_option
@json_option
@verbose_option
def list_(limit: int, cursor: str | None, as_json: bool) -> None:
    """List conversations, the last used first."""
    page = stored.read(
        lambda store: store.conversations(limit=limit, cursor=cursor),
        Page[Conversation](items=()),
    )
    out = Screen.stdout()
    if as_json:
        out.json({"conversations": [_document(each) for each in page.items], "next": page.next})
        return
    rows = [
        [each.id, _moment(each.updated_at), str(each.messages), each.title or NOTHING]
        for each in page.items
    ]
    if rows:
        table(out, _COLUMNS, [Section(fitted(_COLUMNS, rows, out))])
    else:
        Screen.stderr().line("no conversation is kept: modelbay chat begins one", style="dim")
    tell_next("modelbay history list", limit, page.next)


@command.command(
    epilog=examples(
        "modelbay history show 20260214-0930-5c1a77",
        "modelbay history show trip --json | jq -r '.messages[].message.content'",
    )
)
@click.argument("conversation_id", metavar="CONVERSATION")
@limit_option
@after_option
@json_option
@verbose_option
def show(conversation_id: str, limit: int, cursor: str | None, as_json: bool) -> None:
    """Print what was said in a conversation: its last messages, the oldest of them first."""

    async def read(store: StateStore) -> tuple[Conversation, Page[StoredMessage]] | None:
        found = await store.conversation(conversation_id)
        if found is None:
            return None
        return found, await store.messages(conversation_id, limit=limit, cursor=cursor)

    shown = stored.read(read, None)
    if shown is None:
        raise _unknown(conversation_id)
    found, page = shown
    out = Screen.stdout()
    if as_json:
        messages = [_message(each) for each in page.items]
        out.json({"conversation": _document(found), "messages": messages, "next": page.next})
        return
    for number, each in enumerate(page.items):
        if number:
            out.line()
        out.line(_heading(each), style="bold")
        out.line(_said(each.message))
    quoted = shlex.quote(conversation_id)
    tell_next(f"modelbay history show {quoted}", limit, page.next, "older messages")


@command.command(epilog=examples("modelbay history search 'night train'"))
@click.argument("text")
@limit_option
@after_option
@json_option
@verbose_option
def search(text: str, limit: int, cursor: str | None, as_json: bool) -> None:
    """Find messages that hold TEXT, capitals or not; the last written first."""

    async def read(store: StateStore) -> Page[Found]:
        found: list[Found] = []
        place = cursor
        while True:  # the store looks at so many messages at once, and a page may be empty
            page = await store.search(text, limit=limit - len(found), cursor=place)
            found += page.items
            place = page.next
            if place is None or len(found) >= limit:
                return Page[Found](items=tuple(found), next=place)

    page = stored.read(read, Page[Found](items=()))
    out = Screen.stdout()
    if as_json:
        items = [each.model_dump(mode="json") for each in page.items]
        out.json({"messages": items, "next": page.next})
        return
    rows = [
        [
            each.conversation_id,
            str(each.position),
            _moment(each.created_at),
            each.role,
            each.excerpt,
        ]
        for each in page.items
    ]
    if rows:
        columns = ("CONVERSATION", "NUMBER", "WRITTEN", "ROLE", "TEXT")
        table(out, columns, [Section(fitted(columns, rows, out))])
    else:
        Screen.stderr().line(f"nothing that was kept holds '{text}'", style="dim")
    tell_next(f"modelbay history search {shlex.quote(text)}", limit, page.next)


@command.command(
    epilog=examples(
        "modelbay history rm 20260214-0930-5c1a77",
        "modelbay history rm -y trip   # without asking",
    )
)
@click.argument("conversation_ids", metavar="CONVERSATION...", nargs=-1, required=True)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@verbose_option
@click.pass_context
def rm(ctx: click.Context, conversation_ids: tuple[str, ...], yes: bool) -> None:
    """Delete conversations, with the models they remember. Asks first, at a terminal."""
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("nobody is here to confirm it: give -y to delete without asking")
    for conversation_id in conversation_ids:
        there = stored.read(_described(conversation_id), None)
        if there is None:
            raise _unknown(conversation_id)
        if not yes and not click.confirm(f"Delete {there}?", err=True):
            ctx.exit(FAILED)
        stored.read(_deleted(conversation_id), nothing=False)
        Screen.stdout().line(f"{conversation_id} is deleted")


def _described(conversation_id: str) -> Callable[[StateStore], Awaitable[str | None]]:
    async def read(store: StateStore) -> str | None:
        found = await store.conversation(conversation_id)
        if found is None:  # it may remember a model all the same
            return conversation_id if await store.conversation_model(conversation_id) else None
        title = f" ({found.title})" if found.title else ""
        return f"{conversation_id}{title}, {found.messages} messages"

    return read


def _deleted(conversation_id: str) -> Callable[[StateStore], Awaitable[bool]]:
    return lambda store: store.delete_conversation(conversation_id)


def _unknown(conversation_id: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"there is no conversation '{conversation_id}'", hint="modelbay history"
    )


def _document(found: Conversation) -> dict[str, object]:
    return found.model_dump(mode="json")


def _message(found: StoredMessage) -> dict[str, object]:
    return {**found.model_dump(mode="json"), "partial": is_partial(found.message)}


def _heading(found: StoredMessage) -> str:
    words = [f"#{found.position}", found.message.role, _moment(found.created_at)]
    words += [] if found.ref is None else [str(found.ref)]
    words += ["(partial)"] if is_partial(found.message) else []
    return "  ".join(words)


def _said(message: Message) -> str:
    """The text, and a word for each part that is none."""
    if isinstance(message.content, str):
        words = [message.content] if message.content else []
    else:
        words = [p.text if isinstance(p, TextPart) else f"[{p.type}]" for p in message.content]
    words += [f"[calls {call.name}]" for call in message.tool_calls]
    return "\n".join(words)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def fitted(columns: Sequence[str], rows: list[list[str]], out: Screen) -> list[list[str]]:
    """On a terminal the last column, which is prose, ends where the line does."""
    if not out.is_terminal:
        return rows
    others = [
        (name, *cells)
        for name, *cells in list(zip(columns, *rows, strict=True))[:-1]
        if any(cell != NOTHING for cell in cells)  # a terminal is spared the others
    ]
    taken = sum(max(map(_width, column)) + 2 for column in others)
    room = max(shutil.get_terminal_size().columns - taken, _NARROWEST)
    return [[*row[:-1], _cut(row[-1], room)] for row in rows]


def _width(text: str) -> int:
    """Columns on the screen: a Chinese character takes two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _cut(text: str, room: int) -> str:
    if _width(text) <= room:
        return text
    from rich.cells import set_cell_size

    return f"{set_cell_size(text, room - 1).rstrip()}…"


def tell_next(call: str, limit: int, cursor: str | None, what: str = "more") -> None:
    if cursor is not None:
        more = "" if limit == _SHOWN else f" -n {limit}"
        Screen.stderr().line(f"{what}: {call}{more} --cursor {shlex.quote(cursor)}", style="dim")
