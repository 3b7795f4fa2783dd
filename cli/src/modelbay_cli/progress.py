"""How far a pull or a load is: a bar on a terminal, else a line now and then."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from modelbay.models.manage import Progress
from modelbay_cli import figures
from modelbay_cli.output import Screen

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_EVERY_S = 1.0
_EVERY_FRACTION = 0.1


class Display(Protocol):
    def show(self, progress: Progress) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def display(screen: Screen, clock: Callable[[], float] = time.monotonic) -> Display:
    return Bar(screen) if screen.is_live else Lines(screen, clock)


class Lines:
    """A line at once, then one for each second or each tenth, whichever comes first."""

    def __init__(self, screen: Screen, clock: Callable[[], float] = time.monotonic) -> None:
        self._screen = screen
        self._clock = clock
        self._last_s: float | None = None
        self._last_fraction = 0.0

    def show(self, progress: Progress) -> None:
        now = self._clock()
        fraction = progress.fraction if progress.fraction is not None else self._last_fraction
        if self._last_s is not None:
            soon = now - self._last_s < _EVERY_S
            # A hair less than a tenth: 0.3 - 0.2 is not 0.1 to a computer.
            if soon and fraction - self._last_fraction < _EVERY_FRACTION - 1e-9:
                return
        self._last_s, self._last_fraction = now, fraction
        self._screen.line(described(progress))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


class Bar:
    """A bar that is redrawn, with speed and time left where bytes are counted."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._progress: RichProgress | None = None
        self._task: TaskID | None = None
        self._in_bytes = False

    def show(self, progress: Progress) -> None:
        text = self._screen.clean(progress.status).replace("\n", " ")
        in_bytes = progress.total_bytes is not None
        if self._progress is None or (in_bytes and not self._in_bytes):
            self._begin(in_bytes)
        assert self._progress is not None  # begun above
        assert self._task is not None
        if self._in_bytes:
            total, done = progress.total_bytes, progress.done_bytes
        else:
            total = None if progress.fraction is None else 100
            done = None if progress.fraction is None else round(progress.fraction * 100)
        self._progress.update(self._task, description=text, total=total, completed=done)

    def _begin(self, in_bytes: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            ProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as RichProgress

        self._end()
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}", markup=False),  # a server's words, not ours
            BarColumn(),
        ]
        percent = TextColumn("{task.percentage:>3.0f} %")
        if in_bytes:
            columns += [percent, DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()]
        else:
            columns += [percent, TimeElapsedColumn()]
        console = Console(file=self._screen.stream, no_color=not self._screen.has_color)
        self._progress = RichProgress(*columns, console=console, transient=True)
        self._in_bytes = in_bytes
        self._progress.start()
        self._task = self._progress.add_task("", total=None)

    def _end(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()


def described(progress: Progress) -> str:
    """``pulling 40 % (1.2 GB of 3.0 GB)``."""
    text = progress.status.replace("\n", " ")
    if progress.fraction is not None:
        text += f" {figures.percent(progress.fraction)}"
    if progress.done_bytes is not None and progress.total_bytes is not None:
        text += f" ({figures.size(progress.done_bytes)} of {figures.size(progress.total_bytes)})"
    return text
