"""The registry: which models there are, refreshed without anybody waiting for the slowest."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence

from modelbay.errors import (
    AuthenticationError,
    BackendBusyError,
    BackendTimeoutError,
    ConfigError,
    ModelbayError,
    PluginContractError,
    PluginError,
    UnknownProviderError,
    WrongServerError,
    from_code,
)
from modelbay.host.assembly import Assembly, assemble_all
from modelbay.host.handles import ProviderHandle
from modelbay.host.ledger import Ledger
from modelbay.host.list_cache import ListCache
from modelbay.models.capabilities import Measurement
from modelbay.models.catalog import (
    Catalog,
    CatalogChange,
    DiscoveredModel,
    DiscoveredModels,
    ModelInfo,
    Problem,
    ProviderEntry,
    ProviderStatus,
)

log = logging.getLogger("modelbay")

TTL_S = 300.0
JITTER = 0.1  # part of the TTL, so that providers read together are not all read again together
FAILURE_TTL_S = 15.0
MOST_ANSWER_S = 0.1  # then the lists that are in are put together, while the others are waited for
BURST = 5_000  # models; they take some 10 ms to put together
GRACE_S = 0.1  # how long a cancelled look may take to end before it is left to itself

_NOTHING = DiscoveredModels((), ())


class _Shelf:
    """What is known of one provider."""

    __slots__ = (
        "flight",
        "found",
        "handle",
        "has_usable",
        "is_outdated",
        "models",
        "next_look",
        "problem",
        "read_at",
        "said",
        "status",
        "took_s",
        "with_stand_ins",
    )

    def __init__(self, handle: ProviderHandle) -> None:
        self.handle = handle
        self.models = self.with_stand_ins = Assembly(handle, _NOTHING, None)
        self.has_usable = False
        self.found = _NOTHING
        self.said: dict[str, DiscoveredModel] | None = None  # the same by name, once it is wanted
        self.status: ProviderStatus = "unknown"
        self.problem: ModelbayError | None = None
        self.read_at: float | None = None
        self.next_look = 0.0
        self.is_outdated = False  # what the look in flight is told may be of before a change
        self.took_s: float | None = None
        self.flight: asyncio.Task[None] | None = None


class Registry:
    """Immutable snapshots of all providers' models.

    A look at a provider is one flight that all who want it share; a waiter that gives up does not
    end it. A provider that fails keeps its last models. The snapshot is replaced whole, so that
    readers never wait and never see half of a merge.

    Args:
        clock: Seconds, only forward.
        spawn: Runs a flight as a task that the host owns.
        cache: Where lists of earlier programs lie, and where this one's go.
        ledger: What was measured of models.
        jitter: From 0 to 1; what part of `JITTER` a list's life is shortened by.
    """

    def __init__(
        self,
        handles: Iterable[ProviderHandle],
        *,
        default_provider: str | None,
        spawn: Callable[..., asyncio.Task[None]],
        clock: Callable[[], float] = time.monotonic,
        cache: ListCache | None = None,
        ledger: Ledger | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._spawn = spawn
        self._cache = cache
        self._ledger = ledger
        self._jitter = jitter
        self._default = default_provider
        self._shelves = {handle.id: _Shelf(handle) for handle in handles}
        for shelf in self._shelves.values():
            if shelf.handle.problem is not None:
                shelf.status, shelf.problem = "misconfigured", shelf.handle.problem
            else:
                self._restore(shelf)
        self.listener: Callable[[Sequence[CatalogChange]], None] | None = None
        self._generation = 0
        self._is_alone = True  # nobody has a usable model: stand-ins are listed
        self._listed = {id_: shelf.models for id_, shelf in self._shelves.items()}
        self._names: dict[str, tuple[Assembly, dict[str, ModelInfo]]] = {}
        self._statuses: dict[str, ProviderStatus] = {}
        self._merge(self._shelves.values())

    @property
    def catalog(self) -> Catalog:
        """All providers as known now, with their ages; never waits."""
        assemble_all(self._listed.values())
        return Catalog.assembled(
            {
                "providers": tuple([self._entry(shelf) for shelf in self._shelves.values()]),
                "default_provider": self._default,
                "generation": self._generation,
            }
        )

    def find(self, composite: str) -> ModelInfo | None:
        """The listed model of this composite id or alias. The hot path: look-ups alone."""
        provider_id, _, name = composite.partition("/")  # an id holds no slash, a name may
        listed = self._listed.get(provider_id)
        if listed is None:
            return None
        known = self._names.get(provider_id)
        if known is None or known[0] is not listed:
            known = self._names[provider_id] = (listed, _names(listed.models()))
        return known[1].get(name)

    def handle(self, provider_id: str) -> ProviderHandle:
        """Raises UnknownProviderError."""
        shelf = self._shelves.get(provider_id)
        if shelf is None:
            known = ", ".join(self._shelves) or "none"
            raise UnknownProviderError(
                f"there is no provider '{provider_id}' (known: {known})", hint="modelbay doctor"
            )
        return shelf.handle

    def expire(self, provider_id: str) -> None:
        """The next `refresh` looks at this provider, however young its list is.

        A look that is in flight may have been answered before the change: one more follows it.
        """
        shelf = self._shelves[provider_id]
        shelf.next_look = 0.0
        shelf.is_outdated = shelf.flight is not None

    @property
    def provider_ids(self) -> tuple[str, ...]:
        """Every configured and every proposed provider, hidden ones too."""
        return tuple(self._shelves)

    def models_of(self, provider_id: str) -> tuple[ModelInfo, ...]:
        listed = self._listed.get(provider_id)
        return () if listed is None else listed.models()

    def discovered(self, model: ModelInfo) -> DiscoveredModel:
        """What the plugin said of it; of a model that is not listed, its name alone."""
        shelf = self._shelves[model.ref.provider_id]
        wire_id = model.ref.wire_id
        if shelf.said is None:
            shelf.said = dict(zip(shelf.found.wire_ids, shelf.found.said, strict=True))
        said = shelf.said.get(wire_id)
        return DiscoveredModel(wire_id=wire_id) if said is None else said.called(wire_id)

    def measured(self, model: ModelInfo) -> tuple[Measurement, ...]:
        """What was measured of it."""
        if self._ledger is None:
            return ()
        return self._ledger.read(model.ref, self.discovered(model))

    def note(self, model: ModelInfo, measurements: Sequence[Measurement]) -> None:
        """Keep measurements of a model; they count at once.

        Raises:
            ConfigError: They cannot be kept.
        """
        shelf = self._shelves[model.ref.provider_id]
        self._listed[shelf.handle.id].models()  # as they are before this is known
        if self._ledger is not None:
            self._ledger.write(model.ref, self.discovered(model), measurements)
        self._shelve(shelf, shelf.found)
        self._merge([shelf])

    def problem_of(self, provider_id: str) -> ModelbayError | None:
        return self._shelves[provider_id].problem

    @property
    def stale(self) -> tuple[str, ...]:
        """The providers that have a good list which is too old."""
        now = self._clock()
        return tuple(
            provider_id
            for provider_id, shelf in self._shelves.items()
            if shelf.status == "ok" and now >= shelf.next_look
        )

    async def refresh(
        self,
        provider_ids: Sequence[str] | None = None,
        *,
        force: bool,
        stale_is_enough: bool = False,
    ) -> None:
        """Look at these providers (all by default) side by side, if their last look is too old.

        With ``stale_is_enough`` a list that is too old is not waited for: see `stale`.
        Takes as long as the slowest healthy one, and never longer than the largest
        `probe_timeout_s`. Failures end up in the catalogue, not here.
        """
        now = self._clock()
        flights = []
        for provider_id in self._shelves if provider_ids is None else provider_ids:
            shelf = self._shelves[provider_id]
            if shelf.handle.backend is None:
                continue
            due = now >= shelf.next_look and not (stale_is_enough and shelf.status == "ok")
            if shelf.flight is None and (force or due):
                shelf.flight = self._spawn(self._fly(shelf))
            if shelf.flight is not None:
                flights.append(shelf.flight)
        if not flights:
            return
        _, late = await asyncio.wait(flights, timeout=MOST_ANSWER_S)
        if late:
            await self.assemble()  # nobody has to wait for that afterwards
            await asyncio.wait(late)

    async def assemble(self) -> None:
        """Make the models of all lists, and let others have their turns in between."""
        burst: list[Assembly] = []
        size = 0
        for listed in tuple(self._listed.values()):
            if not listed.is_waiting:
                continue
            burst.append(listed)
            size += len(listed)
            if size >= BURST:
                assemble_all(burst)
                burst.clear()
                size = 0
                await asyncio.sleep(0)
        assemble_all(burst)

    async def _fly(self, shelf: _Shelf) -> None:
        try:
            shelf.is_outdated = False
            await self._look(shelf)
            if shelf.is_outdated:
                shelf.is_outdated = False
                await self._look(shelf)
        finally:
            shelf.flight = None

    async def _look(self, shelf: _Shelf) -> None:
        backend = shelf.handle.require()
        limit_s = shelf.handle.config.probe_timeout_s
        began = self._clock()
        answer = asyncio.get_running_loop().create_task(backend.discover_models())
        try:
            done, _ = await asyncio.wait({answer}, timeout=limit_s)
            if not done:
                answer.cancel()
                # A plugin that swallows its cancellation must not hold up the others.
                await asyncio.wait({answer}, timeout=GRACE_S)
                answer.add_done_callback(_forget)
                raise BackendTimeoutError(
                    f"provider '{shelf.handle.id}' did not list its models within {limit_s:g} s",
                    provider_id=shelf.handle.id,
                    hint=f'raise "probeTimeoutS" of "{shelf.handle.id}", or see modelbay doctor',
                )
            self._keep(shelf, answer.result())
        except asyncio.CancelledError:
            if not answer.cancelled():  # it is the host that closes
                answer.cancel()
                raise
            self._fail(
                shelf,
                PluginContractError(
                    f"plugin '{shelf.handle.kind}': discover_models cancelled itself",
                    provider_id=shelf.handle.id,
                    hint="this is a fault of the plugin; report it to its author",
                ),
            )
        except ModelbayError as exc:
            self._fail(shelf, exc)
        finally:
            shelf.took_s = self._clock() - began
        self._merge([shelf])

    def _keep(self, shelf: _Shelf, found: DiscoveredModels) -> None:
        self._shelve(shelf, found)
        loading = len(found) > 0 and all(model.state == "loading" for model in found.said)
        shelf.status, shelf.problem = ("loading" if loading else "ok"), None
        shelf.read_at = self._clock()
        life_s = FAILURE_TTL_S if loading else TTL_S * (1 - JITTER * self._jitter())
        shelf.next_look = shelf.read_at + life_s
        self._remember(shelf)

    def _shelve(self, shelf: _Shelf, found: DiscoveredModels) -> None:
        shelf.found, shelf.said = found, None
        kinds = found.distinct()
        shelf.has_usable = any(m.state != "failed" and m.origin != "stand_in" for m in kinds)
        shelf.models = shelf.with_stand_ins = Assembly(shelf.handle, found, self._ledger)
        if any(model.origin == "stand_in" for model in kinds):
            usual, both = _sorted_out(found)
            shelf.models = Assembly(shelf.handle, usual, self._ledger)
            shelf.with_stand_ins = Assembly(shelf.handle, both, self._ledger)

    def _restore(self, shelf: _Shelf) -> None:
        """Begin with what an earlier program knew."""
        if self._cache is None or not _lasts(shelf.handle):
            return
        known = self._cache.load(shelf.handle.config, shelf.handle.version)
        if known is None:
            return
        now = self._clock()
        if known.age_s is not None:
            self._shelve(shelf, DiscoveredModels.of(known.models))
            shelf.status, shelf.read_at = "ok", now - known.age_s
            shelf.next_look = shelf.read_at + TTL_S
        if known.problem is not None and known.failed_s is not None:
            shelf.problem = from_code(
                known.problem.code,
                known.problem.message,
                provider_id=shelf.handle.id,
                hint=known.problem.hint,
            )
            shelf.status = _status(shelf.problem, had_models=known.age_s is not None)
            shelf.next_look = now - known.failed_s + FAILURE_TTL_S

    def _remember(self, shelf: _Shelf) -> None:
        if self._cache is None or not _lasts(shelf.handle):
            return
        self._cache.keep(
            shelf.handle.config,
            shelf.handle.version,
            tuple(shelf.found),
            age_s=None if shelf.read_at is None else self._clock() - shelf.read_at,
            problem=_problem(shelf.problem),
        )

    def _fail(self, shelf: _Shelf, exc: ModelbayError) -> None:
        log.debug("provider '%s': %s", shelf.handle.id, exc)
        exc.__traceback__ = None  # kept for long; its frames hold requests
        shelf.problem = exc
        shelf.status = _status(exc, had_models=shelf.read_at is not None)
        shelf.next_look = self._clock() + FAILURE_TTL_S
        self._remember(shelf)

    def _merge(self, looked_at: Iterable[_Shelf]) -> None:
        """Make the next snapshot. Stand-ins are listed only if there is no other usable model."""
        shelves = self._shelves.values()
        alone = not any(shelf.has_usable for shelf in shelves)
        if alone is not self._is_alone:
            self._is_alone, looked_at = alone, shelves
        before = self._listed
        listed = before.copy()
        statuses: dict[str, ProviderStatus] = {}
        for shelf in looked_at:
            listed[shelf.handle.id] = shelf.with_stand_ins if alone else shelf.models
            self._names.pop(shelf.handle.id, None)
            statuses[shelf.handle.id] = shelf.status
        self._listed = listed
        self._generation += 1
        known, self._statuses = self._statuses, self._statuses | statuses
        if self.listener is not None:
            changes = [*_changes(before, listed), *_turns(known, statuses)]
            if changes:
                self.listener(changes)

    def _entry(self, shelf: _Shelf) -> ProviderEntry:
        config = shelf.handle.config
        now = self._clock()
        can_look = shelf.handle.backend is not None and shelf.next_look != 0.0
        is_unknown = shelf.read_at is None and not _is_the_users_fault(shelf)
        return ProviderEntry.assembled(
            {
                "id": config.id,
                "label": config.name,
                "kind": shelf.handle.kind,
                "status": shelf.status,
                "problem": _problem(shelf.problem),
                "models": self._listed[config.id].models(),
                "age_s": None if shelf.read_at is None else max(0.0, now - shelf.read_at),
                "took_s": shelf.took_s,
                "next_look_s": max(0.0, shelf.next_look - now) if can_look else None,
                "implicit": config.implicit,
                "hidden": config.implicit and is_unknown,
                "base_url": config.base_url,
            }
        )


def _is_the_users_fault(shelf: _Shelf) -> bool:
    """A variable of theirs is wrong: nothing would be found, and nobody would know why."""
    named = shelf.handle.config.source == "environment"
    return named and isinstance(shelf.problem, ConfigError)


def _status(exc: ModelbayError, *, had_models: bool) -> ProviderStatus:
    match exc:
        case BackendBusyError():
            return "loading"
        case ConfigError() | PluginError() | WrongServerError() | AuthenticationError():
            return "misconfigured"
        case _:
            return "stale" if had_models else "down"


def _names(models: tuple[ModelInfo, ...]) -> dict[str, ModelInfo]:
    """Every name that means a model of one provider; an alias never hides a name."""
    found = {model.ref.wire_id: model for model in models}
    for model in models:
        for alias in model.aliases:
            found.setdefault(alias, model)
    return found


def _sorted_out(found: DiscoveredModels) -> tuple[DiscoveredModels, DiscoveredModels]:
    """Without the stand-ins, and with them behind all others."""
    usual: list[DiscoveredModel] = []
    stand_ins: list[DiscoveredModel] = []
    for model in found:
        (stand_ins if model.origin == "stand_in" else usual).append(model)
    return DiscoveredModels.of(usual), DiscoveredModels.of([*usual, *stand_ins])


def _changes(before: dict[str, Assembly], now: dict[str, Assembly]) -> Iterable[CatalogChange]:
    for provider_id, listed in now.items():
        if before[provider_id] is listed:
            continue
        earlier = {model.ref.wire_id: model for model in before[provider_id].models()}
        for model in listed.models():
            known = earlier.pop(model.ref.wire_id, None)
            if known != model:
                yield CatalogChange(
                    type="added" if known is None else "changed",
                    provider_id=provider_id,
                    id=model.id,
                    state=model.state,
                )
        for model in earlier.values():
            yield CatalogChange(type="removed", provider_id=provider_id, id=model.id)


def _turns(
    before: dict[str, ProviderStatus], now: dict[str, ProviderStatus]
) -> Iterable[CatalogChange]:
    for provider_id, status in now.items():
        if before[provider_id] != status:
            yield CatalogChange(type="provider", provider_id=provider_id, status=status)


def _lasts(handle: ProviderHandle) -> bool:
    """Its list says something to another program too."""
    return handle.table is not None and not handle.table.lives_with_host


def _problem(exc: ModelbayError | None) -> Problem | None:
    return None if exc is None else Problem(code=exc.code, message=exc.message, hint=exc.hint)


def _forget(answer: asyncio.Task[DiscoveredModels]) -> None:
    """Take the result of a look nobody waits for, so that its error is not reported as lost."""
    if not answer.cancelled():
        answer.exception()
