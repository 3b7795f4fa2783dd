"""Whole swaps against a simulated llama-swap: waited for, called off, and broken, old and new."""

import asyncio
import math

import pytest

from modelbay.closing import closing
from modelbay.errors import (
    BackendError,
    BackendTimeoutError,
    ContextLengthError,
    StreamInterruptedError,
)
from modelbay.models.events import Finish, ReasoningDelta, Status, StreamEvent, TextDelta
from modelbay_llamaswap.simulator import Dialect, LlamaSwapSimulator, SimulatedModel
from plugins.llamaswap.bay import Bay, OpenBay, ask, collect, statuses, text_of

pytestmark = pytest.mark.anyio

ALL: list[Dialect] = ["v185", "v217", "v250", "head"]
WRITER = SimulatedModel("writer", answer="one two three", hold_after=2)


@pytest.mark.parametrize("typing", [False, True], ids=["silent", "typing"])
@pytest.mark.parametrize("dialect", ALL)
async def test_a_swap_of_half_a_minute_is_waited_for_and_told(
    bay: OpenBay, dialect: Dialect, typing: bool
) -> None:
    """S1-05, S1-21: nothing times out, and the first token follows."""
    models = [SimulatedModel("a", load_s=30, answer="at last")]
    with LlamaSwapSimulator(models, dialect, loading_state=typing) as sim:
        events = await bay(sim.base_url, pollS=0.05).chat(wire_id="a")

        assert sim.starts == {"a": 1}
    told = statuses(events)
    assert told[0] == ("loading", None)
    assert ("loading", "llama-swap loading model: a" if typing else "llama-swap starts 'a'") in told
    kinds = [event.type for event in events]
    assert kinds.index("text") > kinds.index("status")
    assert (text_of(events), type(events[-1])) == ("at last", Finish)
    assert [event for event in events if isinstance(event, ReasoningDelta)] == []


async def test_who_waits_is_told_what_has_to_make_room(bay: OpenBay) -> None:
    """Trap 14: a second model may wait for as long as the first is busy."""
    with LlamaSwapSimulator([WRITER, SimulatedModel("b")]) as sim:
        desk = bay(sim.base_url, pollS=0.02)
        writer = await desk.model("writer")
        async with closing(desk.backend.stream_chat(ask(), writer)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
            other = desk.backend.stream_chat(ask(), await desk.model("b"))
            async with closing(other) as waiting:
                seen = [await anext(waiting), await anext(waiting)]
                sim.release_held()
                _ = [event async for event in events]
                rest = [event async for event in waiting]

    assert seen == [
        Status("loading"),
        Status("queued", message="not started yet; 'writer' may have to make room"),
    ]
    assert isinstance(rest[-1], Finish)


@pytest.mark.parametrize("typing", [False, True], ids=["silent", "typing"])
async def test_a_deadline_ends_the_wait_and_leaves_nothing_running_on_our_side(
    bay: OpenBay, typing: bool
) -> None:
    """Five of the server's seconds."""
    models = [SimulatedModel("a", load_s=math.inf)]
    with LlamaSwapSimulator(models, loading_state=typing) as sim:
        desk = bay(sim.base_url, pollS=0.02)
        model = await desk.model("a")
        before = len(asyncio.all_tasks())
        with pytest.raises(BackendTimeoutError):
            await collect(desk.backend.stream_chat(ask(), model, 5 * 0.05), [])

        assert len(asyncio.all_tasks()) == before
        await sim.wait_until_async(lambda: sim.waiting == 0 and sim.open_streams == 0)
        assert sim.states == {"a": "starting"}  # a load that has begun goes on (trap 12)


# --- broken ---------------------------------------------------------------------------------------


async def broken(desk: Bay, sim: LlamaSwapSimulator, stream: bool = True) -> BackendError:
    """A turn in the middle of which the model's process dies."""
    model = await desk.model("writer")

    async def kill() -> None:
        await sim.wait_until_async(lambda: sim.holding == 1)
        sim.kill("writer")

    killing = asyncio.ensure_future(kill())
    events: list[StreamEvent] = []
    with pytest.raises(BackendError) as caught:
        await collect(desk.backend.stream_chat(ask(stream=stream), model), events)
    await killing
    assert [event for event in events if isinstance(event, Finish)] == []
    return caught.value


@pytest.mark.parametrize("typing", [False, True], ids=["silent", "typing"])
@pytest.mark.parametrize("dialect", ALL)
async def test_a_child_killed_in_mid_stream_is_an_interruption_with_its_text(
    bay: OpenBay, dialect: Dialect, typing: bool
) -> None:
    with LlamaSwapSimulator([WRITER], dialect, loading_state=typing) as sim:
        error = await broken(bay(sim.base_url), sim)

    assert isinstance(error, StreamInterruptedError)
    assert error.partial == "one tw"


@pytest.mark.parametrize("dialect", ALL)
async def test_a_child_killed_in_a_plain_request_is_an_error_with_words(
    bay: OpenBay, dialect: Dialect
) -> None:
    with LlamaSwapSimulator([WRITER], dialect) as sim:
        error = await broken(bay(sim.base_url), sim, stream=False)

    assert error.message == "the model's own server died, or takes no connections yet (HTTP 502)"
    assert error.hint == "modelbay logs desk writer"


async def test_a_reload_of_the_config_is_an_interruption(bay: OpenBay) -> None:
    with LlamaSwapSimulator([WRITER]) as sim:
        desk = bay(sim.base_url)
        events = desk.backend.stream_chat(ask(), await desk.model("writer"))
        seen: list[StreamEvent] = []
        reading = asyncio.ensure_future(collect(events, seen))
        await sim.wait_until_async(lambda: sim.holding == 1)
        sim.reload()
        with pytest.raises(StreamInterruptedError) as caught:
            await reading

    assert caught.value.partial == text_of(seen) == "one tw"


@pytest.mark.parametrize("typing", [False, True], ids=["silent", "typing"])
@pytest.mark.parametrize("dialect", ALL)
async def test_a_model_that_cannot_be_started_is_an_error_and_no_empty_answer(
    bay: OpenBay, dialect: Dialect, typing: bool
) -> None:
    models = [SimulatedModel("a", fail="exit")]
    with (
        LlamaSwapSimulator(models, dialect, loading_state=typing) as sim,
        pytest.raises(BackendError) as caught,
    ):
        await bay(sim.base_url).chat(wire_id="a")

    assert type(caught.value) is BackendError
    assert caught.value.status == (502 if dialect in ("v185", "v217") else 500)
    assert caught.value.hint == "modelbay logs desk a"


@pytest.mark.parametrize("typing", [False, True], ids=["silent", "typing"])
async def test_a_prompt_that_is_too_long_has_its_error_however_the_answer_began(
    bay: OpenBay, typing: bool
) -> None:
    models = [SimulatedModel("a", n_ctx=8)]
    with (
        LlamaSwapSimulator(models, loading_state=typing) as sim,
        pytest.raises(ContextLengthError) as caught,
    ):
        await bay(sim.base_url).chat("word " * 100, wire_id="a")

    assert caught.value.status == 400


async def test_what_the_model_thinks_is_kept_apart_from_the_loading_text(bay: OpenBay) -> None:
    models = [SimulatedModel("a", reasoning="Hm. Well.", answer="Yes.", load_s=5)]
    with LlamaSwapSimulator(models, loading_state=True) as sim:
        cold = await bay(sim.base_url).chat(wire_id="a")
        warm = await bay(sim.base_url).chat(wire_id="a")

    thoughts = [
        "".join(event.text for event in events if isinstance(event, ReasoningDelta))
        for events in (cold, warm)
    ]
    assert thoughts == ["Hm. Well.", "Hm. Well."]
    assert warm[0].type == "reasoning"
