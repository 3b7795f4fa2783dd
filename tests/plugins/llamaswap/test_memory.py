"""Mirrors modelbay_llamaswap/memory.py and measuring.py: whose requests run, and what is known."""

from typing import Any

import pytest

from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import BackendBusyError
from modelbay.models.events import TextDelta
from modelbay.models.manage import Done, Load, Running, Unload
from modelbay_llamaswap.inventory import list_running
from modelbay_llamaswap.measuring import measure
from modelbay_llamaswap.memory import memory
from modelbay_llamaswap.simulator import (
    Group,
    LlamaSwapSimulator,
    Peer,
    Profile,
    Selector,
    SimulatedModel,
)
from plugins.llamaswap.bay import OpenBay, ask
from plugins.llamaswap.serving import Scripted, entry, process
from pretend import lent

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("name", "model", "told"),
    [
        ("x", "a", "1 of our requests run on 'a'"),  # asked for before there was a list
        ("pick", "a", "1 of our requests may run on 'a'"),
        ("pick", "b", None),  # the server says that nothing runs there
        ("code", "a", "1 of our requests run on 'a'"),
        ("hidden", "hidden", "1 of our requests run on 'hidden'"),
        ("hidden", "b", None),
        ("lab/m", "a", None),
        ("lab/m", None, None),
        ("pick", None, "1 of our requests run on these models"),
    ],
)
async def test_a_request_is_ours_by_whatever_name_it_was_sent(
    bay: OpenBay, name: str, model: str | None, told: str | None
) -> None:
    held: dict[str, Any] = {"answer": "one two three", "hold_after": 1}
    models = [
        SimulatedModel("a", aliases=["x"], **held),
        SimulatedModel("b"),
        SimulatedModel("hidden", unlisted=True, **held),
    ]
    with LlamaSwapSimulator(
        models,
        groups={"all": Group(["a", "b", "hidden"], swap=False)},
        selectors=[Selector("pick", ["a", "b"])],
        peers=[Peer("lab", [SimulatedModel("m", **held)])],
        profiles=[Profile("work", {"code": "a"})],
    ) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="b"))
        await desk.context.http.put("api/profiles/active", json={"name": "work"})
        asked = await desk.model(name)
        memory(desk.context).saw_names({}, {})
        async with closing(desk.backend.stream_chat(ask(), asked)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
            if told is None:
                assert isinstance((await desk.manage(Unload(model=model)))[-1], Done)
            else:
                with pytest.raises(BackendBusyError) as caught:
                    await desk.manage(Unload(model=model))
                assert caught.value.message == f"{told} and would break"
                assert sim.states[model or "a"] == "ready"


@pytest.mark.parametrize("targets", [["tiny", "other"], []])
async def test_where_the_server_counts_no_requests_those_that_may_run_there_are_counted(
    bay: OpenBay, targets: list[str]
) -> None:
    """Before v235, and a selector without its targets before v246."""
    own = {"llamaswap": {"type": "selector", "targets": targets}}
    listed = [entry("tiny"), entry("other"), entry("pick", meta=own)]
    with Scripted(listed, [process("tiny")]) as sim:
        desk = bay(sim.base_url)
        with memory(desk.context).using("pick"):
            with pytest.raises(BackendBusyError, match="1 of our requests may run on 'tiny'"):
                await desk.manage(Unload(model="tiny"))
            assert await desk.manage(Running())

        assert "POST /api/models/unload/tiny" not in sim.paths()


async def test_a_look_at_running_forgets_what_was_measured_of_a_model_that_is_gone() -> None:
    with Scripted([entry("a"), entry("b")], [process("a"), process("b")]) as sim:
        for name in "ab":
            settings = {"default_generation_settings": {"n_ctx": 512}}
            sim.answer(f"/upstream/{name}/props", settings, method="GET")
        async with lent(sim.base_url, kind="llama-swap") as context:
            await _measure(context, "a")
            await _measure(context, "b")
            sim.running = [process("b")]
            await list_running(context)

            assert [ref.wire_id for ref in memory(context).measured] == ["b"]


@pytest.mark.parametrize(
    ("status", "body", "asked"),
    [
        (404, "File Not Found", 1),
        (404, {"detail": "Not Found"}, 1),
        (200, "<html>", 1),
        (401, "no", 1),
        (501, "no", 1),
        (503, "busy", 2),
        (429, "busy", 2),
        (500, "ill", 2),
    ],
)
async def test_a_server_that_has_no_properties_is_asked_for_them_once(
    bay: OpenBay, status: int, body: object, asked: int
) -> None:
    """Each question counts as a use of the model, and puts off its unloading."""
    with Scripted(running=[process("tiny")]) as sim:
        sim.answer("/upstream/tiny/props", body, status, method="GET")
        desk = bay(sim.base_url)
        for _ in range(2):
            await desk.manage(Running())
        assert sim.paths().count("GET /upstream/tiny/props") == asked

        sim.running = []
        await desk.manage(Running())
        sim.running = [process("tiny")]
        await desk.manage(Running())
        assert sim.paths().count("GET /upstream/tiny/props") == asked + 1


async def _measure(context: ProviderContext, wire_id: str) -> None:
    await measure(context, wire_id, await list_running(context))
