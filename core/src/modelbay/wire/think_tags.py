"""Reasoning that a server left inside the text, between tags."""

from modelbay.models.events import ReasoningDelta, TextDelta


class ThinkTagSplitter:
    """Split ``<think>...</think>`` at the head of a streamed text into reasoning and answer.

    Only a tag before any other text counts: an answer that speaks about ``<think>`` stays as it
    is. A tag may come in any number of pieces; what might become one is held back.

    Args:
        inside: The template has opened the tag already, so the text begins as reasoning.
    """

    __slots__ = ("_close", "_held", "_open", "_state")

    def __init__(
        self, *, open_tag: str = "<think>", close_tag: str = "</think>", inside: bool = False
    ) -> None:
        self._open = open_tag
        self._close = close_tag
        self._held = ""
        self._state = "opened" if inside else "before"

    def feed(self, text: str) -> list[TextDelta | ReasoningDelta]:
        """The events this piece of text completes."""
        if self._state == "after":
            return [TextDelta(text)] if text else []
        self._held += text
        events: list[TextDelta | ReasoningDelta] = []
        if self._state == "before":
            head = self._held.lstrip()
            if self._open.startswith(head):  # also while only white space has come
                if head != self._open:
                    return []
            elif not head.startswith(self._open):
                self._state = "after"
                events.append(TextDelta(self._held))
                self._held = ""
                return events
            self._held = head[len(self._open) :]
            self._state = "opened"
        if self._state == "opened":
            self._held = self._held.lstrip("\n")
            if not self._held:
                return []
            self._state = "inside"
        if self._state == "inside":
            thought, tag, rest = self._held.partition(self._close)
            if tag:
                if thought := thought.rstrip("\n"):
                    events.append(ReasoningDelta(thought))
                self._state = "trim"
                self._held = rest
            else:
                keep = self._tail(self._held)
                if ready := self._held[: len(self._held) - keep]:
                    events.append(ReasoningDelta(ready))
                self._held = self._held[len(self._held) - keep :]
        if self._state == "trim":
            # The blank lines between thought and answer belong to neither.
            self._held = self._held.lstrip()
            if self._held:
                events.append(TextDelta(self._held))
                self._held, self._state = "", "after"
        return events

    def close(self) -> list[TextDelta | ReasoningDelta]:
        """What was held back when the text ended."""
        held, self._held = self._held, ""
        if not held:
            return []
        return [ReasoningDelta(held)] if self._state == "inside" else [TextDelta(held)]

    def _tail(self, text: str) -> int:
        """How many characters at the end must wait: newlines, and a possible closing tag."""
        for size in range(min(len(self._close) - 1, len(text)), 0, -1):
            if text.endswith(self._close[:size]):
                text = text[:-size]
                return size + len(text) - len(text.rstrip("\n"))
        return len(text) - len(text.rstrip("\n"))
