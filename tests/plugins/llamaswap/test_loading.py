"""Mirrors modelbay_llamaswap/loading.py, following.py and opening.py: load and unload."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from modelbay.closing import closing
from modelbay.errors import (
    BackendBusyError,
    BackendError,
    BackendTimeoutError,
    ModelNotFoundError,
    ProtocolError,
    StreamInterruptedError,
    UnsupportedActionError,
)
from modelbay.models.events import TextDelta
from modelbay.models.manage import Done, Load, LogLine, ManageEvent, Progress, Unload
from modelbay.testing.simulator import Exchange
from modelbay_llamaswap.memory import memory
from modelbay_llamaswap.opening import Opening
from modelbay_llamaswap.simulator import (
    Dialect,
    Group,
    LlamaSwapSimulator,
    Peer,
    Profile,
    Selector,
    SimulatedModel,
)
from plugins.llamaswap.bay import Bay, OpenBay, ask, collect
from plugins.llamaswap.serving import Scripted, process
from pretend import lent

pytestmark = pytest.mark.anyio

TOGETHER = {"all": Group(["a", "b"], swap=False)}


async def loaded_by_hand(desk: Bay, sim: LlamaSwapSimulator) -> list[ManageEvent]:
    """The events of a load of `a`, whose server is ready once its start has been seen."""

    async def finish() -> None:
        await sim.wait_until_async(lambda: sim.states == {"a": "starting"})
        sim.finish_load("a")

    finishing = asyncio.ensure_future(finish())
    try:
        return await desk.manage(Load(model="a"))
    finally:
        await finishing


# --- load -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["v160", "v217", "v250", "head"])
async def test_a_load_ends_when_the_model_is_ready(bay: OpenBay, dialect: Dialect) -> None:
    """S1-19, S1-21: there is no call for it, and an answer alone is no proof."""
    with LlamaSwapSimulator([SimulatedModel("a", load_s=math.inf)], dialect) as sim:
        events = await loaded_by_hand(bay(sim.base_url, pollS=0.05), sim)

        assert (sim.states, sim.starts) == ({"a": "ready"}, {"a": 1})
    assert events == [Progress(status="loading"), Done(message="a is loaded")]


async def test_a_second_load_changes_nothing_and_starts_nothing(bay: OpenBay) -> None:
    with LlamaSwapSimulator([SimulatedModel("a", aliases=["x"])]) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="a"))
        again = await desk.manage(Load(model="x"))

        assert sim.starts == {"a": 1}
    assert again == [Done(message="a is loaded", changed=False)]


@pytest.mark.parametrize("poll_s", [0.01, 60], ids=["by polling", "by events"])
async def test_a_load_tells_which_models_have_to_go_first(bay: OpenBay, poll_s: float) -> None:
    """With the default routing one model runs at a time."""
    models = [SimulatedModel("a", stop_s=60), SimulatedModel("b")]
    with LlamaSwapSimulator(models) as sim:
        desk = bay(sim.base_url, pollS=poll_s)
        await desk.manage(Load(model="a"))
        events = await desk.manage(Load(model="b"))

        assert sim.states == {"a": "stopped", "b": "ready"}
        await sim.wait_until_async(lambda: sim.listeners == 0)
    assert events[:2] == [Progress(status="loading"), Progress(status="waiting for a")]
    assert {event.status for event in events[2:] if isinstance(event, Progress)} <= {"loading"}
    assert events[-1] == Done(message="b is loaded")


async def test_an_unlisted_model_and_an_id_with_slashes_can_be_loaded(bay: OpenBay) -> None:
    with LlamaSwapSimulator([SimulatedModel("org/model:7b", unlisted=True)]) as sim:
        events = await bay(sim.base_url).manage(Load(model="org/model:7b"))

        assert sim.states == {"org/model:7b": "ready"}
    assert events[-1] == Done(message="org/model:7b is loaded")


@pytest.mark.parametrize("dialect", ["v217", "v250", "head"])
async def test_a_load_of_nobody_is_not_found(bay: OpenBay, dialect: Dialect) -> None:
    with (
        LlamaSwapSimulator([SimulatedModel("a")], dialect) as sim,
        pytest.raises(ModelNotFoundError),
    ):
        await bay(sim.base_url).manage(Load(model="nope"))


@pytest.mark.parametrize("dialect", ["v217", "v250", "head"])
async def test_a_failed_load_tells_the_end_of_the_model_s_log(
    bay: OpenBay, dialect: Dialect
) -> None:
    with LlamaSwapSimulator([SimulatedModel("a", fail="exit")], dialect) as sim:
        desk = bay(sim.base_url, idleTimeoutS=0.1)
        seen: list[ManageEvent] = []
        with pytest.raises(BackendError) as caught:
            await collect(desk.backend.manage(Load(model="a")), seen)

    assert [event.type for event in seen][:2] == ["progress", "log"]
    assert all(isinstance(event, LogLine) for event in seen[1:])
    assert caught.value.status == (502 if dialect == "v217" else 500)
    assert caught.value.hint == "modelbay logs desk a"


async def test_a_model_whose_server_has_no_health_route_is_loaded_all_the_same(
    bay: OpenBay,
) -> None:
    """A 404 of the child means that there is one."""
    with Scripted() as sim:

        @sim.route("GET", "/upstream/tiny/health")
        async def health(exchange: Exchange) -> None:
            sim.running = [process("tiny")]
            await exchange.json({"detail": "Not Found"}, 404)

        events = await bay(sim.base_url).manage(Load(model="tiny"))

    assert events[-1] == Done(message="tiny is loaded")


async def test_a_server_that_is_still_booting_counts_as_loaded_if_running_says_so(
    bay: OpenBay,
) -> None:
    """``checkEndpoint: none``: llama-swap does not wait for it, and it answers 503 itself."""
    with Scripted() as sim:

        @sim.route("GET", "/upstream/tiny/health")
        async def health(exchange: Exchange) -> None:
            sim.running = [process("tiny")]
            await exchange.json({"error": {"message": "Loading model", "code": 503}}, 503)

        events = await bay(sim.base_url).manage(Load(model="tiny"))

    assert events[-1] == Done(message="tiny is loaded")


async def test_an_answer_of_a_model_that_is_gone_again_is_no_success(bay: OpenBay) -> None:
    with Scripted() as sim:
        sim.answer("/upstream/tiny/health", {"status": "ok"}, method="GET")
        with pytest.raises(BackendError, match="left memory before it was seen ready"):
            await bay(sim.base_url, firstByteTimeoutS=0.1).manage(Load(model="tiny"))


async def test_a_load_that_takes_too_long_says_how_to_stop_it(bay: OpenBay) -> None:
    """Closing the connection does not (trap 12)."""
    with LlamaSwapSimulator([SimulatedModel("a", load_s=math.inf)]) as sim:
        with pytest.raises(BackendTimeoutError) as caught:
            await bay(sim.base_url, loadDeadlineS=0.1, pollS=0.02).manage(Load(model="a"))

        assert sim.states == {"a": "starting"}
        await sim.wait_until_async(lambda: sim.listeners == 0)
    assert caught.value.hint == "raise loadDeadlineS; modelbay unload desk/a stops the load"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("lab/m", "chat with desk/lab/m: that loads what it stands for"),
        ("pick", "modelbay {verb} desk/a"),
        ("code", "chat with desk/code: that loads what it stands for"),
    ],
)
async def test_names_without_a_process_are_neither_loaded_nor_unloaded(
    bay: OpenBay, name: str, hint: str
) -> None:
    with LlamaSwapSimulator(
        [SimulatedModel("a")],
        selectors=[Selector("pick", ["a"])],
        peers=[Peer("lab", [SimulatedModel("m")])],
        profiles=[Profile("work", {"code": "a"})],
    ) as sim:
        desk = bay(sim.base_url)
        await desk.context.http.put("api/profiles/active", json={"name": "work"})
        for action in (Load(model=name), Unload(model=name)):
            with pytest.raises(UnsupportedActionError) as caught:
                await desk.manage(action)
            assert caught.value.hint == hint.format(verb=action.action)
        assert sim.starts == {}


async def test_options_are_refused_since_the_config_alone_has_them(bay: OpenBay) -> None:
    with pytest.raises(UnsupportedActionError, match="ctx"):
        await bay("http://127.0.0.1:9").manage(Load(model="a", options={"ctx": 1}))


async def test_a_loaded_model_is_measured_by_its_full_ref(bay: OpenBay) -> None:
    """S0-44, S0-45, S0-46."""
    with LlamaSwapSimulator([SimulatedModel("a", n_ctx=512)]) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="a"))
        known = [str(ref) for ref in memory(desk.context).measured]
        loaded = (await desk.discover())["a"]
        await desk.manage(Unload(model="a"))

        assert memory(desk.context).measured == {}
    assert known == ["desk/a"]
    assert (loaded.loaded_context, loaded.facts.context_window) == (512, 512)


@pytest.mark.parametrize("name", ["requestTimeoutS", "firstByteTimeoutS", "idleTimeoutS"])
async def test_a_load_has_its_own_limit_and_not_those_of_answers(bay: OpenBay, name: str) -> None:
    with LlamaSwapSimulator([SimulatedModel("a", load_s=math.inf)]) as sim:
        events = await loaded_by_hand(bay(sim.base_url, pollS=0.05, **{name: 0.01}), sim)

    assert events[-1] == Done(message="a is loaded")


@pytest.mark.parametrize("name", ["x//y", "a/../b", "./a", "/a", "a/", "a%2Fb", "f.json", "100%"])
async def test_an_id_that_is_no_clean_path_is_loaded_and_unloaded(bay: OpenBay, name: str) -> None:
    """llama-swap answers such a path by a redirect to the clean one."""
    with LlamaSwapSimulator([SimulatedModel(name)]) as sim:
        desk = bay(sim.base_url)
        loaded = await desk.manage(Load(model=name))
        assert sim.states == {name: "ready"}
        unloaded = await desk.manage(Unload(model=name))

        assert (sim.states, sim.starts) == ({name: "stopped"}, {name: 1})
    assert loaded[-1] == Done(message=f"{name} is loaded")
    assert unloaded[-1] == Done(message=f"{name} unloaded")


async def test_a_redirect_is_no_load(bay: OpenBay) -> None:
    with Scripted() as sim:

        @sim.route("GET", "/upstream/tiny/health")
        async def health(exchange: Exchange) -> None:
            await exchange.send(b"", 307, headers=[("Location", "/elsewhere")])

        with pytest.raises(ProtocolError, match=r"no reason given \(HTTP 307\)"):
            await bay(sim.base_url).manage(Load(model="tiny"))


async def test_a_load_is_polled_where_there_are_no_events(bay: OpenBay) -> None:
    """Before v135."""
    with LlamaSwapSimulator([SimulatedModel("a", load_s=math.inf)]) as sim:

        @sim.route("GET", "/api/events")
        async def events(exchange: Exchange) -> None:
            await exchange.text("404 page not found\n", 404)

        desk = bay(sim.base_url, pollS=0.02)
        told = await loaded_by_hand(desk, sim)

        assert memory(desk.context).lacking <= {"api/events"}
    assert told[-1] == Done(message="a is loaded")


async def test_leaving_a_load_closes_what_was_opened(bay: OpenBay) -> None:
    with LlamaSwapSimulator([SimulatedModel("a", load_s=math.inf)]) as sim:
        desk = bay(sim.base_url)
        async with closing(desk.backend.manage(Load(model="a"))) as events:
            assert await anext(events) == Progress(status="loading")
            following = asyncio.ensure_future(anext(events))
            await sim.wait_until_async(lambda: sim.listeners == 1)
            following.cancel()
            with pytest.raises(asyncio.CancelledError):
                await following

        await sim.wait_until_async(lambda: sim.listeners == 0 and sim.open_streams == 0)


# --- unload ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["v185", "v217", "v250", "head"])
async def test_an_unload_ends_when_the_process_is_gone(bay: OpenBay, dialect: Dialect) -> None:
    """S1-20, S1-36: by its alias too."""
    with LlamaSwapSimulator([SimulatedModel("a", aliases=["x"])], dialect) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="a"))
        name = "x" if dialect in ("v250", "head") else "a"
        events = await desk.manage(Unload(model=name))
        again = await desk.manage(Unload(model=name))

        assert sim.states == {"a": "stopped"}
    assert events == [Progress(status="unloading"), Done(message="a unloaded")]
    assert again[-1] == Done(message="a is not loaded", changed=False)


@pytest.mark.parametrize("dialect", ["v160", "v217", "head"])
async def test_all_models_are_unloaded_at_once(bay: OpenBay, dialect: Dialect) -> None:
    """S1-37."""
    models = [SimulatedModel("a"), SimulatedModel("b")]
    with LlamaSwapSimulator(models, dialect, groups=TOGETHER) as sim:
        desk = bay(sim.base_url)
        for name in "ab":
            await desk.manage(Load(model=name))
        events = await desk.manage(Unload())
        again = await desk.manage(Unload())

        assert sim.states == {"a": "stopped", "b": "stopped"}
    assert events == [Progress(status="unloading"), Done(message="a, b unloaded")]
    assert again[-1] == Done(message="no model is loaded", changed=False)


async def test_before_v161_one_model_alone_is_refused_rather_than_all_unloaded(
    bay: OpenBay,
) -> None:
    with LlamaSwapSimulator([SimulatedModel("a")], "v160") as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="a"))
        with pytest.raises(UnsupportedActionError) as caught:
            await desk.manage(Unload(model="a"))

        assert sim.states == {"a": "ready"}
    assert caught.value.hint == "modelbay unload --provider desk --all"


async def test_before_v126_all_are_unloaded_by_a_get(bay: OpenBay) -> None:
    with Scripted(running=[process("tiny")]) as sim:
        sim.answer("/unload", "OK", method="GET")
        events = await bay(sim.base_url).manage(Unload())

        assert sim.paths()[-2:] == ["POST /api/models/unload", "GET /unload"]
    assert events[-1] == Done(message="tiny unloaded")


@pytest.mark.parametrize("name", ["a", "x", None])
async def test_an_unload_refuses_while_requests_of_ours_run(bay: OpenBay, name: str | None) -> None:
    models = [SimulatedModel("a", aliases=["x"], answer="one two three", hold_after=1)]
    with LlamaSwapSimulator(models) as sim:
        desk = bay(sim.base_url)
        model = await desk.model("x")
        async with closing(desk.backend.stream_chat(ask(), model)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
            with pytest.raises(BackendBusyError, match="1 of our requests") as caught:
                await desk.manage(Unload(model=name))
            assert sim.states == {"a": "ready"}
            forced = await desk.manage(Unload(model=name, force=True))
            with pytest.raises(StreamInterruptedError) as cut:
                async for _ in events:
                    pass

    assert caught.value.hint == (
        "modelbay unload --provider desk --all --force"
        if name is None
        else "modelbay unload desk/a --force"
    )
    assert forced[-1] == Done(message="a unloaded")
    assert cut.value.partial == "one"


async def test_an_unload_says_how_many_requests_of_others_it_breaks(bay: OpenBay) -> None:
    models = [SimulatedModel("a", answer="one two three", hold_after=1)]
    with LlamaSwapSimulator(models) as sim:
        desk, stranger = bay(sim.base_url), bay(sim.base_url, id="stranger")
        model = await stranger.model("a")
        async with closing(stranger.backend.stream_chat(ask(), model)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
            told = await desk.manage(Unload(model="a"))

    assert told[0] == Progress(
        status="unloading; requests of others that run on 'a' and break off: 1"
    )


async def test_an_unload_waits_for_as_long_as_the_server_may_take(bay: OpenBay) -> None:
    with Scripted(running=[process("tiny")]) as sim:

        @sim.route("POST", "/api/models/unload/tiny")
        async def unload(exchange: Exchange) -> None:
            await exchange.sleep(0.05)
            await exchange.text("OK")

        events = await bay(sim.base_url, unloadTimeoutS=0).manage(Unload(model="tiny"))

    assert events[-1] == Done(message="tiny unloaded")


@pytest.mark.parametrize("dialect", ["v217", "head"])
async def test_an_unload_calls_off_a_load(bay: OpenBay, dialect: Dialect) -> None:
    """The only way to stop one; who waits for it is told. Older servers do not list a start."""
    with LlamaSwapSimulator([SimulatedModel("a", load_s=math.inf)], dialect) as sim:
        desk = bay(sim.base_url, pollS=0.02)
        waiting = asyncio.ensure_future(desk.chat(wire_id="a"))
        await sim.wait_until_async(lambda: sim.states == {"a": "starting"})
        await desk.manage(Unload(model="a", force=True))
        with pytest.raises(BackendError) as caught:
            await waiting

        assert sim.states == {"a": "stopped"}
    if dialect == "head":
        assert isinstance(caught.value, BackendBusyError)
        assert "model unloaded" in caught.value.message
        assert caught.value.hint == "send it again: the next request loads the model"


async def test_an_unload_of_nobody_is_not_found(bay: OpenBay) -> None:
    with LlamaSwapSimulator([SimulatedModel("a"), SimulatedModel("b", unlisted=True)]) as sim:
        desk = bay(sim.base_url)
        assert (await desk.manage(Unload(model="b")))[-1] == Done(
            message="b is not loaded", changed=False
        )
        with pytest.raises(ModelNotFoundError):
            await desk.manage(Unload(model="nope"))


# --- the parts ------------------------------------------------------------------------------------


async def test_what_was_entered_is_left_and_an_error_while_entering_is_raised() -> None:
    left: list[str] = []

    @asynccontextmanager
    async def manager(fails: bool) -> AsyncIterator[int]:
        try:
            if fails:
                raise BackendError("no")
            yield 7
        finally:
            left.append("left")

    async with lent() as context:
        async with Opening(context, manager(False)) as opening:
            assert await opening.ready(5)
            assert (opening.result(), left) == (7, [])
        assert left == ["left"]
        async with Opening(context, manager(True)) as opening:
            assert await opening.ready(5)
            with pytest.raises(BackendError, match="no"):
                opening.result()
    assert left == ["left", "left"]


async def test_leaving_before_it_was_entered_ends_the_entering() -> None:
    left: list[str] = []

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        try:
            await asyncio.Event().wait()
            yield
        finally:
            left.append("left")

    async with lent() as context, Opening(context, manager()) as opening:
        assert not await opening.ready(0.01)
    assert left == ["left"]
