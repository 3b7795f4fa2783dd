"""What a simulated server counts, and the truth about each answer that no client is told."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal

from modelbay_ollama.simulator.answer import Json

Count = Literal[
    "loads", "reloads", "aborted_loads", "failed_loads", "unloads", "holding", "active_streams",
    "pulls_begun", "pulls_cancelled", "pulls_done", "listening", "cancelled_answers",
]  # fmt: skip


@dataclass(slots=True)
class AnswerRecord:
    """The truth about one chat or generate request that reached a model.

    Attributes:
        path: The route, such as "/api/chat".
        model: Display form of the installed name.
        window: The effective window of its runner, in tokens.
        full_tokens: The prompt as sent, with what template and Modelfile add.
        prompt_tokens: After truncation: what the model saw, and what `prompt_eval_count` says
            (except on 0.30.0, which leaves out what was cached).
        cached_tokens: How many of them the runner still had from the request before.
        dropped_messages: Messages left out of the prompt, oldest first.
        bytes_per_token: The ratio this conversation has drawn.
        think: What `think` came to: off, on, or a level.
        seen_tools: The tools as the model saw them, after the server's own reduction.
        loaded: This request began a load.
        outcome: How it ended; "" while it runs.
    """

    path: str
    model: str
    window: int
    full_tokens: int
    prompt_tokens: int
    cached_tokens: int
    dropped_messages: int
    bytes_per_token: float
    think: bool | str
    seen_tools: Sequence[Json]
    options: Json
    loaded: bool
    eval_tokens: int = 0
    outcome: Literal["", "done", "error", "silent", "cancelled"] = ""

    @property
    def truncated(self) -> bool:
        """Whether the model saw less than was sent."""
        return self.prompt_tokens < self.full_tokens


@dataclass
class Tally:
    """Counts by what and by model's display name. Every change wakes who waits on the simulator."""

    changing: Callable[[], AbstractContextManager[None]]
    counts: Counter[tuple[Count, str]] = field(default_factory=Counter)
    answers: list[AnswerRecord] = field(default_factory=list)

    def add(self, what: Count, model: str = "", by: int = 1) -> None:
        with self.changing():
            self.counts[what, model] += by

    def begin(self, record: AnswerRecord) -> AnswerRecord:
        with self.changing():
            self.answers.append(record)
        return record

    def by_model(self, what: Count) -> dict[str, int]:
        """Counts of every model that has one."""
        with self.changing():
            return {name: n for (kind, name), n in self.counts.items() if kind == what and n}

    def total(self, what: Count) -> int:
        return sum(self.by_model(what).values())
