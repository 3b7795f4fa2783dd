"""The one seam all model traffic goes through. No type of the HTTP library is in a signature."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

import httpx2 as httpx
import msgspec

from modelbay.client.connection import ConnectionBrokenError, NotHttpError
from modelbay.client.pool import ConnectTimeoutError, UnreachableError
from modelbay.closing import closing
from modelbay.deadline import Watchdog
from modelbay.errors import (
    BackendError,
    BackendTimeoutError,
    BackendUnreachableError,
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
    from modelbay.context import Answer, Connections, ProviderContext

log = logging.getLogger("modelbay.http")

Method = Literal["GET", "POST", "PUT", "DELETE", "HEAD"]
MANAGEMENT_DEADLINE_S = 15.0
NOTHING = "answered nothing"  # ends the message of an error for an empty answer
DRAIN_S = 0.1  # the end of a body comes with its last bytes, or not before the server sees fit
JSON_LIMIT = 16 * 1024 * 1024  # a list of 10,000 models is 5 MB; 200 MB is a fault

T = TypeVar("T")

_CLOSED = (
    httpx.ReadError,
    httpx.WriteError,
    httpx.RemoteProtocolError,
    ConnectionBrokenError,
    NotHttpError,
)


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


class _Own:
    """An answer over a connection of our own."""

    __slots__ = ("_answer", "_provider", "_watchdog", "headers", "status")

    def __init__(
        self, provider: "ProviderContext", answer: "Answer", watchdog: Watchdog | None
    ) -> None:
        self._provider = provider
        self._answer = answer
        self._watchdog = watchdog
        self.status = answer.status
        self.headers = answer.headers

    async def blocks(self) -> AsyncIterator[bytes]:
        _require_plain(self._provider, self.headers)
        answer, watchdog = self._answer, self._watchdog
        try:
            if watchdog is None:
                while block := await answer.block():
                    yield block
                return
            while True:
                with watchdog:
                    block = await answer.block()
                if not block:
                    return
                watchdog.progress()
                yield block
        except (ConnectionBrokenError, NotHttpError) as exc:
            raise _broken_off(self._provider, exc) from exc


class _Library:
    """An answer over the HTTP library."""

    __slots__ = ("_provider", "_response", "_watchdog", "headers", "status")

    def __init__(
        self, provider: "ProviderContext", response: httpx.Response, watchdog: Watchdog | None
    ) -> None:
        self._provider = provider
        self._response = response
        self._watchdog = watchdog
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def blocks(self) -> AsyncIterator[bytes]:
        _require_plain(self._provider, self.headers)
        # The stream itself: aiter_raw() would count and re-chunk every block on its way.
        stream = self._response.stream
        assert isinstance(stream, httpx.AsyncByteStream)  # an async client makes no other
        pieces = aiter(stream)
        watchdog = self._watchdog
        try:
            if watchdog is None:
                async for block in pieces:
                    if block:
                        yield block
                return
            while True:
                with watchdog:
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                watchdog.progress()
                if piece:
                    yield piece
        except httpx.TransportError as exc:
            raise _broken_off(self._provider, exc) from exc


def _require_plain(provider: "ProviderContext", headers: Mapping[str, str]) -> None:
    if headers.get("content-encoding", "identity") != "identity":
        raise ProtocolError(
            "the answer is compressed although 'identity' was asked for",
            provider_id=provider.id,
            stage="decode",
        )


def _broken_off(provider: "ProviderContext", exc: Exception) -> StreamInterruptedError:
    return StreamInterruptedError(
        f"the connection broke off in the middle of the answer ({_reason(exc)})",
        provider_id=provider.id,
    )


@asynccontextmanager
async def open_stream(
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
) -> AsyncIterator[HttpResponse]:
    """Send a request; hand over the answer as soon as its head is there, whatever its status.

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
    config = provider.config
    url = path if "://" in path else f"{provider.base_url}/{path.lstrip('/')}"
    sent = dict(headers or {})
    sent["Accept-Encoding"] = "identity"
    if json is not None:
        content = msgspec.json.encode(json)
        sent["Content-Type"] = "application/json"
    total_s, first_s, pause_s = deadline_s, first_byte_s, idle_s
    if total_s is None and not own_limits:
        total_s = config.request_timeout_s
        first_s = config.first_byte_timeout_s or first_s
        pause_s = config.idle_timeout_s or pause_s
    watchdog = None
    if total_s is not None or first_s is not None or pause_s is not None:
        watchdog = Watchdog(
            total_s=total_s, first_s=first_s, idle_s=pause_s, what=f"provider '{provider.id}'"
        )
    is_told = log.isEnabledFor(logging.DEBUG)
    if is_told:
        log.debug("-> %s %s", method, _shown(url))
    connections = provider.resources.connections(url)
    if connections is None:
        opened = _through_library(provider, method, url, sent, content, watchdog, anonymous)
    else:
        opened = _over_our_own(
            provider, connections, method, url, sent, content, watchdog, anonymous
        )
    try:
        async with opened as response:
            if is_told:
                log.debug("<- %s %s %s", response.status, method, _shown(url))
            yield response
    except BackendTimeoutError as exc:
        exc.provider_id = exc.provider_id or provider.id
        raise
    finally:
        if watchdog is not None:
            watchdog.close()


@asynccontextmanager
async def _over_our_own(
    provider: "ProviderContext",
    connections: "Connections",
    method: Method,
    url: str,
    headers: Mapping[str, str],
    content: bytes | None,
    watchdog: Watchdog | None,
    anonymous: bool,
) -> AsyncIterator[HttpResponse]:
    sent = headers if anonymous else {**provider.headers, **headers}
    try:
        if watchdog is None:
            answer = await connections.request(method, url, sent, content)
        else:
            with watchdog:
                answer = await connections.request(method, url, sent, content)
            watchdog.progress()
    except ValueError as exc:
        # Its words may show what cannot be sent, and that may be the key.
        raise _transport_error(provider, exc) from None
    except (UnreachableError, ConnectTimeoutError, ConnectionBrokenError, NotHttpError) as exc:
        raise _transport_error(provider, exc) from exc
    try:
        yield _Own(provider, answer, watchdog)
    finally:
        answer.close()


@asynccontextmanager
async def _through_library(
    provider: "ProviderContext",
    method: Method,
    url: str,
    headers: Mapping[str, str],
    content: bytes | None,
    watchdog: Watchdog | None,
    anonymous: bool,
) -> AsyncIterator[HttpResponse]:
    try:
        client = provider.http
        request = client.build_request(method, url, content=content, headers=dict(headers))
        if anonymous:
            given = {name.lower() for name in headers}
            for name in provider.headers:
                if name.lower() not in given:
                    request.headers.pop(name, None)
        if watchdog is None:
            response = await client.send(request, stream=True)
        else:
            with watchdog:
                response = await client.send(request, stream=True)
            watchdog.progress()
    except (httpx.LocalProtocolError, UnicodeEncodeError) as exc:
        # Its words show the header that cannot be sent, and that may be the key.
        raise _transport_error(provider, exc) from None
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise _transport_error(provider, exc) from exc
    try:
        yield _Library(provider, response, watchdog)
    finally:
        await response.aclose()


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
        f"redirects to {_shown(where)}; a key never follows a redirect"
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


def _transport_error(provider: "ProviderContext", exc: Exception) -> BackendError:
    address = provider.config.base_url
    if isinstance(exc, (httpx.ConnectTimeout, ConnectTimeoutError)):
        return BackendUnreachableError(
            f"no connection to {_shown(address)} in time",
            provider_id=provider.id,
            hint=f"is the server of provider '{provider.id}' running? modelbay doctor",
            stage="connect",
        )
    if isinstance(exc, _CLOSED):
        return StreamInterruptedError(
            f"the server closed the connection before it answered ({_reason(exc)})",
            provider_id=provider.id,
        )
    return BackendUnreachableError(
        f"cannot reach {_shown(address)} ({_reason(exc)})",
        provider_id=provider.id,
        hint=f"is the server of provider '{provider.id}' running? modelbay doctor",
        stage="connect",
    )


def _hint(provider: "ProviderContext", kind: type[BackendError]) -> str | None:
    if kind.code == "authentication_failed":
        variable = provider.config.api_key_env
        if variable:
            return f"set {variable} to a valid key"
        return f'set "apiKeyEnv" of provider "{provider.id}" in providers.json'
    if kind.code == "model_not_found":
        return f"modelbay models {provider.id} --refresh"
    return None


def _reason(exc: Exception) -> str:
    if isinstance(exc, (httpx.LocalProtocolError, ValueError)):
        return "the key, a header or the address holds a character that cannot be sent"
    return str(exc) or type(exc).__name__


def _route(path: str) -> str:
    return _shown(path) if "://" in path else f"/{path.lstrip('/')}"


def _shown(url: str) -> str:
    """An address without its query and without user and password."""
    scheme, separator, rest = url.partition("?")[0].partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else scheme
