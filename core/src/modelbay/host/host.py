"""The host: providers, their plugins, the registry, and the calls an embedder makes."""

import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from modelbay.closing import closing
from modelbay.config import (
    Locations,
    ProvidersFile,
    locations,
)
from modelbay.deadline import Watchdog
from modelbay.errors import (
    ConfigError,
    ModelbayError,
)
from modelbay.host import select
from modelbay.host.choice import ModelChoice
from modelbay.host.configuration import (
    choose_default_provider,
    make_handle,
    read_providers,
    require_unique,
)
from modelbay.host.features import check_features, refuse
from modelbay.host.handles import ProviderHandle
from modelbay.host.ledger import Ledger
from modelbay.host.list_cache import ListCache
from modelbay.host.loader import Installed, Plugin, load_plugins
from modelbay.host.measuring import MEASURABLE, TOKENS_LIMIT, measure, subject_of
from modelbay.host.registry import Registry
from modelbay.host.resources import HostResources
from modelbay.host.roster import call_roll
from modelbay.host.streams import EventStream, Fold, errors_as_events
from modelbay.host.tools import call_tool, management_tools
from modelbay.host.watching import Watching
from modelbay.keys import KeyStore
from modelbay.models.capabilities import Capabilities, Measurement, Provenance
from modelbay.models.catalog import Catalog, CatalogChange, ModelInfo
from modelbay.models.chat import ChatRequest, ChatResult, Tool
from modelbay.models.events import StreamEvent, ToolCall
from modelbay.models.manage import Action, Done, ManageEvent
from modelbay.models.media import (
    CompleteRequest,
    EmbedRequest,
    EmbedResult,
    ImageRequest,
    ImageResult,
    RerankRequest,
    RerankResult,
)
from modelbay.models.provider import ProviderConfig
from modelbay.refs import ModelRef

if TYPE_CHECKING:
    import httpx2 as httpx

    from modelbay.state.store import StateStore

log = logging.getLogger("modelbay")

Errors = Literal["raise", "event"]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a model's capabilities are what they are.

    Attributes:
        voices: All that any layer says, the strongest first: field, value, origin.
    """

    ref: ModelRef
    capabilities: Capabilities
    voices: tuple[tuple[str, object, Provenance], ...]


class Host:
    """One bay for every model: ``async with Host.open() as host``.

    Make it with `open`. It belongs to the event loop it is first used in.
    """

    def __init__(
        self,
        *,
        file: ProvidersFile,
        also: Sequence[ProviderConfig] = (),
        places: Locations,
        env: Mapping[str, str],
        installed: Installed,
        resources: HostResources,
        clock: Callable[[], float],
        cache: ListCache | None = None,
        state: str | None = None,
    ) -> None:
        self.file = file
        self._state: StateStore | None = None
        self._state_place = state or places.data / "state.db"
        self.locations = places
        self.env = env
        self.installed = installed
        self._resources = resources
        self._clock = clock
        by_kind = {
            name: plugin
            for plugin in installed.plugins
            if plugin.state != "duplicate"
            for name in (plugin.kind, *plugin.aliases)
        }
        self.keys = KeyStore(places.data / "keys.json")
        self.roster = call_roll(file.providers, also, env, installed.plugins, by_kind, self.keys)
        problems = self.roster.problems
        handles = [
            ProviderHandle(config, problem=problems[config.id])
            if config.id in problems
            else make_handle(config, by_kind, resources)
            for config in self.roster.providers
        ]
        self.providers: tuple[ProviderHandle, ...] = tuple(handles)
        default_provider = choose_default_provider(file, handles)
        self.registry = Registry(
            handles,
            default_provider=default_provider,
            spawn=resources.task,
            clock=clock,
            cache=cache,
            ledger=Ledger(places.data),
        )
        self._choice = ModelChoice(
            self.registry,
            default_model=env.get("DEFAULT_MODEL") or file.default_model,
            default_provider=default_provider,
            favorites=self._favorites,
        )
        self._watching = Watching(self.registry, handles, resources.task)

    @classmethod
    def open(
        cls,
        *,
        providers: Sequence[ProviderConfig] | None = None,
        also: Sequence[ProviderConfig] = (),
        env: Mapping[str, str] | None = None,
        transport: "httpx.AsyncBaseTransport | None" = None,
        installed: Installed | None = None,
        clock: Callable[[], float] = time.monotonic,
        cache: bool = False,
        state: str | None = None,
    ) -> Self:
        """Read the configuration, load the plugins, ask each for its table. No network.

        Args:
            providers: Instead of the ones in ``providers.json``, which is then not read.
                Proposals of plugins still join, for kinds that are not among them.
            also: More of them; they win over those of the file with the same id.
            env: Instead of the process's environment.
            transport: The caller's own HTTP transport; it stays the caller's to close.
            installed: Plugins loaded earlier; several hosts may share them.
            cache: Begin with the lists of models that an earlier program left in the cache folder,
                and leave this one's there.
            state: The URL of the state store; a file in the data folder if ``None``, ``:memory:``
                for none at all.

        Raises:
            ConfigError: The configuration is malformed.
        """
        env = dict(os.environ if env is None else env)
        places = locations(env)
        if providers is None:
            file = read_providers(places.providers_file)
        else:
            file = ProvidersFile(providers=tuple(providers))
            require_unique(file.providers)
        if installed is None:
            installed = load_plugins(env, wrappers=file.wrappers)
        return cls(
            file=file,
            also=also,
            places=places,
            env=env,
            installed=installed,
            resources=HostResources(env, transport=transport, clock=clock),
            clock=clock,
            cache=ListCache(places.cache) if cache else None,
            state=state,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End what runs in the background and close every connection."""
        await self._resources.aclose()
        if self._state is not None:
            await self._state.aclose()

    # --- what there is ---------------------------------------------------------------------------

    @property
    def state(self) -> "StateStore":
        """Favourites, settings, models of conversations, history; opened at the first use."""
        if self._state is None:
            from modelbay.state.places import open_store  # what few programs need

            self._state = open_store(self._state_place)
        return self._state

    def _state_exists(self) -> bool:
        """Whether there is anything to read; a store that is only looked at is not made."""
        return not isinstance(self._state_place, Path) or self._state_place.exists()

    async def _favorites(self) -> tuple[str, ...]:
        if self._state is None and not self._state_exists():
            return ()
        try:
            return await self.state.favorites()
        except ConfigError as exc:  # a state file that is damaged takes them away, and no more
            log.warning("the favourites cannot be read: %s", exc)
            return ()

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        return self.installed.plugins

    @property
    def catalog(self) -> Catalog:
        """The models as last seen; never waits. `refresh` looks anew."""
        return self.registry.catalog

    async def refresh(
        self,
        provider_id: str | None = None,
        *,
        force: bool = False,
        stale_is_enough: bool = False,
    ) -> Catalog:
        """Look at the providers whose list is too old (all of them with ``force``).

        With ``stale_is_enough`` only those are waited for that have no good list at all;
        `registry.stale` names the others.

        Never raises for a provider that fails: it stands in the catalogue with its problem.

        Raises:
            UnknownProviderError: There is no such provider.
        """
        if provider_id is not None:
            self.registry.handle(provider_id)
        await self.registry.refresh(
            None if provider_id is None else [provider_id],
            force=force,
            stale_is_enough=stale_is_enough,
        )
        await self.registry.assemble()
        return self.registry.catalog

    async def resolve(
        self, model: ModelRef | str | None = None, *, task: select.Task = "chat"
    ) -> ModelInfo:
        """The model a turn goes to: the one named, else by the order of precedence.

        Args:
            task: What it is wanted for; the defaults people set are for chat.

        Raises:
            RoutingError: There is no such provider or model; the message says what was probed.
            BackendError: The model's provider could not be asked.
        """
        return await self._choice.resolve(str(model) if model else None, task)

    async def explain(self, model: ModelRef | str) -> Explanation:
        """Every layer's word on a model's capabilities."""
        info = await self.resolve(model)
        resolver = self.registry.handle(info.ref.provider_id).resolver
        assert resolver is not None  # the model was resolved with it
        return Explanation(
            ref=info.ref,
            capabilities=info.capabilities,
            voices=tuple(
                resolver.voices(self.registry.discovered(info), self.registry.measured(info))
            ),
        )

    def verify(
        self,
        model: ModelRef | str,
        *,
        fields: tuple[str, ...] = MEASURABLE,
        tokens_limit: int = TOKENS_LIMIT,
    ) -> EventStream[Measurement]:
        """Find out what a model can do by asking it; what is found is kept and counts at once.

        Sends a few small requests to the model, which may load it. It ranks below what the user
        says and above what the server says.

        Args:
            fields: Which; see `MEASURABLE`.
            tokens_limit: What finding out the context may cost in tokens.
        """
        stream: EventStream[Measurement] = EventStream()

        async def found() -> AsyncIterator[Measurement]:
            info = await self.resolve(model)
            stream.ref = info.ref
            backend = self.registry.handle(info.ref.provider_id).require()
            subject = subject_of(backend, info)
            async with closing(measure(subject, fields, tokens_limit=tokens_limit)) as measured:
                async for measurement in measured:
                    self.registry.note(info, [measurement])
                    yield measurement

        return stream.over(found())

    # --- what can be asked -----------------------------------------------------------------------

    def stream(
        self,
        request: ChatRequest,
        *,
        deadline_s: float | None = None,
        errors: Errors = "raise",
    ) -> EventStream[StreamEvent]:
        """Answer one chat turn, event by event; ends with `Finish`.

        Args:
            deadline_s: Seconds for the whole answer; ``None`` is without limit.
            errors: ``event`` ends a failed answer with an `ErrorEvent` instead of raising.
        """
        stream: EventStream[StreamEvent] = EventStream()
        events = self._listed(request, stream, deadline_s)
        if events is None:
            events = self._chat(request, stream, deadline_s)
        return stream.over(events if errors == "raise" else errors_as_events(events))

    async def chat(self, request: ChatRequest, *, deadline_s: float | None = None) -> ChatResult:
        """The whole answer at once."""
        fold = Fold()
        async with self.stream(request, deadline_s=deadline_s) as events:
            async for event in events:
                fold.add(event)
        assert events.ref is not None  # resolved before the first event
        return fold.result(events.ref)

    def complete(
        self,
        request: CompleteRequest,
        *,
        deadline_s: float | None = None,
        errors: Errors = "raise",
    ) -> EventStream[StreamEvent]:
        """Continue a raw prompt."""
        stream: EventStream[StreamEvent] = EventStream()

        async def answer() -> AsyncIterator[StreamEvent]:
            info, left_s = await self._resolved(request.model, deadline_s)
            stream.ref = info.ref
            backend = self.registry.handle(info.ref.provider_id).require()
            async with closing(backend.complete(request, info, left_s)) as events:
                async for event in events:
                    yield event

        return stream.over(answer() if errors == "raise" else errors_as_events(answer()))

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        """Vectors, in the order of the texts."""
        info = await self.resolve(request.model, task="embeddings")
        refuse(info, info.capabilities.embeddings, "embeddings")
        return await self.registry.handle(info.ref.provider_id).require().embed(request, info)

    async def rerank(self, request: RerankRequest) -> RerankResult:
        """Documents, the best first."""
        info = await self.resolve(request.model, task="rerank")
        refuse(info, info.capabilities.rerank, "rerank")
        return await self.registry.handle(info.ref.provider_id).require().rerank(request, info)

    async def generate_image(self, request: ImageRequest) -> ImageResult:
        """Images from a text."""
        info = await self.resolve(request.model, task="image_generation")
        refuse(info, info.capabilities.image_generation, "image generation")
        backend = self.registry.handle(info.ref.provider_id).require()
        return await backend.generate_image(request, info)

    def manage(
        self, provider_id: str, action: Action, *, deadline_s: float | None = None
    ) -> EventStream[ManageEvent]:
        """Do one management action; ends with its outcome.

        Raises:
            UnknownProviderError: There is no such provider.
            UnsupportedActionError: Its kind cannot; the hint says what to do instead.
        """
        backend = self.registry.handle(provider_id).require()
        stream: EventStream[ManageEvent] = EventStream()
        return stream.over(self._managed(provider_id, backend.manage(action, deadline_s)))

    def watch(self) -> EventStream[CatalogChange]:
        """What changes in the catalogue: models, their states, providers.

        While somebody watches, providers are looked at whenever their plugin says that something
        may have changed, else every few seconds. Endless: leave the ``async with`` block.
        """
        stream: EventStream[CatalogChange] = EventStream()
        return stream.over(self._watching.changes())

    def tools(self) -> list[Tool]:
        """Tools a model can call to look after models: `manage_models`, and one for each kind."""
        return management_tools(self.providers)

    async def call_tool(self, call: ToolCall) -> str:
        """Do what a model asked one of `tools` for; JSON text for the tool message.

        Raises:
            InvalidRequestError: It is none of `tools`.
        """
        catalog = await self.refresh()
        return await call_tool(call.name, call.arguments, self.providers, catalog, self.manage)

    async def _managed(
        self, provider_id: str, managed: AsyncIterator[ManageEvent]
    ) -> AsyncIterator[ManageEvent]:
        """The same events; what has changed on the server is looked at anew when it is wanted."""
        async with closing(managed) as events:
            async for event in events:
                if isinstance(event, Done):
                    self.registry.expire(provider_id)
                    # Also where this host keeps none: the next program may begin with one.
                    ListCache(self.locations.cache).forget(provider_id)
                yield event

    def _listed(
        self,
        request: ChatRequest,
        stream: EventStream[StreamEvent],
        deadline_s: float | None,
    ) -> AsyncIterator[StreamEvent] | None:
        """What `_chat` would give for a model that need not be looked for, without a step between.

        ``None`` also where that would raise: errors come when the answer is read.
        """
        info = self.registry.find(str(request.model)) if request.model else None
        if info is None:
            return None
        try:
            check_features(request, info)
            backend = self.registry.handle(info.ref.provider_id).require()
        except ModelbayError:
            return None
        stream.ref = info.ref
        return backend.stream_chat(request, info, deadline_s)

    async def _chat(
        self,
        request: ChatRequest,
        stream: EventStream[StreamEvent],
        deadline_s: float | None,
    ) -> AsyncIterator[StreamEvent]:
        info, deadline_s = await self._resolved(request.model, deadline_s)
        stream.ref = info.ref
        check_features(request, info)
        backend = self.registry.handle(info.ref.provider_id).require()
        async with closing(backend.stream_chat(request, info, deadline_s)) as events:
            async for event in events:
                yield event

    async def _resolved(
        self, model: ModelRef | str | None, deadline_s: float | None
    ) -> tuple[ModelInfo, float | None]:
        """The model, and what finding it has left of the deadline.

        Raises:
            BackendTimeoutError: It left nothing.
        """
        if deadline_s is None:
            return await self.resolve(model), None
        watchdog = Watchdog(total_s=deadline_s, what="looking for the model")
        began = self._clock()
        try:
            with watchdog:
                info = await self.resolve(model)
        finally:
            watchdog.close()
        return info, max(0.0, deadline_s - (self._clock() - began))
