"""Mirrors modelbay/host/wrappers/concurrency.py: never more than so many, in order, never stuck."""

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from modelbay.closing import closing
from modelbay.errors import BackendBusyError, BackendTimeoutError, PluginContractError
from modelbay.host.backend import Backend
from modelbay.host.wrappers.concurrency import Concurrency, configure
from modelbay.host.wrappers.request_log import RequestLog
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.events import Finish, Status, StreamEvent, TextDelta
from modelbay.models.manage import Done, Health
from modelbay.models.media import CompleteRequest, EmbedRequest, EmbedResult
from pretend import JUMPING, chat, context, manager, model, plugin

pytestmark = pytest.mark.anyio

QUEUED = Status("queued", message="waiting for a free place at this provider")


@pytest.fixture
def anyio_backend() -> object:
    return JUMPING


class Busy:
    """A plugin whose answers go on until they are let go, and that counts them."""

    def __init__(self, wrapper: Concurrency, *, provider: str = "desk") -> None:
        self.open = 0
        self.most = 0
        self.begun: list[str] = []
        self.go = asyncio.Event()
        table = CapabilityTable(actions=frozenset({"health"}))
        module = plugin(
            capabilities=lambda: table,
            stream_chat=lambda request: self.stream_chat(request),
            complete=lambda: self.complete(),
            embed=lambda: self.embed(),
        )
        self.backend = Backend(
            "acme", manager(module, wrapper), context("http://desk", id=provider)
        )

    async def stream_chat(self, request: object) -> AsyncIterator[StreamEvent]:
        self.enter(request.messages[0].text)  # type: ignore[attr-defined] # a chat request
        try:
            yield TextDelta("a")
            await self.go.wait()
            yield Finish("stop")
        finally:
            self.open -= 1

    async def complete(self) -> AsyncIterator[StreamEvent]:
        self.enter("completion")
        try:
            await self.go.wait()
            yield Finish("stop")
        finally:
            self.open -= 1

    async def embed(self) -> EmbedResult:
        self.enter("embedding")
        try:
            await self.go.wait()
            return EmbedResult(vectors=[[1.0]])
        finally:
            self.open -= 1

    def enter(self, name: str) -> None:
        self.begun.append(name)
        self.open += 1
        self.most = max(self.most, self.open)

    def turn(self, name: str, deadline_s: float | None = None) -> AsyncIterator[StreamEvent]:
        return self.backend.stream_chat(chat(name), model(), deadline_s)

    async def whole(self, name: str, deadline_s: float | None = None) -> list[StreamEvent]:
        return [event async for event in self.turn(name, deadline_s)]


async def settled() -> None:
    """Everything that can go on without time passing has."""
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_never_more_than_so_many_answer_and_the_others_in_order(limit: int) -> None:
    busy = Busy(configure(str(limit)))
    names = [f"turn {number}" for number in range(12)]
    turns = [asyncio.create_task(busy.whole(name)) for name in names]
    await settled()

    assert (busy.open, busy.begun) == (limit, names[:limit])
    busy.go.set()
    answers = await asyncio.gather(*turns)

    answer = [TextDelta("a"), Finish("stop")]
    assert answers == [answer] * limit + [[QUEUED, *answer]] * (12 - limit)
    assert (busy.open, busy.most, busy.begun) == (0, limit, names)


async def test_chats_completions_and_embeddings_share_the_places() -> None:
    busy = Busy(configure("1"))

    async def completion() -> None:
        asked = CompleteRequest(prompt="a")
        async for _ in busy.backend.complete(asked, model()):
            pass

    turns = [
        asyncio.create_task(busy.whole("chat")),
        asyncio.create_task(completion()),
        asyncio.create_task(busy.backend.embed(EmbedRequest(input=["a"]), model())),
    ]
    await settled()
    assert busy.begun == ["chat"]
    busy.go.set()
    await asyncio.gather(*turns)

    assert (busy.most, busy.begun) == (1, ["chat", "completion", "embedding"])


async def test_management_and_discovery_never_wait() -> None:
    busy = Busy(configure("1"))
    async with closing(busy.turn("one")) as turn:
        await anext(turn)

        assert len(await busy.backend.discover_models()) == 1
        assert [event async for event in busy.backend.manage(Health(), None)] == [Done()]


async def test_who_is_cancelled_while_waiting_leaves_the_line() -> None:
    busy = Busy(configure("1"))
    tasks = [asyncio.create_task(busy.whole(name)) for name in ("one", "two", "three")]
    embedding = asyncio.create_task(busy.backend.embed(EmbedRequest(input=["a"]), model()))
    await settled()

    tasks[1].cancel()
    embedding.cancel()  # its coroutine was never begun; nothing may say so
    await settled()
    busy.go.set()
    await asyncio.gather(*tasks, embedding, return_exceptions=True)

    assert [tasks[1].cancelled(), embedding.cancelled()] == [True, True]
    assert (busy.begun, busy.open) == (["one", "three"], 0)


async def test_a_line_of_the_log_is_not_begun_by_who_only_waited() -> None:
    log = RequestLog()
    module = plugin(embed=lambda: answered(), stream_chat=yielded)
    held = Backend("acme", manager(module, log, configure("1")), context())
    async with closing(held.stream_chat(chat(), model(), None)) as turn:
        await anext(turn)
        waiting = asyncio.create_task(held.embed(EmbedRequest(input=["a"]), model()))
        await settled()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    gc.collect()  # a coroutine that was never awaited would say so here

    assert await held.embed(EmbedRequest(input=["a"]), model()) == EmbedResult(vectors=[[1.0]])


async def answered() -> EmbedResult:
    return EmbedResult(vectors=[[1.0]])


async def yielded() -> AsyncIterator[StreamEvent]:
    yield TextDelta("a")
    yield Finish("stop")


async def test_who_is_cancelled_while_answering_gives_the_place_back() -> None:
    busy = Busy(configure("1"))
    first, second = (asyncio.create_task(busy.whole(name)) for name in ("one", "two"))
    await settled()

    first.cancel()
    await settled()

    assert (busy.begun, busy.open) == (["one", "two"], 1)
    busy.go.set()
    assert await second == [QUEUED, TextDelta("a"), Finish("stop")]


async def test_cancelled_just_as_it_gets_a_place_it_hands_it_on() -> None:
    busy = Busy(configure("1"))
    turn = busy.turn("one")
    await anext(turn)
    second, third = (asyncio.create_task(busy.whole(name)) for name in ("two", "three"))
    await settled()

    closing_first = asyncio.ensure_future(turn.aclose())  # type: ignore[attr-defined] # a generator
    second.cancel()
    await settled()
    await closing_first
    busy.go.set()

    assert await third == [QUEUED, TextDelta("a"), Finish("stop")]
    assert second.cancelled()


async def test_a_place_of_a_stream_that_was_left_comes_back() -> None:
    busy = Busy(configure("1"))
    async for _ in busy.turn("one"):
        break  # and nobody closes it
    gc.collect()
    await settled()
    busy.go.set()

    assert await busy.whole("two") == [TextDelta("a"), Finish("stop")]


async def test_a_stream_that_was_never_begun_takes_no_place() -> None:
    busy = Busy(configure("1"))
    busy.go.set()
    never = busy.turn("never")

    assert await busy.whole("one") == [TextDelta("a"), Finish("stop")]
    await never.aclose()  # type: ignore[attr-defined] # a generator
    assert busy.begun == ["one"]


async def test_who_goes_away_while_waiting_leaves_the_line() -> None:
    busy = Busy(configure("1"))
    first = asyncio.create_task(busy.whole("one"))
    await settled()
    async with closing(busy.turn("two")) as waiting:
        assert await anext(waiting) == QUEUED
    busy.go.set()
    await first

    assert await busy.whole("three") == [TextDelta("a"), Finish("stop")]
    assert busy.begun == ["one", "three"]


async def test_waiting_counts_towards_the_deadline() -> None:
    busy = Busy(configure("1"))
    first = asyncio.create_task(busy.whole("one"))
    await settled()

    with pytest.raises(BackendTimeoutError):
        await busy.whole("two", deadline_s=3.0)
    busy.go.set()

    await first
    assert (busy.begun, busy.open) == (["one"], 0)


async def test_a_failure_gives_the_place_back() -> None:
    async def stream_chat() -> AsyncIterator[StreamEvent]:
        raise BackendBusyError("full")
        yield Finish("stop")

    held = Backend("acme", manager(plugin(stream_chat=stream_chat), configure("1")), context())
    for _ in range(3):
        with pytest.raises(BackendBusyError):
            [event async for event in held.stream_chat(chat(), model(), None)]


async def test_what_a_plugin_should_have_given_is_still_told() -> None:
    held = Backend("acme", manager(plugin(stream_chat=lambda: None), configure("1")), context())

    with pytest.raises(PluginContractError, match="gave NoneType instead of an async iterator"):
        [event async for event in held.stream_chat(chat(), model(), None)]


async def test_each_provider_has_its_own_places_and_maybe_its_own_number() -> None:
    wrapper = configure("3,desk=1, lab = 2")
    desk, lab, other = (Busy(wrapper, provider=name) for name in ("desk", "lab", "other"))
    tasks = [
        asyncio.create_task(busy.whole(str(number)))
        for busy in (desk, lab, other)
        for number in range(4)
    ]
    await settled()
    assert [busy.open for busy in (desk, lab, other)] == [1, 2, 3]
    for busy in (desk, lab, other):
        busy.go.set()
    await asyncio.gather(*tasks)


async def test_without_a_number_for_all_the_others_are_free() -> None:
    busy = Busy(configure("lab=1"))
    tasks = [asyncio.create_task(busy.whole(str(number))) for number in range(9)]
    await settled()
    assert busy.open == 9
    busy.go.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("settings", ["", ",", "0", "-1", "many", "desk=", "=3", "4,desk=0", "1.5"])
def test_settings_that_name_no_number_are_refused(settings: str) -> None:
    with pytest.raises(ValueError, match=r"number|NUMBER"):
        configure(settings)
