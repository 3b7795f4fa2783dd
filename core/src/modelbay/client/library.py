"""One request and the head of its answer, through the HTTP library.

It takes a fifth of a second to import, and most programs need no more than plain HTTP.
"""

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

import httpx2 as httpx

from modelbay.client.exchange import (
    broken_off,
    closed,
    require_plain,
    too_slow,
    unreachable,
    unsendable,
)
from modelbay.deadline import Watchdog

if TYPE_CHECKING:
    from modelbay.context import ProviderContext

_CLOSED = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)


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
        require_plain(self._provider, self.headers)
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
            raise broken_off(self._provider, exc) from exc

    async def close(self) -> None:
        await self._response.aclose()


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
    except (httpx.LocalProtocolError, UnicodeEncodeError):
        # Its words show the header that cannot be sent, and that may be the key.
        raise unsendable(provider) from None
    except httpx.ConnectTimeout as exc:
        raise too_slow(provider) from exc
    except _CLOSED as exc:
        raise closed(provider, exc) from exc
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise unreachable(provider, exc) from exc
    return LibraryResponse(provider, response, watchdog)
