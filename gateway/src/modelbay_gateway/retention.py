"""How long a model stays in memory after an answer: management, since others use it too.

A request may say so on any surface, as what goes to the provider unchanged: beside its options or
among them, and in capitals too, since servers written in Go read the names of fields without regard
to case. Even a short time frees the model for everybody, and a long one holds memory that others
need.
"""

from typing import TypeVar

from modelbay.models.chat import ChatRequest
from modelbay.models.events import Notice
from modelbay.models.frozen import JsonObject
from modelbay.models.media import CompleteRequest, EmbedRequest, ImageRequest, RerankRequest
from modelbay_gateway.call import Caller

R = TypeVar("R", ChatRequest, CompleteRequest, EmbedRequest, ImageRequest, RerankRequest)

FIELD = "keep_alive"
OPTIONS = "options"


def allowed(caller: Caller, request: R) -> tuple[R, tuple[Notice, ...]]:
    """The request as this caller may send it, and what was left out of it."""
    extra, notices = allowed_fields(caller, request.extra)
    return (request.model_copy(update={"extra": extra}), notices) if notices else (request, ())


def allowed_fields(caller: Caller, fields: JsonObject) -> tuple[JsonObject, tuple[Notice, ...]]:
    """The same for fields alone, and the ``options`` among them."""
    if "manage" in caller.scopes:
        return fields, ()
    kept = {
        name: _without(value) if isinstance(value, dict) and name.casefold() == OPTIONS else value
        for name, value in _without(fields).items()
    }
    if kept == fields:
        return fields, ()
    why = "how long a model stays loaded needs a key that is good for 'manage'"
    return kept, (Notice("dropped_field", f"{FIELD} was left out: {why}"),)


def _without(fields: JsonObject) -> JsonObject:
    return {name: value for name, value in fields.items() if name.casefold() != FIELD}
