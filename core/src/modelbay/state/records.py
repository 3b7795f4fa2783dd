"""What the store hands out and takes in, as frozen types."""

from typing import Generic, TypeVar

from pydantic import ConfigDict, Field

from modelbay.models.chat import Message, Role
from modelbay.models.events import Usage
from modelbay.models.frozen import Frozen, JsonObject
from modelbay.refs import ModelRef

T = TypeVar("T")


class Page(Frozen, Generic[T]):
    """Some of a longer list.

    Attributes:
        next: Pass it as ``cursor`` to go on; ``None`` at the end. A page may be short, or empty,
            and still have a next one.
    """

    items: tuple[T, ...]
    next: str | None = None


class Conversation(Frozen):
    """A conversation with history. Its model is read on its own, never from here (S2-23).

    Attributes:
        settings: Whatever the program that talks keeps with it: system prompt, sampling.
        messages: How many there are.
        created_at, updated_at: Seconds since 1970; updated by messages, title and settings.
    """

    id: str
    title: str = Field(default="", repr=False)
    settings: JsonObject = Field(default={}, repr=False)
    messages: int = 0
    created_at: float
    updated_at: float


class RememberedModel(Frozen):
    """A conversation and the model it remembers.

    Attributes:
        model: As it was set; ``None`` if it never was.
        title: Empty for one without history.
        used_at: Seconds since 1970: its last change, or without history when the model was set.
    """

    conversation_id: str
    model: str | None
    title: str = Field(default="", repr=False)
    used_at: float


class NewMessage(Frozen):
    """A message to keep.

    Attributes:
        ref: Which model wrote it.
        usage: What it cost.
    """

    message: Message = Field(repr=False)
    ref: ModelRef | None = None
    usage: Usage | None = None


class StoredMessage(NewMessage):
    """A message that is kept.

    Attributes:
        position: Its place in the conversation, from 1; it never changes.
        created_at: Seconds since 1970.
    """

    position: int
    created_at: float


class Found(Frozen):
    """A message that a search met.

    Attributes:
        excerpt: The text around the place, one line.
    """

    conversation_id: str
    title: str = Field(repr=False)
    position: int
    role: Role
    excerpt: str = Field(repr=False)
    created_at: float


class ConversationModel(Frozen):
    """The model of a conversation, as ``GET`` and ``PUT /conversations/{id}/model`` answer (S2-05).

    Attributes:
        model: As it was set; ``None`` if it never was or was cleared (S2-08).
        resolvable: Whether a turn would find a model now. ``None``: not known, since the provider
            in question does not answer, or knows more names than it lists.
        fallback: A ref to offer instead, where ``resolvable`` is not true.
    """

    model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)

    conversation_id: str = Field(
        validation_alias="conversationId", serialization_alias="conversationId"
    )
    model: str | None
    resolvable: bool | None
    fallback: str | None = None
