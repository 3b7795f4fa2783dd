"""The door: ``/`` and ``/health``, open to everybody and quick."""

from collections.abc import Sequence
from importlib.metadata import version

import msgspec
from starlette.routing import BaseRoute, Route

from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call, Endpoint
from modelbay_gateway.openai.encode import refusal_headers, refuse
from modelbay_gateway.page.surface import index, wants_page
from modelbay_gateway.scopes import Scope
from modelbay_gateway.surface import Surface

VERSION = version("modelbay-gateway")
OPEN = frozenset(("/", "/health"))


def routes(bay: Bay) -> Sequence[BaseRoute]:
    """``/`` is the page, or says what this is; ``/health`` that it lives. No provider is asked."""

    async def front(call: Call) -> None:
        if wants_page(call):
            await index(call)
            return
        about = msgspec.json.encode({"name": "modelbay", "version": VERSION})
        await call.reply(about, headers=((b"vary", b"Accept"),))

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
