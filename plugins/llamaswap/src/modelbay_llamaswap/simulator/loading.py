"""The loading text that a stream may begin with (``sendLoadingState``)."""

import asyncio
from collections.abc import Awaitable, Callable

from modelbay_llamaswap.simulator.clock import Clock
from modelbay_llamaswap.simulator.gojson import go_json

_BARS = "\u2501" * 5
_PIECE_CHARS = 5
_CHARS_PER_S = 75
_TICK_S = 0.75
_JOKES_APART_S = 7.0
_CLOSING_S = 1.0  # what is not typed by then is left out
REMARKS = (
    "Asking the weights to move closer together",
    "Reading a very long list of numbers, in order",
    "Somebody put the tokenizer on the top shelf",
    "Warming up the matrix, stand back",
)


class LoadingText:
    """Types the text into a stream until `close`.

    Since v218 it is typed in pieces of five characters; before, in whole lines, one a second.

    Args:
        write: Takes frames.
        position: The place in the queue, 0 when it waits no more.
        typed: Piece by piece.
    """

    def __init__(
        self,
        model_id: str,
        clock: Clock,
        write: Callable[[bytes], Awaitable[None]],
        position: Callable[[], int],
        *,
        typed: bool,
    ) -> None:
        self._model_id = model_id
        self._clock = clock
        self._write = write
        self._position = position
        self._typed = typed
        self._tick_s = _TICK_S if typed else 1.0
        self._began = clock.now()
        self._over = asyncio.Event()
        self._until: float | None = None
        self._shown = 0
        self._joke_at = 0.0
        self._jokes = 0

    def close(self) -> None:
        """The load has ended, one way or the other: the closing lines may be typed."""
        self._until = self._clock.now() + _CLOSING_S
        self._over.set()

    async def run(self) -> None:
        """Type all of it. Returns after the closing lines."""
        await self._line(_BARS)
        await self._line(f"llama-swap loading model: {self._model_id}")
        tick_at = self._clock.now()
        while not self._over.is_set():
            tick_at = max(tick_at + self._tick_s, self._clock.now())
            if await self._over_before(tick_at):
                break
            await self._tick()
        await self._break()
        await self._line(f"Done! ({self._clock.now() - self._began:.2f}s)")
        await self._line(_BARS)
        await self._line(" ")

    async def _over_before(self, moment: float) -> bool:
        over = asyncio.ensure_future(self._over.wait())
        tick = asyncio.ensure_future(self._clock.sleep(moment - self._clock.now()))
        try:
            await asyncio.wait([over, tick], return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            tick.cancel()
        return self._over.is_set()

    async def _tick(self) -> None:
        place = self._position()
        now = self._clock.now()
        if place and place != self._shown:
            self._shown = place
            await self._remark(f"Queue position: #{place}")
        elif not place and now >= self._joke_at:
            self._joke_at = now + _JOKES_APART_S
            remark = REMARKS[self._jokes % len(REMARKS)]
            self._jokes += 1
            await self._remark(remark)
        else:
            await self._frame(".")

    async def _remark(self, text: str) -> None:
        await self._break()
        await self._type(text)
        await self._frame(" ")

    async def _break(self) -> None:
        await self._frame("\n")

    async def _line(self, text: str) -> None:
        if not self._typed:
            await self._frame(f"{text}\n")
            return
        await self._type(text)
        await self._break()

    async def _type(self, text: str) -> None:
        """Only pieces that have a successor on their line are waited for."""
        size = _PIECE_CHARS if self._typed else len(text)
        for at in range(0, len(text), size):
            if at:
                await self._clock.sleep(_PIECE_CHARS / _CHARS_PER_S)
            await self._frame(text[at : at + size])

    async def _frame(self, text: str) -> None:
        if self._until is not None and self._clock.now() > self._until:
            return
        frame = go_json({"choices": [{"delta": {"reasoning_content": text}}]})
        await self._write(b"data: " + frame + b"\n\n")
