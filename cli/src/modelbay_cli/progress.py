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
_WHOLE = 1000.0  # the bar's own units


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
    """A bar that is redrawn, with speed and time left where bytes are counted.

    Bar and percent follow the fraction, which never runs backwards. The bytes stand beside it as
    text: their total grows when a server learns of another file, and done by total would fall.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._progress: RichProgress | None = None
        self._task: TaskID | None = None
        self._bytes: TaskID | None = None
        self._fraction: float | None = None

    def show(self, progress: Progress) -> None:
        text = self._screen.clean(progress.status).replace("\n", " ")
        if self._progress is None or (progress.total_bytes is not None and self._bytes is None):
            self._begin(in_bytes=progress.total_bytes is not None)
        assert self._progress is not None  # begun above
        assert self._task is not None
        self._advance(progress)
        done = None if self._fraction is None else self._fraction * _WHOLE
        total = None if self._fraction is None else _WHOLE
        self._progress.update(
            self._task, description=text, total=total, completed=done, size=self._size(progress)
        )

    def _advance(self, progress: Progress) -> None:
        fraction = progress.fraction
        if fraction is None and progress.total_bytes and progress.done_bytes is not None:
            fraction = progress.done_bytes / progress.total_bytes
        if fraction is not None:
            self._fraction = max(self._fraction or 0.0, min(1.0, fraction))

    def _size(self, progress: Progress) -> str:
        """``1.2/3.0 GB 20 MB/s``; empty where no bytes are counted."""
        if self._progress is None or self._bytes is None or progress.done_bytes is None:
            return ""
        self._progress.update(self._bytes, completed=progress.done_bytes)
        speed = self._progress.tasks[self._progress.task_ids.index(self._bytes)].speed
        text = figures.size(progress.done_bytes)
        if progress.total_bytes is not None:
            total = figures.size(progress.total_bytes)
            number, _, unit = text.partition(" ")
            text = f"{number if total.endswith(f' {unit}') else text}/{total}"
        return text if not speed else f"{text} {figures.size(round(speed))}/s"

    def _begin(self, *, in_bytes: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            ProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        self._end()
        columns: list[ProgressColumn] = [
            TextColumn("{task.description}", markup=False),  # a server's words, not ours
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
        ]
        if in_bytes:
            columns += [TextColumn("{task.fields[size]}", markup=False), TimeRemainingColumn()]
        else:
            columns += [TimeElapsedColumn()]
        console = Console(file=self._screen.stream, no_color=not self._screen.has_color)
        self._progress = RichProgress(*columns, console=console, transient=True)
        self._progress.start()
        self._task = self._progress.add_task("", total=None, size="")
        # Counts bytes for their speed, and is not shown.
        self._bytes = (
            self._progress.add_task("", total=None, visible=False, size="") if in_bytes else None
        )

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
