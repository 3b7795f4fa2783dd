"""The ASGI application: the surfaces' routes behind the guard, and every failure in their words."""

import logging
import re
import uuid
from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.routing import Match, Route, Router
from starlette.types import Message, Receive, Scope, Send

from modelbay.errors import ModelbayError
from modelbay_gateway import front
from modelbay_gateway.answer import Failed
from modelbay_gateway.anthropic.surface import SURFACE as ANTHROPIC
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import NO_CONTENT, Call, Caller, Gone
from modelbay_gateway.ollama.surface import SURFACE as OLLAMA
from modelbay_gateway.openai.surface import SURFACE as OPENAI
from modelbay_gateway.own.metering import metered
from modelbay_gateway.own.surface import SURFACE as OWN
from modelbay_gateway.page.surface import SURFACE as PAGE
from modelbay_gateway.refusal import Refusal, Refused, internal, of_error
from modelbay_gateway.security import Access, Guard
from modelbay_gateway.surface import Header, Surface

log = logging.getLogger("modelbay.gateway")

# The first route that fits answers. Both of the first two have lists of models, and Anthropic's is
# for requests that name its version.
SURFACES: tuple[Surface, ...] = (ANTHROPIC, OPENAI, OLLAMA, OWN, PAGE)

_NOBODY = Caller("", frozenset())  # until the guard has said who it is
_DOUBLED = re.compile(r"^/v1(?:/v1)+(?=/|$)")  # a base that ends in /v1, and a path that begins so


class Gateway:
    """One gateway, as an ASGI application.

    Every answer carries ``x-request-id``. A path may end in a slash, and begin with ``/v1`` twice:
    programs that join a base and a path do both, and a redirect would lose the body of a POST.
    """

    def __init__(
        self, bay: Bay, access: Access | None = None, surfaces: Sequence[Surface] = SURFACES
    ) -> None:
        self.bay = bay
        self._meter = metered(bay)
        self.guard = Guard(access or Access(), bay.limits)
        self._surfaces = (*surfaces, front.SURFACE)
        self._by_prefix = sorted(
            ((prefix, surface) for surface in self._surfaces for prefix in surface.prefixes),
            key=lambda item: -len(item[0]),
        )
        self._router = Router(
            [route for surface in self._surfaces for route in surface.routes(bay)],
            redirect_slashes=False,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    def surface(self, path: str) -> Surface:
        """Whose words an answer under this path is in."""
        for prefix, surface in self._by_prefix:
            if path.startswith(prefix):
                return surface
        return front.SURFACE

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = uuid.uuid4().hex
        path = _tidy(scope["path"])
        scope = {**scope, "path": path, "app": self}
        surface = self.surface(path)
        measured = self._meter.counted(send, surface.name)
        out = _Out(measured, [(b"x-request-id", request_id.encode())])
        call = Call(
            scope,
            receive,
            out,
            _NOBODY,
            request_id,
            body_limit=self.bay.limits.body_bytes,
            running=self.bay.answers,
        )
        scope["modelbay.call"] = call
        try:
            out.headers += self.guard.cors(scope)
            if scope["method"] == "OPTIONS":
                headers = self.guard.preflight(scope)
                await call.reply(b"", status=NO_CONTENT, headers=headers)
                return
            self.guard.check_head(scope)
            call.caller = self.guard.admit(scope, surface.needs(scope["method"], path))
            await self._router(scope, receive, out)
        except Gone:
            pass
        except Exception as exc:
            refusal = _refusal(exc, scope, self._router)
            if out.has_started:
                log.exception("request %s failed after its answer had begun", request_id)
                raise  # the connection is cut: the only honest end that is left
            await self._refuse(call, surface, refusal)

    async def _refuse(self, call: Call, surface: Surface, refusal: Refusal) -> None:
        headers: list[Header] = [*refusal.headers, *surface.headers(refusal)]
        body = surface.refuse(refusal, call.request_id)
        await call.reply(body, status=refusal.status, headers=headers)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.bay.look_ahead()
                await send({"type": "lifespan.startup.complete"})
            else:
                self.bay.interrupt()
                await self.bay.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return


class _Out:
    """The server's ``send``, with the headers that every answer has."""

    __slots__ = ("_send", "has_started", "headers")

    def __init__(self, send: Send, headers: list[Header]) -> None:
        self._send = send
        self.headers = headers
        self.has_started = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_started = True
            message = {**message, "headers": [*message["headers"], *self.headers]}
        await self._send(message)


def _tidy(path: str) -> str:
    path = _DOUBLED.sub("/v1", f"/{path.lstrip('/')}")
    return path.rstrip("/") or "/"


def _methods(router: Router, scope: Scope) -> str:
    """What the path can be asked with, over all routes that fit it."""
    found = {"OPTIONS"}
    for route in router.routes:
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return ", ".join(sorted(found))


def _refusal(exc: Exception, scope: Scope, router: Router) -> Refusal:
    match exc:
        case Failed() | Refused():
            return exc.refusal
        case ModelbayError():
            return of_error(exc)
        case HTTPException(status_code=405):
            allowed = _methods(router, scope)
            return Refused(
                "method_not_allowed",
                f"{scope['method']} is not for {scope['path'][:200]}",
                hint=f"use {allowed}",
                headers=((b"allow", allowed.encode("latin-1", "replace")),),
            ).refusal
        case HTTPException():
            return Refused("not_found", f"there is nothing at {scope['path'][:200]}").refusal
    log.exception("the gateway failed")
    return internal()
