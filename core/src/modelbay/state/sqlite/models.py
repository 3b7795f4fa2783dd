"""The model of each conversation in SQL: one string, as it was written (S2-20)."""

import sqlite3
from collections.abc import Mapping

from modelbay.state import limits, rules
from modelbay.state.records import Page, RememberedModel
from modelbay.state.sqlite import cursors

_REMEMBERED = """
    SELECT id, model, title, updated_at AS used FROM conversations
    LEFT JOIN conversation_models ON conversation_id = id
    UNION ALL
    SELECT conversation_id, model, '', set_at FROM conversation_models
    WHERE NOT EXISTS (SELECT 1 FROM conversations WHERE id = conversation_id)
"""


def model(connection: sqlite3.Connection, conversation_id: str) -> str | None:
    row = connection.execute(
        "SELECT model FROM conversation_models WHERE conversation_id = ?", (conversation_id,)
    ).fetchone()
    return None if row is None else str(row[0])


def set_model(
    connection: sqlite3.Connection, conversation_id: str, wanted: str | None, now: float
) -> str | None:
    limits.text("the conversation's id", conversation_id, limits.CONVERSATION_ID_CHARS)
    kept = rules.resulting(wanted)
    if kept is None:
        connection.execute(
            "DELETE FROM conversation_models WHERE conversation_id = ?", (conversation_id,)
        )
        return None
    limits.text("the model", kept, limits.MODEL_CHARS)
    is_new = model(connection, conversation_id) is None
    connection.execute(
        "INSERT INTO conversation_models VALUES (?, ?, ?) ON CONFLICT (conversation_id)"
        " DO UPDATE SET model = excluded.model, set_at = excluded.set_at",
        (conversation_id, kept, now),
    )
    if is_new:
        _forget(connection)
    return kept


def turn(
    connection: sqlite3.Connection,
    conversation_id: str,
    requested: str | None,
    now: float,
) -> rules.Turn:
    decided = rules.turn(requested, model(connection, conversation_id))
    if decided.write is not None:
        set_model(connection, conversation_id, decided.write, now)
    return decided


def remembered(
    connection: sqlite3.Connection, *, limit: int, cursor: str | None
) -> Page[RememberedModel]:
    """The last used first; the cursor is the place of the last one seen."""
    place = cursors.after(cursor)
    where = "WHERE (used, id) < (?, ?)" if place else ""
    rows = connection.execute(
        f"SELECT * FROM ({_REMEMBERED}) {where}"  # noqa: S608 - constants
        " ORDER BY used DESC, id DESC LIMIT ?",
        (*place, limit + 1),
    ).fetchall()
    items = tuple(
        RememberedModel(conversation_id=name, model=kept, title=title, used_at=used)
        for name, kept, title, used in rows[:limit]
    )
    more = len(rows) > limit
    last = items[-1] if more else None
    return Page(
        items=items,
        next=None if last is None else cursors.cursor(last.used_at, last.conversation_id),
    )


def models(connection: sqlite3.Connection) -> dict[str, int]:
    rows = connection.execute(
        "SELECT model, count(*) FROM conversation_models GROUP BY model ORDER BY model"
    )
    return {text: count for text, count in rows}


def rewrite(connection: sqlite3.Connection, rewrites: Mapping[str, str]) -> int:
    changed = 0
    for old, new in rewrites.items():
        limits.text("the model", new, limits.MODEL_CHARS)
        changed += connection.execute(
            "UPDATE conversation_models SET model = ? WHERE model = ?", (new, old)
        ).rowcount
    return changed


def _forget(connection: sqlite3.Connection) -> None:
    """Programs that name each request a conversation of its own must not fill the disk."""
    (count,) = connection.execute("SELECT count(*) FROM conversation_models").fetchone()
    if count > limits.REMEMBERED_MODELS:
        connection.execute(
            "DELETE FROM conversation_models WHERE conversation_id IN (SELECT conversation_id"
            " FROM conversation_models WHERE conversation_id NOT IN (SELECT id FROM conversations)"
            " ORDER BY set_at LIMIT ?)",
            (count - limits.REMEMBERED_MODELS,),
        )
