"""Which server answers, what it lists, and what else it is asked."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from modelbay.errors import AuthenticationError, ConfigError, WrongServerError
from modelbay.models.capabilities import Prices
from modelbay.testing.simulator import Exchange, Simulator
from modelbay_openai.memory import memory
from modelbay_openai.simulator import (
    PERSONALITIES,
    OpenAISimulator,
    SimulatedModel,
    ToolCall,
)
from plugins.openai.bay import OpenBay

pytestmark = pytest.mark.anyio

LOCAL = ("vllm", "sglang", "lmstudio", "tabbyapi", "koboldcpp")
MODELS = [
    SimulatedModel("tiny", context=8192, trained=131072, calls=[ToolCall("f")], vision=True),
    SimulatedModel("other", context=4096, loaded=False),
    SimulatedModel("vectors", embeddings=True, loaded=False),
]


def paths(sim: Simulator) -> list[str]:
    return [request.path for request in sim.requests]


@pytest.mark.parametrize("name", LOCAL)
async def test_a_local_server_is_recognised(bay: OpenBay, name: str) -> None:
    with OpenAISimulator(MODELS, name) as sim:
        desk = bay(sim.base_url)
        models = await desk.discover()

        assert memory(desk.context).server.name == name
        assert [model.origin for model in models.values()] == ["local"] * 3
        assert sim.loads.total() == 0
        assert len(sim.requests) <= 3


@pytest.mark.parametrize("name", PERSONALITIES)
async def test_facts_come_live_with_the_field_they_stood_in(bay: OpenBay, name: str) -> None:
    with OpenAISimulator(MODELS, name) as sim:
        desk = bay(sim.address, server=name)
        window = (await desk.model("tiny")).capabilities.provenance["context_window"]

    evidence = {
        "vllm": "/models data[].max_model_len",
        "sglang": "/models data[].max_model_len",
        "lmstudio": "/api/v1/models models[].loaded_instances[].config.context_length",
        "tabbyapi": "/v1/model.parameters.max_seq_len",
        "koboldcpp": "/api/extra/true_max_context_length value",
        "openrouter": "/models data[].top_provider.context_length",
    }
    if name == "openai":  # its list tells nothing
        assert window.layer == "default"
    else:
        assert (window.layer, window.evidence) == ("live", evidence[name])


async def test_lm_studio_tells_states_and_abilities_in_its_own_api(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "lmstudio") as sim:
        models = await bay(sim.address).discover()

    tiny, other, vectors = models.values()
    assert (tiny.state, other.state, vectors.state) == ("loaded", "unloaded", "unloaded")
    assert (tiny.loaded_context, other.loaded_context) == (8192, None)
    assert (tiny.facts.vision, tiny.facts.tools) == (True, True)
    assert (other.facts.context_window, other.facts.trained_context) == (None, 131072)
    assert vectors.facts.embeddings
    assert (tiny.quantization, tiny.family, tiny.size_bytes) == ("Q4_K_M", "llama", 4_000_000_000)
    assert tiny.facts.json_mode is False


async def test_an_older_lm_studio_is_asked_in_its_older_api(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "lmstudio", old=True) as sim:
        models = await bay(sim.address).discover()

    assert models["tiny"].evidence["context_window"] == (
        "/api/v0/models data[].loaded_context_length"
    )
    assert (models["tiny"].state, models["other"].state) == ("loaded", "unloaded")


async def test_lm_studio_without_a_model_is_known_by_its_root(bay: OpenBay) -> None:
    with OpenAISimulator([], "lmstudio") as sim:
        desk = bay(sim.base_url)

        assert await desk.discover() == {}
        assert memory(desk.context).server.name == "lmstudio"


async def test_tabby_has_one_model_in_memory(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "tabbyapi") as sim:
        models = await bay(sim.address).discover()

    assert [model.state for model in models.values()] == ["loaded", "unloaded", "unloaded"]
    assert models["other"].facts.context_window is None


async def test_sglang_tells_what_its_model_understands(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS[:1], "sglang") as sim:
        tiny = (await bay(sim.address).discover())["tiny"]

    assert (tiny.facts.vision, tiny.facts.audio, tiny.facts.embeddings) == (True, False, None)
    with OpenAISimulator(MODELS[2:], "sglang") as sim:
        assert (await bay(sim.address).discover())["vectors"].facts.embeddings


async def test_openrouter_tells_prices_and_is_never_free(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, PERSONALITIES["openrouter"]) as sim:
        desk = bay(sim.address, server="openrouter", local=False)
        models = await desk.discover()
        tiny = await desk.model("tiny")

    assert {model.origin for model in models.values()} == {"remote"}
    assert tiny.capabilities.prices == Prices(input_per_mtok=0.5, output_per_mtok=1.5)
    assert tiny.capabilities.tools
    assert models["other"].facts.tools is False
    assert models["vectors"].facts.embeddings


async def test_a_server_of_one_s_own_costs_nothing(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "vllm") as sim:
        prices = (await bay(sim.base_url).model("tiny")).capabilities.prices

    assert prices is not None
    assert prices.input_per_mtok == 0


async def test_the_version_decides_the_dialect(bay: OpenBay) -> None:
    for version, field in (("0.10.2", "reasoning_content"), ("0.11.2", "reasoning")):
        with OpenAISimulator(MODELS, replace(PERSONALITIES["vllm"], version=version)) as sim:
            desk = bay(sim.base_url)
            await desk.discover()
            known = memory(desk.context)

            assert known.title == f"vLLM {version}"
            assert known.server.dialect_of(known.version).reasoning_history == field


async def test_the_user_s_word_is_not_questioned(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "vllm") as sim:
        desk = bay(sim.base_url, server="openai")
        await desk.discover()

        assert memory(desk.context).server.name == "openai"
        assert paths(sim) == ["/v1/models"]


# --- where the list is ----------------------------------------------------------------------------


async def test_a_server_without_v1_is_found(bay: OpenBay) -> None:
    bare = replace(PERSONALITIES["sglang"], api="")
    with OpenAISimulator(MODELS, bare) as sim:
        desk = bay(sim.base_url)
        await desk.discover()
        await desk.chat()

        assert paths(sim)[:2] == ["/v1/models", "/models"]
        assert paths(sim)[-1] == "/chat/completions"


async def test_a_server_without_v1_and_without_a_list_can_be_told(bay: OpenBay) -> None:
    bare = replace(PERSONALITIES["sglang"], api="")
    with OpenAISimulator(MODELS, bare) as sim:
        desk = bay(sim.base_url, discover=False, apiPrefix="", models={"tiny": {}})
        await desk.chat()

        assert paths(sim) == ["/chat/completions"]


async def test_what_is_said_of_the_routes_is_not_questioned(bay: OpenBay) -> None:
    odd = replace(PERSONALITIES["sglang"], api="/api/v7")
    with OpenAISimulator(MODELS, odd) as sim:
        desk = bay(sim.base_url, apiPrefix="/api/v7/")
        await desk.discover()
        await desk.chat()
        assert (paths(sim)[0], paths(sim)[-1]) == ("/api/v7/models", "/api/v7/chat/completions")

        asked = len(paths(sim))
        with pytest.raises(WrongServerError):
            await bay(sim.base_url, apiPrefix="v1").discover()
        assert paths(sim)[asked:] == ["/v1/models"]


async def test_a_web_page_is_no_server(bay: OpenBay) -> None:
    with Simulator() as sim:

        @sim.route("GET", "/{path...}")
        async def page(exchange: Exchange) -> None:
            await exchange.text("<!doctype html><html></html>", content_type="text/html")

        with pytest.raises(WrongServerError) as caught:
            await bay(sim.base_url).discover()

    assert caught.value.found == "a web page"
    assert "baseUrl" in (caught.value.hint or "")


async def test_a_server_without_any_list_is_told_from_one_without_models(bay: OpenBay) -> None:
    with Simulator() as sim:
        with pytest.raises(WrongServerError, match="without a model list"):
            await bay(f"{sim.base_url}/v1").discover()
        assert paths(sim) == ["/v1/models"]


async def test_names_of_the_file_are_listed_where_there_is_no_list(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS) as sim:
        facts = {"contextWindow": 4096}
        models = {"tiny": facts, "acme-*": {"tools": True}}
        desk = bay(sim.base_url, discover=False, models=models)

        assert list(await desk.discover()) == ["tiny"]
        assert (await desk.model("tiny")).capabilities.context_window == 4096
        assert paths(sim) == []
        assert await desk.chat()


async def test_a_key_that_is_refused_is_no_server_without_models(bay: OpenBay) -> None:
    with (
        OpenAISimulator(MODELS, "vllm", key="sk-right") as sim,
        pytest.raises(AuthenticationError),
    ):
        await bay(sim.base_url, apiKey="sk-wrong").discover()


async def test_an_unknown_option_is_told_at_the_first_look(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS) as sim, pytest.raises(ConfigError, match="maxToken"):
        await bay(sim.base_url, maxToken=7).discover()


# --- guesses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vllm", "koboldcpp", "openai"])
async def test_a_guess_is_given_up_when_another_server_answers(bay: OpenBay, name: str) -> None:
    with OpenAISimulator(MODELS, name) as sim:
        desk = bay(sim.base_url, server="lmstudio", source="loopback")
        with pytest.raises(WrongServerError):
            await desk.discover()


async def test_a_guess_that_is_right_stays(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "lmstudio") as sim:
        assert len(await bay(sim.base_url, server="lmstudio", source="loopback").discover()) == 3


@pytest.fixture
def mixed() -> Iterator[Simulator]:
    """A gateway that lists the models of many owners."""
    with Simulator() as sim:

        @sim.route("GET", "/v1/models")
        async def models(exchange: Exchange) -> None:
            data = [{"id": "a", "owned_by": "vllm"}, {"id": "b", "owned_by": "sglang"}]
            await exchange.json({"object": "list", "data": data})

        yield sim


async def test_a_gateway_of_many_servers_is_none_of_them(bay: OpenBay, mixed: Simulator) -> None:
    desk = bay(mixed.base_url)
    await desk.discover()

    assert memory(desk.context).title == "an OpenAI-compatible server"


async def test_paths_of_the_server_s_machine_are_not_shown(bay: OpenBay) -> None:
    with OpenAISimulator(MODELS, "vllm") as sim:
        models = await bay(sim.base_url).discover()

    shown = json.dumps([model.model_dump(mode="json") for model in models.values()])
    assert "/models/tiny" not in shown
