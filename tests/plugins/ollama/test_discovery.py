"""Mirrors modelbay_ollama/discovery.py, window.py and fingerprint.py (S4-103)."""

import json
from typing import Any

import anyio
import pytest

from modelbay.errors import AuthenticationError, BackendUnreachableError, WrongServerError
from modelbay.host.host import Host
from modelbay.models.capabilities import Capabilities, Facts, Provenance
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.manage import Load
from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance.ports import dead_url
from modelbay.testing.simulator import Exchange, Fault, Simulator
from modelbay_ollama import plugin
from modelbay_ollama.simulator import Knobs, OllamaSimulator, Remote, SimulatedModel
from modelbay_ollama.window import Windows, asked_window, windows, wished_window
from plugins.ollama.bay import OpenBay, ask
from pretend import installed

pytestmark = pytest.mark.anyio

QWEN = SimulatedModel(
    "qwen3:8b",
    family="qwen3",
    parameter_size="8.2B",
    trained_ctx=40960,
    capabilities=("completion", "tools", "thinking", "telepathy"),
)
LLAMA = SimulatedModel("llama3:latest", trained_ctx=8192, parameters={"num_ctx": 4096})
CLOUD = SimulatedModel(
    "gpt-oss:120b-cloud",
    family="gptoss",
    parameter_size="116.8B",
    trained_ctx=131072,
    capabilities=("completion", "tools", "thinking"),
    remote=Remote("gpt-oss:120b"),
)


def known(model: DiscoveredModel, *names: str) -> list[object]:
    return [getattr(model.facts, name) for name in names]


@pytest.mark.parametrize("version", ["0.30.1", "0.33.0"])
async def test_a_new_server_describes_all_models_in_one_list(bay: OpenBay, version: str) -> None:
    """S4-25, S4-37, S4-41, S4-56, U7; trap 38."""
    with OllamaSimulator([QWEN, LLAMA], version=version) as sim:
        qwen = (await bay(sim.base_url).discover())["qwen3:8b"]
        shows = sim.show_calls

    assert shows == 0
    assert (qwen.name, qwen.family, qwen.quantization, qwen.state, qwen.origin) == (
        "Qwen 3 8B",
        "qwen3",
        "Q4_K_M",
        "unloaded",
        "local",
    )
    assert qwen.facts == Facts(
        trained_context=40960,
        tools=True,
        vision=False,
        audio=False,
        reasoning=True,
        embeddings=False,
        json_mode=True,
        json_schema=True,
    )
    assert qwen.evidence["tools"] == "/api/tags capabilities"
    assert qwen.evidence["trained_context"] == "/api/tags details.context_length"
    assert qwen.details["parameter_size"] == "8.2B"
    assert "telepathy" in str(qwen.details["capabilities"])  # unknown ones are kept


async def test_an_older_server_is_asked_for_each_model_once(bay: OpenBay) -> None:
    """S4-37: by digest."""
    copy = SimulatedModel("copy:8b", digest="ab" * 32)
    with OllamaSimulator(
        [QWEN, copy, SimulatedModel("twin:8b", digest="ab" * 32)], version="0.12.11"
    ) as sim:
        desk = bay(sim.base_url)
        first, second = await desk.discover(), await desk.discover()
        shows = sim.show_calls
        sim.add_model(SimulatedModel("new:1b"))
        third = await desk.discover()

        assert (shows, sim.show_calls) == (2, 3)
    assert first == second
    assert third.keys() == {*first, "new:1b"}
    assert first["qwen3:8b"].facts.reasoning is True
    assert first["qwen3:8b"].evidence["reasoning"] == "/api/show capabilities"


async def test_a_server_without_capabilities_leaves_them_to_the_table(bay: OpenBay) -> None:
    """Wire notes 13.4, assertion 11; S4-97: three layers, each with its provenance."""
    strange = SimulatedModel("strange:13b", parameter_size="13.0B", trained_ctx=0)
    with OllamaSimulator([SimulatedModel("llama3.1:8b"), strange], version="0.5.0") as sim:
        desk = bay(sim.base_url)
        found = await desk.model()

    assert found.capabilities.tools is True
    assert found.capabilities.provenance["tools"] == Provenance(
        layer="table", evidence="models.dev data set, 2 Jul 2026"
    )
    assert found.capabilities.provenance["prices"].layer == "default"


async def test_one_model_that_cannot_be_described_costs_no_other(bay: OpenBay) -> None:
    with OllamaSimulator([QWEN, LLAMA], version="0.12.11") as sim:
        sim.inject(Fault(status=500), path="/api/show", times=1)
        found = await bay(sim.base_url).discover()

    assert found.keys() == {"qwen3:8b", "llama3:latest"}


async def test_describing_ends_with_the_time_for_a_look_and_goes_on_at_the_next(
    bay: OpenBay,
) -> None:
    with OllamaSimulator([QWEN, LLAMA], version="0.12.11") as sim:
        desk = bay(sim.base_url, probeTimeoutS=0.3)
        sim.inject(Fault(hang=True), path="/api/show", times=1)
        first = await desk.discover()
        second = await desk.discover()

    assert first.keys() == second.keys() == {"qwen3:8b", "llama3:latest"}
    assert all(model.facts.tools is not None for model in second.values())


@pytest.mark.parametrize("path", ["/api/version", "/api/ps"])
async def test_a_list_that_was_read_is_not_lost_to_a_silent_path(bay: OpenBay, path: str) -> None:
    with OllamaSimulator([QWEN, LLAMA]) as sim:
        sim.inject(Fault(hang=True), path=path)
        with anyio.fail_after(1.0):
            found = await bay(sim.base_url, probeTimeoutS=1.0).discover()

    assert found.keys() == {"qwen3:8b", "llama3:latest"}


async def test_a_list_that_was_read_does_not_wait_for_a_silent_root(bay: OpenBay) -> None:
    """A version that fails is a reason to ask what else answers here, as long as there is time."""
    with OllamaSimulator([QWEN, LLAMA]) as sim:
        sim.inject(Fault(status=500), path="/api/version")
        for path in ("/", "/v1/models", "/running"):
            sim.inject(Fault(hang=True), path=path)
        with anyio.fail_after(1.0):
            found = await bay(sim.base_url, probeTimeoutS=1.0).discover()

    assert found.keys() == {"qwen3:8b", "llama3:latest"}


async def test_describing_has_only_the_time_that_the_list_has_left(bay: OpenBay) -> None:
    with OllamaSimulator([QWEN, LLAMA], version="0.12.11") as sim:
        sim.inject(Fault(delay_head_s=0.5), path="/api/tags")
        sim.inject(Fault(hang=True), path="/api/show")
        with anyio.fail_after(1.0):
            found = await bay(sim.base_url, probeTimeoutS=1.0).discover()

        assert found.keys() == {"qwen3:8b", "llama3:latest"}
        assert "/api/show" in {request.path for request in sim.requests}


# --- names ---------------------------------------------------------------------------------------


async def test_every_spelling_reaches_the_listed_model(bay: OpenBay) -> None:
    """Trap 23: the registry by alias, any case through the plugin; the wire keeps the spelling."""
    thinker = SimulatedModel("llama3:latest", capabilities=("completion", "thinking"))
    with OllamaSimulator([thinker]) as sim:
        desk = bay(sim.base_url)
        listed = (await desk.discover())["llama3:latest"]
        info = desk.unlisted("LLAMA3")
        async for _ in desk.backend.stream_chat(ask(), info):
            pass
        body = sim.requests[-1].json()

    assert listed.aliases == ("llama3", "library/llama3:latest", "library/llama3")
    assert isinstance(body, dict)
    assert (body["model"], body["think"]) == ("LLAMA3", True)


# --- the cloud -----------------------------------------------------------------------------------


async def test_a_model_in_the_cloud_is_neither_local_nor_free(bay: OpenBay) -> None:
    """S4-54, U7; trap 37."""
    with OllamaSimulator([CLOUD]) as sim:
        desk = bay(sim.base_url)
        found = await desk.model("gpt-oss:120b-cloud")
        size = (await desk.discover())["gpt-oss:120b-cloud"].size_bytes

    assert (found.origin, found.capabilities.prices, found.state) == ("remote", None, "unknown")
    assert size is None
    assert (found.capabilities.context_window, found.details["remote_host"]) == (
        131072,
        "https://ollama.com:443",
    )


async def test_without_consent_no_model_in_the_cloud_is_listed(bay: OpenBay) -> None:
    with OllamaSimulator([CLOUD, QWEN]) as sim:
        found = await bay(sim.base_url, allowCloud=False).discover()

    assert found.keys() == {"qwen3:8b"}


# --- three context numbers -----------------------------------------------------------------------


async def test_trained_configured_and_effective_are_never_mixed(bay: OpenBay) -> None:
    """Wire notes 13.4, assertion 7; trap 1."""
    with OllamaSimulator([QWEN], knobs=Knobs(default_ctx=4096)) as sim:
        desk = bay(sim.base_url)
        before = (await desk.discover())["qwen3:8b"]
        await desk.manage(Load(model="qwen3:8b"))
        after = (await desk.discover())["qwen3:8b"]

    names = ("trained_context", "configured_context", "context_window")
    assert (known(before, *names), before.loaded_context) == ([40960, None, None], None)
    assert (known(after, *names), after.loaded_context) == ([40960, None, 4096], 4096)
    assert after.evidence["context_window"] == "/api/ps context_length"
    assert after.state == "loaded"


async def test_what_the_modelfile_sets_is_configured(bay: OpenBay) -> None:
    with OllamaSimulator([LLAMA], version="0.12.11") as sim:
        found = (await bay(sim.base_url).discover())["llama3:latest"]

    names = ("trained_context", "configured_context", "context_window")
    assert known(found, *names) == [8192, 4096, 4096]


async def test_what_the_user_sets_is_what_a_request_will_get(bay: OpenBay) -> None:
    with OllamaSimulator([QWEN]) as sim:
        found = (await bay(sim.base_url, numCtx=65536).discover())["qwen3:8b"]

    names = ("trained_context", "configured_context", "context_window")
    assert known(found, *names) == [40960, 65536, 40960]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"trained": 8192}, (8192, None, None)),
        ({"trained": 8192, "loaded": 4096}, (8192, None, 4096)),
        ({"trained": 8192, "modelfile": 16384}, (8192, 16384, 8192)),
        ({"trained": 8192, "modelfile": 2048, "loaded": 4096}, (8192, 2048, 4096)),
        ({"trained": 8192, "asked": 2048, "loaded": 4096}, (8192, 2048, 2048)),
        ({"trained": 8192, "remote": True}, (8192, None, 8192)),
        ({"trained": None}, (None, None, None)),
    ],
)
def test_the_effective_window_follows_the_server_s_own_order(
    given: dict[str, Any], wanted: tuple[int | None, int | None, int | None]
) -> None:
    """Wire notes, section 6."""
    found = windows(**given)

    assert isinstance(found, Windows)
    assert (found.trained, found.configured, found.effective) == wanted


@pytest.mark.parametrize(
    ("facts", "wide", "wanted"),
    [
        ({}, None, None),
        ({}, 8192, 8192),
        ({"configured_context": 16384}, 8192, 16384),
        ({"context_window": 16384}, 8192, 16384),
        ({"context_window": 16384, "trained_context": 4096}, 8192, 4096),
    ],
)
def test_the_window_asked_for_is_the_user_s_word_on_the_model(
    facts: dict[str, int], wide: int | None, wanted: int | None
) -> None:
    """S4-65, S4-74, S4-100: the same for each request, or the model is loaded anew."""
    user = Provenance(layer="user")
    said = Capabilities(**facts, provenance=dict.fromkeys(facts, user))  # type: ignore[arg-type] # rows

    assert asked_window(wished_window(said, wide)[0], said) == wanted


def test_a_window_the_server_has_said_is_not_asked_for_again() -> None:
    live = Capabilities(
        context_window=4096, provenance={"context_window": Provenance(layer="live")}
    )

    assert wished_window(live, None)[0] is None


@pytest.mark.parametrize("name", ["sam/qwen3:8b", "hf.co/sam/Qwen3-8B-GGUF:Q4_K_M"])
async def test_a_known_family_is_known_in_a_namespace_too(bay: OpenBay, name: str) -> None:
    """Section 10; on servers that do not describe their models."""
    with OllamaSimulator([SimulatedModel(name, capabilities=())], "0.1.44") as sim:
        found = (await bay(sim.base_url).model(name)).capabilities

    assert (found.tools, found.reasoning, found.vision) == (True, True, False)
    assert found.provenance["tools"].evidence.startswith("table: models.dev data set")


async def test_a_wrong_number_of_one_model_does_not_hide_the_others(bay: OpenBay) -> None:
    details = {"context_length": -1, "embedding_length": -7}
    listed = {
        "models": [
            {"name": "odd:1b", "digest": "d", "size": -5, "details": details},
            {"name": "plain:1b", "digest": "e", "details": {"context_length": 4096}},
        ]
    }
    running = {"models": [{"name": "odd:1b", "context_length": -3}]}
    with OllamaSimulator([]) as sim:
        for path, answer in (("/api/tags", listed), ("/api/ps", running)):
            body = json.dumps(answer).encode()
            sim.inject(Fault(status=200, body=body), path=path)
        found = await bay(sim.base_url).discover()

    odd, plain = found["odd:1b"], found["plain:1b"]
    assert (odd.facts.trained_context, odd.loaded_context, odd.size_bytes) == (None, None, None)
    assert plain.facts.trained_context == 4096


# --- who answers ---------------------------------------------------------------------------------


async def test_a_silent_port_is_no_provider_and_no_error(bay: OpenBay) -> None:
    """S4-64, S4-108."""
    with pytest.raises(BackendUnreachableError):
        await bay(dead_url()).discover()
    env = {"OLLAMA_HOST": dead_url(), "MODELBAY_HOME": "/nonexistent"}
    host = Host.open(providers=[], env=env, installed=installed(ollama=plugin))
    async with host:
        catalog = await host.refresh(force=True)

    assert [(p.id, p.hidden, p.models) for p in catalog.providers] == [("ollama", True, ())]


async def test_another_product_at_the_address_is_named(bay: OpenBay, sim: Simulator) -> None:
    """A llama.cpp server answers /api/tags too; llama-swap answers /api/version."""

    @sim.route("GET", "/api/tags")
    async def tags(exchange: Exchange) -> None:
        await exchange.json({"models": [], "data": []})

    @sim.route("GET", "/v1/models")
    async def models(exchange: Exchange) -> None:
        await exchange.json({"data": [{"id": "m", "owned_by": "llamacpp"}]})

    with pytest.raises(WrongServerError) as raised:
        await bay(sim.base_url).discover()

    assert raised.value.found == "llama.cpp"


async def test_a_web_page_is_no_ollama(bay: OpenBay) -> None:
    with OllamaSimulator() as sim:
        sim.inject(Fault.html(200, "Welcome"))
        with pytest.raises(WrongServerError) as raised:
            await bay(sim.base_url).discover()

    assert raised.value.found == "a web page"


async def test_an_empty_refusal_names_the_host_guard(bay: OpenBay) -> None:
    """Wire notes, section 2.3; trap 33."""
    with OllamaSimulator() as sim:
        desk = bay(sim.base_url, headers={"Host": "models.example.com"})
        with pytest.raises(AuthenticationError) as raised:
            await desk.discover()

    assert "Host: localhost:11434" in (raised.value.hint or "")


async def test_the_address_of_an_openai_client_works_too(bay: OpenBay) -> None:
    with OllamaSimulator([QWEN]) as sim:
        assert (await bay(f"{sim.base_url}/v1").discover()).keys() == {"qwen3:8b"}


async def test_a_base_path_stands_before_every_route(bay: OpenBay) -> None:
    with OllamaSimulator([QWEN], prefix="/ollama") as sim:
        assert (await bay(sim.base_url).discover()).keys() == {"qwen3:8b"}


async def test_several_hosts_are_several_providers() -> None:
    with (
        OllamaSimulator([QWEN]) as one,
        OllamaSimulator([LLAMA]) as two,
    ):
        configs = [
            ProviderConfig(id=name, kind="ollama", base_url=sim.base_url)
            for name, sim in (("desk", one), ("rack", two))
        ]
        host = Host.open(
            providers=configs,
            env={"MODELBAY_HOME": "/nonexistent"},
            installed=installed(ollama=plugin),
        )
        async with host:
            catalog = await host.refresh(force=True)

    assert [model.id for model in catalog.models] == ["desk/qwen3:8b", "rack/llama3:latest"]
