"""Counts what goes through a gateway: its answers, and what it asks of providers."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from typing import Literal, TypeAlias

from modelbay.errors import ModelbayError
from modelbay.models.events import (
    Finish,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)

Task: TypeAlias = Literal["chat", "complete", "embed", "rerank", "generate_image"]

# Seconds; from a model in memory on this machine to one that is loaded first.
BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

_ANSWER = frozenset((TextDelta, RefusalDelta, ReasoningDelta, ToolCallDelta, ToolCall))


class Histogram:
    """How often a value was at most each of `BOUNDS_S`."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(BOUNDS_S, value)] += 1
        self.total += value


class Meter:
    """Numbers since the gateway was started. Every label is of a small, closed set.

    Attributes:
        answers: By surface and status.
        asked: By provider, task and outcome: ``ok``, ``cancelled`` or an error's code.
        running: Requests a provider works on, by provider and task.
        tokens: By provider and direction.
        first_token: Seconds from asking a provider to the first of its answer.

    Args:
        clock: Seconds, only forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.answers: Counter[tuple[str, int]] = Counter()
        self.asked: Counter[tuple[str, Task, str]] = Counter()
        self.running: Counter[tuple[str, Task]] = Counter()
        self.tokens: Counter[tuple[str, Literal["input", "output"]]] = Counter()
        self.first_token: dict[str, Histogram] = {}

    def began_to_answer(self, provider: str, after_s: float) -> None:
        found = self.first_token.get(provider)
        if found is None:
            found = self.first_token[provider] = Histogram()
        found.add(after_s)


class Question:
    """One question that a provider works on, and how it ends.

    Attributes:
        outcome: ``ok``, ``cancelled`` or an error's code.
        usage: The tokens it took, where the provider counts them.
    """

    __slots__ = ("_began", "_is_answering", "_meter", "_provider", "_task", "outcome", "usage")

    def __init__(self, meter: Meter, provider: str, task: Task) -> None:
        self.outcome = "cancelled"
        self._meter = meter
        self._provider = provider
        self._task: Task = task
        self.usage: Usage | None = None
        self._is_answering = False
        self._began = meter.clock()
        meter.running[provider, task] += 1

    def saw(self, event: StreamEvent) -> None:
        """Note an event of its answer."""
        kind = type(event)
        if kind in _ANSWER:
            if not self._is_answering:
                self._is_answering = True
                self._meter.began_to_answer(self._provider, self._meter.clock() - self._began)
        elif type(event) is Usage:
            self.usage = event
        elif type(event) is Finish:
            self.outcome = "ok" if event.reason != "error" else "backend_error"

    def ended(self, error: BaseException | None = None) -> None:
        """Count it."""
        if isinstance(error, ModelbayError):
            self.outcome = error.code
        meter, provider, task = self._meter, self._provider, self._task
        meter.asked[provider, task, self.outcome] += 1
        meter.running[provider, task] -= 1
        if self.usage is not None:
            meter.tokens[provider, "input"] += self.usage.input_tokens
            meter.tokens[provider, "output"] += self.usage.output_tokens
