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


def busy_pause_s(count: int, retry_after_s: float | None) -> float:
    """Seconds to wait after the ``count``-th refusal of a busy server."""
    spread = random.uniform(0.5, 1.0)  # noqa: S311 - two clients must not come back at once
    return min(LONGEST_PAUSE_S, retry_after_s or FIRST_PAUSE_S * 2**count * spread)


class Attempts:
    """What to send next after a refusal that came before any of the answer.

    Args:
        think_name: What the caller calls the field that became ``think``.

    Attributes:
        body: Of the next try.
        asked: The server is asked not to cut the conversation.
        cut: It has refused because it would have to, and may do so now.
        news: What the caller should know of the next try.
        pause_s: Seconds to wait before it.
    """

    def __init__(
        self, body: JsonObject, *, asked: bool = False, think_name: str = "reasoning_effort"
    ) -> None:
        self.body = body
        self._think_name = think_name
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
            self.pause_s = busy_pause_s(self._busy, exc.retry_after_s)
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
        refused = self.body["think"]
        think = simpler(refused)
        self.body = {name: value for name, value in self.body.items() if name != "think"}
        told = f"{self._think_name} was left out: the server refused it"
        if think is not None:
            self.body["think"] = think
            told = f"the server refused the level '{refused}' of thinking; it is only switched on"
        self.news.append(Notice("dropped_field", told))
        return True


def _is_about_thinking(exc: BackendError) -> bool:
    return "does not support thinking" in exc.message or "think value" in exc.message
