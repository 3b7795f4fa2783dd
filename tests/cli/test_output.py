"""Mirrors modelbay_cli/output.py and figures.py."""

from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay_cli import figures
from modelbay_cli.output import Screen, Section, shown_url, table


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "env", "is_terminal", "has_color"),
    [
        (Terminal(), {}, True, True),
        (Terminal(), {"NO_COLOR": "1"}, True, False),
        (Terminal(), {"NO_COLOR": ""}, True, True),
        (Terminal(), {"TERM": "dumb"}, True, False),
        (StringIO(), {}, False, False),
        (StringIO(), {"FORCE_COLOR": "1"}, True, True),
        (StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
    ],
)
def test_the_environment_decides_about_colours(
    stream: StringIO, env: dict[str, str], is_terminal: bool, has_color: bool
) -> None:
    screen = Screen.of(stream, env)
    assert (screen.is_terminal, screen.has_color) == (is_terminal, has_color)


def test_lines_are_rewritten_only_on_a_real_terminal() -> None:
    assert Screen.of(Terminal(), {}).is_live
    assert not Screen.of(Terminal(), {"TERM": "dumb"}).is_live
    assert not Screen.of(StringIO(), {"FORCE_COLOR": "1"}).is_live


@given(st.text())
def test_nothing_drives_a_terminal(text: str) -> None:
    stream = Terminal()
    Screen.of(stream, {}).write(text)
    control = {chr(code) for code in (*range(32), *range(127, 160))} - {"\n", "\t"}
    assert control.isdisjoint(stream.getvalue())
    assert "".join(c for c in text if c not in control) == stream.getvalue()


@given(st.text())
def test_a_pipe_gets_every_character(text: str) -> None:
    stream = StringIO(newline="")
    Screen.of(stream, {}).write(text)
    assert stream.getvalue() == text


ROWS = [Section([["desk/one", "", "8k"], ["desk/a\tb", "loaded", "?"]], "Desk")]


def test_a_piped_table_is_aligned_and_has_no_empty_cell() -> None:
    stream = StringIO()
    table(Screen.of(stream, {}), ("MODEL", "STATE", "CONTEXT"), ROWS)
    assert stream.getvalue() == (
        "MODEL     STATE   CONTEXT\n"
        "desk/one  -       8k\n"
        "desk/a b  loaded  ?\n"
    )  # fmt: skip


def test_a_table_on_a_terminal_has_titles_and_spares_empty_columns() -> None:
    stream = Terminal()
    sections = [
        Section([["desk/one", "", "8k"], ["desk/大きい", "", "?"]], "Desk"),
        Section([], "Lab", ("lab", "down", "nothing answers\nthere")),
    ]
    table(Screen.of(stream, {"NO_COLOR": "1"}), ("MODEL", "STATE", "CONTEXT"), sections)
    assert stream.getvalue() == (
        "MODEL        CONTEXT\n"
        "Desk\n"
        "desk/one     8k\n"
        "desk/大きい  ?\n"
        "Lab\n"
        "down: nothing answers there\n"
    )  # fmt: skip


def test_a_problem_in_a_pipe_is_a_row_like_the_others() -> None:
    stream = StringIO()
    sections = [Section([], "Lab", ("lab", "down", "nothing answers"))]
    table(Screen.of(stream, {}), ("MODEL", "STATE", "CONTEXT", "NOTE"), sections)
    assert stream.getvalue().splitlines()[1].split(maxsplit=3) == [
        "lab",
        "down",
        "-",
        "nothing answers",
    ]


def test_a_long_cell_pushes_only_its_own_row_aside_on_a_terminal() -> None:
    stream = Terminal()
    rows = [Section([["x" * 100, "1"], ["y", "2"]])]
    table(Screen.of(stream, {"NO_COLOR": "1"}), ("A", "B"), rows)
    assert stream.getvalue().splitlines()[1:] == ["x" * 100 + "  1", "y".ljust(48) + "  2"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://sam:secret@desk:8080/v1?key=secret#secret", "http://desk:8080/v1"),
        ("https://[::1]:9/x", "https://[::1]:9/x"),
        ("http://desk:notaport", "(no valid address)"),
    ],
)
def test_an_address_is_shown_without_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "?"),
        (512, "512"),
        (8192, "8k"),
        (32_000, "32k"),
        (131_072, "128k"),
        (1_000_000, "1M"),
        (1_048_576, "1M"),
        (40_961, "41k"),
    ],
)
def test_tokens_as_people_say_them(count: int | None, text: str) -> None:
    assert figures.tokens(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "?"),
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (999_999, "1.0 MB"),
        (4_100_000_000, "4.1 GB"),
        (70_000_000_000, "70 GB"),
    ],
)
def test_sizes_are_decimal(count: int | None, text: str) -> None:
    assert figures.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (0.04, "40 ms"),
        (1.25, "1.2 s"),
        (90, "90 s"),
        (720, "12 min"),
        (10_800, "3 h"),
        (200_000, "2 d"),
    ],
)
def test_durations_have_a_unit_that_fits(seconds: float | None, text: str) -> None:
    assert figures.duration(seconds) == text
