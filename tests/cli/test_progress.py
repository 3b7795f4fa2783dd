"""Mirrors modelbay_cli/progress.py and waiting.py."""

import asyncio
import re
from collections.abc import Sequence
from io import StringIO

import pytest

from modelbay.models.manage import Progress
from modelbay_cli.output import Screen
from modelbay_cli.progress import Bar, Lines, display
from modelbay_cli.waiting import WaitingLine


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_pipe_gets_a_line_for_every_tenth_at_most() -> None:
    stream = StringIO()
    with Lines(Screen.of(stream, {}), Clock()) as lines:
        for step in range(101):
            lines.show(Progress(status="pulling", fraction=step / 100))
    assert stream.getvalue().splitlines() == [f"pulling {n} %" for n in range(0, 101, 10)]


def test_a_pipe_gets_a_line_for_every_second_at_most() -> None:
    stream, clock = StringIO(), Clock()
    with Lines(Screen.of(stream, {}), clock) as lines:
        for _ in range(31):
            lines.show(Progress(status="checking"))
            clock.now += 0.125
    assert stream.getvalue().splitlines() == ["checking"] * 4


def test_bytes_are_told_with_the_whole() -> None:
    stream = StringIO()
    progress = Progress(
        status="pulling", fraction=0.4, done_bytes=1_200_000_000, total_bytes=3_000_000_000
    )
    Lines(Screen.of(stream, {}), Clock()).show(progress)
    assert stream.getvalue() == "pulling 40 % (1.2 GB of 3.0 GB)\n"


def test_a_terminal_gets_a_bar_and_keeps_nothing_of_it() -> None:
    stream = Terminal()
    screen = Screen.of(stream, {})
    assert isinstance(display(screen), Bar)
    with display(screen) as bar:
        bar.show(Progress(status="a \x1b]0;owned\x07[red]layer"))
        bar.show(Progress(status="pulling", fraction=0.5, done_bytes=5, total_bytes=10))
        bar.show(Progress(status="verifying", fraction=1.0))
    written = stream.getvalue()
    assert "a ]0;owned[red]layer" in written
    assert written.endswith("\x1b[2K")


def percentages(steps: Sequence[Progress]) -> list[str]:
    """The percent on the screen after each step."""
    stream = Terminal()
    found = []
    with Bar(Screen.of(stream, {"NO_COLOR": "1"})) as bar:
        for step in steps:
            bar.show(step)
            assert bar._progress is not None
            stream.truncate(0)
            bar._progress.refresh()
            found.append(re.findall(r"([0-9]+) %", stream.getvalue())[-1])
    return found


def test_the_bar_follows_the_fraction_when_the_whole_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """S4-85: the second file's bytes come to light when the first one is done."""
    monkeypatch.setenv("COLUMNS", "120")
    steps = [
        Progress(status="pulling manifest"),
        Progress(status="a", fraction=0.1, done_bytes=100, total_bytes=1000),
        Progress(status="a", fraction=0.99, done_bytes=1000, total_bytes=1000),
        Progress(status="b", fraction=0.99, done_bytes=1000, total_bytes=2000),
        Progress(status="b", fraction=0.99, done_bytes=1500, total_bytes=2000),
        Progress(status="verifying", done_bytes=1500, total_bytes=2000),
        Progress(status="success", fraction=1.0, done_bytes=2000, total_bytes=2000),
    ]

    assert percentages(steps) == ["0", "10", "99", "99", "99", "99", "100"]


def test_without_a_fraction_the_bytes_give_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    steps = [
        Progress(status="a", done_bytes=500, total_bytes=1000),
        Progress(status="a", done_bytes=500, total_bytes=2000),
        Progress(status="a", done_bytes=2000, total_bytes=2000),
    ]

    assert percentages(steps) == ["50", "50", "100"]


@pytest.mark.parametrize(
    ("done", "total", "told"),
    [
        (1_200_000_000, 3_000_000_000, "40 % 1.2/3.0 GB"),
        (980_000_000, 3_000_000_000, "40 % 980 MB/3.0 GB"),
        (500, 600, "40 % 500/600 B"),
        (500, None, "40 %"),
    ],
)
def test_the_bar_tells_the_bytes_beside_it(
    monkeypatch: pytest.MonkeyPatch, done: int, total: int | None, told: str
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    with Bar(Screen.of(stream, {"NO_COLOR": "1"})) as bar:
        bar.show(Progress(status="a", fraction=0.4, done_bytes=done, total_bytes=total))
    assert told in re.sub(r" +", " ", stream.getvalue())


def test_a_wait_is_told_with_its_time_and_wiped_away() -> None:
    stream, clock = Terminal(), Clock()

    async def wait() -> None:
        line = WaitingLine(Screen.of(stream, {"NO_COLOR": "1"}), "waiting", clock=clock)
        line.start()
        line.draw()
        assert stream.getvalue() == ""  # not for an answer that comes at once
        clock.now += 3
        line.draw()
        line.say("loading 40 %")
        line.stop()

    asyncio.run(wait())
    assert stream.getvalue() == (
        "\r\x1b[2Kwaiting · 3.0 s"
        "\r\x1b[2Kloading 40 % · 3.0 s"
        "\r\x1b[2K"
    )  # fmt: skip


def test_a_pipe_gets_no_line_that_is_rewritten() -> None:
    stream, clock = StringIO(), Clock()
    line = WaitingLine(Screen.of(stream, {}), "waiting", clock=clock)
    line.start()
    clock.now += 3
    line.say("loading")
    line.stop()
    assert stream.getvalue() == ""
