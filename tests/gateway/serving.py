"""A gateway on a real socket, in a thread of its own, for clients of every sort."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar

import pretend
from modelbay.host.host import Host
from modelbay.models.capabilities import Facts
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, StreamEvent, TextDelta
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
from modelbay.state.store import StateStore
from modelbay_gateway.app import Gateway
from modelbay_gateway.bay import Bay
from modelbay_gateway.limits import Limits
from modelbay_gateway.security import Access
from modelbay_gateway.server import Server, address_of, listen, new_event_loop
from modelbay_gateway.style import Style

T = TypeVar("T")

WAIT_S = 30.0

Reply = Sequence[StreamEvent] | Callable[[ChatRequest], AsyncIterator[StreamEvent]]

HELLO: Sequence[StreamEvent] = (TextDelta("Hel"), TextDelta("lo"), Finish("stop"))


class Served:
    """A running gateway.

    Attributes:
        base_url: Without a path.
        bay: Belongs to the loop of the server; ask it through `ask`.
    """

    def __init__(self, bay: Bay, server: Server, listening: socket.socket) -> None:
        self.bay = bay
        self.server = server
        self.base_url = address_of(listening)
        self.port: int = listening.getsockname()[1]
        self.loop = new_event_loop()
        self._listening = listening
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gateway")
        self._failure: BaseException | None = None
        self.left_over: list[str] = []

    def ask(self, work: Coroutine[Any, Any, T]) -> T:
        """Run this in the server's loop and give its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(WAIT_S)

    def start(self) -> None:
        self._thread.start()
        self._started.wait(WAIT_S)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """As Ctrl-C does, and wait for the end."""
        with contextlib.suppress(RuntimeError):  # its loop is closed: a test has stopped it before
            self.loop.call_soon_threadsafe(setattr, self.server, "should_exit", True)
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure
        assert self.left_over == []

    def started(self) -> None:
        self._started.set()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                runner.run(self._serve())
        except BaseException as exc:
            self._failure = exc
        finally:
            self._started.set()

    async def _serve(self) -> None:
        async with self.bay.host:
            await self.server.serve(sockets=[self._listening])
            for _ in range(20):
                await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        self.left_over = [repr(task) for task in left]


@contextmanager
def serve(
    host: Host,
    *,
    limits: Limits | None = None,
    access: Access | None = None,
    style: Style | None = None,
    store: StateStore | None = None,
) -> Iterator[Served]:
    """A gateway over this host, which it closes."""
    bay = Bay(host, store=store, limits=limits, style=style)
    with listen("127.0.0.1", 0) as listening:
        served: list[Served] = []
        server = Server(Gateway(bay, access), on_started=lambda: served[0].started())
        served.append(Served(bay, server, listening))
        served[0].start()
        try:
            yield served[0]
        finally:
            served[0].stop()


def acme(
    reply: Reply = HELLO,
    *,
    seen: list[ChatRequest] | None = None,
    models: Sequence[str] = ("m",),
    **hooks: Callable[..., object],
) -> ModuleType:
    """A pretended plugin that answers with these events, and notes what it was asked."""

    async def stream_chat(request: ChatRequest, model: ModelInfo) -> AsyncIterator[StreamEvent]:
        if seen is not None:
            seen.append(request)
        if callable(reply):
            async for event in reply(request):
                yield event
        else:
            for event in reply:
                yield event

    return pretend.plugin(
        stream_chat=stream_chat, **{"discover_models": pretend.lists(*models), **hooks}
    )


def desk(module: ModuleType, *more: ProviderConfig, env: Mapping[str, str] | None = None) -> Host:
    """A host with one provider, ``desk``, of this plugin, and perhaps others of the same."""
    return pretend.host([pretend.config(), *more], acme=module, env=env)


def media() -> ModuleType:
    """A pretended plugin that does everything but chat well."""

    async def discover_models() -> list[DiscoveredModel]:
        return [
            DiscoveredModel(wire_id="m"),
            DiscoveredModel(wire_id="embed", facts=Facts(embeddings=True)),
        ]

    async def embed(request: EmbedRequest) -> EmbedResult:
        return EmbedResult(vectors=[[float(len(text)), 0.5, -1.25] for text in request.input])

    async def rerank(request: RerankRequest) -> RerankResult:
        order = sorted(range(len(request.documents)), key=lambda i: -len(request.documents[i]))
        results = [{"index": i, "score": float(len(request.documents[i]))} for i in order]
        return RerankResult.model_validate({"results": results[: request.top_n]})

    async def generate_image(request: ImageRequest) -> ImageResult:
        image = {"data": "iVBORw0KGgo=", "media_type": "image/png"}
        return ImageResult.model_validate({"images": [image] * request.n})

    async def complete(request: CompleteRequest) -> AsyncIterator[StreamEvent]:
        yield TextDelta(request.prompt.upper())
        yield Finish("length")

    return pretend.plugin(
        discover_models=discover_models,
        embed=embed,
        rerank=rerank,
        generate_image=generate_image,
        complete=complete,
    )
