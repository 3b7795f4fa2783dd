"""Mirrors modelbay/host/backend.py: promises of plugins, and what comes of breaking them."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Generator
from types import ModuleType

import pytest

from modelbay.errors import (
    BackendBusyError,
    BackendTimeoutError,
    PluginContractError,
    UnsupportedActionError,
    UnsupportedFeatureError,
)
from modelbay.host.backend import Backend
from modelbay.models.capabilities import CapabilityTable, Facts
from modelbay.models.catalog import DiscoveredModel, DiscoveredModels
from modelbay.models.events import ErrorEvent, Finish, ReasoningDelta, StreamEvent, TextDelta
from modelbay.models.manage import (
    AccountBalance,
    Done,
    Health,
    HealthReport,
    Load,
    LogLine,
    ManageEvent,
    Progress,
    Pull,
)
from modelbay.models.media import CompleteRequest, EmbedRequest, EmbedResult
from pretend import ANSWER, JUMPING, chat, context, jumping, manager, model, plugin

pytestmark = pytest.mark.anyio

Hook = Callable[..., object]


@pytest.fixture
def anyio_backend() -> object:
    return JUMPING


def backend(module: ModuleType | None = None, *wrappers: object, **hooks: Hook) -> Backend:
    return Backend("acme", manager(module or plugin(**hooks), *wrappers), context("http://desk"))


async def events(held: Backend, deadline_s: float | None = None) -> list[StreamEvent]:
    return [event async for event in held.stream_chat(chat(), model(), deadline_s)]


async def breach(held: Backend) -> str:
    """The message of the contract error a turn ends with."""
    with pytest.raises(PluginContractError) as caught:
        await events(held)
    assert (caught.value.provider_id, bool(caught.value.hint)) == ("desk", True)
    return str(caught.value)


def yields(*given: object) -> Hook:
    async def stream_chat() -> AsyncIterator[object]:
        for event in given:
            yield event

    return stream_chat


# --- streams --------------------------------------------------------------------------------------


async def test_a_stream_goes_through_as_it_is() -> None:
    assert await events(backend()) == ANSWER


async def test_a_hook_gets_the_arguments_it_names() -> None:
    seen: list[object] = []

    async def stream_chat(model: object, provider: object) -> AsyncIterator[StreamEvent]:
        seen.extend((provider, model))
        yield Finish("stop")

    held = backend(stream_chat=stream_chat)
    await events(held)

    assert seen == [held.context, model()]


async def test_an_error_of_the_call_itself_says_whose_it_is_as_one_of_the_stream_does() -> None:
    def stream_chat() -> AsyncIterator[StreamEvent]:
        raise UnsupportedFeatureError("no tools here")

    with pytest.raises(UnsupportedFeatureError) as caught:
        await events(backend(stream_chat=stream_chat))

    assert (caught.value.provider_id, caught.value.model) == ("desk", "desk/m")


async def test_a_plugin_may_give_any_async_iterator() -> None:
    class Iterator:
        def __init__(self) -> None:
            self.left = list(ANSWER)

        def __aiter__(self) -> "Iterator":
            return self

        async def __anext__(self) -> StreamEvent:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    assert await events(backend(stream_chat=lambda: Iterator())) == ANSWER


async def not_a_stream() -> list[StreamEvent]:
    return ANSWER


class NoIterator:
    """Its `__aiter__` gives something that is no async iterator."""

    def __aiter__(self) -> object:
        return iter(ANSWER)


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (lambda: None, "stream_chat gave NoneType instead of an async iterator"),
        (lambda: ANSWER, "stream_chat gave list instead of an async iterator"),
        (not_a_stream, "stream_chat gave coroutine instead of an async iterator"),
        (lambda: NoIterator(), "stream_chat "),
        (yields(), "stream_chat ended without Finish"),
        (yields(TextDelta("a")), "stream_chat ended without Finish"),
        (
            yields(Finish("stop"), Finish("stop")),
            "stream_chat yielded Finish after its end",
        ),
        (
            yields(Finish("stop"), TextDelta("a")),
            "stream_chat yielded TextDelta after its end",
        ),
        (yields("text"), "stream_chat yielded str, which is none of its events"),
        (yields(None), "stream_chat yielded NoneType, which is none of its events"),
        (yields(Done()), "stream_chat yielded Done, which is none of its events"),
        (
            yields(ErrorEvent("c", "m")),
            "stream_chat yielded ErrorEvent, which is none of its events",
        ),
    ],
)
async def test_a_broken_promise_is_a_contract_error(hook: Hook, message: str) -> None:
    assert (await breach(backend(stream_chat=hook))).startswith(f"plugin 'acme': {message}")
    gc.collect()  # a coroutine that was thrown away unawaited would warn here


async def test_events_before_the_breach_were_handed_over() -> None:
    came = []
    with pytest.raises(PluginContractError):  # noqa: PT012 - where in the loop it comes is the rule
        async for event in backend(stream_chat=yields(TextDelta("a"), "b")).stream_chat(
            chat(), model()
        ):
            came.append(event)

    assert came == [TextDelta("a")]


async def test_a_foreign_exception_is_the_plugins_fault_and_its_text_stays_out() -> None:
    async def stream_chat() -> AsyncIterator[StreamEvent]:
        yield TextDelta("a")
        raise KeyError("sk-very-secret")

    with pytest.raises(PluginContractError) as caught:
        await events(backend(stream_chat=stream_chat))

    assert str(caught.value) == "plugin 'acme': stream_chat raised KeyError"
    assert isinstance(caught.value.__cause__, KeyError)


async def test_a_hook_that_raises_before_it_gives_a_stream_is_at_fault_too() -> None:
    def stream_chat() -> AsyncIterator[StreamEvent]:
        raise ZeroDivisionError

    assert await breach(backend(stream_chat=stream_chat)) == (
        "plugin 'acme': stream_chat raised ZeroDivisionError"
    )


async def test_an_error_of_the_tree_goes_through_with_its_provider_and_model() -> None:
    raised = BackendBusyError("loading")

    async def stream_chat() -> AsyncIterator[StreamEvent]:
        yield TextDelta("a")
        raise raised

    with pytest.raises(BackendBusyError) as caught:
        await events(backend(stream_chat=stream_chat))

    assert caught.value is raised
    assert (raised.provider_id, raised.model) == ("desk", "desk/m")


async def test_what_an_error_says_of_itself_is_kept() -> None:
    async def stream_chat() -> AsyncIterator[StreamEvent]:
        raise BackendBusyError("loading", provider_id="other", model="x")
        yield

    with pytest.raises(BackendBusyError) as caught:
        await events(backend(stream_chat=stream_chat))

    assert (caught.value.provider_id, caught.value.model) == ("other", "x")


async def test_the_end_comes_when_the_plugins_stream_is_closed() -> None:
    log: list[str] = []

    async def stream_chat() -> AsyncIterator[StreamEvent]:
        try:
            yield Finish("stop")
        finally:
            log.append("closed")

    async for event in backend(stream_chat=stream_chat).stream_chat(chat(), model()):
        log.append(type(event).__name__)

    assert log == ["closed", "Finish"]


# --- leaving early --------------------------------------------------------------------------------


def endless(log: list[str]) -> Hook:
    async def stream_chat() -> AsyncIterator[StreamEvent]:
        try:
            while True:
                yield TextDelta("a")
                await asyncio.sleep(1)
        finally:
            log.append("closed")

    return stream_chat


@pytest.mark.parametrize("deadline_s", [None, 100.0])
async def test_closing_early_runs_what_the_plugin_has_in_its_finally(
    deadline_s: float | None,
) -> None:
    log: list[str] = []
    stream = backend(stream_chat=endless(log)).stream_chat(chat(), model(), deadline_s)
    assert await anext(stream) == TextDelta("a")

    await stream.aclose()  # type: ignore[attr-defined]

    assert log == ["closed"]
    assert asyncio.all_tasks() <= {asyncio.current_task(), *tasks_of_the_runner()}


def tasks_of_the_runner() -> set[asyncio.Task[object]]:
    return {
        task
        for task in asyncio.all_tasks()
        if getattr(task.get_coro(), "__qualname__", "").startswith("TestRunner.")
    }


async def test_an_error_while_the_plugin_closes_does_not_hide_the_answer() -> None:
    async def stream_chat() -> AsyncIterator[StreamEvent]:
        try:
            yield TextDelta("a")
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("late")

    stream = backend(stream_chat=stream_chat).stream_chat(chat(), model())
    await anext(stream)

    await stream.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("raised", [RuntimeError("late"), BackendBusyError("late")])
async def test_what_a_plugin_raises_while_it_is_cancelled_is_a_cancellation(
    raised: Exception,
) -> None:
    async def stream_chat() -> AsyncIterator[StreamEvent]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise raised from None
        yield Finish("stop")

    task = asyncio.create_task(events(backend(stream_chat=stream_chat)))
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait({task})

    assert task.cancelled()


async def test_a_plugin_that_waits_for_what_was_cancelled_is_at_fault() -> None:
    async def stream_chat() -> AsyncIterator[StreamEvent]:
        yield TextDelta("a")
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future
        yield Finish("stop")

    message = await breach(backend(stream_chat=stream_chat))
    assert message == "plugin 'acme': stream_chat raised CancelledError"


async def test_a_step_that_is_cancelled_in_a_task_of_its_own_is_a_cancellation() -> None:
    async def stream_chat() -> AsyncIterator[StreamEvent]:
        yield TextDelta("a")
        await asyncio.Event().wait()
        yield Finish("stop")

    stream = aiter(backend(stream_chat=stream_chat).stream_chat(chat(), model()))
    assert await anext(stream) == TextDelta("a")
    step = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(1)
    step.cancel()
    await asyncio.wait({step})

    assert step.cancelled()


async def test_a_wait_the_caller_limits_is_the_callers_timeout() -> None:
    async def stream_chat() -> AsyncIterator[StreamEvent]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("late") from None
        yield Finish("stop")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await events(backend(stream_chat=stream_chat))


# --- deadlines ------------------------------------------------------------------------------------


async def test_a_deadline_interrupts_a_plugin_that_waits() -> None:
    log: list[str] = []

    async def stream_chat() -> AsyncIterator[StreamEvent]:
        try:
            yield TextDelta("a")
            await asyncio.Event().wait()
        finally:
            log.append("closed")

    with pytest.raises(BackendTimeoutError) as caught:
        await events(backend(stream_chat=stream_chat), 30)

    assert (jumping().time(), log, caught.value.provider_id, caught.value.model) == (
        30,
        ["closed"],
        "desk",
        "desk/m",
    )


async def test_a_deadline_ends_an_endless_stream() -> None:
    log: list[str] = []

    with pytest.raises(BackendTimeoutError):
        await events(backend(stream_chat=endless(log)), 30)

    assert (round(jumping().time()), log) == (30, ["closed"])


async def test_a_deadline_does_not_interrupt_the_callers_own_work() -> None:
    came = []
    stream = backend(stream_chat=yields(TextDelta("a"), *ANSWER)).stream_chat(chat(), model(), 10)
    with pytest.raises(BackendTimeoutError):  # noqa: PT012 - where in the loop it comes is the rule
        async for event in stream:
            await asyncio.sleep(100)  # interrupted, it would raise CancelledError here
            came.append(event)

    assert came == [TextDelta("a")]


@pytest.mark.parametrize("after", ["end", "go on", "raise"])
async def test_a_plugin_that_swallows_its_interruption_times_out_all_the_same(after: str) -> None:
    async def stream_chat() -> AsyncIterator[StreamEvent]:
        yield TextDelta("a")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if after == "raise":
                raise RuntimeError("late") from None
        if after == "go on":
            while True:
                yield TextDelta("b")
        yield Finish("stop")

    with pytest.raises(BackendTimeoutError):
        await events(backend(stream_chat=stream_chat), 30)


async def test_an_answer_in_time_leaves_no_timer_behind() -> None:
    await events(backend(), 30)

    assert [t for t in jumping()._scheduled if not t.cancelled()] == []  # type: ignore[attr-defined]


# --- the table ------------------------------------------------------------------------------------


async def not_pure() -> CapabilityTable:
    return CapabilityTable()


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (lambda: None, "capabilities gave NoneType instead of CapabilityTable"),
        (lambda: {}, "capabilities gave dict instead of CapabilityTable"),
        (not_pure, "capabilities gave coroutine instead of CapabilityTable"),
        (lambda: 1 / 0, "capabilities raised ZeroDivisionError"),
    ],
)
async def test_a_table_that_is_none_is_a_contract_error(hook: Hook, message: str) -> None:
    def said() -> str:
        with pytest.raises(PluginContractError) as caught:
            backend(capabilities=hook)
        return str(caught.value)

    assert said() == f"plugin 'acme': {message}"
    gc.collect()


# --- discovery ------------------------------------------------------------------------------------


def gives(value: object) -> Hook:
    async def discover_models() -> object:
        return value

    return discover_models


A, B = DiscoveredModel(wire_id="a"), DiscoveredModel(wire_id="b")


@pytest.mark.parametrize("value", [[A, B], (A, B), DiscoveredModels(["a", "b"], [A, A])])
async def test_models_come_as_the_plugin_lists_them(value: object) -> None:
    assert await backend(discover_models=gives(value)).discover_models() == (A, B)


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (gives(None), "discover_models gave NoneType instead of a list of models"),
        (gives({A.wire_id: A}), "discover_models gave dict instead of a list of models"),
        (gives(["a"]), "discover_models listed str instead of DiscoveredModel"),
        (gives([A, B, A]), "discover_models listed 'a' twice"),
        (gives(DiscoveredModels("aba", [A] * 3)), "discover_models listed 'a' twice"),
        (
            gives(DiscoveredModels(["a"], ["a"])),  # type: ignore[list-item]
            "discover_models listed str instead of DiscoveredModel",
        ),
        (lambda: [A], "discover_models gave list instead of an awaitable"),
        (lambda: None, "discover_models gave NoneType instead of an awaitable"),
        (yields(A), "discover_models gave async_generator instead of an awaitable"),
    ],
)
async def test_a_list_that_is_none_is_a_contract_error(hook: Hook, message: str) -> None:
    with pytest.raises(PluginContractError) as caught:
        await backend(discover_models=hook).discover_models()

    assert str(caught.value) == f"plugin 'acme': {message}"


async def test_a_foreign_exception_in_discovery_is_the_plugins_fault() -> None:
    async def discover_models() -> list[DiscoveredModel]:
        raise KeyError("sk-very-secret")

    with pytest.raises(PluginContractError) as caught:
        await backend(discover_models=discover_models).discover_models()

    assert str(caught.value) == "plugin 'acme': discover_models raised KeyError"


async def test_discovery_that_raises_while_it_is_cancelled_is_cancelled() -> None:
    async def discover_models() -> list[DiscoveredModel]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise RuntimeError("late") from None
        return []

    held = backend(discover_models=discover_models)
    task = asyncio.create_task(held.discover_models())
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait({task})

    assert task.cancelled()


# --- management -----------------------------------------------------------------------------------


def managing(*given: object, **table: object) -> Backend:
    async def manage() -> AsyncIterator[object]:
        for event in given:
            yield event

    made = CapabilityTable.model_validate(
        {"actions": {"load", "health"}, "hints": {"pull": "start it with -hf"}} | table
    )
    return backend(manage=manage, capabilities=lambda: made)


async def outcome(held: Backend) -> list[ManageEvent]:
    return [event async for event in held.manage(Load(model="m"))]


async def test_an_action_ends_with_one_outcome() -> None:
    given = [Progress(status="loading", fraction=0.5), LogLine(text="x"), Done()]

    assert await outcome(managing(*given)) == given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "manage ended without AccountBalance or Done or HealthReport or ModelDetails"),
        ([Done(), Done()], "manage yielded Done after its end"),
        ([Done(), LogLine(text="x")], "manage yielded LogLine after its end"),
        ([TextDelta("a")], "manage yielded TextDelta, which is none of its events"),
    ],
)
async def test_another_end_is_a_contract_error(given: list[object], message: str) -> None:
    with pytest.raises(PluginContractError) as caught:
        await outcome(managing(*given))

    assert str(caught.value).startswith(f"plugin 'acme': {message}")


@pytest.mark.parametrize(
    ("action", "table", "message", "hint"),
    [
        (Pull(model="m"), {}, "acme cannot pull", "start it with -hf"),
        (
            Load(model="m"),
            {"actions": {"health", "show"}},
            "acme cannot load",
            "it can: health, show",
        ),
        (Health(), {"actions": set()}, "acme cannot tell how it is", "it can: nothing"),
    ],
)
async def test_an_action_the_table_does_not_name_is_refused_with_what_to_do_instead(
    action: Pull | Load | Health, table: dict[str, object], message: str, hint: str
) -> None:
    with pytest.raises(UnsupportedActionError) as caught:
        managing(**table).manage(action)

    assert (str(caught.value), caught.value.hint, caught.value.provider_id) == (
        message,
        hint,
        "desk",
    )


# --- optional hooks -------------------------------------------------------------------------------


async def test_an_optional_hook_that_is_there_answers() -> None:
    result = EmbedResult(vectors=[[1.0]])

    async def embed(request: EmbedRequest) -> EmbedResult:
        assert request == EmbedRequest(input=["a"])
        return result

    held = backend(embed=embed)

    assert await held.embed(EmbedRequest(input=["a"]), model()) == result
    assert (held.offers("embed"), held.offers("rerank")) == (True, False)


async def test_an_optional_hook_that_gives_something_else_is_a_contract_error() -> None:
    async def embed() -> list[float]:
        return [1.0]

    with pytest.raises(PluginContractError, match="embed gave list instead of EmbedResult"):
        await backend(embed=embed).embed(EmbedRequest(input=["a"]), model())


async def test_an_optional_hook_that_is_missing_is_refused() -> None:
    held = backend()

    with pytest.raises(UnsupportedFeatureError, match="acme cannot make embeddings"):
        await held.embed(EmbedRequest(input=["a"]), model())
    with pytest.raises(UnsupportedFeatureError, match="acme cannot complete a raw prompt"):
        held.complete(CompleteRequest(prompt="a"), model())


async def test_a_completion_keeps_the_same_contract() -> None:
    held = backend(complete=yields(ReasoningDelta("r"), *ANSWER))
    stream = held.complete(CompleteRequest(prompt="a"), model())
    assert [event async for event in stream] == [ReasoningDelta("r"), *ANSWER]

    with pytest.raises(PluginContractError, match="complete ended without Finish"):
        [e async for e in backend(complete=yields()).complete(CompleteRequest(prompt="a"), model())]


# --- wrappers -------------------------------------------------------------------------------------


async def test_a_wrapper_stands_around_the_call_and_may_change_the_answer() -> None:
    from modelbay.hookspecs import hookimpl

    class Trace:
        calls = 0

        @hookimpl(wrapper=True)
        def stream_chat(self) -> Generator[None, AsyncIterator[StreamEvent], object]:
            self.calls += 1
            inner = yield

            async def louder() -> AsyncIterator[StreamEvent]:
                async for event in inner:
                    yield TextDelta(event.text.upper()) if isinstance(event, TextDelta) else event

            return louder()

    trace = Trace()
    held = backend(plugin(), trace)

    assert await events(held) == [TextDelta("HELLO"), Finish("stop")]
    assert await events(held) == [TextDelta("HELLO"), Finish("stop")]
    assert trace.calls == 2


# --- keys that servers echo -----------------------------------------------------------------------

KEY = 'planted"key-ABCDEFGH'


def keyed(**hooks: Hook) -> Backend:
    return Backend("acme", manager(plugin(**hooks)), context("http://desk", apiKey=f"{KEY}\n"))


async def test_a_key_that_a_list_echoes_stands_in_no_model() -> None:
    told = DiscoveredModel(
        wire_id=f"m-{KEY}",
        name=f"N {KEY}",
        aliases=(KEY,),
        facts=Facts(context_window=10, tools=True),
        evidence={"tools": f"x {KEY}"},
        details={KEY: [f"({KEY})", 1, None]},
    )
    plain = DiscoveredModel(wire_id="plain", details={"a": 1})

    async def discover_models() -> list[DiscoveredModel]:
        return [told, plain]

    assert await keyed(discover_models=discover_models).discover_models() == (
        DiscoveredModel(
            wire_id="m-***",
            name="N ***",
            aliases=("***",),
            facts=Facts(context_window=10, tools=True),
            evidence={"tools": "x ***"},
            details={"***": ["(***)", 1, None]},
        ),
        plain,
    )


@pytest.mark.parametrize(
    ("names", "said", "shown"),
    [
        (["m", "n"], {"family": "f"}, ["m", "n"]),
        (["m", f"n-{KEY}"], {}, ["m", "n-***"]),
        (["m", "n"], {"family": KEY}, ["m", "n"]),
        ([f"m-{KEY}", f"m-{KEY}".replace(KEY, "***")], {}, ["m-***"]),
    ],
)
async def test_nor_in_one_of_many_of_which_the_same_is_said(
    names: list[str], said: dict[str, str], shown: list[str]
) -> None:
    of_all = DiscoveredModel.model_validate({"wire_id": "x", **said})

    found = await keyed(
        discover_models=gives(DiscoveredModels(names, [of_all] * len(names)))
    ).discover_models()

    family = said.get("family", "").replace(KEY, "***") or None
    assert found == [DiscoveredModel(wire_id=name, family=family) for name in shown]


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        (
            HealthReport(healthy=True, version=KEY, details={"k": [KEY]}),
            HealthReport(healthy=True, version="***", details={"k": ["***"]}),
        ),
        (
            AccountBalance(available=True, balances={KEY: "1"}),
            AccountBalance(available=True, balances={"***": "1"}),
        ),
        (Done(message=f"for {KEY}", changed=False), Done(message="for ***", changed=False)),
        (Done(message="nothing"), Done(message="nothing")),
    ],
)
async def test_a_key_that_management_echoes_stands_in_no_event(
    told: ManageEvent, shown: ManageEvent
) -> None:
    async def manage() -> AsyncIterator[ManageEvent]:
        yield LogLine(text=f"GET /?key={KEY}")
        yield Progress(status=KEY)
        yield told

    held = keyed(manage=manage, capabilities=lambda: CapabilityTable(actions=frozenset({"health"})))

    assert [event async for event in held.manage(Health())] == [
        LogLine(text="GET /?key=***"),
        Progress(status="***"),
        shown,
    ]
