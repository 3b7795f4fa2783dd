"""Transports under the HTTP library's client: our own connections, TLS, proxies."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import httpx2 as httpx

from modelbay.client.connection import ConnectionBrokenError, NotHttpError
from modelbay.client.pool import (
    CONNECT_S,
    IDLE_LIMIT,
    KEEPALIVE_S,
    ConnectTimeoutError,
    Pool,
    UnreachableError,
)
from modelbay.context import Answer
from modelbay.host.proxies import Proxies

_LIMITS = httpx.Limits(
    max_connections=None,  # the library's 100 would make stream 101 wait for ever
    max_keepalive_connections=IDLE_LIMIT,
    keepalive_expiry=KEEPALIVE_S,
)


def client(
    base_url: str, headers: Mapping[str, str], transport: httpx.AsyncBaseTransport
) -> httpx.AsyncClient:
    """A client over a transport that stays open when the client is closed."""
    return httpx.AsyncClient(
        base_url=base_url,
        headers=dict(headers),
        transport=_Lent(transport),
        timeout=httpx.Timeout(None, connect=CONNECT_S),
        follow_redirects=False,  # a key never follows a redirect to another host
        trust_env=False,
    )


class SharedTransport(httpx.AsyncBaseTransport):
    """One pool for all providers of a host; TLS and proxies only once they are needed.

    Building an SSL context is nearly all the cost of an HTTP client and blocks the loop, so one is
    made in a thread for the first ``https`` address. Loopback is never proxied.
    """

    def __init__(self, pool: Pool, proxies: Proxies) -> None:
        self._plain = PooledTransport(pool)
        self._by_address = proxies
        self._tls: asyncio.Task[httpx.AsyncHTTPTransport] | None = None
        self._proxies: dict[str, httpx.AsyncHTTPTransport] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        transport = await self._for(request.url)
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close all but the pool, which is its owner's to close."""
        open_now = [*self._proxies.values()]
        if self._tls is not None:
            open_now.append(await self._tls)
        for transport in open_now:
            await transport.aclose()

    async def _for(self, url: httpx.URL) -> httpx.AsyncBaseTransport:
        proxy = self._by_address.of(url.scheme, url.host)
        if proxy:
            if proxy not in self._proxies:
                context = await asyncio.to_thread(httpx.create_ssl_context)
                self._proxies[proxy] = httpx.AsyncHTTPTransport(
                    verify=context, proxy=proxy, limits=_LIMITS, trust_env=False
                )
            return self._proxies[proxy]
        if url.scheme == "https":
            if self._tls is None:
                self._tls = asyncio.ensure_future(self._secure())
            try:
                return await asyncio.shield(self._tls)
            except OSError as exc:  # a certificate file that is not there, or is none
                self._tls = None
                raise httpx.ConnectError(f"the certificates cannot be read: {exc}") from exc
        return self._plain

    async def _secure(self) -> httpx.AsyncHTTPTransport:
        context = await asyncio.to_thread(httpx.create_ssl_context)
        return httpx.AsyncHTTPTransport(verify=context, limits=_LIMITS, trust_env=False)


class PooledTransport(httpx.AsyncBaseTransport):
    """Our own connections under the library's face, for plugins that use its client."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        skipped = ("host", "content-length", "transfer-encoding", "connection")
        headers = {name: value for name, value in request.headers.items() if name not in skipped}
        limits = request.extensions.get("timeout", {})
        try:
            async with asyncio.timeout(limits.get("read")):
                answer = await self._pool.request(
                    request.method, str(request.url), headers, content or None
                )
        except TimeoutError as exc:
            raise httpx.ReadTimeout("no answer in time") from exc
        except ConnectTimeoutError as exc:
            raise httpx.ConnectTimeout("no connection in time") from exc
        except UnreachableError as exc:
            raise httpx.ConnectError(str(exc)) from exc
        except ConnectionBrokenError as exc:
            raise httpx.ReadError(str(exc)) from exc
        except NotHttpError as exc:
            raise httpx.RemoteProtocolError(str(exc)) from exc
        except ValueError as exc:
            raise httpx.LocalProtocolError(str(exc)) from exc
        return httpx.Response(
            answer.status, headers=dict(answer.headers), stream=_Body(answer), request=request
        )


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while block := await self._answer.block():
                yield block
        except ConnectionBrokenError as exc:
            raise httpx.ReadError(str(exc)) from exc
        except NotHttpError as exc:
            raise httpx.RemoteProtocolError(str(exc)) from exc

    async def aclose(self) -> None:
        self._answer.close()


class _Lent(httpx.AsyncBaseTransport):
    """The shared transport under one more client; closing that client leaves it open."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._transport.handle_async_request(request)
