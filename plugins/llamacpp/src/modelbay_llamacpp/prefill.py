"""A last message from the assistant is continued, and the server repeats it: take it off. Pure."""

from modelbay.models.chat import ChatRequest


def prefill_of(request: ChatRequest) -> str:
    """The text the server will repeat at the head of its answer; empty if it will not.

    With ``continue_final_message`` it streams only what is new.
    """
    if not request.messages or request.extra.get("continue_final_message"):
        return ""
    last = request.messages[-1]
    if last.role != "assistant" or last.tool_calls:
        return ""
    return last.text


class PrefillStripper:
    """Remove a prefix from a streamed text, wherever the text was cut.

    Text is held back only while it might still be the prefix; a server that does not repeat it
    (``--no-prefill-assistant``) loses nothing.

    Attributes:
        pending: It is not decided yet. Afterwards `feed` need not be called.
    """

    __slots__ = ("_held", "pending", "prefix")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.pending = bool(prefix)
        self._held = ""

    def feed(self, text: str) -> str:
        """What of the text so far is the answer's own; maybe nothing yet."""
        if not self.pending:
            return text
        self._held += text
        if self._held.startswith(self.prefix):
            self.pending = False
            return self._held[len(self.prefix) :]
        if self.prefix.startswith(self._held):
            return ""
        self.pending = False
        return self._held

    def close(self) -> str:
        """What was held back when the text ended: it stayed shorter than the prefix."""
        self.pending = False
        return self._held
