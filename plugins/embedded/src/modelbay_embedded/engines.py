"""The engines of one provider: which are loaded, who uses them, who must go."""

import logging
from contextlib import suppress
from typing import cast

import anyio
from pydantic import SecretStr

from modelbay.context import ProviderContext
from modelbay.errors import BackendBusyError, BackendError, BackendUnreachableError
from modelbay.models.catalog import ModelState
from modelbay.models.provider import ProviderConfig
from modelbay_embedded.config import EmbeddedOptions
from modelbay_embedded.engine import EngineOptions
from modelbay_embedded.process import Engine, EngineError, EngineMissingError, start_engine

log = logging.getLogger("modelbay")

_LONGEST_NAP_S = 15.0


class Loaded:
    """A model in memory.

    Attributes:
        active: Requests that are using it.
        context: The provider as the HTTP client sees it: the engine's address, the engine's key.
    """

    __slots__ = ("active", "context", "context_length", "engine", "last_used", "name", "size_bytes")

    def __init__(
        self,
        name: str,
        engine: Engine,
        context: ProviderContext,
        context_length: int,
        size_bytes: int,
    ) -> None:
        self.name = name
        self.engine = engine
        self.context = context
        self.context_length = context_length
        self.size_bytes = size_bytes
        self.active = 0
        self.last_used = 0.0


class Engines:
    """Loads on demand, at most so many at once, and unloads what nobody uses.

    A request for a model that does not fit waits until another one is idle; the one that was used
    longest ago then goes. Children end with the host.
    """

    def __init__(self, provider: ProviderContext) -> None:
        self._provider = provider
        self._options = provider.options(EmbeddedOptions)
        self._loaded: dict[str, Loaded] = {}
        self._failed: dict[str, str] = {}
        self._loading: str | None = None
        self._changing = anyio.Lock()  # loads and evictions happen one at a time
        self._idle = anyio.Event()  # set whenever a request has ended
        self._watched = False
        self.loads = 0
        provider.resources.at_close(self.aclose)

    @classmethod
    def of(cls, provider: ProviderContext) -> "Engines":
        """The engines of this provider; they live in its memo."""
        if "engines" not in provider.memo:
            provider.memo["engines"] = cls(provider)
        return cast("Engines", provider.memo["engines"])

    def state(self, name: str) -> ModelState:
        self._sweep()
        if name in self._loaded:
            return "loaded"
        if name == self._loading:
            return "loading"
        return "failed" if name in self._failed else "unloaded"

    def expires_in_s(self, loaded: Loaded, now: float) -> float | None:
        """Seconds until it is unloaded for want of requests."""
        limit_s = self._options.idle_unload_s
        if loaded.active or not limit_s:
            return None
        return max(0.0, limit_s - (now - loaded.last_used))

    def problem(self, name: str) -> str | None:
        """Why the last load failed."""
        return self._failed.get(name)

    def loaded(self) -> tuple[Loaded, ...]:
        self._sweep()
        return tuple(self._loaded.values())

    async def use(self, name: str, options: EngineOptions, size_bytes: int) -> Loaded:
        """The loaded model, counted as in use until `release`.

        Raises:
            BackendError: It could not be loaded; the message names the file and the reason.
            BackendUnreachableError: There is no engine on this platform.
        """
        self._sweep()
        ready = self._loaded.get(name)
        if ready is None:
            async with self._changing:
                self._sweep()
                ready = self._loaded.get(name)
                if ready is None:
                    await self._make_room()
                    ready = await self._load(name, options, size_bytes)
                ready.active += 1
        else:
            ready.active += 1
        self._watch()
        return ready

    def release(self, loaded: Loaded) -> None:
        """The request that used it has ended. Waits for nothing: it runs while others clean up."""
        loaded.active -= 1
        loaded.last_used = self._provider.resources.monotonic()
        self._idle.set()

    async def unload(self, name: str, *, force: bool) -> bool:
        """End a model's engine; whether there was one.

        Raises:
            BackendBusyError: Requests are running on it, and ``force`` is not set.
        """
        self._sweep()
        loaded = self._loaded.get(name)
        if loaded is None:
            return False
        if loaded.active and not force:
            raise BackendBusyError(
                f"{loaded.active} request{'s are' if loaded.active > 1 else ' is'} running on"
                f" '{name}'",
                model=name,
                hint="wait for the end, or unload with --force",
            )
        await self._end(loaded)
        return True

    async def aclose(self) -> None:
        for loaded in tuple(self._loaded.values()):
            await self._end(loaded)

    async def _load(self, name: str, options: EngineOptions, size_bytes: int) -> Loaded:
        self._loading = name
        try:
            engine = await start_engine(
                options,
                deadline_s=self._options.load_deadline_s,
                stop_s=self._options.stop_s,
                env=self._provider.resources.env,
            )
        except EngineMissingError as exc:
            raise BackendUnreachableError(
                exc.reason, hint="pip install xllamacpp   # or use a server", stage="connect"
            ) from exc
        except EngineError as exc:
            self._failed[name] = exc.reason
            raise BackendError(
                f"the model '{name}' cannot be loaded: {exc.path}: {exc.reason}",
                model=name,
                hint="download the file again, or see modelbay doctor",
            ) from exc
        finally:
            self._loading = None
        self._failed.pop(name, None)
        self.loads += 1
        configured = self._provider.config
        engine_config = ProviderConfig(
            id=configured.id,
            kind=configured.kind,
            base_url=engine.url,
            api_key=SecretStr(engine.api_key),
            first_byte_timeout_s=configured.first_byte_timeout_s,
            idle_timeout_s=configured.idle_timeout_s,
            request_timeout_s=configured.request_timeout_s,
        )
        context = ProviderContext(engine_config, self._provider.resources)
        loaded = Loaded(name, engine, context, options.context_length, size_bytes)
        loaded.last_used = self._provider.resources.monotonic()
        self._loaded[name] = loaded
        return loaded

    async def _make_room(self) -> None:
        while len(self._loaded) >= self._options.max_loaded:
            idle = [loaded for loaded in self._loaded.values() if not loaded.active]
            if idle:
                await self._end(min(idle, key=lambda loaded: loaded.last_used))
                continue
            self._idle = anyio.Event()
            await self._idle.wait()
            self._sweep()

    async def _end(self, loaded: Loaded) -> None:
        if self._loaded.get(loaded.name) is loaded:
            del self._loaded[loaded.name]
        await loaded.engine.aclose()

    def _sweep(self) -> None:
        """Forget engines that have ended by themselves; their requests report why."""
        for loaded in tuple(self._loaded.values()):
            if loaded.engine.exited():
                log.warning("the engine of '%s' ended: %s", loaded.name, loaded.engine.reason())
                del self._loaded[loaded.name]
                self._provider.resources.start_soon(loaded.engine.aclose)

    def _watch(self) -> None:
        if not self._watched and self._options.idle_unload_s > 0:
            self._watched = True
            self._provider.resources.start_soon(self._unload_idle)

    async def _unload_idle(self) -> None:
        limit_s = self._options.idle_unload_s
        while True:
            await anyio.sleep(min(limit_s / 4, _LONGEST_NAP_S))
            now = self._provider.resources.monotonic()
            for loaded in self.loaded():
                if not loaded.active and now - loaded.last_used >= limit_s:
                    with suppress(BackendBusyError):
                        await self.unload(loaded.name, force=False)
