"""Mirrors modelbay/host/sync.py: the same answers from a thread of its own."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from modelbay.client.openai_compat import stream_chat as compat_chat
from modelbay.errors import (
    ConfigError,
    ModelbayError,
    StreamInterruptedError,
    UnknownProviderError,
    UnsupportedActionError,
)
from modelbay.host.host import Host
from modelbay.host.sync import BATCH_LIMIT, SyncHost
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.chat import ChatRequest, ChatResult
from modelbay.models.events import Finish, StreamEvent, TextDelta
from modelbay.models.manage import Done, Load, Pull
from modelbay.models.media import CompleteRequest, EmbedRequest, EmbedResult
from modelbay.refs import ModelRef
from modelbay.testing.simulator import Exchange, Simulator
from modelbay.wire.openai_chat import Dialect
from pretend import ANSWER, chat, config, host, lists, plugin

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks and signals of POSIX")


async def embed() -> EmbedResult:
    return EmbedResult(vectors=[[1.0]])


async def complete() -> AsyncIterator[StreamEvent]:
    for event in ANSWER:
        yield event


def wire_chat(provider: object, request: object, model: object) -> AsyncIterator[StreamEvent]:
    return compat_chat(provider, request, model, dialect=Dialect())  # type: ignore[arg-type]


def opened(base_url: str = "", **hooks: Callable[..., object]) -> SyncHost:
    table = CapabilityTable(actions=frozenset({"load"}))
    known = {"embed": embed, "complete": complete, "capabilities": lambda: table}
    module = plugin(**{**known, **hooks})
    return SyncHost(lambda: host([config(base_url=base_url)], acme=module))


@pytest.fixture
def held() -> Iterator[SyncHost]:
    with opened() as sync_host:
        yield sync_host


def endless(sim: Simulator) -> Simulator:
    @sim.route("POST", "/v1/chat/completions")
    async def route(exchange: Exchange) -> None:
        await exchange.start_stream("text/event-stream")
        await exchange.sse({"choices": [{"index": 0, "delta": {"content": "a"}}]})
        await exchange.sleep(float("inf"))

    return sim


# --- the same answers -----------------------------------------------------------------------------


def test_it_answers_as_the_host_does(held: SyncHost) -> None:
    async def by_host() -> list[object]:
        async with host([config()], acme=plugin(embed=embed)) as other:
            asked = EmbedRequest(input=["a"])
            info = await other.resolve("m")
            return [await other.chat(chat()), info, await other.embed(asked)]

    assert [
        held.chat(chat()),
        held.resolve("m"),
        held.embed(EmbedRequest(input=["a"])),
    ] == asyncio.run(by_host())


def test_a_stream_is_a_plain_iterator_in_a_block(held: SyncHost) -> None:
    with held.stream(chat()) as events:
        assert (list(events), events.ref) == (ANSWER, ModelRef("desk", "m"))
    with held.complete(CompleteRequest(prompt="a")) as events:
        assert list(events) == ANSWER
    with held.manage("desk", Load(model="m")) as changes:
        assert list(changes) == [Done()]


def test_a_stream_that_has_ended_stays_ended(held: SyncHost) -> None:
    with held.stream(chat()) as events:
        assert (list(events), list(events)) == (ANSWER, [])


def test_the_catalog_needs_no_wait(held: SyncHost) -> None:
    before = held.catalog
    after = held.refresh(force=True)

    assert ([m.id for m in before.models], [m.id for m in after.models]) == ([], ["desk/m"])
    assert held.explain("m").ref == ModelRef("desk", "m")


def test_errors_are_the_hosts_own(held: SyncHost) -> None:
    with pytest.raises(UnknownProviderError):
        held.refresh("nobody")
    with pytest.raises(UnsupportedActionError), held.manage("desk", Pull(model="m")) as events:
        list(events)


def test_events_before_an_error_are_handed_over_first() -> None:
    async def stream_chat() -> AsyncIterator[StreamEvent]:
        yield TextDelta("a")
        raise StreamInterruptedError("cut", partial="a")

    with opened(stream_chat=stream_chat) as held, held.stream(chat()) as events:
        reader = iter(events)
        assert next(reader) == TextDelta("a")
        with pytest.raises(StreamInterruptedError):
            next(reader)


def test_ten_thousand_events_arrive_in_order_and_a_slow_reader_holds_the_server_back() -> None:
    made = 0

    async def stream_chat() -> AsyncIterator[StreamEvent]:
        nonlocal made
        for number in range(10_000):
            made = number
            yield TextDelta(str(number))
        yield Finish("stop")

    with opened(stream_chat=stream_chat) as held, held.stream(chat()) as events:
        reader = iter(events)
        first = next(reader)
        held.resolve("m")  # there and back: the host's loop has had its turn
        ahead = made
        came = [first, *reader]

    assert ahead <= 2 * BATCH_LIMIT
    assert came == [TextDelta(str(number)) for number in range(10_000)] + [Finish("stop")]


def test_many_threads_may_call_at_once(held: SyncHost) -> None:
    results: list[ChatResult] = []
    threads = [
        threading.Thread(target=lambda: results.append(held.chat(chat()))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [result.text for result in results] == ["hello"] * 20


# --- closing --------------------------------------------------------------------------------------


def test_leaving_a_stream_early_closes_the_request(sim: Simulator) -> None:
    with opened(endless(sim).base_url, stream_chat=wire_chat) as held:
        with held.stream(chat()) as events:
            assert next(iter(events)) == TextDelta("a")
        sim.wait_until(lambda: (sim.streams_closed_by_client, sim.open_streams) == (1, 0))


def test_a_stream_that_was_never_read_has_nothing_to_close(held: SyncHost) -> None:
    with held.stream(chat()):
        pass


def test_closing_the_host_closes_streams_that_were_left_open(sim: Simulator) -> None:
    held = opened(endless(sim).base_url, stream_chat=wire_chat)
    stream = held.stream(chat())
    assert next(iter(stream)) == TextDelta("a")
    held.close()

    sim.wait_until(lambda: (sim.streams_closed_by_client, sim.open_streams) == (1, 0))


def test_closing_a_stream_after_its_host_is_harmless(sim: Simulator) -> None:
    held = opened(endless(sim).base_url, stream_chat=wire_chat)
    with held.stream(chat()) as events:
        next(iter(events))
        held.close()


def test_a_plugins_finally_runs_when_the_host_closes() -> None:
    log: list[str] = []

    async def stream_chat() -> AsyncIterator[StreamEvent]:
        try:
            yield TextDelta("a")
            await asyncio.Event().wait()
        finally:
            log.append("closed")
        yield Finish("stop")

    held = opened(stream_chat=stream_chat)
    next(iter(held.stream(chat())))
    held.close()

    assert log == ["closed"]


def test_closing_ends_the_thread_and_closing_twice_is_harmless() -> None:
    before = set(threading.enumerate())
    held = opened()
    held.refresh()
    held.close()
    held.close()

    assert set(threading.enumerate()) <= before


def test_a_host_that_cannot_be_opened_leaves_no_thread() -> None:
    def refuse() -> Host:
        raise ConfigError("wrong")

    before = set(threading.enumerate())
    with pytest.raises(ConfigError):
        SyncHost(refuse)

    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(
    "call",
    [
        lambda held: held.chat(ChatRequest(messages=[])),
        lambda held: held.refresh(),
        lambda held: list(held.stream(ChatRequest(messages=[]))),
    ],
)
def test_a_closed_host_answers_nobody(call: Callable[[SyncHost], object]) -> None:
    held = opened()
    held.close()

    with pytest.raises(ModelbayError, match="this host is closed"):
        call(held)


# --- who may call ---------------------------------------------------------------------------------


def test_a_call_in_the_hosts_own_thread_is_refused_instead_of_waiting_for_itself() -> None:
    held: SyncHost
    told: list[ModelbayError] = []

    async def discover_models() -> object:
        try:
            held.resolve("m")
        except ModelbayError as exc:
            told.append(exc)
        return await lists("m")()  # type: ignore[misc]

    with opened(discover_models=discover_models) as held:
        held.refresh()

    [error] = told
    assert (str(error), error.hint) == (
        "a synchronous call in the host's own thread would wait for itself",
        "use modelbay.Host where there is an event loop",
    )


def test_a_forked_child_is_refused_and_the_parent_goes_on(held: SyncHost) -> None:
    child = os.fork()
    if child == 0:  # no test framework in here: out by _exit, whatever happens
        code = 1
        try:
            held.refresh()
        except ModelbayError as exc:
            code = 7 if "before the process forked" in str(exc) else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 7
    assert held.chat(chat()).text == "hello"


class Interrupted(BaseException):
    """What a signal's own handler raises, as Ctrl-C does."""


@pytest.fixture
def interruptible() -> Iterator[None]:
    def handler(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, handler)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("streaming", [False, True])
def test_an_interrupted_wait_cancels_the_work(sim: Simulator, streaming: bool) -> None:
    main = threading.get_ident()

    @sim.route("POST", "/v1/chat/completions")
    async def route(exchange: Exchange) -> None:
        await exchange.start_stream("text/event-stream")
        await exchange.sse_comment("ready")
        signal.pthread_kill(main, signal.SIGUSR1)
        await exchange.sleep(float("inf"))

    def ask(held: SyncHost) -> object:
        if not streaming:
            return held.chat(chat())
        with held.stream(chat()) as events:
            return list(events)

    began = time.monotonic()
    with opened(sim.base_url, stream_chat=wire_chat) as held:
        with pytest.raises(Interrupted):
            ask(held)
        sim.wait_until(lambda: sim.streams_closed_by_client == 1)

    assert time.monotonic() - began < 5
