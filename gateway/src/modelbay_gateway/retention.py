"""How long a model stays in memory after an answer: management, since others use it too.

A request may say so on any surface, as what goes to the provider unchanged. Even a short time frees
the model for everybody, and a long one holds memory that others need.
"""

from typing import TypeVar

from modelbay.models.chat import ChatRequest
from modelbay.models.events import Notice
from modelbay.models.frozen import JsonObject
from modelbay.models.media import CompleteRequest, EmbedRequest, ImageRequest, RerankRequest
from modelbay_gateway.call import Caller

R = TypeVar("R", ChatRequest, CompleteRequest, EmbedRequest, ImageRequest, RerankRequest)

FIELD = "keep_alive"


def allowed(caller: Caller, request: R) -> tuple[R, tuple[Notice, ...]]:
    """The request as this caller may send it, and what was left out of it."""
    extra, notices = allowed_fields(caller, request.extra)
    return (request.model_copy(update={"extra": extra}), notices) if notices else (request, ())


def allowed_fields(caller: Caller, fields: JsonObject) -> tuple[JsonObject, tuple[Notice, ...]]:
    """The same for fields alone."""
    if FIELD not in fields or "manage" in caller.scopes:
        return fields, ()
    kept = {name: value for name, value in fields.items() if name != FIELD}
    why = "how long a model stays loaded needs a key that is good for 'manage'"
    return kept, (Notice("dropped_field", f"{FIELD} was left out: {why}"),)
