"""The operations of the own surface, all but the one that describes them."""

from modelbay.models.catalog import CatalogChange
from modelbay.models.manage import Action, ManageEvent
from modelbay.state import limits
from modelbay.state.records import Conversation, Page, StoredMessage
from modelbay_gateway.own import (
    access,
    catalog,
    conversation_model,
    conversations,
    feed,
    manage,
    metrics,
    settings,
)
from modelbay_gateway.own.operation import Operation, Parameter

_CONVERSATION = "/conversations/{id:path}"
_UPSTREAM = (402, 404, 429, 502, 503, 504)
_STORE = (503,)

_PAGE = (
    Parameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": 999_999_999, "default": conversations.PAGE},
        f"How many at most; more than {limits.PAGE} are never given.",
    ),
    Parameter("cursor", {"type": "string"}, "The `next` of the page before."),
)

# The first one that fits a path answers, so `model` and `messages` stand before the conversation.
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET",
        "/api/models",
        catalog.models,
        "any",
        "Every provider's models, grouped.",
        catalog.ModelCatalogResponse,
        query=(
            Parameter(
                "refresh",
                {"type": "string", "enum": ["", "0", "1", "false", "true"]},
                "1 looks at every provider first.",
            ),
        ),
    ),
    Operation(
        "GET",
        "/api/providers",
        catalog.providers,
        "any",
        "The providers, their health, and what they can be asked to do.",
        catalog.ProvidersResponse,
    ),
    Operation(
        "POST",
        "/api/providers/{id}/manage",
        manage.manage,
        "manage",
        "One management action: load, pull, delete and the rest.",
        ManageEvent | feed.FailureEvent,
        takes=Action,
        also={
            "confirm": {
                "type": "boolean",
                "default": False,
                "description": "What destroys something is done only with true.",
            }
        },
        form="events",
        statuses=_UPSTREAM,
    ),
    Operation(
        "GET",
        "/api/events",
        feed.events,
        "any",
        "What changes in the catalogue and the settings, for as long as somebody listens.",
        feed.Ready | CatalogChange | feed.SettingsChange | feed.FailureEvent,
        form="events",
        statuses=_STORE,
    ),
    Operation(
        "GET",
        "/api/key",
        access.key,
        "any",
        "What the key of this request is good for.",
        access.KeyResponse,
    ),
    Operation(
        "GET",
        "/api/settings",
        settings.read,
        "any",
        "All settings, favourites among them.",
        settings.Settings,
        statuses=_STORE,
    ),
    Operation(
        "PUT",
        "/api/settings",
        settings.write,
        "admin",
        "Set those that are named; null removes one.",
        settings.Settings,
        takes=settings.Settings,
        statuses=_STORE,
    ),
    Operation(
        "POST",
        "/api/settings/favorites",
        settings.change_favorite,
        "admin",
        "Add, remove or move one favourite.",
        settings.Settings,
        takes=settings.FavoriteChange,
        statuses=_STORE,
    ),
    Operation(
        "GET",
        "/conversations",
        conversations.list_all,
        "admin",
        "A page of conversations, the last used first.",
        Page[Conversation],
        query=(
            *_PAGE,
            Parameter(
                "all",
                {"type": "string", "enum": ["", "0", "1", "false", "true"]},
                "1 lists those too that have a model and no history.",
            ),
        ),
        statuses=_STORE,
    ),
    Operation(
        "POST",
        "/conversations",
        conversations.create,
        "admin",
        "Begin a conversation.",
        Conversation,
        takes=conversations.NewConversation,
        statuses=_STORE,
    ),
    Operation(
        "GET",
        f"{_CONVERSATION}/model",
        conversation_model.read,
        "chat",
        "The model a conversation remembers.",
        conversation_model.ModelResponse,
        statuses=_STORE,
    ),
    Operation(
        "PUT",
        f"{_CONVERSATION}/model",
        conversation_model.write,
        "chat",
        "Remember a model for a conversation, or clear it.",
        conversation_model.ModelResponse,
        takes=conversation_model.SetModelRequest,
        statuses=_STORE,
    ),
    Operation(
        "POST",
        f"{_CONVERSATION}/warm",
        conversation_model.warm,
        "chat",
        "Make the model of a conversation's next turn ready.",
        ManageEvent | feed.FailureEvent,
        takes=conversation_model.WarmRequest,
        form="events",
        statuses=_UPSTREAM,
    ),
    Operation(
        "GET",
        f"{_CONVERSATION}/messages",
        conversations.read_messages,
        "admin",
        "A page of messages: the last ones, the oldest of them first.",
        Page[StoredMessage],
        query=_PAGE,
        statuses=(404, *_STORE),
    ),
    Operation(
        "POST",
        f"{_CONVERSATION}/messages",
        conversations.add_messages,
        "admin",
        "Keep messages at the end, all or none.",
        conversations.KeptMessages,
        takes=conversations.NewMessages,
        statuses=_STORE,
    ),
    Operation(
        "DELETE",
        f"{_CONVERSATION}/messages",
        conversations.drop_messages,
        "admin",
        "Delete all messages behind a position.",
        conversations.Deleted,
        query=(
            Parameter(
                "after",
                {"type": "integer", "minimum": 0, "maximum": 999_999_999},
                "The position of the last message that stays.",
                required=True,
            ),
        ),
        statuses=_STORE,
    ),
    Operation(
        "GET",
        _CONVERSATION,
        conversations.read,
        "admin",
        "One conversation, without its messages.",
        Conversation,
        statuses=(404, *_STORE),
    ),
    Operation(
        "PUT",
        _CONVERSATION,
        conversations.update,
        "admin",
        "Replace a conversation's title or settings.",
        Conversation,
        takes=conversations.ConversationChange,
        statuses=(404, *_STORE),
    ),
    Operation(
        "DELETE",
        _CONVERSATION,
        conversations.delete,
        "admin",
        "Delete a conversation with its messages and its model.",
        conversations.Deleted,
        statuses=(404, *_STORE),
    ),
    Operation(
        "GET",
        "/metrics",
        metrics.metrics,
        "any",
        "Counts for Prometheus.",
        str,
        form="text",
    ),
)
