"""One request and the head of its answer, over connections of our own or through the library."""

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Self

import httpx2 as httpx

from modelbay.client.connection import ConnectionBrokenError, NotHttpError
from modelbay.client.pool import ConnectTimeoutError, UnreachableError
from modelbay.deadline import Watchdog
from modelbay.errors import (
    BackendError,
    BackendUnreachableError,
    ProtocolError,
    StreamInterruptedError,
)

if TYPE_CHECKING:
    from modelbay.context import Answer, Connections, ProviderContext

_CLOSED = (
    httpx.ReadError,
    httpx.WriteError,
    httpx.RemoteProtocolError,
    ConnectionBrokenError,
    NotHttpError,
)


class OwnResponse:
    """An answer over a connection of our own, and the iterator over its blocks."""

    __slots__ = ("_answer", "_provider", "_watchdog", "headers", "status")

    def __init__(
        self, provider: "ProviderContext", answer: "Answer", watchdog: Watchdog | None
    ) -> None:
        self._provider = provider
        self._answer = answer
        self._watchdog = watchdog
        self.status = answer.status
        self.headers = answer.headers

    def blocks(self) -> AsyncIterator[bytes]:
        _require_plain(self._provider, self.headers)
        return self

    @property
    def ended(self) -> bool:
        return self._answer.ended

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        watchdog = self._watchdog
        try:
            if watchdog is None:
                block = await self._answer.block()
            else:
                with watchdog:
                    block = await self._answer.block()
                watchdog.progress()
        except (ConnectionBrokenError, NotHttpError) as exc:
            raise _broken_off(self._provider, exc) from exc
        if not block:
            raise StopAsyncIteration
        return block

    async def close(self) -> None:
        self._answer.close()


class LibraryResponse:
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

    async def close(self) -> None:
        await self._response.aclose()


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


async def over_our_own(
    provider: "ProviderContext",
    connections: "Connections",
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes | None,
    watchdog: Watchdog | None,
) -> OwnResponse:
    try:
        if watchdog is None:
            answer = await connections.request(method, url, headers, content)
        else:
            with watchdog:
                answer = await connections.request(method, url, headers, content)
            watchdog.progress()
    except ValueError as exc:
        # Its words may show what cannot be sent, and that may be the key.
        raise _transport_error(provider, exc) from None
    except (UnreachableError, ConnectTimeoutError, ConnectionBrokenError, NotHttpError) as exc:
        raise _transport_error(provider, exc) from exc
    return OwnResponse(provider, answer, watchdog)


async def through_library(
    provider: "ProviderContext",
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes | None,
    watchdog: Watchdog | None,
    anonymous: bool,
) -> LibraryResponse:
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
    return LibraryResponse(provider, response, watchdog)


def _transport_error(provider: "ProviderContext", exc: Exception) -> BackendError:
    address = provider.config.base_url
    if isinstance(exc, (httpx.ConnectTimeout, ConnectTimeoutError)):
        return BackendUnreachableError(
            f"no connection to {shown(address)} in time",
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
        f"cannot reach {shown(address)} ({_reason(exc)})",
        provider_id=provider.id,
        hint=f"is the server of provider '{provider.id}' running? modelbay doctor",
        stage="connect",
    )


def _reason(exc: Exception) -> str:
    if isinstance(exc, (httpx.LocalProtocolError, ValueError)):
        return "the key, a header or the address holds a character that cannot be sent"
    return str(exc) or type(exc).__name__


def shown(url: str) -> str:
    """An address without its query and without user and password."""
    scheme, separator, rest = url.partition("?")[0].partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}" if separator else scheme
