"""What to send next after the server refused a request. Pure."""

import random

from modelbay.errors import (
    BackendBusyError,
    BackendError,
    ContextLengthError,
    InvalidRequestError,
)
from modelbay.models.events import Notice, Status, StreamEvent
from modelbay.models.frozen import JsonObject
from modelbay_ollama.thinking import simpler

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
DIED = "model runner has unexpectedly stopped"


class Attempts:
    """What to send next after a refusal that came before any of the answer.

    Attributes:
        body: Of the next try.
        asked: The server is asked not to cut the conversation.
        cut: It has refused because it would have to, and may do so now.
        news: What the caller should know of the next try.
        pause_s: Seconds to wait before it.
    """

    def __init__(self, body: JsonObject, *, asked: bool = False) -> None:
        self.body = body
        self.asked = asked
        self.cut = False
        self.news: list[StreamEvent] = []
        self.pause_s = 0.0
        self._busy = 0
        self._restarted = False

    def another(self, exc: BackendError, busy_tries: int) -> bool:
        """Whether there is something else to try."""
        self.news, self.pause_s = [], 0.0
        if isinstance(exc, BackendBusyError) and self._busy < busy_tries:
            self._busy += 1
            if self._busy == 1:
                self.news.append(Status("queued"))
            spread = random.uniform(0.5, 1.0)  # noqa: S311 - two clients must not come back at once
            pause_s = exc.retry_after_s or FIRST_PAUSE_S * 2**self._busy * spread
            self.pause_s = min(LONGEST_PAUSE_S, pause_s)
            return True
        if DIED in exc.message and not self._restarted:
            self._restarted = True  # the server starts another one with the next request
            return True
        if isinstance(exc, ContextLengthError) and self.asked and not self.cut:
            self.cut = True
            self.body = {**self.body, "truncate": True}
            return True
        if isinstance(exc, InvalidRequestError) and _is_about_thinking(exc):
            return self._think_simpler()
        return False

    def _think_simpler(self) -> bool:
        if "think" not in self.body:
            return False
        think = simpler(self.body["think"])
        self.body = {name: value for name, value in self.body.items() if name != "think"}
        if think is not None:
            self.body["think"] = think
        self.news.append(
            Notice("dropped_field", "reasoning_effort was left out: the server refused it")
        )
        return True


def _is_about_thinking(exc: BackendError) -> bool:
    return "does not support thinking" in exc.message or "think value" in exc.message
