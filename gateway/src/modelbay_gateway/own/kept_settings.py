"""The settings as somebody knows them, compared with those that are kept."""

from collections.abc import Awaitable, Callable

from pydantic import JsonValue

from modelbay.errors import ModelbayError
from modelbay.state.store import StateStore


class KeptSettings:
    """Notices what other programs write to the same store, such as ``modelbay fav``.

    Args:
        store: ``None`` keeps nothing, and so nothing ever changes.
    """

    def __init__(self, store: StateStore | None) -> None:
        self._store = store
        self._known: dict[str, JsonValue] | None = None

    async def look(self) -> bool:
        """Whether they are other ones than at the last look. What cannot be read is no change."""
        if self._store is None:
            return False
        try:
            found = await self._store.settings()
        except ModelbayError:
            return False  # whoever asks for the settings is told
        known, self._known = self._known, found
        return known is not None and found != known

    async def wait(self, pause: Callable[[], Awaitable[object]]) -> None:
        """Until they are other ones; looks after each pause."""
        while True:
            await pause()
            if await self.look():
                return
