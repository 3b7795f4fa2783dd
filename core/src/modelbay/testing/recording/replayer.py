"""A server that answers what another one answered when it was recorded."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from modelbay.testing.recording.comparison import differences
from modelbay.testing.recording.form import RecordedExchange
from modelbay.testing.simulator import ClientGone, Exchange, Request, Simulator

NOT_RECORDED = "not_recorded"
_SHOWN = 5  # differences in one message


@dataclass(frozen=True, slots=True)
class Miss:
    """A request that nothing was recorded for.

    Attributes:
        nearest: The exchange whose request differs least.
        differs: Where: see `differences`.
    """

    request: Request
    nearest: RecordedExchange
    differs: tuple[str, ...]

    def __str__(self) -> str:
        shown = ", ".join(self.differs[:_SHOWN])
        more = len(self.differs) - _SHOWN
        rest = f", and {more} more" if more > 0 else ""
        return (
            f"{self.request.method} {self.request.raw_path} was not recorded;"
            f" the nearest is exchange {self.nearest.number}, and these differ: {shown}{rest}"
        )


class Replayer(Simulator):
    """Serves recorded exchanges of one provider.

    A request is told by method, path, query and body; JSON counts by its value, and a blot stands
    for anything. What was asked several times is answered in the order of the recording, and after
    that with the last answer. What did not end well when it was recorded breaks off at the same
    byte. Anything else is a 501 that says what differs from the nearest.

    Args:
        exchanges: At least one.
        port: 0 for any free one.
        paced: Wait as long between two pieces as the server did, where the times were recorded.

    Attributes:
        misses: Requests that nothing was recorded for.
    """

    def __init__(
        self, exchanges: Sequence[RecordedExchange], *, port: int = 0, paced: bool = False
    ) -> None:
        if not exchanges:
            raise ValueError("there is no exchange to replay")
        super().__init__(port=port, max_requests=None)
        self._left = list(exchanges)
        self._used: list[RecordedExchange] = []
        self._paced = paced
        self.misses: list[Miss] = []

    async def admit(self, exchange: Exchange) -> bool:
        """Answers every request itself."""
        found = self._take(exchange.request)
        if isinstance(found, RecordedExchange):
            await self._play(exchange, found)
        else:
            self.misses.append(found)
            await _refuse(exchange, str(found))
        return False

    @property
    def served(self) -> list[int]:
        """The numbers of the exchanges that were asked for, in that order."""
        return [recorded.number for recorded in self._used]

    def _take(self, request: Request) -> RecordedExchange | Miss:
        for recorded in self._left:
            if not differences(recorded.request, request):
                self._left.remove(recorded)
                self._used.append(recorded)
                return recorded
        for recorded in reversed(self._used):
            if not differences(recorded.request, request):
                return recorded
        near = min((*self._left, *self._used), key=lambda each: _distance(each, request))
        return Miss(request, near, tuple(differences(near.request, request)))

    async def _play(self, exchange: Exchange, recorded: RecordedExchange) -> None:
        answer = recorded.answer
        if answer is None:
            exchange.abort()
            raise ClientGone
        if answer.omitted is not None:
            await _refuse(exchange, f"the answer was not recorded: {answer.omitted}")
            return
        whole = recorded.end == "complete"
        kind = next((value for name, value in answer.fields if name == "content-type"), None)
        await exchange.start_stream(
            kind,
            status=answer.status,
            headers=[field for field in answer.fields if field[0] != "content-type"],
            # One piece was no stream. What is cut must not look whole.
            length=len(answer.body) if whole and len(answer.pieces) < 2 else None,
        )
        at_s = 0.0
        for piece in answer.pieces:
            if self._paced and piece.at_s is not None:
                await exchange.sleep(piece.at_s - at_s)
                at_s = piece.at_s
            await exchange.raw(piece.data)
            await asyncio.sleep(0)
        if whole:
            await exchange.end()
        else:
            exchange.abort()
            raise ClientGone


async def _refuse(exchange: Exchange, message: str) -> None:
    error = {"message": message, "type": NOT_RECORDED, "code": NOT_RECORDED}
    await exchange.json({"error": error}, 501)


def _distance(recorded: RecordedExchange, request: Request) -> tuple[bool, bool, int]:
    """Another path is farther than another method, and that than any number of other fields."""
    found = differences(recorded.request, request)
    return (
        any(where.startswith("path") for where in found),
        any(where.startswith("method") for where in found),
        len(found),
    )
