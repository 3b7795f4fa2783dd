"""Patience: what a request without an answer waits for, and a model whose places are taken."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import anyio

from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import BackendBusyError, BackendError
from modelbay.models.catalog import ModelInfo
from modelbay.models.events import Status, StatusState, StreamEvent
from modelbay_llamaswap import config
from modelbay_llamaswap.inventory import Running, list_running
from modelbay_llamaswap.memory import memory
from modelbay_llamaswap.wire import TOO_MANY, VIRTUAL

T = TypeVar("T")

PAUSE_S = 1.0  # what Retry-After says where it is said at all (v227)
_LEAST_PAUSE_S = 0.25  # some proxies say 0, which is no pause
_LOOK_S = 2.0
NOT_READY = ("unloaded", "loading", "unloading", "failed")


def is_virtual(model: ModelInfo) -> bool:
    """Whether no process goes by this name: a peer's model, a selector, a pin of a profile."""
    return model.details.get("type") in VIRTUAL


class Watch:
    """What one request waits for before its answer begins, as `Status` events.

    `/running` is asked, which llama-swap answers at any time. It says that a model is starting
    since v218; an older one lists a model when it is ready, so until then nothing new is told.
    """

    def __init__(self, provider: ProviderContext, model: ModelInfo) -> None:
        self._provider = provider
        known = memory(provider)
        self._wire_id = known.real_id(model.wire_id)
        self._is_listed = model.wire_id in known.real_ids
        self._shown: Status | None = None
        self._blind = is_virtual(model)

    def at_once(self, model: ModelInfo) -> list[Status]:
        """What the last look at the provider lets expect."""
        if self._blind or model.state not in NOT_READY:
            return []
        return self._told(Status("loading"))

    async def look(self) -> list[Status]:
        """What is new; nothing where nothing can be learnt."""
        if self._blind:
            return []
        try:
            running = await list_running(self._provider, deadline_s=_LOOK_S)
        except BackendError:
            return []  # the request itself will meet the same server
        if not running.known:
            self._blind = True
            return []
        status = self._status(running)
        return [] if status is None else self._told(status)

    def _status(self, running: Running) -> Status | None:
        entry = running.entries.get(self._wire_id)
        state: StatusState
        if entry is None:
            if not self._is_listed:
                return None  # a peer's model by its bare name never runs here
            names = ", ".join(f"'{other}'" for other in running.entries)
            state, message = "loading", f"llama-swap starts '{self._wire_id}'"
            if names:
                state, message = "queued", f"not started yet; {names} may have to make room"
        elif entry.is_ready:
            state, message = "processing", f"'{self._wire_id}' is ready and reads the prompt"
        elif entry.state == "stopping":
            state, message = "queued", f"'{self._wire_id}' stops first, and is started again"
        else:
            state, message = "loading", f"llama-swap starts '{self._wire_id}'"
        return Status(state, message=message)

    def _told(self, status: Status) -> list[Status]:
        if status == self._shown:
            return []
        self._shown = status
        return [status]


class Turns:
    """How long one request may be repeated while its model has no place for it.

    llama-swap refuses what is over a model's ``concurrencyLimit`` at once, waiting requests
    counted (trap 13). The limit is `busy_wait_s`, or a shorter one the provider has for whole
    requests or first bytes.
    """

    def __init__(self, provider: ProviderContext) -> None:
        limits = (
            config.options(provider).busy_wait_s,
            provider.config.request_timeout_s,
            provider.config.first_byte_timeout_s,
        )
        self._clock = provider.resources.monotonic
        self._until = self._clock() + min(limit for limit in limits if limit is not None)

    async def pause(self, exc: BackendBusyError) -> None:
        """Sleep before the next try.

        Raises:
            BackendBusyError: The one given: it is another trouble, or its time is up.
        """
        left_s = self._until - self._clock()
        if TOO_MANY not in exc.message or left_s <= 0:
            raise exc
        pause_s = PAUSE_S if exc.retry_after_s is None else exc.retry_after_s
        await anyio.sleep(min(max(pause_s, _LEAST_PAUSE_S), left_s))


async def patiently(provider: ProviderContext, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again as long as the model has no place.

    Raises:
        BackendBusyError: It still had none when the time was up.
    """
    turns = Turns(provider)
    while True:
        try:
            return await ask()
        except BackendBusyError as exc:
            busy = exc
        await turns.pause(busy)


async def attempts(
    provider: ProviderContext, start: Callable[[], AsyncIterator[StreamEvent]]
) -> AsyncIterator[StreamEvent]:
    """The events of the first try that finds a place; nothing of an answer comes before it."""
    turns = Turns(provider)
    told = False
    while True:
        answered = False
        events = start()
        try:
            async with closing(events):
                async for event in events:
                    answered = answered or not isinstance(event, Status)
                    yield event
            return
        except BackendBusyError as exc:
            if answered or TOO_MANY not in exc.message:
                raise
            busy = exc
        if not told:
            told = True
            yield Status("queued", message="all places of the model are taken")
        await turns.pause(busy)
