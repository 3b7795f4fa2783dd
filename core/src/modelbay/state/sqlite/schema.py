"""The tables, and how older files become newer ones."""

import sqlite3
from collections.abc import Sequence

from modelbay.errors import ConfigError

APPLICATION_ID = 0x6D646279  # marks the file as ours, so that another program's is left alone

# One script for each step; a file's `user_version` is the number of those it has seen. A step is
# never changed once it has been released. `body` stands last in its row, so that a search does not
# read through the images of every message.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE settings (
            name TEXT NOT NULL PRIMARY KEY,
            value TEXT NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE conversation_models (
            conversation_id TEXT NOT NULL PRIMARY KEY,
            model TEXT NOT NULL CHECK (model <> ''),
            set_at REAL NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX conversation_models_by_age ON conversation_models (set_at)",
        """CREATE TABLE conversations (
            id TEXT NOT NULL PRIMARY KEY,
            title TEXT NOT NULL,
            settings TEXT NOT NULL,
            messages INTEGER NOT NULL,
            last_position INTEGER NOT NULL,
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX conversations_by_age ON conversations (updated_at, id)",
        """CREATE TABLE messages (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
            position INTEGER NOT NULL,
            role TEXT NOT NULL,
            ref TEXT,
            usage TEXT,
            created_at REAL NOT NULL,
            searched TEXT NOT NULL,
            body TEXT NOT NULL,
            UNIQUE (conversation_id, position)
        )""",
    ),
)


def prepare(
    connection: sqlite3.Connection,
    where: str,
    migrations: Sequence[Sequence[str]] = MIGRATIONS,
) -> None:
    """Make the tables, or bring them up to date; all or nothing, and one process at a time.

    Raises:
        ConfigError: The file is another program's, or was written by a newer modelbay.
    """
    if look(connection, where, len(migrations)) == len(migrations):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        seen = version(connection, where, len(migrations))  # another process may have been faster
        for step in migrations[seen:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def look(connection: sqlite3.Connection, where: str, newest: int = len(MIGRATIONS)) -> int:
    """`version`, in a transaction of its own."""
    connection.execute("BEGIN")
    try:
        return version(connection, where, newest)
    finally:
        connection.execute("ROLLBACK")


def version(connection: sqlite3.Connection, where: str, newest: int = len(MIGRATIONS)) -> int:
    """How many steps the file has seen. Within a transaction: another process may just prepare it.

    Raises:
        ConfigError: More than we know, or the file is another program's.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    if mark == APPLICATION_ID:
        if found > newest:
            raise ConfigError(
                f"written by a newer modelbay (schema {found}; this one knows {newest})",
                where=where,
                hint="pip install --upgrade modelbay",
            )
        return int(found)
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if found or mark or tables:
        raise ConfigError(
            "a database of another program",
            where=where,
            hint="name another file for modelbay's state",
        )
    return 0
