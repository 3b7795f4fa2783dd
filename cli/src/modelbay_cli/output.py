"""How things are written: for a person at a terminal, or for the next program in the pipe."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self, TextIO, TypeAlias
from urllib.parse import urlsplit, urlunsplit

Style: TypeAlias = Literal["", "dim", "bold", "error", "warning", "good"]

_ANSI: dict[Style, str] = {"dim": "2", "bold": "1", "error": "1;31", "warning": "33", "good": "32"}
# All of C0 but \n and \t, DEL, and C1, whose 0x9B begins an escape sequence as well.
_CONTROL = {code: None for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
_IN_A_CELL = {code: " " for code in (*range(32), *range(127, 160))}

_LONGEST = 48
NOTHING = "-"  # an empty cell: a blank one would shift the columns for `awk`


@dataclass(frozen=True, slots=True)
class Screen:
    """Standard output or standard error.

    Attributes:
        is_terminal: A person reads it: laid out for eyes, and free of control characters, since
            an escape sequence in a model's answer must not drive the terminal.
        is_live: Lines may be rewritten.
    """

    stream: TextIO
    is_terminal: bool = False
    is_live: bool = False
    has_color: bool = False

    @classmethod
    def of(cls, stream: TextIO, env: Mapping[str, str]) -> Self:
        """``FORCE_COLOR`` makes a pipe a terminal, ``NO_COLOR`` takes the colours away."""
        isatty = stream.isatty()
        is_terminal = isatty or bool(env.get("FORCE_COLOR"))
        return cls(
            stream,
            is_terminal=is_terminal,
            is_live=isatty and env.get("TERM") != "dumb",
            has_color=is_terminal and not env.get("NO_COLOR") and env.get("TERM") != "dumb",
        )

    @classmethod
    def stdout(cls) -> Self:
        return cls.of(sys.stdout, os.environ)

    @classmethod
    def stderr(cls) -> Self:
        return cls.of(sys.stderr, os.environ)

    def clean(self, text: str) -> str:
        """The text without control characters on a terminal; as it is in a pipe."""
        return text.translate(_CONTROL) if self.is_terminal else text

    def styled(self, text: str, style: Style) -> str:
        if not (style and self.has_color and text):
            return text
        return f"\x1b[{_ANSI[style]}m{text}\x1b[0m"

    def write(self, text: str, style: Style = "", *, raw: bool = False) -> None:
        """Write now: a pipe's reader sees each piece as it comes.

        Args:
            raw: The text is clean already and may hold our own escape sequences.
        """
        self.stream.write(self.styled(text if raw else self.clean(text), style))
        self.stream.flush()

    def line(self, text: str = "", style: Style = "", *, raw: bool = False) -> None:
        # One write: a line of JSON must not come in two pieces.
        self.write(self.styled(text if raw else self.clean(text), style) + "\n", raw=True)

    def json(self, value: object) -> None:
        """One JSON document."""
        self.line(json.dumps(value, ensure_ascii=False, indent=2))


@dataclass(frozen=True, slots=True)
class Section:
    """Rows that belong together.

    Attributes:
        title: For people; a program finds what it needs in the rows.
        problem: Name, state, and what is the matter with the whole of it.
    """

    rows: Sequence[Sequence[str]]
    title: str = ""
    problem: tuple[str, str, str] | None = None


def table(screen: Screen, columns: Sequence[str], sections: Sequence[Section]) -> None:
    """Rows under column names, aligned; never cut and never folded, so that a ref can be copied.

    A terminal gets the sections' titles, and is spared the columns in which nothing stands; a
    program finds every column in every row.
    """
    if screen.is_terminal:
        _for_eyes(screen, columns, sections)
        return
    rows = [list(columns)]
    for section in sections:
        if section.problem is not None:
            name, state, reason = section.problem
            rows.append([name, state, *[NOTHING] * (len(columns) - 3), _cell(reason)])
        rows += [[_cell(cell) for cell in row] for row in section.rows]
    widths = [max(_width(row[index]) for row in rows) for index in range(len(columns))]
    for row in rows:
        screen.line(_aligned(row, widths))


def _for_eyes(screen: Screen, columns: Sequence[str], sections: Sequence[Section]) -> None:
    filled = [[[_cell(cell) for cell in row] for row in section.rows] for section in sections]
    rows = [row for part in filled for row in part]
    used = [i for i in range(len(columns)) if any(row[i] != NOTHING for row in rows)]
    widths = [max(_width(columns[i]), *(_width(row[i]) for row in rows)) for i in used]
    # A cell that is longer than most pushes its own row aside, not all the others.
    widths = [min(width, _LONGEST) for width in widths]
    if used:
        screen.line(_aligned([columns[i] for i in used], widths), style="dim")
    for section, part in zip(sections, filled, strict=True):
        if section.title:
            screen.line(_cell(section.title), style="bold")
        if section.problem is not None:
            name, state, reason = (_cell(word) for word in section.problem)
            start = "" if section.title else f"{name}  "
            screen.line(f"{start}{state}: {reason}", style="warning")
        for row in part:
            screen.line(_aligned(["" if row[i] == NOTHING else row[i] for i in used], widths))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of the same length as lines, without a header."""
    clean = [[cell.translate(_IN_A_CELL) for cell in row] for row in rows]
    widths = [max(_width(cell) for cell in column) for column in zip(*clean, strict=True)]
    return [_aligned(row, widths) for row in clean]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell + " " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True)
    )
    return "  ".join(padded).rstrip()


def _width(text: str) -> int:
    """Columns on the screen: a Chinese character takes two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _cell(text: str) -> str:
    """One line without control characters: a name with a tab in it must not become two cells."""
    return text.translate(_IN_A_CELL) or NOTHING


def shown_url(url: str) -> str:
    """An address as it may be shown: without a password or a query, which may hold a key."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port
    except ValueError:
        return "(no valid address)"
    if ":" in host:
        host = f"[{host}]"
    place = f"{host}:{port}" if port else host
    return urlunsplit((parts.scheme, place, parts.path, "", ""))
