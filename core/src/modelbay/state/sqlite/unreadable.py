"""A row that another program, or a damaged disk, has left in our file."""

import json

from pydantic import JsonValue


class UnreadableError(Exception):
    """What a row holds is nothing that this store writes.

    `modelbay.state.sqlite.database.Database` says in which file, and what to do.

    Args:
        what: What cannot be read, for people; never the value itself.
        fix: What to type. By default the file is put aside.
    """

    def __init__(self, what: str, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix


def json_of(what: str, text: object, fix: str | None = None) -> JsonValue:
    """The value of a column that holds JSON.

    Raises:
        UnreadableError: It holds something else.
    """
    if isinstance(text, str):
        try:
            value: JsonValue = json.loads(text)
        except (ValueError, RecursionError):
            pass
        else:
            return value
    raise UnreadableError(what, fix)
