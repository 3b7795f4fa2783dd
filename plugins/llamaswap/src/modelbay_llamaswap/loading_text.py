"""The text llama-swap types into a stream while a model loads (``sendLoadingState``). Pure.

It comes dressed as the model's reasoning and is none: it must reach neither the answer nor the
history, and it says "Done!" also when the load failed (traps 4 and 5).
"""

import re

import msgspec

from modelbay.models.events import Status, StatusState

_BARS = "━━━━━"
_OPENING = b'{"choices":[{"delta":{"reasoning_content":'
_FAILED = "Unable to swap model err:"  # up to v217; later the error is a bare line of JSON
_DONE = re.compile(r"Done! \(\d+\.\d+s\)")
_CLOSING = f"\n{_BARS}\n \n"  # all that follows "Done!"; the end of it may be cut off


class LoadingText:
    """Tells the frames of the loading text from a model's own, and makes `Status` events of them.

    The text is believed to be one only between its opening and its closing bars: a server that
    writes bare frames of reasoning, without ``id`` and ``object``, thinks aloud.

    Attributes:
        over: A frame of the model's own has come; none of the loading text comes after it.
        failure: What a server up to v217 said of a load that failed; it may come after "Done!".
    """

    __slots__ = ("_closing", "_line", "_shown", "_state", "failure", "over")

    def __init__(self) -> None:
        self.over = False
        self.failure = ""
        self._line: str | None = None  # before the opening bars there is none
        self._closing: str | None = None  # what may still come, once "Done!" was said
        self._shown = ""
        self._state: StatusState = "loading"

    def read(self, data: bytes) -> list[Status] | None:
        """The events of one frame; ``None``, now and ever after, if it is the model's own.

        The mark: nothing beside the choice (no ``id``, no ``object``), and in it nothing but
        reasoning. An ``id`` alone is no mark, since some servers leave it out of a late frame.
        """
        text = None if self.over else _text(data)
        if text is None or not self._continues(text):
            self.over = True
            return None
        # Up to v217 whole lines came, later pieces of five characters. A line is told when it
        # ends, and a line that goes on with dots at the blank before them.
        parts = text.split("\n")
        lines = [(self._line or "") + parts[0], *parts[1:]]
        line = self._line = lines.pop()
        if (text == " " and line.strip()) or _FAILED in line:
            lines.append(line)
        return [status for line in lines if (status := self._told(line)) is not None]

    def _continues(self, text: str) -> bool:
        """Whether the loading text can go on like this."""
        if self._line is None:
            return text.removesuffix("\n") == _BARS
        if _FAILED in text:
            return True
        rest = text
        if self._closing is None:
            done = _DONE.search(self._line + text)
            if done is None:
                return True
            self._closing = _CLOSING
            rest = (self._line + text)[done.end() :]
        if not self._closing.startswith(rest):
            return False
        self._closing = self._closing[len(rest) :]
        return True

    def _told(self, line: str) -> Status | None:
        line = line.strip().rstrip(".").strip()
        if _FAILED in line:
            self.failure = line.partition(_FAILED)[2].strip() or line
            return None
        if not line or line == _BARS or line.startswith("Done!") or line == self._shown:
            return None
        self._shown = line
        if line.startswith("Queue position:"):
            self._state = "queued"
        elif self._state == "queued":
            self._state = "loading"
        return Status(self._state, message=line)


def _text(data: bytes) -> str | None:
    """What a frame of the loading text says; ``None`` if it is no such frame."""
    if not data.startswith(_OPENING):
        return None
    try:
        frame = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    match frame:
        case {"choices": [{"delta": {"reasoning_content": str(text), **others}, **more}], **rest}:
            return None if others or more or rest else text
        case _:
            return None
