"""What a host owns: HTTP connections, background work, the clock, the environment."""

import asyncio
import ipaddress
import logging
import re
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from typing import Any

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
from modelbay.context import Answer, ProviderContext
from modelbay.errors import ConfigError
from modelbay.models.provider import ProviderConfig

log = logging.getLogger("modelbay")

_AGENT = "modelbay"
_LIMITS = httpx.Limits(
    max_connections=None,  # the library's 100 would make stream 101 wait for ever
    max_keepalive_connections=IDLE_LIMIT,
    keepalive_expiry=KEEPALIVE_S,
)
CLOSE_S = 10.0
_SENDABLE = re.compile(r"[\t\x20-\x7e]*")


class SharedTransport(httpx.AsyncBaseTransport):
    """One pool for all providers of a host; TLS and proxies only once they are needed.

    Building an SSL context is nearly all the cost of an HTTP client and blocks the loop, so one is
    made in a thread for the first ``https`` address. Loopback is never proxied.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._pool: Pool | None = None
        self._plain: PooledTransport | None = None
        self._ours: dict[str, bool] = {}
        self._tls: asyncio.Task[httpx.AsyncHTTPTransport] | None = None
        self._proxies: dict[str, httpx.AsyncHTTPTransport] = {}
        self._proxy_urls = {
            scheme: env.get(f"{scheme}_proxy") or env.get(f"{scheme.upper()}_PROXY") or ""
            for scheme in ("http", "https", "no")
        }
        for scheme in ("http", "https"):
            everything = env.get("all_proxy") or env.get("ALL_PROXY") or ""
            self._proxy_urls[scheme] = self._proxy_urls[scheme] or everything

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        transport = await self._for(request.url)
        return await transport.handle_async_request(request)

    async def aclose(self) -> None:
        open_now = [*self._proxies.values()]
        if self._pool is not None:
            await self._pool.aclose()
        if self._tls is not None:
            open_now.append(await self._tls)
        for transport in open_now:
            await transport.aclose()

    def pool_for(self, url: str) -> Pool | None:
        """Connections of our own; ``None`` where TLS, a proxy or an odd address needs the library.

        Decided once for each server.
        """
        origin, _, _ = url.partition("://")[2].partition("/")
        ours = self._ours.get(origin)
        if ours is None or not url.startswith("http://"):
            if not (url.startswith("http://") and url.isascii()):
                return None
            ours = self._ours[origin] = not self._proxy(httpx.URL(url))
        if not ours:
            return None
        if self._pool is None:
            self._pool = Pool()
        return self._pool

    async def _for(self, url: httpx.URL) -> httpx.AsyncBaseTransport:
        proxy = self._proxy(url)
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
        if self._plain is None:
            self._pool = self._pool or Pool()
            self._plain = PooledTransport(self._pool)
        return self._plain

    async def _secure(self) -> httpx.AsyncHTTPTransport:
        context = await asyncio.to_thread(httpx.create_ssl_context)
        return httpx.AsyncHTTPTransport(verify=context, limits=_LIMITS, trust_env=False)

    def _proxy(self, url: httpx.URL) -> str:
        proxy = self._proxy_urls.get(url.scheme, "")
        if not proxy or is_loopback(url.host):
            return ""
        bypass = urllib.request.proxy_bypass_environment(  # type: ignore[attr-defined]
            url.host, self._proxy_urls
        )
        return "" if bypass else proxy


def is_loopback(host: str) -> bool:
    """Whether this name or address is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


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


class HostResources:
    """Implements `modelbay.context.Resources`.

    Args:
        transport: The caller's own; it stays the caller's to close.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._env = dict(env)
        self._clock = clock
        self._own = None if transport is not None else SharedTransport(env)
        self._transport = transport or self._own
        self._work: set[asyncio.Task[None]] = set()
        self._callbacks: list[Callable[[], Awaitable[None]]] = []

    @property
    def env(self) -> dict[str, str]:
        return self._env

    def monotonic(self) -> float:
        return self._clock()

    def headers(self, config: ProviderConfig) -> Mapping[str, str]:
        headers = {"Accept": "*/*", "User-Agent": _AGENT, **config.headers}
        names = {name.lower() for name in config.headers}
        for name in [name for name in ("Accept", "User-Agent") if name.lower() in names]:
            if name not in config.headers:  # a header of the user's own wins, however it is spelt
                del headers[name]
        if config.api_key is not None and "authorization" not in names:
            headers["Authorization"] = f"Bearer {config.api_key.get_secret_value().strip()}"
        for name, value in headers.items():
            if not _SENDABLE.fullmatch(value):
                raise ConfigError(
                    f"the header {name} of provider '{config.id}' holds a character that cannot"
                    " be sent",
                    provider_id=config.id,
                    hint="is there a line end or a stray character in the key?",
                )
        return headers

    def connections(self, url: str) -> Pool | None:
        return None if self._own is None else self._own.pool_for(url)

    def client(self, provider: ProviderContext, base_url: str) -> httpx.AsyncClient:
        assert self._transport is not None  # one of the two is set
        return httpx.AsyncClient(
            base_url=base_url,
            headers=dict(provider.headers),
            transport=_Lent(self._transport),
            timeout=httpx.Timeout(None, connect=CONNECT_S),
            follow_redirects=False,  # a key never follows a redirect to another host
            trust_env=False,
        )

    def start_soon(self, work: Callable[[], Awaitable[None]]) -> None:
        self.task(_run(work))

    def task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Background work as a task of the host's."""
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    def at_close(self, callback: Callable[[], Awaitable[None]]) -> None:
        self._callbacks.append(callback)

    async def aclose(self) -> None:
        """End the work, run the callbacks, close the connections; at most `CLOSE_S` each."""
        work = [task for task in self._work if task is not asyncio.current_task()]
        for task in work:
            task.cancel()
        if work:
            await asyncio.wait(work, timeout=CLOSE_S)
        while self._callbacks:
            callback = self._callbacks.pop()
            try:
                async with asyncio.timeout(CLOSE_S):
                    await callback()
            except Exception:
                log.warning("something a plugin registered raised while closing", exc_info=True)
        if self._own is not None:
            await self._own.aclose()


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except Exception:
        log.warning("background work of a plugin failed", exc_info=True)
