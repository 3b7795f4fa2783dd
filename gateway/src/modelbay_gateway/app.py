"""The ASGI application: the surfaces' routes behind the guard, and every failure in their words."""

import logging
import random
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from modelbay.errors import ModelbayError
from modelbay_gateway import front
from modelbay_gateway.answer import Failed
from modelbay_gateway.anthropic.surface import SURFACE as ANTHROPIC
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import NO_CONTENT, Call, Caller, Gone
from modelbay_gateway.head import Head
from modelbay_gateway.metering import Meter
from modelbay_gateway.ollama.surface import SURFACE as OLLAMA
from modelbay_gateway.openai.surface import SURFACE as OPENAI
from modelbay_gateway.outgoing import WRITER, Courier, Writer
from modelbay_gateway.own.surface import SURFACE as OWN
from modelbay_gateway.page.surface import SURFACE as PAGE
from modelbay_gateway.refusal import Refusal, Refused, internal, of_error
from modelbay_gateway.scopes import Need
from modelbay_gateway.security import Access, Guard
from modelbay_gateway.surface import Header, Surface

log = logging.getLogger("modelbay.gateway")

# The first route that fits answers. Both of the first two have lists of models, and Anthropic's is
# for requests that name its version.
SURFACES: tuple[Surface, ...] = (ANTHROPIC, OPENAI, OLLAMA, OWN, PAGE)

_NOBODY = Caller("", frozenset())  # until the guard has said who it is
_DOUBLED = re.compile(r"^/v1(?:/v1)+(?=/|$)")  # a base that ends in /v1, and a path that begins so


class _Place(NamedTuple):
    """What answers at a path, whose words it is in, and what it asks of a client."""

    answer: ASGIApp
    surface: Surface
    needs: Need | None


class Gateway:
    """One gateway, as an ASGI application.

    Every answer carries ``x-request-id``. A path may end in a slash, and begin with ``/v1`` twice:
    programs that join a base and a path do both, and a redirect would lose the body of a POST.
    """

    def __init__(
        self, bay: Bay, access: Access | None = None, surfaces: Sequence[Surface] = SURFACES
    ) -> None:
        self.bay = bay
        self.guard = Guard(access or Access(), bay.limits)
        self._surfaces = (*surfaces, front.SURFACE)
        self._by_prefix = sorted(
            ((prefix, surface) for surface in self._surfaces for prefix in surface.prefixes),
            key=lambda item: -len(item[0]),
        )
        routes = [route for surface in self._surfaces for route in surface.routes(bay)]
        self._router = Router(routes, redirect_slashes=False)
        self._plain = dict(self._plain_places(routes))

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

    def _plain_places(
        self, routes: Iterable[BaseRoute]
    ) -> Iterable[tuple[tuple[str, str], _Place]]:
        """The places that a method and a path alone lead to, so that nobody has to search.

        A route with parameters, or one that looks at headers, may come before.
        """
        found: set[tuple[str, str]] = set()
        others: list[Route] = []
        for route in routes:
            if not isinstance(route, Route):
                return
            if type(route) is not Route or route.param_convertors:
                others.append(route)
            elif not any(other.path_regex.match(route.path) for other in others):
                for method in (route.methods or set()) - {"OPTIONS"}:
                    if (method, route.path) not in found:
                        found.add((method, route.path))
                        surface = self.surface(route.path)
                        needs = surface.needs(method, route.path)
                        yield (method, route.path), _Place(route.app, surface, needs)

    def _place(self, method: str, path: str) -> _Place:
        surface = self.surface(path)
        return _Place(self._router, surface, surface.needs(method, path))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = f"{random.getrandbits(128):032x}"
        method, path = scope["method"], scope["path"]
        place = self._plain.get((method, path))
        if place is None:
            path = _tidy(path)
            place = self._place(method, path)
        surface = place.surface
        scope = {**scope, "path": path, "app": self, "router": self._router, "path_params": {}}
        own: list[Header] = [(b"x-request-id", request_id.encode())]
        out = _Out(send, scope.get(WRITER), own, self.bay.meter, surface.name)
        head = Head(scope["headers"])
        call = Call(
            scope,
            receive,
            out,
            out,
            out.headers,
            head,
            _NOBODY,
            request_id,
            body_limit=self.bay.limits.body_bytes,
            running=self.bay.answers,
        )
        scope["modelbay.call"] = call
        try:
            out.headers += self.guard.cors(head)
            if method == "OPTIONS":
                headers = self.guard.preflight(scope, head)
                await call.reply(b"", status=NO_CONTENT, headers=headers)
                return
            self.guard.check_head(scope, head)
            call.caller = self.guard.admit(scope, head, place.needs)
            await place.answer(scope, receive, out)
        except Gone:
            pass
        except Exception as exc:
            refusal = _refusal(exc, scope, self._router)
            if out.has_started:
                log.exception("request %s failed after its answer had begun", request_id)
                raise  # the connection is cut: the only honest end that is left
            await self._refuse(call, surface, refusal)
        finally:
            del scope["modelbay.call"]  # the two hold each other, and would wait for a collection

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
    """The server's ``send``, with the headers that every answer has; counts answers."""

    __slots__ = ("_meter", "_send", "_surface", "_writer", "has_started", "headers")

    def __init__(
        self,
        send: Send,
        writer: Writer | None,
        headers: list[Header],
        meter: Meter,
        surface: str,
    ) -> None:
        self._send = send
        self._writer = writer
        self._meter = meter
        self._surface = surface
        self.headers = headers
        self.has_started = False

    def __call__(self, message: Message) -> Awaitable[None]:
        return self._send(self._headed(message))

    @property
    def is_free(self) -> bool:
        return self._own.is_free

    def write(self, message: Message) -> None:
        self._own.write(self._headed(message))

    def when_free(self, call: Callable[[], None]) -> None:
        self._own.when_free(call)

    async def sent(self) -> None:
        await self._own.sent()

    async def aclose(self) -> None:
        await self._own.aclose()

    @property
    def _own(self) -> Writer:
        if self._writer is None:
            self._writer = Courier(self._send)
        return self._writer

    def _headed(self, message: Message) -> Message:
        if message["type"] == "http.response.start":
            self.has_started = True
            self._meter.answers[self._surface, message["status"]] += 1
            message = {**message, "headers": [*message["headers"], *self.headers]}
        return message


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
