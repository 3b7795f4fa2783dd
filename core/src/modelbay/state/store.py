"""What a state store answers."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from pydantic import JsonValue

from modelbay.models.frozen import JsonObject
from modelbay.refs import ModelRef
from modelbay.state.records import (
    Conversation,
    Found,
    NewMessage,
    Page,
    RememberedModel,
    StoredMessage,
)
from modelbay.state.rules import Turn


class StateStore(Protocol):
    """What is remembered between runs: favourites, settings, models of conversations, history.

    Nothing is opened before the first call. A call that changes something returns once that is
    safe; if it is cancelled or fails, the change was made whole or not at all. How much is held is
    said, with numbers, in `modelbay.state.limits`.

    Raises:
        InvalidRequestError: An argument cannot be stored: too long, too many, no text.
        ConfigError: The store is damaged, forbidden, or was written by a newer modelbay.
        BackendBusyError: Others kept it busy for too long.
        ModelbayError: It is closed, or its disk or server fails.
    """

    @property
    def where(self) -> str:
        """Where it is kept, for people; without secrets."""
        ...

    # --- favourites and settings -----------------------------------------------------------------

    async def favorites(self) -> tuple[str, ...]:
        """All as kept, in order, hidden ones too; `modelbay.state.favorites.view` shows them."""
        ...

    async def set_favorites(self, wanted: Sequence[ModelRef | str]) -> tuple[str, ...]:
        """The whole list anew; the result. Refs only, but bare ids that are there may stay.

        Also where the old list is damaged, so that it can be mended.
        """
        ...

    async def add_favorite(self, favorite: ModelRef | str) -> tuple[str, ...]:
        """One more at the end; the whole list. One that is there keeps its place."""
        ...

    async def remove_favorite(self, favorite: ModelRef | str) -> tuple[str, ...]:
        """One less; the whole list."""
        ...

    async def move_favorite(
        self, favorite: ModelRef | str, *, before: ModelRef | str | None = None
    ) -> tuple[str, ...]:
        """One to the place before another, or to the end; the whole list."""
        ...

    async def rewrite_favorites(self, rewrites: Mapping[str, str]) -> tuple[str, ...]:
        """Replace these texts, in place; the whole list. For `rules.normalisation` alone."""
        ...

    async def settings(self) -> dict[str, JsonValue]:
        """All settings by name, ``favorite_models`` (S0-48) among them."""
        ...

    async def set_setting(self, name: str, value: JsonValue) -> JsonValue:
        """Set any but ``favorite_models``; ``None`` removes it. The resulting value."""
        ...

    async def set_settings(self, values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Set all of these or none, ``favorite_models`` too; ``None`` removes one.

        Returns:
            All settings, as they are right after it.
        """
        ...

    # --- the model of a conversation -------------------------------------------------------------

    async def conversation_model(self, conversation_id: str) -> str | None:
        """As it was set; ``None`` if it never was (S2-08)."""
        ...

    async def set_conversation_model(self, conversation_id: str, model: str | None) -> str | None:
        """Set it, without asking whether there is such a model (S2-21); ``None`` and ``""`` clear.

        Returns:
            What it is now.
        """
        ...

    async def turn(
        self, conversation_id: str, requested: str | None = None, *, persist: bool = True
    ) -> Turn:
        """The model of a turn or a warm-up (S2-14 to S2-17); what a request names is remembered.

        Args:
            persist: ``False`` remembers nothing.
        """
        ...

    async def conversation_models(
        self, *, limit: int = 50, cursor: str | None = None
    ) -> Page[RememberedModel]:
        """Conversations with history, and those that remember a model alone; last used first."""
        ...

    async def models_in_use(self) -> dict[str, int]:
        """Every text that some conversation remembers as its model, and how many do."""
        ...

    async def rewrite_conversation_models(self, rewrites: Mapping[str, str]) -> int:
        """Replace these texts; how many conversations changed. Only when a person asks (S0-76)."""
        ...

    # --- history ---------------------------------------------------------------------------------

    async def create_conversation(
        self,
        conversation_id: str | None = None,
        *,
        title: str = "",
        settings: JsonObject | None = None,
    ) -> Conversation:
        """A new one, with a new id if none is given; one that is there stays as it is."""
        ...

    async def conversation(self, conversation_id: str) -> Conversation | None: ...

    async def conversations(
        self, *, limit: int = 50, cursor: str | None = None
    ) -> Page[Conversation]:
        """The last used first."""
        ...

    async def update_conversation(
        self,
        conversation_id: str,
        *,
        title: str | None = None,
        settings: JsonObject | None = None,
    ) -> Conversation | None:
        """Replace title or settings, whole; ``None`` leaves one. ``None`` if there is none."""
        ...

    async def delete_conversation(self, conversation_id: str) -> bool:
        """With its messages and its model; whether there was one, or a model alone."""
        ...

    async def append_messages(
        self, conversation_id: str, messages: Sequence[NewMessage]
    ) -> tuple[StoredMessage, ...]:
        """Messages at the end, all or none; makes the conversation if there is none."""
        ...

    async def messages(
        self, conversation_id: str, *, limit: int = 50, cursor: str | None = None
    ) -> Page[StoredMessage]:
        """The last ones, the oldest of them first; the next page holds older ones."""
        ...

    async def drop_messages(self, conversation_id: str, *, after: int) -> int:
        """Delete all behind this position; how many. Positions are not given out again."""
        ...

    async def search(
        self, query: str, *, limit: int = 50, cursor: str | None = None
    ) -> Page[Found]:
        """Messages whose text holds the query, capitals or not; the last written first."""
        ...

    # --- closing ---------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Finish what has been asked for, and close. Closing twice is harmless."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
