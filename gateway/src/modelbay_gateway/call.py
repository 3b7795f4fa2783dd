"""One request: what came, who sent it, and how to answer it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import unquote_to_bytes

from starlette.types import Receive, Scope, Send

from modelbay.errors import ModelbayError
from modelbay_gateway.head import Head
from modelbay_gateway.presence import PRESENCE, Listening, Presence
from modelbay_gateway.refusal import Refused

if TYPE_CHECKING:
    from modelbay_gateway.outgoing import Writer

T = TypeVar("T")

JSON = b"application/json"
NO_CONTENT = 204
KEY_PREFIX = "key:"  # no address begins so

Header = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Attributes:
        name: Tells clients apart in queues: a key's name behind `KEY_PREFIX`, else the address.
        scopes: What the caller may do.
    """

    name: str
    scopes: frozenset[str]


class Gone(Exception):  # noqa: N818 - not an error: nobody is left to be told of one
    """The client went away before its answer was there."""


class Interruptible(Protocol):
    """Work for a client that can be ended early."""

    def interrupt(self, error: ModelbayError) -> None:
        """End it with this error."""
        ...


class Attended:
    """Work whose result a client waits for, and that ends early where nobody does any more."""

    __slots__ = ("_cancelled", "_ours", "_task", "end")

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self._task = task
        self._cancelled = task.cancelling()
        self._ours = 0  # how often it was cancelled from here
        self.end: Exception | None = None

    def interrupt(self, error: ModelbayError) -> None:
        self.cancel(error)

    def leave(self) -> None:
        self.cancel(Gone())

    def cancel(self, end: Exception) -> None:
        """End it with this; what ended it first counts."""
        if self.end is None:
            self.end = end
        self._ours += 1  # whoever swallowed it is told again
        self._task.cancel()

    def check(self) -> None:
        """Raise what it was ended by, unless somebody else has cancelled the task too."""
        try:
            left = self._cancelled
            for _ in range(self._ours):
                left = self._task.uncancel()
            if self.end is not None and left <= self._cancelled:
                raise self.end from None
        finally:
            self.end = None  # it leads back here, and would keep the request's body
            self._ours = 0


@dataclass(slots=True)
class Call:
    """One request on its way through a route; the application makes it.

    Attributes:
        writer: The same as ``send``, without waiting.
        own_headers: Of its answer, whatever that is.
        head: Its headers.
        body_limit: Bytes its body may have.
        running: Where work is kept that can be ended early.
    """

    scope: Scope
    receive: Receive
    send: Send
    writer: "Writer"
    own_headers: list[Header]
    head: Head
    caller: Caller
    request_id: str
    body_limit: int
    running: set[Interruptible]

    @property
    def method(self) -> str:
        method: str = self.scope["method"]
        return method

    @property
    def path(self) -> str:
        path: str = self.scope["path"]
        return path

    def param(self, name: str) -> str:
        """A part of the path, decoded once.

        Raises:
            Refused: The path is not UTF-8; decoded, other paths would be the same.
        """
        raw: bytes = self.scope.get("raw_path") or b""
        try:
            unquote_to_bytes(raw).decode()
        except UnicodeDecodeError:
            raise Refused("invalid_field", "the path is not UTF-8", field=name) from None
        value: str = self.scope["path_params"][name]
        return value

    def header(self, name: bytes) -> str | None:
        """A header by its name in small letters; the first one, if there are several."""
        return self.head.first(name)

    @property
    def presence(self) -> Presence:
        """Whether its client is still there; asked once its body has been read."""
        found: Presence | None = self.scope.get(PRESENCE)
        return Listening(self.receive) if found is None else found

    async def body(self) -> bytes:
        """The whole body.

        Raises:
            Refused: It is larger than the limit, or compressed.
            Gone: The client went away in the middle of it.
        """
        if (self.header(b"content-encoding") or "identity").lower() != "identity":
            raise Refused(
                "unsupported_encoding",
                "compressed bodies are not read",
                field="content-encoding",
                hint="send the body as it is",
            )
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > self.body_limit:
                raise too_large(self.body_limit)
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    async def attended(self, work: Coroutine[Any, Any, T]) -> T:
        """Run this to its end, unless the client goes away first; call it after `body`.

        Raises:
            Gone: It went away, and the work is cancelled.
            ModelbayError: The server was told to stop, and cannot wait any longer.
        """
        task = asyncio.current_task()
        assert task is not None  # a server answers each request in one
        attended, presence = Attended(task), self.presence
        self.running.add(attended)
        presence.watch(attended.leave)
        try:
            result = await work
        except BaseException:
            attended.check()
            raise
        finally:
            presence.unwatch(attended.leave)
            self.running.discard(attended)
        attended.check()
        return result

    async def reply(
        self,
        body: bytes,
        *,
        status: int = 200,
        content_type: bytes = JSON,
        headers: Sequence[Header] = (),
    ) -> None:
        """One whole answer."""
        size = (b"content-length", str(len(body)).encode())
        first = [] if status == NO_CONTENT else [(b"content-type", content_type), size]
        await self.send(
            {"type": "http.response.start", "status": status, "headers": [*first, *headers]}
        )
        await self.send(
            {"type": "http.response.body", "body": b"" if self.method == "HEAD" else body}
        )


def too_large(limit: int) -> Refused:
    return Refused(
        "request_too_large",
        f"the body is larger than {limit} bytes",
        hint="send less, or start the server with a larger --max-body",
    )


async def ended(*tasks: "asyncio.Future[Any]") -> None:
    """Cancel what still runs of these, and wait for the end of all; their errors are taken."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class Endpoint:
    """A route's ASGI application: no Request and Response objects in between.

    ``Route("/v1/models", Endpoint(list_models), methods=["GET"])``
    """

    __slots__ = ("_answer",)

    def __init__(self, answer: Callable[[Call], Awaitable[None]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        call: Call = scope["modelbay.call"]
        call.scope, call.receive, call.send = scope, receive, send  # the router adds to the scope
        await self._answer(call)
