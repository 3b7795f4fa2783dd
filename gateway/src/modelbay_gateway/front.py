"""The door: ``/`` and ``/health``, open to everybody and quick."""

from collections.abc import Sequence
from importlib.metadata import version

import msgspec
from starlette.routing import BaseRoute, Route

from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call, Endpoint
from modelbay_gateway.openai.encode import refusal_headers, refuse
from modelbay_gateway.scopes import Scope
from modelbay_gateway.surface import Surface

VERSION = version("modelbay-gateway")
OPEN = frozenset(("/", "/health"))


def routes(bay: Bay) -> Sequence[BaseRoute]:
    """``/`` says what this is, ``/health`` that it lives; neither asks a provider."""

    async def front(call: Call) -> None:
        await call.reply(msgspec.json.encode({"name": "modelbay", "version": VERSION}))

    async def health(call: Call) -> None:
        await call.reply(msgspec.json.encode({"status": "ok", "version": VERSION}))

    return [
        Route("/", Endpoint(front), methods=["GET"]),
        Route("/health", Endpoint(health), methods=["GET"]),
    ]


def _needs(method: str, path: str) -> Scope | None:
    return None if path in OPEN else "chat"


SURFACE = Surface(
    name="front",
    prefixes=("/",),
    routes=routes,
    refuse=refuse,
    headers=refusal_headers,
    needs=_needs,
)
