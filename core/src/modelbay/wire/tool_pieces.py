"""The pieces of tool calls put together to calls."""

import secrets

import msgspec

from modelbay.errors import ProtocolError
from modelbay.models.events import Notice, ToolCall, ToolCallDelta
from modelbay.wire.openai_chunk import CallPiece, Function


class _OpenCall:
    __slots__ = ("arguments", "id", "index", "name")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []

    @property
    def whole(self) -> bool:
        return _is_object("".join(self.arguments))


class CallPieces:
    """The calls of one answer. Falsy as long as no piece has come.

    By the standard a piece has its call's number. Some servers send none, or the same for all
    calls: then a new id opens a new call.
    """

    __slots__ = ("_opened",)

    def __init__(self) -> None:
        self._opened: dict[int, list[_OpenCall]] = {}  # by the server's number

    def __bool__(self) -> bool:
        return bool(self._opened)

    def add(self, piece: CallPiece, position: int) -> ToolCallDelta:
        """Take in the next piece.

        Args:
            position: Its place in its chunk; stands in for a number.
        """
        function = piece.function or Function()
        arguments = function.arguments
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        call = self._call(piece, position, function.name, arguments)
        first_name = function.name if function.name and not call.name else None
        first_id = piece.id if piece.id and not call.id else None
        if first_name:
            call.name = first_name
        if first_id:
            call.id = first_id
        if arguments:
            call.arguments.append(arguments)
        return ToolCallDelta(call.index, arguments or "", first_id, first_name)

    def close(self, *, cut_off: bool) -> list[ToolCall | Notice]:
        """The whole calls, by number.

        Args:
            cut_off: The answer ended at its limit; a call that is not whole becomes a notice then.

        Raises:
            ProtocolError: A call has no name: nobody can make it.
        """
        events: list[ToolCall | Notice] = []
        if not self._opened:
            return events
        calls = [call for opened in self._opened.values() for call in opened]
        if any(call.name for call in calls):
            # Beside a call some send an empty piece of another one that never comes.
            calls = [call for call in calls if call.name or any(call.arguments)]
        for call in sorted(calls, key=lambda call: call.index):
            if cut_off and not (call.name and call.whole):
                events.append(
                    Notice(
                        "incomplete_tool_call",
                        f"the call of '{call.name}' was cut off by the output limit"
                        if call.name
                        else "a call was cut off by the output limit before its name came",
                    )
                )
                continue
            if not call.name:
                raise ProtocolError("the server sent a tool call without a name", stage="decode")
            # Results are found by the id, over all turns of a conversation.
            call_id = call.id or f"call_{secrets.token_hex(12)}"
            arguments = "".join(call.arguments) or "{}"
            events.append(ToolCall(call_id, call.name, arguments, call.index))
        return events

    def _call(
        self, piece: CallPiece, position: int, name: str | None, arguments: str | None
    ) -> _OpenCall:
        """The call a piece belongs to; a new one if it is none of those that are open."""
        number = position if piece.index is None else piece.index
        if piece.index is None and piece.id:
            for calls in self._opened.values():
                for call in calls:
                    if call.id == piece.id:
                        return call
        opened = self._opened.setdefault(number, [])
        if opened:
            last = opened[-1]
            same = next((call for call in opened if piece.id and call.id == piece.id), None)
            if same is not None:
                return same
            # Some servers make up an id for every piece; only the first one of a call has a name.
            if not name:
                return last
            without_id = not (piece.id and last.id)
            if without_id and (piece.index is not None or not (arguments and last.whole)):
                return last
        taken = {call.index for calls in self._opened.values() for call in calls}
        opened.append(_OpenCall(max(taken) + 1 if number in taken else number))
        return opened[-1]


def _is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError):
        return False
