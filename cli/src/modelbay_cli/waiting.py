"""One line on a terminal that says what is being waited for, and for how long."""

import asyncio
import time
from collections.abc import Callable

from modelbay_cli import figures
from modelbay_cli.output import Screen

_TICK_S = 0.2
_PATIENCE_S = 1.0  # an answer that comes at once needs no line
_ERASE = "\r\x1b[2K"


class WaitingLine:
    """Shown from `start` to `stop`, and only where lines can be rewritten."""

    def __init__(
        self, screen: Screen, text: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._screen = screen
        self._text = text
        self._clock = clock
        self._since = 0.0
        self._told = False
        self._shown = False
        self._ticker: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._since = self._clock()
        if self._screen.is_live:
            self._ticker = asyncio.get_running_loop().create_task(self._tick())

    def say(self, text: str) -> None:
        """Wait for something else; the time runs on."""
        self._text, self._told = text, True
        if self._ticker is not None:
            self.draw()

    def clear(self) -> None:
        """Make room for another line."""
        if self._shown:
            self._screen.write(_ERASE, raw=True)
            self._shown = False

    def stop(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            self._ticker = None
        self.clear()

    def draw(self) -> None:
        waited_s = self._clock() - self._since
        if not self._told and waited_s < _PATIENCE_S:
            return
        line = self._screen.clean(f"{self._text} · {figures.duration(waited_s)}").replace("\n", " ")
        self._screen.write(_ERASE + self._screen.styled(line, "dim"), raw=True)
        self._shown = True

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            self.draw()
