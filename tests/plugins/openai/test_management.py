"""list, show, health: what they say about a server."""

import pytest

from modelbay.errors import ModelNotFoundError, UnsupportedActionError
from modelbay.models.manage import (
    Health,
    HealthReport,
    ListedModel,
    ListModels,
    ModelDetails,
    ModelList,
    Show,
    Unload,
)
from modelbay.testing.simulator import Exchange, Simulator
from modelbay_openai.simulator import PERSONALITIES, Knobs, OpenAISimulator, SimulatedModel
from plugins.openai.bay import OpenBay

pytestmark = pytest.mark.anyio

MODELS = [SimulatedModel("tiny", context=8192), SimulatedModel("other", loaded=False)]


@pytest.mark.parametrize(
    ("name", "server", "version"),
    [
        ("openai", "OpenAI", None),
        ("vllm", "vLLM 0.11.2", "0.11.2"),
        ("sglang", "SGLang 0.5.6", "0.5.6"),
        ("lmstudio", "LM Studio", None),
        ("tabbyapi", "TabbyAPI", None),
        ("koboldcpp", "KoboldCpp 1.123", "1.123"),
        ("openrouter", "OpenRouter", None),
    ],
)
async def test_health_says_what_answers_there(
    bay: OpenBay, name: str, server: str, version: str | None
) -> None:
    told = {"server": name} if PERSONALITIES[name].owner in ("system", "") else {}
    with OpenAISimulator(MODELS, name) as sim:
        (report,) = await bay(sim.address, **told).manage(Health())

    assert isinstance(report, HealthReport)
    assert (report.healthy, report.server, report.version) == (True, server, version)
    assert report.details["models"] == 2


@pytest.mark.parametrize("name", ["vllm", "sglang", "tabbyapi"])
async def test_a_server_that_is_not_ready_says_so(bay: OpenBay, name: str) -> None:
    with OpenAISimulator(MODELS, name, knobs=Knobs(loading=True)) as sim:
        (report,) = await bay(sim.address).manage(Health())

    assert isinstance(report, HealthReport)
    assert not report.healthy
    assert "the model is being loaded" in str(report.details["problem"])


async def test_a_server_with_a_plugin_of_its_own_is_pointed_to_it(bay: OpenBay) -> None:
    with Simulator() as sim:

        @sim.route("GET", "/v1/models")
        async def models(exchange: Exchange) -> None:
            data = [{"id": "m", "owned_by": "llamacpp", "meta": {"n_ctx": 4096}}]
            await exchange.json({"object": "list", "data": data})

        (report,) = await bay(sim.base_url).manage(Health())

    assert report == HealthReport(
        healthy=True,
        server="llama.cpp",
        details={"models": 1, "note": '"kind": "llamacpp" can do more with this server'},
    )


async def test_list_shows_states_and_owners(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "vllm") as sim:
        (listed,) = await bay(sim.address).manage(ListModels())

    assert listed == ModelList(
        models=tuple(
            ListedModel(
                wire_id=name,
                state="loaded",
                details={"owned_by": "vllm", "server": "vllm", "server_version": "0.11.2"},
            )
            for name in ("tiny", "other")
        )
    )


async def test_show_tells_all_that_is_known_of_a_model(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "vllm") as sim:
        (shown,) = await bay(sim.address).manage(Show(model="tiny"))

    assert shown == ModelDetails(
        wire_id="tiny",
        details={
            "server": "vLLM 0.11.2",
            "owned_by": "vllm",
            "state": "loaded",
            "loaded_context": 8192,
        },
    )


async def test_show_of_a_stranger_names_who_is_there(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "vllm") as sim, pytest.raises(ModelNotFoundError) as caught:
        await bay(sim.address).manage(Show(model="nobody"))

    assert caught.value.hint == "this server lists: other, tiny"


async def test_what_the_standard_has_no_word_for_is_refused(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "vllm") as sim:
        desk = bay(sim.address)
        with pytest.raises(UnsupportedActionError):
            await desk.manage(Unload(model="tiny"))
        assert "unload" in desk.backend.table.hints
