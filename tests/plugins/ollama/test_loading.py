"""Mirrors modelbay_ollama/loading.py and window.py: one window for all requests to a model."""

import pytest

from modelbay.errors import InvalidRequestError, ModelNotFoundError
from modelbay.models.events import Status
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import Done, Load, ModelDetails, Progress, Show, Unload
from modelbay.models.media import CompleteRequest
from modelbay_ollama.simulator import Knobs, OllamaSimulator, SimulatedModel
from plugins.ollama.bay import OpenBay, ask

pytestmark = pytest.mark.anyio

NAME = "llama3.1:8b"
LLAMA = SimulatedModel(NAME)
DONE = Done(message=f"{NAME} is loaded, with a window of 8192 tokens")


@pytest.mark.parametrize("version", ["0.5.0", "0.12.0", "0.33.0"])
@pytest.mark.parametrize("key", ["configuredContext", "contextWindow"])
async def test_the_window_of_one_model_is_that_of_its_load_and_of_its_chat(
    bay: OpenBay, key: str, version: str
) -> None:
    """S4-65, S4-74: or the first chat would load the model anew."""
    with OllamaSimulator([LLAMA], version) as sim:
        desk = bay(sim.base_url, numCtx=2048, models={NAME: {key: 8192}})
        before = await desk.model()
        await desk.manage(Load(model=NAME))
        events = await desk.chat()
        (shown,) = await desk.manage(Show(model=NAME))

        assert (sim.running, sim.loads, sim.reloads) == ({NAME: 8192}, {NAME: 1}, {})
    assert Status("loading") not in events
    assert before.capabilities.context_window == 8192
    assert isinstance(shown, ModelDetails)
    assert shown.details["context_configured"] == shown.details["context_effective"] == 8192


async def test_where_a_window_comes_from_is_told(bay: OpenBay) -> None:
    with OllamaSimulator([LLAMA]) as sim:
        one = await bay(sim.base_url, models={NAME: {"configuredContext": 8192}}).model()
        all_of_them = await bay(sim.base_url, numCtx=4096).model()

    assert [
        model.capabilities.provenance["context_window"].evidence for model in (one, all_of_them)
    ] == [
        f"configuredContext of models['{NAME}'], at most what was trained",
        "numCtx of this provider, at most what was trained",
    ]


async def test_a_window_larger_than_trained_is_cut_in_the_same_way_everywhere(
    bay: OpenBay,
) -> None:
    """And a model that has it is not loaded again."""
    with OllamaSimulator([SimulatedModel(NAME, trained_ctx=8192)]) as sim:
        desk = bay(sim.base_url, numCtx=32768)
        once, again = await desk.manage(Load(model=NAME)), await desk.manage(Load(model=NAME))
        await desk.chat()
        windows = [
            body["options"]["num_ctx"]
            for request in sim.requests
            if request.path == "/api/chat" and isinstance(body := request.json(), dict)
        ]

        assert (sim.loads, sim.reloads) == ({NAME: 1}, {})
    assert windows == [8192, 8192]
    assert (once, again) == (
        [Progress(status="loading"), DONE],
        [DONE.model_copy(update={"changed": False})],
    )


async def test_a_model_that_sees_has_its_least_window_and_is_warm(bay: OpenBay) -> None:
    """Section 6: at least 2048 tokens."""
    seeing = SimulatedModel(NAME, capabilities=("completion", "vision"))
    with OllamaSimulator([seeing]) as sim:
        desk = bay(sim.base_url, numCtx=1024)
        await desk.manage(Load(model=NAME))
        again = await desk.manage(Load(model=NAME))
        events = await desk.chat()

        assert (sim.running, sim.loads, sim.reloads) == ({NAME: 2048}, {NAME: 1}, {})
    assert [type(event) for event in again] == [Done]
    assert Status("loading") not in events


@pytest.mark.parametrize(
    "given", [{"num_ctx": 8192}, {"n_ctx": "8192"}, {"options": {"num_ctx": 8192}}]
)
async def test_the_window_of_an_explicit_load_stays(bay: OpenBay, given: JsonObject) -> None:
    """A plain chat after it would else load the model anew, with another one."""
    with OllamaSimulator([LLAMA]) as sim:
        desk = bay(sim.base_url, numCtx=4096)
        await desk.manage(Load(model=NAME, options=given))
        events = await desk.chat()
        await desk.chat(wire_id=NAME)
        await desk.complete(CompleteRequest(prompt="x"))
        model = await desk.model()

        assert (sim.running, sim.loads, sim.reloads) == ({NAME: 8192}, {NAME: 1}, {})
    assert Status("loading") not in events
    assert model.capabilities.configured_context == 8192


async def test_other_options_of_an_explicit_load_stay_too(bay: OpenBay) -> None:
    with OllamaSimulator([LLAMA]) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model=NAME, options={"num_gpu": 0, "temperature": 0.1}))
        events = await desk.chat()

        assert (sim.reloads, sim.answers[0].options) == ({}, {"num_gpu": 0})
    assert [event.type for event in events if event.type == "notice"] == []


async def test_the_window_of_an_explicit_load_ends_with_its_unload(bay: OpenBay) -> None:
    with OllamaSimulator([LLAMA], knobs=Knobs(default_ctx=4096)) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model=NAME, options={"num_ctx": 8192}))
        await desk.manage(Unload(model=NAME))
        await desk.chat()

        assert sim.running == {NAME: 4096}


async def test_a_chat_that_loads_anew_because_of_an_earlier_one_says_so(bay: OpenBay) -> None:
    """Section 6: none is another window than an explicit one."""
    with OllamaSimulator([LLAMA], knobs=Knobs(default_ctx=4096)) as sim:
        desk = bay(sim.base_url)
        await desk.chat(ask(extra={"num_ctx": 8192}))
        events = await desk.chat()
        third = await desk.chat()

        assert sim.reloads == {NAME: 1}
    assert events[0] == Status("loading")
    assert Status("loading") not in third


@pytest.mark.parametrize("wrong", [{"bogus": 1}, {"stream": "x"}, {"num_ctx": -5}, {"n_ctx": {}}])
async def test_an_option_a_load_does_not_have_is_refused(bay: OpenBay, wrong: JsonObject) -> None:
    with OllamaSimulator([LLAMA]) as sim:
        with pytest.raises(InvalidRequestError) as raised:
            await bay(sim.base_url).manage(Load(model=NAME, options=wrong))

        assert (sim.loads, bool(raised.value.hint)) == ({}, True)


async def test_an_option_of_a_load_that_is_null_is_left_out(bay: OpenBay) -> None:
    with OllamaSimulator([LLAMA]) as sim:
        await bay(sim.base_url).manage(Load(model=NAME, options={"num_ctx": None}))

        assert sim.loads == {NAME: 1}


async def test_only_what_is_there_can_be_unloaded(bay: OpenBay) -> None:
    with OllamaSimulator([LLAMA]) as sim:
        desk = bay(sim.base_url)
        idle = await desk.manage(Unload(model=NAME))
        with pytest.raises(ModelNotFoundError) as raised:
            await desk.manage(Unload(model="nosuch:1b"))

    assert idle == [Done(message=f"{NAME} is not loaded", changed=False)]
    assert raised.value.hint == "modelbay models desk"


# --- one file of weights under two names ---------------------------------------------------------

SHARED = [
    SimulatedModel("a:1b", weights="w"),
    SimulatedModel("b:1b", weights="w", parameters={"temperature": 1}),
    SimulatedModel("c:1b", weights="another"),
]


@pytest.mark.parametrize("version", ["0.12.0", "0.33.0"])
async def test_a_model_is_loaded_when_another_name_of_its_weights_is(
    bay: OpenBay, version: str
) -> None:
    """Trap 24: the server lists one runner for them, under the name it was loaded as."""
    with OllamaSimulator(SHARED, version, knobs=Knobs(default_ctx=4096)) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="a:1b"))
        found = await desk.discover()
        events = await desk.chat(wire_id="b:1b")
        again = await desk.manage(Load(model="b:1b"))

        assert (sim.loads, sim.reloads) == ({"a:1b": 1}, {})
        gone = await desk.manage(Unload(model="b:1b"))
        assert sim.running == {}
    assert {name: model.state for name, model in found.items()} == {
        "a:1b": "loaded",
        "b:1b": "loaded",
        "c:1b": "unloaded",
    }
    assert [model.details.get("loaded_as") for model in found.values()] == [None, "a:1b", None]
    assert found["b:1b"].loaded_context == 4096
    assert Status("loading") not in events
    assert again == [
        Done(message="b:1b is loaded as a:1b, with a window of 4096 tokens", changed=False)
    ]
    assert gone[-1] == Done(message="a:1b unloaded")


async def test_weights_are_asked_for_only_where_the_list_leaves_it_open(bay: OpenBay) -> None:
    unlike = SimulatedModel("d:1b", quantization="Q8_0")
    with OllamaSimulator([*SHARED, unlike]) as sim:
        desk = bay(sim.base_url)
        await desk.discover()
        assert sim.show_calls == 0
        await desk.manage(Load(model="a:1b"))
        await desk.discover()
        await desk.discover()

        assert sim.show_calls == 3
