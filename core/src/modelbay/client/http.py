"""The one seam all model traffic goes through. No type of the HTTP library is in a signature."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, TypeVar

import msgspec

from modelbay.client.exchange import OwnResponse, over_our_own, shown
from modelbay.closing import closing
from modelbay.deadline import Watchdog
from modelbay.errors import (
    BackendError,
    BackendTimeoutError,
    ProtocolError,
    StreamInterruptedError,
)
from modelbay.models.frozen import JsonObject
from modelbay.wire.errors import (
    BODY_LIMIT,
    Classify,
    error_class,
    parse_error_body,
    retry_after_s,
)

if TYPE_CHECKING:
    from modelbay.client.library import LibraryResponse
    from modelbay.context import ProviderContext

log = logging.getLogger("modelbay.http")

Method = Literal["GET", "POST", "PUT", "DELETE", "HEAD"]
MANAGEMENT_DEADLINE_S = 15.0
NOTHING = "answered nothing"  # ends the message of an error for an empty answer
DRAIN_S = 0.1  # the end of a body comes with its last bytes, or not before the server sees fit
JSON_LIMIT = 16 * 1024 * 1024  # a list of 10,000 models is 5 MB; 200 MB is a fault

T = TypeVar("T")

_Response: TypeAlias = "OwnResponse | LibraryResponse"


class HttpResponse(Protocol):
    """An answer whose head has come.

    Attributes:
        status: HTTP status.
        headers: By lower-case name.
    """

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    def blocks(self) -> AsyncIterator[bytes]:
        """Non-empty bytes, each as much as has arrived.

        Raises:
            StreamInterruptedError: The connection ended before the body did.
            BackendTimeoutError: A limit passed.
        """
        ...


class open_stream:  # noqa: N801 - reads like the function it is used as
    """``async with open_stream(...) as response``: send a request, wait for its answer's head.

    The `HttpResponse` is handed over as soon as its head is there, whatever its status.

    The provider's limits (`request_timeout_s`, `first_byte_timeout_s`, `idle_timeout_s`) are for
    the answers of models. They hold where no ``deadline_s`` is given, and each that is set stands
    in for the one given here. A question to the server has a ``deadline_s``, and what is followed
    has ``own_limits``: then only the limits given here hold.

    Args:
        path: Below the provider's address, or a whole address of the same provider.
        json: The body, as JSON.
        content: The body, as bytes.
        deadline_s: Seconds for everything.
        first_byte_s: Seconds until the head.
        idle_s: Seconds between two blocks; only for servers that ping.
        own_limits: Leave the provider's limits out: a log or events may be silent for long.
        anonymous: Send neither the provider's key nor its headers, only the ``headers`` given.

    Raises:
        BackendUnreachableError: No connection.
        BackendTimeoutError: A limit passed.
        StreamInterruptedError: The connection ended before a head came.
    """

    __slots__ = (
        "_anonymous",
        "_content",
        "_headers",
        "_json",
        "_limits",
        "_method",
        "_own_limits",
        "_path",
        "_provider",
        "_response",
        "_watchdog",
    )

    def __init__(
        self,
        provider: "ProviderContext",
        method: Method,
        path: str,
        *,
        json: JsonObject | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        deadline_s: float | None = None,
        first_byte_s: float | None = None,
        idle_s: float | None = None,
        own_limits: bool = False,
        anonymous: bool = False,
    ) -> None:
        self._provider = provider
        self._method = method
        self._path = path
        self._json = json
        self._content = content
        self._headers = headers
        self._limits = (deadline_s, first_byte_s, idle_s)
        self._own_limits = own_limits
        self._anonymous = anonymous
        self._watchdog: Watchdog | None = None
        self._response: _Response | None = None

    async def __aenter__(self) -> HttpResponse:
        try:
            self._response = await self._send()
        except BaseException as exc:
            self._end(exc)
            raise
        finally:
            self._json = self._content = None  # it may be large, and the answer take long
        return self._response

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._response is not None  # it was entered
        try:
            await self._response.close()
        finally:
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if self._watchdog is not None:
            self._watchdog.close()
        if isinstance(error, BackendTimeoutError):
            error.provider_id = error.provider_id or self._provider.id

    async def _send(self) -> "_Response":
        provider, method, path, content = self._provider, self._method, self._path, self._content
        url = path if "://" in path else f"{provider.base_url}/{path.lstrip('/')}"
        headers = {**(self._headers or {}), "Accept-Encoding": "identity"}
        if self._json is not None:
            content = msgspec.json.encode(self._json)
            headers["Content-Type"] = "application/json"
        watchdog = self._watchdog = self._watched()
        is_told = log.isEnabledFor(logging.DEBUG)
        if is_told:
            log.debug("-> %s %s", method, shown(url))
        connections = provider.resources.connections(url)
        response: _Response
        if connections is None:
            from modelbay.client.library import through_library

            response = await through_library(
                provider, method, url, headers, content, watchdog, self._anonymous
            )
        else:
            if not self._anonymous:
                headers = {**provider.headers, **headers}
            response = await over_our_own(
                provider, connections, method, url, headers, content, watchdog
            )
        if is_told:
            log.debug("<- %s %s %s", response.status, method, shown(url))
        return response

    def _watched(self) -> Watchdog | None:
        """The limits that hold; ``None`` if there is none."""
        total_s, first_s, idle_s = self._limits
        if total_s is None and not self._own_limits:
            config = self._provider.config
            total_s = config.request_timeout_s
            first_s = config.first_byte_timeout_s or first_s
            idle_s = config.idle_timeout_s or idle_s
        if total_s is None and first_s is None and idle_s is None:
            return None
        what = f"provider '{self._provider.id}'"
        return Watchdog(total_s=total_s, first_s=first_s, idle_s=idle_s, what=what)


async def read_body(response: HttpResponse, *, limit: int = JSON_LIMIT) -> bytes:
    """The whole body.

    Raises:
        ProtocolError: It is larger than ``limit`` bytes.
    """
    parts: list[bytes] = []
    size = 0
    async with closing(response.blocks()) as blocks:
        async for block in blocks:
            size += len(block)
            if size > limit:
                raise ProtocolError(f"the answer is larger than {limit} bytes", stage="decode")
            parts.append(block)
    return b"".join(parts)


async def drain(blocks: AsyncIterator[bytes]) -> None:
    """Read on to the end of a body of which nothing more is wanted, for `DRAIN_S` at most.

    An answer that was read to its end leaves its connection for the next request. Whatever comes
    instead of the end is no error any more.
    """
    if isinstance(blocks, OwnResponse) and blocks.ended:
        return
    try:
        async with asyncio.timeout(DRAIN_S):
            async for _ in blocks:
                pass
    except (TimeoutError, BackendError):
        pass


async def raise_for_status(
    provider: "ProviderContext",
    response: HttpResponse,
    *,
    model: str | None = None,
    classify: Classify | None = None,
) -> None:
    """Turn an error answer into the error it stands for; do nothing for a 2xx.

    Raises:
        BackendError: By the plugin's ``classify``, the body's code or the status.
    """
    if 200 <= response.status < 300:
        return
    head = bytearray()
    try:
        async with closing(response.blocks()) as blocks:
            async for block in blocks:
                head += block
                if len(head) >= BODY_LIMIT:
                    break
    except (StreamInterruptedError, ProtocolError):
        pass  # half an error's text is better than none; the status is what counts
    body = parse_error_body(bytes(head))
    kind = error_class(response.status, body, classify)
    where = response.headers.get("location")
    message = body.message or (
        f"redirects to {shown(where)}; a key never follows a redirect"
        if where
        else "no reason given"
    )
    raise kind(
        f"{provider.redact(message)} (HTTP {response.status})",
        status=response.status,
        retry_after_s=retry_after_s(response.headers),
        provider_id=provider.id,
        model=model,
        hint=_hint(provider, kind),
        stage="send",
    )


async def fetch_json(
    provider: "ProviderContext",
    method: Method,
    path: str,
    *,
    into: type[T],
    json: JsonObject | None = None,
    headers: Mapping[str, str] | None = None,
    model: str | None = None,
    deadline_s: float | None = MANAGEMENT_DEADLINE_S,
    limit: int = JSON_LIMIT,
    classify: Classify | None = None,
) -> T:
    """One request, one JSON answer, decoded into ``into`` (a msgspec struct, a dict, ...).

    Args:
        deadline_s: Seconds for everything; ``None`` for the answer of a model, for which the
            provider's limits hold.

    Raises:
        BackendError: The server refused or failed.
        ProtocolError: The answer is not JSON, not of that shape, or larger than ``limit`` bytes.
    """
    async with open_stream(
        provider, method, path, json=json, headers=headers, deadline_s=deadline_s
    ) as response:
        try:
            await raise_for_status(provider, response, model=model, classify=classify)
            body = await read_body(response, limit=limit)
            return decode_body(provider, response, body, f"{method} {_route(path)}", into)
        except BackendError as exc:
            provider.sign(exc, model)
            raise


def decode_body(
    provider: "ProviderContext", response: HttpResponse, body: bytes, asked: str, into: type[T]
) -> T:
    """A whole JSON answer as ``into``.

    Args:
        asked: What was asked, for the message: ``GET /v1/models``.

    Raises:
        ProtocolError: It is empty, not JSON, or not of that shape.
    """
    if not body.strip():
        raise ProtocolError(
            f"{asked} {NOTHING}", status=response.status, provider_id=provider.id, stage="decode"
        )
    try:
        return msgspec.json.decode(body, type=into)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        kind = response.headers.get("content-type", "no content type")
        raise ProtocolError(
            f"{asked} answered something unexpected: {exc} ({kind})",
            status=response.status,
            provider_id=provider.id,
            hint=f"is {provider.config.base_url} the right address?",
            stage="decode",
        ) from exc


def _hint(provider: "ProviderContext", kind: type[BackendError]) -> str | None:
    if kind.code == "authentication_failed":
        variable = provider.config.api_key_env
        if variable:
            return f"set {variable} to a valid key"
        return f'set "apiKeyEnv" of provider "{provider.id}" in providers.json'
    if kind.code == "model_not_found":
        return f"modelbay models {provider.id} --refresh"
    return None


def _route(path: str) -> str:
    return shown(path) if "://" in path else f"/{path.lstrip('/')}"
