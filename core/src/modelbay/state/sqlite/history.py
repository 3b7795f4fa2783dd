"""Conversations and their messages in SQL."""

import re
import sqlite3
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from modelbay.errors import ConfigError, InvalidRequestError
from modelbay.models.chat import Message
from modelbay.models.events import Usage
from modelbay.models.frozen import JsonObject
from modelbay.refs import ModelRef
from modelbay.state import limits
from modelbay.state.records import Conversation, Found, NewMessage, Page, StoredMessage
from modelbay.state.sqlite import cursors
from modelbay.state.sqlite.unreadable import UnreadableError, json_of

_FIELDS = "id, title, settings, messages, created_at, updated_at"
_usage: TypeAdapter[Usage] = TypeAdapter(Usage)

ConversationRow = tuple[str, str, str, int, float, float]
MessageRow = tuple[int, str | None, str | None, float, str]


# --- conversations --------------------------------------------------------------------------------


def conversation(connection: sqlite3.Connection, conversation_id: str) -> Conversation | None:
    row = connection.execute(
        f"SELECT {_FIELDS} FROM conversations WHERE id = ?",  # noqa: S608 - constants
        (conversation_id,),
    ).fetchone()
    return None if row is None else _conversation(row)


def conversations(
    connection: sqlite3.Connection, *, limit: int, cursor: str | None
) -> Page[Conversation]:
    """The last used first; the cursor is the place of the last one seen."""
    place = cursors.after(cursor)
    where = "WHERE (updated_at, id) < (?, ?)" if place else ""
    rows = connection.execute(
        f"SELECT {_FIELDS} FROM conversations {where}"  # noqa: S608 - constants
        " ORDER BY updated_at DESC, id DESC LIMIT ?",
        (*place, limit + 1),
    ).fetchall()
    items = tuple(_conversation(row) for row in rows[:limit])
    last = items[-1] if len(rows) > limit else None
    return Page(
        items=items, next=None if last is None else cursors.cursor(last.updated_at, last.id)
    )


def create(
    connection: sqlite3.Connection, conversation_id: str, title: str, kept: JsonObject, now: float
) -> Conversation:
    _title(title)
    text = limits.json_text("the conversation's settings", kept)
    added = connection.execute(
        "INSERT INTO conversations VALUES (?, ?, ?, 0, 0, ?, ?) ON CONFLICT (id) DO NOTHING",
        (conversation_id, title, text, now, now),
    ).rowcount
    if added:
        (count,) = connection.execute("SELECT count(*) FROM conversations").fetchone()
        if count > limits.CONVERSATIONS:
            raise InvalidRequestError(
                f"{limits.CONVERSATIONS} conversations are kept already",
                hint="modelbay history   # shows what can be deleted",
            )
    found = conversation(connection, conversation_id)
    assert found is not None  # it was there, or has just been made
    return found


def update(
    connection: sqlite3.Connection,
    conversation_id: str,
    title: str | None,
    kept: JsonObject | None,
    now: float,
) -> Conversation | None:
    found = conversation(connection, conversation_id)
    if found is None:
        return None
    text = limits.json_text("the conversation's settings", found.settings if kept is None else kept)
    connection.execute(
        "UPDATE conversations SET title = ?, settings = ?, updated_at = ? WHERE id = ?",
        (found.title if title is None else _title(title), text, now, conversation_id),
    )
    return conversation(connection, conversation_id)


def delete(connection: sqlite3.Connection, conversation_id: str) -> bool:
    """Its messages and its model go too; one that has nothing but a model was there as well."""
    forgotten = connection.execute(
        "DELETE FROM conversation_models WHERE conversation_id = ?", (conversation_id,)
    ).rowcount
    gone = connection.execute("DELETE FROM conversations WHERE id = ?", (conversation_id,)).rowcount
    return gone + forgotten > 0


# --- messages -------------------------------------------------------------------------------------


class Written:
    """A message made ready to be stored, outside of any transaction.

    Raises:
        InvalidRequestError: It is too large, or nothing that JSON in UTF-8 can hold.
    """

    __slots__ = ("body", "new", "searched", "usage")

    def __init__(self, new: NewMessage) -> None:
        self.new = new
        try:
            self.body = new.message.model_dump_json()
            size = len(self.body.encode())
        except (PydanticSerializationError, UnicodeEncodeError):
            raise InvalidRequestError("the message holds half of a surrogate pair") from None
        if size > limits.MESSAGE_BYTES:
            raise InvalidRequestError(
                f"the message has {size} bytes", hint=f"at most {limits.MESSAGE_BYTES} can be kept"
            )
        text = new.message.text[: limits.SEARCHED_CHARS]
        self.searched = text.replace("\0", " ").casefold()
        self.usage = None if new.usage is None else _usage.dump_json(new.usage).decode()
        if new.ref is not None:
            limits.text("the ref", str(new.ref), limits.MODEL_CHARS)


def append(
    connection: sqlite3.Connection, conversation_id: str, written: Sequence[Written], now: float
) -> tuple[StoredMessage, ...]:
    """Messages at the end of a conversation, which is made if there is none."""
    create(connection, conversation_id, "", {}, now)
    count, last = connection.execute(
        "SELECT messages, last_position FROM conversations WHERE id = ?", (conversation_id,)
    ).fetchone()
    limits.count("messages in one conversation", count + len(written), limits.MESSAGES)
    connection.executemany(
        "INSERT INTO messages"
        " (conversation_id, position, role, ref, usage, created_at, searched, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                conversation_id,
                position,
                each.new.message.role,
                None if each.new.ref is None else str(each.new.ref),
                each.usage,
                now,
                each.searched,
                each.body,
            )
            for position, each in enumerate(written, last + 1)
        ),
    )
    connection.execute(
        "UPDATE conversations SET messages = ?, last_position = ?, updated_at = ? WHERE id = ?",
        (count + len(written), last + len(written), now, conversation_id),
    )
    return tuple(
        StoredMessage(
            position=position,
            message=each.new.message,
            ref=each.new.ref,
            usage=each.new.usage,
            created_at=now,
        )
        for position, each in enumerate(written, last + 1)
    )


def messages(
    connection: sqlite3.Connection, conversation_id: str, *, limit: int, cursor: str | None
) -> Page[StoredMessage]:
    """The last ones, in order; the cursor is the first position seen, and older ones follow."""
    before = 2**63 - 1 if cursor is None else _number(cursor)
    rows = connection.execute(
        "SELECT position, ref, usage, created_at, body FROM messages"
        " WHERE conversation_id = ? AND position < ? ORDER BY position DESC LIMIT ?",
        (conversation_id, before, limit + 1),
    )
    found: list[StoredMessage] = []
    size, older = 0, None
    for row in rows:
        size += len(row[4])
        if len(found) == limit or (found and size > limits.PAGE_BYTES):
            older = str(found[-1].position)
            break
        found.append(_message(row, conversation_id))
    rows.close()  # an unfinished one would hold on to this state of the file
    return Page(items=tuple(reversed(found)), next=older)


def drop_after(
    connection: sqlite3.Connection, conversation_id: str, position: int, now: float
) -> int:
    gone = connection.execute(
        "DELETE FROM messages WHERE conversation_id = ? AND position > ?",
        (conversation_id, position),
    ).rowcount
    if gone:
        connection.execute(
            "UPDATE conversations SET messages = messages - ?, updated_at = ? WHERE id = ?",
            (gone, now, conversation_id),
        )
    return gone


def search(
    connection: sqlite3.Connection, query: str, *, limit: int, cursor: str | None
) -> Page[Found]:
    """Messages that hold the text, the last written first; looks at `SCANNED` of them at most."""
    if cursor is None:
        (newest,) = connection.execute("SELECT max(number) FROM messages").fetchone()
        below = (newest or 0) + 1
    else:
        below = _number(cursor)
    end = below - limits.SCANNED
    rows = connection.execute(
        "SELECT number, conversation_id, position, role, messages.created_at, title, body"
        " FROM messages JOIN conversations ON id = conversation_id"
        " WHERE number < ? AND number >= ? AND instr(searched, ?) > 0"
        " ORDER BY number DESC LIMIT ?",
        (below, end, query.casefold(), limit),
    ).fetchall()
    items = []
    for _, conversation_id, position, role, created_at, title, body in rows:
        text = _read(body, conversation_id, position).text
        items.append(
            Found(
                conversation_id=conversation_id,
                title=title,
                position=position,
                role=role,
                excerpt=excerpt(text, query),
                created_at=created_at,
            )
        )
    last = int(rows[-1][0]) if len(rows) == limit else end
    (older,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM messages WHERE number < ?)", (last,)
    ).fetchone()
    return Page(items=tuple(items), next=str(last) if older else None)


def excerpt(text: str, query: str) -> str:
    """The text around the first place that matches, in one line of `EXCERPT_CHARS` at most."""
    match = re.search(re.escape(query), text, re.IGNORECASE)
    at = 0 if match is None else match.start()  # a letter that folds to two is found nowhere
    start = max(0, at - limits.EXCERPT_CHARS // 4)
    part = text[start : start + limits.EXCERPT_CHARS - 2]
    before = "…" if start else ""
    after = "…" if start + len(part) < len(text) else ""
    return " ".join(f"{before}{part}{after}".split())


def _message(row: MessageRow, conversation_id: str) -> StoredMessage:
    position, ref, usage, created_at, body = row
    provider_id, _, wire_id = (ref or "").partition("/")
    return StoredMessage(
        position=position,
        message=_read(body, conversation_id, position),
        ref=None if ref is None else ModelRef(provider_id, wire_id),
        usage=None if usage is None else _cost(usage, conversation_id, position),
        created_at=created_at,
    )


def _cost(usage: str, conversation_id: str, position: int) -> Usage:
    try:
        return _usage.validate_json(usage)
    except ValidationError:
        what = f"what message {position} of conversation '{conversation_id}' cost"
        raise UnreadableError(what) from None


def _read(body: str, conversation_id: str, position: int) -> Message:
    try:
        return Message.model_validate_json(body)
    except ValidationError:
        raise ConfigError(
            f"message {position} of conversation '{conversation_id}' cannot be read",
            hint="pip install --upgrade modelbay",
        ) from None


def _conversation(row: ConversationRow) -> Conversation:
    conversation_id, title, settings, count, created_at, updated_at = row
    what = f"what conversation '{conversation_id}' keeps with it"
    kept = json_of(what, settings)
    if not isinstance(kept, dict):
        raise UnreadableError(what)
    return Conversation(
        id=conversation_id,
        title=title,
        settings=kept,
        messages=count,
        created_at=created_at,
        updated_at=updated_at,
    )


def _title(title: str) -> str:
    return limits.text("the title", title, limits.TITLE_CHARS, empty=True)


def _number(cursor: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", cursor):
        raise cursors.bad_cursor()
    return int(cursor)
