"""Conversations and their messages: list, make, name, delete, read, add."""

from pydantic import TypeAdapter

from modelbay.models.frozen import Frozen, JsonObject
from modelbay.state import limits
from modelbay.state.records import Conversation, NewMessage, Page, StoredMessage
from modelbay.state.store import StateStore
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.own.reading import Query, body_of, checked_id, conversation_id, store_of
from modelbay_gateway.refusal import Refused

PAGE = 50


class NewConversation(Frozen):
    """A conversation to begin.

    Attributes:
        id: Without one it gets a new one; one that is there stays as it is.
        settings: Whatever the program that talks keeps with it: system prompt, sampling.
    """

    id: str | None = None
    title: str = ""
    settings: JsonObject | None = None


class ConversationChange(Frozen):
    """What to replace, each whole; ``null`` leaves it as it is."""

    title: str | None = None
    settings: JsonObject | None = None


class NewMessages(Frozen):
    messages: tuple[NewMessage, ...]


class KeptMessages(Frozen):
    messages: tuple[StoredMessage, ...]


class Deleted(Frozen):
    """How many are gone."""

    deleted: int


_NEW = TypeAdapter(NewConversation)
_CHANGE = TypeAdapter(ConversationChange)
_MESSAGES = TypeAdapter(NewMessages)
CONVERSATIONS = TypeAdapter(Page[Conversation])
MESSAGES = TypeAdapter(Page[StoredMessage])


async def list_all(bay: Bay, call: Call) -> None:
    """A page of conversations, the last used first; with ``all`` those of a model alone too."""
    limit, cursor = _page(call)
    store = store_of(bay)
    if Query(call).flag("all"):
        found = await _all(store, limit, cursor)
    else:
        found = await store.conversations(limit=limit, cursor=cursor)
    await call.reply(CONVERSATIONS.dump_json(found))


async def _all(store: StateStore, limit: int, cursor: str | None) -> Page[Conversation]:
    """Those without history began when their model was set, as far as anybody knows."""
    page = await store.conversation_models(limit=limit, cursor=cursor)
    items = []
    for each in page.items:
        found = await store.conversation(each.conversation_id)
        if found is None and each.model is not None:
            began = each.used_at
            found = Conversation(id=each.conversation_id, created_at=began, updated_at=began)
        if found is not None:  # else deleted meanwhile
            items.append(found)
    return Page(items=tuple(items), next=page.next)


async def create(bay: Bay, call: Call) -> None:
    wanted = await body_of(call, _NEW)
    if wanted.id is not None:
        checked_id(wanted.id, "id")
    made = await store_of(bay).create_conversation(
        wanted.id, title=wanted.title, settings=wanted.settings
    )
    await call.reply(made.model_dump_json().encode())


async def read(bay: Bay, call: Call) -> None:
    """One conversation; its model is not part of it (S2-23)."""
    id = conversation_id(call)
    found = await store_of(bay).conversation(id)
    await call.reply(_there(found).model_dump_json().encode())


async def update(bay: Bay, call: Call) -> None:
    """Replace its title or its settings."""
    id = conversation_id(call)
    wanted = await body_of(call, _CHANGE)
    found = await store_of(bay).update_conversation(
        id, title=wanted.title, settings=wanted.settings
    )
    await call.reply(_there(found).model_dump_json().encode())


async def delete(bay: Bay, call: Call) -> None:
    """Delete it with its messages and its model; one of a model alone too."""
    id = conversation_id(call)
    if not await store_of(bay).delete_conversation(id):
        raise _nobody()
    await call.reply(Deleted(deleted=1).model_dump_json().encode())


async def read_messages(bay: Bay, call: Call) -> None:
    """A page of messages: the last ones, the oldest of them first."""
    id = conversation_id(call)
    limit, cursor = _page(call)
    store = store_of(bay)
    _there(await store.conversation(id))
    found = await store.messages(id, limit=limit, cursor=cursor)
    await call.reply(MESSAGES.dump_json(found))


async def add_messages(bay: Bay, call: Call) -> None:
    """Keep these at the end, all or none; makes the conversation if there is none."""
    id = conversation_id(call)
    wanted = await body_of(call, _MESSAGES)
    kept = await store_of(bay).append_messages(id, wanted.messages)
    await call.reply(KeptMessages(messages=kept).model_dump_json().encode())


async def drop_messages(bay: Bay, call: Call) -> None:
    """Delete all behind a position, so that a question can be asked anew."""
    id = conversation_id(call)
    after = Query(call).whole("after")
    if after is None:
        raise Refused(
            "missing_field",
            "'after' is missing: the position of the last message that stays",
            field="after",
            hint="?after=0 deletes all",
        )
    dropped = await store_of(bay).drop_messages(id, after=after)
    await call.reply(Deleted(deleted=dropped).model_dump_json().encode())


def _page(call: Call) -> tuple[int, str | None]:
    query = Query(call)
    limit = query.whole("limit")
    return (PAGE if limit is None else limits.page(limit)), query.text("cursor")


def _there(found: Conversation | None) -> Conversation:
    if found is None:
        raise _nobody()
    return found


def _nobody() -> Refused:
    return Refused("not_found", "there is no such conversation", field="id")
