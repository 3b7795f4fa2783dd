"""What a host owns: HTTP connections, background work, the clock, the environment."""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from modelbay.client.pool import Pool
from modelbay.context import ProviderContext
from modelbay.errors import ConfigError
from modelbay.host.proxies import Proxies
from modelbay.models.provider import ProviderConfig

if TYPE_CHECKING:
    import httpx2 as httpx

    from modelbay.host.transport import SharedTransport

log = logging.getLogger("modelbay")

_AGENT = "modelbay"
CLOSE_S = 10.0
_SENDABLE = re.compile(r"[\t\x20-\x7e]*")


class HostResources:
    """Implements `modelbay.context.Resources`.

    Args:
        transport: The caller's own; it stays the caller's to close.
    """

    def __init__(
        self,
        env: Mapping[str, str],
        *,
        transport: "httpx.AsyncBaseTransport | None" = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._env = dict(env)
        self._clock = clock
        self._given = transport
        self._own: SharedTransport | None = None
        self._pool = Pool()
        self._proxies = Proxies(env)
        self._is_plain: dict[str, bool] = {}  # by host and port
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
        """Connections of our own; ``None`` where TLS, a proxy or an odd address needs the library.

        Decided once for each server.
        """
        if self._given is not None or not url.startswith("http://"):
            return None
        origin, _, _ = url[7:].partition("/")
        is_plain = self._is_plain.get(origin)
        if is_plain is None:
            is_plain = origin.isascii() and not self._is_proxied(url)
            self._is_plain[origin] = is_plain
        return self._pool if is_plain else None

    def _is_proxied(self, url: str) -> bool:
        if not self._proxies.has("http"):
            return False
        try:
            host = urlsplit(url).hostname
        except ValueError:
            return False
        return bool(host and self._proxies.of("http", host))

    def client(self, provider: ProviderContext, base_url: str) -> "httpx.AsyncClient":
        from modelbay.host.transport import SharedTransport, client

        transport = self._given
        if transport is None:
            if self._own is None:
                self._own = SharedTransport(self._pool, self._proxies)
            transport = self._own
        return client(base_url, provider.headers, transport)

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
        await self._pool.aclose()


async def _run(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except Exception:
        log.warning("background work of a plugin failed", exc_info=True)
