"""Counts what goes through a gateway: its answers, and what it asks of providers."""

from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal, TypeAlias, TypeVar

from starlette.types import Message, Send

from modelbay.closing import closing
from modelbay.errors import ModelbayError
from modelbay.host.host import Errors, Host
from modelbay.host.streams import EventStream
from modelbay.models.chat import ChatRequest
from modelbay.models.events import (
    ErrorEvent,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from modelbay.models.media import (
    CompleteRequest,
    EmbedRequest,
    EmbedResult,
    ImageRequest,
    ImageResult,
    RerankRequest,
    RerankResult,
)
from modelbay.refs import ModelRef
from modelbay_gateway.bay import Bay

T = TypeVar("T")

Task: TypeAlias = Literal["chat", "complete", "embed", "rerank", "generate_image"]

# Seconds; from a model in memory on this machine to one that is loaded first.
BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
NOBODY = "none"  # the provider of a request that went to none

_ANSWER = frozenset((TextDelta, RefusalDelta, ReasoningDelta, ToolCallDelta, ToolCall))


class Histogram:
    """How often a value was at most each of `BOUNDS_S`."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(BOUNDS_S, value)] += 1
        self.total += value


class Meter:
    """Numbers since the gateway was started. Every label is of a small, closed set.

    Attributes:
        answers: By surface and status.
        asked: By provider, task and outcome: ``ok``, ``cancelled`` or an error's code.
        running: Requests a provider works on, by provider and task.
        tokens: By provider and direction.
        first_token: Seconds from asking a provider to the first of its answer.

    Args:
        clock: Seconds, only forward.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.answers: Counter[tuple[str, int]] = Counter()
        self.asked: Counter[tuple[str, Task, str]] = Counter()
        self.running: Counter[tuple[str, Task]] = Counter()
        self.tokens: Counter[tuple[str, Literal["input", "output"]]] = Counter()
        self.first_token: dict[str, Histogram] = {}

    def counted(self, send: Send, surface: str) -> Send:
        """The same ``send``; what it answers is counted for this surface."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.answers[surface, message["status"]] += 1
            await send(message)

        return sending

    def spent(self, provider: str, usage: Usage | None) -> None:
        if usage is not None:
            self.tokens[provider, "input"] += usage.input_tokens
            self.tokens[provider, "output"] += usage.output_tokens

    async def streamed(
        self, provider: str, task: Task, events: AsyncIterator[StreamEvent]
    ) -> AsyncIterator[StreamEvent]:
        """The same events, counted."""
        began, is_first = self.clock(), True
        usage: Usage | None = None
        outcome = "cancelled"
        self.running[provider, task] += 1
        try:
            async with closing(events) as inside:
                async for event in inside:
                    kind = type(event)
                    if kind in _ANSWER:
                        if is_first:
                            is_first = False
                            self._began_to_answer(provider, self.clock() - began)
                    elif type(event) is Usage:
                        usage = event
                    elif type(event) is Finish:
                        outcome = "ok" if event.reason != "error" else "backend_error"
                    elif type(event) is ErrorEvent:
                        outcome = event.code
                    yield event
        except ModelbayError as exc:
            outcome = exc.code
            raise
        finally:
            self._left(provider, task, outcome)
            self.spent(provider, usage)

    async def awaited(self, provider: str, task: Task, work: Awaitable[T]) -> T:
        """The same result, counted."""
        outcome = "cancelled"
        self.running[provider, task] += 1
        try:
            result = await work
            outcome = "ok"
        except ModelbayError as exc:
            outcome = exc.code
            raise
        finally:
            self._left(provider, task, outcome)
        return result

    def _began_to_answer(self, provider: str, after_s: float) -> None:
        found = self.first_token.get(provider)
        if found is None:
            found = self.first_token[provider] = Histogram()
        found.add(after_s)

    def _left(self, provider: str, task: Task, outcome: str) -> None:
        self.asked[provider, task, outcome] += 1
        self.running[provider, task] -= 1


class MeteredHost(Host):
    """A host that counts what it is asked; in everything else it is the host it is made of."""

    def __init__(self, host: Host, meter: Meter) -> None:
        self.__dict__ = host.__dict__  # one host, seen through two classes
        self.meter = meter

    def stream(
        self,
        request: ChatRequest,
        *,
        deadline_s: float | None = None,
        errors: Errors = "raise",
    ) -> EventStream[StreamEvent]:
        stream = super().stream(request, deadline_s=deadline_s, errors=errors)
        events = self.meter.streamed(self._provider(request.model), "chat", aiter(stream))
        return stream.over(events)

    def complete(
        self,
        request: CompleteRequest,
        *,
        deadline_s: float | None = None,
        errors: Errors = "raise",
    ) -> EventStream[StreamEvent]:
        stream = super().complete(request, deadline_s=deadline_s, errors=errors)
        events = self.meter.streamed(self._provider(request.model), "complete", aiter(stream))
        return stream.over(events)

    async def embed(self, request: EmbedRequest) -> EmbedResult:
        provider = self._provider(request.model)
        result = await self.meter.awaited(provider, "embed", super().embed(request))
        self.meter.spent(provider, result.usage)
        return result

    async def rerank(self, request: RerankRequest) -> RerankResult:
        provider = self._provider(request.model)
        return await self.meter.awaited(provider, "rerank", super().rerank(request))

    async def generate_image(self, request: ImageRequest) -> ImageResult:
        provider = self._provider(request.model)
        return await self.meter.awaited(provider, "generate_image", super().generate_image(request))

    def _provider(self, model: ModelRef | str | None) -> str:
        """The provider of a composite id; never a name that a client has made up."""
        prefix = str(model or "").partition("/")[0]
        return prefix if prefix in self.registry.provider_ids else NOBODY


def metered(bay: Bay) -> Meter:
    """Count what goes through this bay from now on; asked twice, it is one meter."""
    host = bay.host
    if not isinstance(host, MeteredHost):
        host = MeteredHost(host, Meter(bay.clock))
        bay.host = host
    return host.meter
