"""Since when models are loading, as this gateway has seen it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from modelbay.models.catalog import ModelInfo, ModelState

UNSEEN_S = 60.0

_BUSY: frozenset[ModelState] = frozenset(("loading", "downloading"))


class LoadingTimes:
    """When each model that is loading, or being downloaded, was first seen to do so.

    No server tells it, so it counts from the first look that saw it: too little, never too much.
    For that somebody has to have looked all the time. After `UNSEEN_S` in which nobody did, it may
    have been unloaded and be loading once more, and counting begins anew.

    Args:
        clock: Seconds, only forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}
        self._followers = 0
        self._seen_at = clock()

    def look(self, models: Iterable[ModelInfo]) -> dict[str, float]:
        """Seconds that each of them has been loading, by ref; call it with all there are."""
        now = self._now()
        busy = [model.id for model in models if model.state in _BUSY]
        self._since = {ref: self._since.get(ref, now) for ref in busy}
        return {ref: now - since for ref, since in self._since.items()}

    def hear(self, ref: str, state: ModelState | None) -> None:
        """A model has changed, and this is its state now; ``None`` if there is no such model."""
        if state in _BUSY:
            self._since.setdefault(ref, self._clock())
        else:
            self._since.pop(ref, None)

    @contextmanager
    def followed(self) -> Iterator[None]:
        """In this block every change is heard."""
        self._now()
        self._followers += 1
        try:
            yield
        finally:
            self._now()
            self._followers -= 1

    def _now(self) -> float:
        now = self._clock()
        if not self._followers and now - self._seen_at > UNSEEN_S:
            self._since.clear()
        self._seen_at = now
        return now
