"""One operation of the own surface: what its route does, needs, takes and answers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.scopes import Need

Method: TypeAlias = Literal["GET", "PUT", "POST", "DELETE"]
Form: TypeAlias = Literal["json", "events", "text"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of the query.

    Attributes:
        schema: Its JSON Schema.
    """

    name: str
    schema: dict[str, object]
    description: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """A method at a path. Routes, scopes and the OpenAPI document are made of these alone.

    Attributes:
        path: As Starlette writes it: ``/conversations/{id:path}/model``.
        scope: What a client's key must be good for; ``any`` asks for a key alone.
        summary: One sentence.
        takes: The type of the body; ``None`` for no body.
        gives: The type of the answer, or of each event.
        also: More fields that every variant of the body may have, as JSON Schema.
        form: ``events`` is a stream of server-sent events.
        statuses: What a refusal may be, beside what every request may get.
    """

    method: Method
    path: str
    answer: Callable[[Bay, Call], Awaitable[None]]
    scope: Need
    summary: str
    gives: Any
    takes: Any = None
    also: Mapping[str, dict[str, object]] = field(default_factory=dict)
    query: tuple[Parameter, ...] = ()
    form: Form = "json"
    statuses: tuple[int, ...] = ()
