"""What every route may use: the host, the state, the limits."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from modelbay.errors import BackendBusyError, UnknownModelError
from modelbay.host.host import Host
from modelbay.host.select import Task, unknown
from modelbay.host.streams import EventStream, Fold
from modelbay.models.catalog import Catalog, ModelInfo, ModelState
from modelbay.models.chat import ChatRequest, ChatResult
from modelbay.models.events import Notice, Status, StreamEvent
from modelbay.models.manage import Action, ManageEvent
from modelbay.models.media import (
    CompleteRequest,
    EmbedRequest,
    EmbedResult,
    ImageRequest,
    ImageResult,
    RerankRequest,
    RerankResult,
)
from modelbay_gateway.admission import Admission
from modelbay_gateway.limits import Limits
from modelbay_gateway.loading import LoadingTimes
from modelbay_gateway.metering import Meter, Question
from modelbay_gateway.metering import Task as Asked
from modelbay_gateway.style import Style

if TYPE_CHECKING:
    from modelbay.state.store import StateStore
    from modelbay_gateway.call import Interruptible

T = TypeVar("T")

# A server that is asked something may load the model by itself. Where a state is not even known,
# as of hosted models, a look after the turn would tell nothing.
_NOT_LOADED: frozenset[ModelState] = frozenset(
    ("unloaded", "downloading", "loading", "unloading", "failed")
)
# What may come before anything of the answer does, while a model is being loaded: an answer that
# fails after them alone can still fail with a status.
BEFORE_ANSWER = frozenset((Status, Notice))


class Bay:
    """One gateway's parts. Made once, handed to every surface.

    Args:
        host: Opened and closed by the caller.
        store: Favourites, settings, models of conversations; ``None`` remembers nothing.
        clock: Seconds, only forward.
        wall_clock: Seconds since 1970.
    """

    def __init__(
        self,
        host: Host,
        *,
        store: "StateStore | None" = None,
        limits: Limits | None = None,
        style: Style | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.host = host
        self.store = store
        self.limits = limits or Limits()
        self.style = style or Style()
        self.admission = Admission(self.limits)
        self.clock = clock
        self.meter = Meter(clock)
        self.loading = LoadingTimes(lambda: self.clock())  # the one of now, if it was replaced
        self.wall_clock = wall_clock
        self.started_at = int(wall_clock())  # models have no date of their own
        self.answers: set[Interruptible] = set()  # that clients wait for
        self.feeds: set[Interruptible] = set()  # those of them that go on until they are ended
        self.settings_changed: set[asyncio.Event] = set()  # one of each feed
        self.default_provider = host.catalog.default_provider  # bare names belong to it
        self._looking: asyncio.Task[Catalog] | None = None
        self._looks: set[asyncio.Task[Catalog]] = set()  # at one provider each
        self._has_looked = False

    # --- the catalogue ---------------------------------------------------------------------------

    async def catalog(self) -> Catalog:
        """The models as known now; waits for providers the first time only, and not for long.

        A list that is too old is renewed behind the answer, so that a dead provider delays nobody.
        """
        look = self._look()
        if not self._has_looked:
            await asyncio.wait([look], timeout=self.limits.first_look_s)
            self._has_looked = True
        return self.host.catalog

    def look_ahead(self) -> None:
        """Begin to look at the providers, so that the first request need not."""
        self._look()

    def _look(self) -> "asyncio.Task[Catalog]":
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self.host.refresh())
        return self._looking

    def look_again(self, model: ModelInfo) -> None:
        """Look at the provider of a model that was not loaded when a turn went to it.

        At once if somebody watches the catalogue, else when it is wanted next; not at all if it is
        known by now that the model is loaded.
        """
        registry = self.host.registry
        known = registry.find(model.id)
        if known is None or known.state not in _NOT_LOADED:
            return
        provider_id = model.ref.provider_id
        registry.expire(provider_id)
        if registry.listener is not None:
            look = asyncio.get_running_loop().create_task(self.host.refresh(provider_id))
            self._looks.add(look)
            look.add_done_callback(self._looks.discard)

    # --- which model is meant --------------------------------------------------------------------

    def listed(self, text: str) -> ModelInfo | None:
        """The listed model of this id: composite, alias, or a bare name (S0-31).

        A bare name is the default provider's, else that of the one provider that lists it.

        Raises:
            UnknownModelError: Several providers list it, and none of them is the default.
        """
        registry = self.host.registry
        found = registry.find(text)
        if found is not None:
            return found
        ids = registry.provider_ids
        prefix, slash, _ = text.partition("/")
        if slash and prefix in ids:
            return None
        default = self.default_provider
        found = registry.find(f"{default}/{text}") if default else None
        if found is not None:
            return found
        several = [model for each in ids if (model := registry.find(f"{each}/{text}"))]
        if len(several) > 1:
            names = " or ".join(model.id for model in several)
            raise UnknownModelError(
                f"'{text}' could be any of {len(several)} models",
                model=text,
                hint=f"write {names}",
            )
        return several[0] if several else None

    async def find(self, text: str | None, *, task: Task = "chat") -> ModelInfo:
        """The model a request goes to; ``None`` and an empty text leave it to the defaults.

        Raises:
            RoutingError: There is no such provider or model.
            BackendError: The model's provider could not be asked.
        """
        if not text:
            return await self.host.resolve(None, task=task)
        found = self.listed(text)
        if found is None and not self._has_looked:
            await self.catalog()
            found = self.listed(text)
        return found or await self.host.resolve(text, task=task)

    async def known(self, text: str) -> ModelInfo:
        """A model of the list, and no other: nothing is asked of a server by name.

        Raises:
            UnknownModelError: It is not listed; the hint names some that look alike.
        """
        catalog = await self.catalog()
        found = self.listed(text)
        if found is None:
            raise unknown(text, catalog)
        return found

    async def turn(
        self, conversation_id: str | None, requested: str | None, *, persist: bool = True
    ) -> str | None:
        """The id a turn goes to: the request's, else its conversation's (S2-14 to S2-16)."""
        if self.store is None or not conversation_id:
            return requested
        return (await self.store.turn(conversation_id, requested, persist=persist)).model

    # --- asking ----------------------------------------------------------------------------------

    def chat(self, model: ModelInfo, request: ChatRequest, client: str) -> "Asking":
        """One chat turn at its provider, as soon as there is a place; errors are raised.

        Args:
            client: Who asks; places go round the clients.
        """
        if request.model != model.id:
            request = ChatRequest.assembled({**vars(request), "model": model.id})
        return Asking(self, model, "chat", client, partial(self.host.stream, request))

    async def chat_result(self, model: ModelInfo, request: ChatRequest, client: str) -> ChatResult:
        """The same, folded into one result."""
        return await _folded(self.chat(model, request, client), model)

    def complete(self, model: ModelInfo, request: CompleteRequest, client: str) -> "Asking":
        """Continue a raw prompt."""
        request = request.model_copy(update={"model": model.id})
        return Asking(self, model, "complete", client, partial(self.host.complete, request))

    async def complete_result(
        self, model: ModelInfo, request: CompleteRequest, client: str
    ) -> ChatResult:
        """The same, folded into one result."""
        return await _folded(self.complete(model, request, client), model)

    async def embed(self, model: ModelInfo, request: EmbedRequest, client: str) -> EmbedResult:
        request = request.model_copy(update={"model": model.id})
        return await self._answered(model, "embed", client, partial(self.host.embed, request))

    async def rerank(self, model: ModelInfo, request: RerankRequest, client: str) -> RerankResult:
        request = request.model_copy(update={"model": model.id})
        return await self._answered(model, "rerank", client, partial(self.host.rerank, request))

    async def generate_image(
        self, model: ModelInfo, request: ImageRequest, client: str
    ) -> ImageResult:
        request = request.model_copy(update={"model": model.id})
        ask = partial(self.host.generate_image, request)
        return await self._answered(model, "generate_image", client, ask)

    async def _answered(
        self, model: ModelInfo, task: Asked, client: str, ask: Callable[[], Awaitable[T]]
    ) -> T:
        provider_id = model.ref.provider_id
        async with self.admission.place(provider_id, client):
            question = Question(self.meter, provider_id, task)
            try:
                result = await ask()
            except BaseException as exc:
                question.ended(exc)
                raise
            finally:
                if model.state in _NOT_LOADED:
                    self.look_again(model)
            question.outcome = "ok"
            question.usage = getattr(result, "usage", None)
            question.ended()
            return result

    # --- managing --------------------------------------------------------------------------------

    @asynccontextmanager
    async def manage(
        self, provider_id: str, action: Action, client: str
    ) -> AsyncIterator[EventStream[ManageEvent]]:
        """One management action at its provider, if not too many are at work there."""
        with self.admission.action(provider_id, client):
            async with self.host.manage(provider_id, action) as events:
                yield events

    # --- the end ---------------------------------------------------------------------------------

    def end_feeds(self) -> None:
        """End what has no end of its own: nobody waits for it at a stop."""
        for feed in tuple(self.feeds):
            feed.interrupt(_going())

    def interrupt(self) -> None:
        """End all that still runs for clients, each with an error its client understands."""
        for answer in tuple(self.answers):
            answer.interrupt(_going())

    async def aclose(self) -> None:
        """End what runs in the background; the host stays the caller's to close."""
        looks = [*self._looks, *([] if self._looking is None else [self._looking])]
        running = [look for look in looks if not look.done()]
        for look in running:
            look.cancel()
        if running:
            await asyncio.wait(running)


class Asking:
    """One question whose answer is streamed: ``async with bay.chat(...) as events``.

    It holds its place at the provider, and is counted, for as long as the block runs. Whoever reads
    the events shows it each one: ``asking.saw(event)``.
    """

    __slots__ = (
        "_bay",
        "_client",
        "_cold",
        "_open",
        "_provider_id",
        "_question",
        "_stream",
        "_task",
        "saw",
    )

    def __init__(
        self,
        bay: Bay,
        model: ModelInfo,
        task: Asked,
        client: str,
        opened: Callable[[], EventStream[StreamEvent]],
    ) -> None:
        self._bay = bay
        self._client = client
        self._task: Asked = task
        self._provider_id = model.ref.provider_id
        self._cold = model if model.state in _NOT_LOADED else None  # until it was looked at again
        self._open = opened

    async def __aenter__(self) -> EventStream[StreamEvent]:
        bay, provider_id = self._bay, self._provider_id
        await bay.admission.enter(provider_id, self._client)
        self._question = question = Question(bay.meter, provider_id, self._task)
        self.saw = question.saw if self._cold is None else self._saw_when_cold
        try:
            self._stream = self._open()
        except BaseException as exc:
            self._left(exc)
            raise
        return self._stream

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._left(error)

    def _left(self, error: BaseException | None) -> None:
        self._question.ended(error)
        self._bay.admission.leave(self._provider_id)
        if self._cold is not None:
            self._look_again(self._cold)

    def _saw_when_cold(self, event: StreamEvent) -> None:
        self._question.saw(event)
        if self._cold is not None and type(event) not in BEFORE_ANSWER:
            self._look_again(self._cold)

    def _look_again(self, cold: ModelInfo) -> None:
        self._cold = None
        self.saw = self._question.saw
        self._bay.look_again(cold)


async def _folded(asking: Asking, model: ModelInfo) -> ChatResult:
    fold = Fold()
    async with asking as events:
        async for event in events:
            asking.saw(event)
            fold.add(event)
    return fold.result(model.ref)


def _going() -> BackendBusyError:
    return BackendBusyError("the gateway is shutting down", hint="send the request again")
