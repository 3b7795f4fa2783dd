"""The routes of the own surface, made of its operations."""

from collections.abc import Iterator, Sequence

from starlette.routing import BaseRoute, Route, compile_path

from modelbay_gateway.bay import Bay
from modelbay_gateway.openai.encode import refusal_headers
from modelbay_gateway.own.envelope import refuse
from modelbay_gateway.own.openapi import DESCRIPTION, Described
from modelbay_gateway.own.operations import OPERATIONS
from modelbay_gateway.scopes import Need
from modelbay_gateway.surface import Surface

_ALL = (*OPERATIONS, DESCRIPTION)
_SCOPES = [(compile_path(each.path)[0], each.method, each.scope) for each in _ALL]


def routes(bay: Bay) -> Sequence[BaseRoute]:
    return [Route(each.path, Described(bay, each), methods=[each.method]) for each in _ALL]


def needs(method: str, path: str) -> Need:
    """The scope of the operation that will answer."""
    method = "GET" if method == "HEAD" else method
    found: Iterator[Need] = (
        scope for fits, made_for, scope in _SCOPES if made_for == method and fits.match(path)
    )
    return next(found, "chat")


SURFACE = Surface(
    name="own",
    prefixes=(
        "/api/models",
        "/api/providers",
        "/api/events",
        "/api/settings",
        "/api/key",
        "/conversations",
        "/metrics",
        "/openapi.json",
    ),
    routes=routes,
    refuse=refuse,
    headers=refusal_headers,
    needs=needs,
)
