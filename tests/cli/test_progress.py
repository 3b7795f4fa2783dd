"""Mirrors modelbay_cli/progress.py and waiting.py."""

import asyncio
from io import StringIO

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
