"""The plugin inside a whole host: proposals and the file, names, an agent's tools, going away."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from modelbay import ChatRequest, Host, user
from modelbay.errors import UnsupportedFeatureError
from modelbay.host.loader import Installed
from modelbay.models.capabilities import Facts
from modelbay.models.catalog import Catalog
from modelbay.models.chat import ImagePart
from modelbay.models.events import ToolCall
from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance.ports import dead_url
from modelbay.testing.fault import Fault
from modelbay_ollama import plugin
from modelbay_ollama.simulator import Knobs, Layer, OllamaSimulator, Pullable, SimulatedModel
from pretend import Clock, installed

pytestmark = pytest.mark.anyio

LLAMA = SimulatedModel("llama3:latest", answer="Hello.", capabilities=("completion", "tools"))
CODESTRAL = Pullable(SimulatedModel("codestral:22b"), (Layer(100, steps=2),))
KINDS = installed(ollama=plugin)


@asynccontextmanager
async def opened(
    url: str,
    *providers: ProviderConfig,
    kinds: Installed = KINDS,
    clock: Clock | None = None,
) -> AsyncIterator[Host]:
    """A host for which the variable names this server."""
    env = {"MODELBAY_HOME": "/nonexistent", "OLLAMA_HOST": url}
    async with Host.open(
        providers=providers, env=env, installed=kinds, clock=clock or Clock()
    ) as host:
        yield host


def ids(catalog: Catalog) -> list[str]:
    return [model.id for model in catalog.models]


# --- proposals and the file -----------------------------------------------------------------------


async def test_what_the_user_says_wins_field_by_field_over_what_is_discovered() -> None:
    """S4-65, S4-100: the rest of the model stays as the server tells it."""
    models = {"llama3:*": Facts(tools=False, context_window=2048)}
    with OllamaSimulator([LLAMA]) as sim:
        mine = ProviderConfig(id="desk", kind="ollama", base_url=sim.base_url, models=models)
        async with opened(dead_url(), mine) as host:
            [model] = (await host.refresh()).models

    known = model.capabilities
    assert (known.tools, known.context_window, known.trained_context) == (False, 2048, 131_072)
    assert {
        name: known.provenance[name].layer for name in ("tools", "context_window", "vision")
    } == {"tools": "user", "context_window": "user", "vision": "live"}


async def test_a_configured_server_takes_the_place_of_the_proposed_one() -> None:
    """S4-100."""
    with OllamaSimulator([LLAMA]) as mine, OllamaSimulator([SimulatedModel("other:1b")]) as near:
        config = ProviderConfig(id="desk", kind="ollama", base_url=mine.base_url)
        async with opened(near.base_url, config) as host:
            catalog = await host.refresh()

        assert near.requests == []
    assert ids(catalog) == ["desk/llama3:latest"]


@pytest.mark.parametrize("value", ["http://h:1?x=1", "unix:///run/x.sock", ":0"])
async def test_a_wrong_address_variable_is_listed_as_what_it_is(value: str) -> None:
    """It is the user's own, and silence would hide why nothing is found."""
    async with opened(value) as host:
        [entry] = (await host.refresh()).providers

    assert (entry.id, entry.status, entry.hidden) == ("ollama", "misconfigured", False)
    assert entry.problem is not None
    assert "OLLAMA_HOST" in entry.problem.message
    assert entry.problem.hint == "export OLLAMA_HOST=http://127.0.0.1:11434"


async def test_without_the_plugin_nothing_of_ollama_is_left() -> None:
    """S4-101."""
    with OllamaSimulator([LLAMA]) as sim:
        async with opened(sim.base_url, kinds=installed()) as host:
            catalog = await host.refresh()
            tools = host.tools()

        assert sim.requests == []
    assert (catalog.providers, tools) == ((), [])


async def test_the_list_is_looked_at_again_after_five_minutes() -> None:
    """S4-96, S4-111; a tenth of them may be missing, so that not all are asked together."""
    clock = Clock()
    with OllamaSimulator([LLAMA]) as sim:
        async with opened(sim.base_url, clock=clock) as host:
            await host.refresh()
            sim.add_model(SimulatedModel("new:1b"))
            clock.now += 269
            before = ids(await host.refresh())
            clock.now += 32
            after = ids(await host.refresh())

    assert before == ["ollama/llama3:latest"]
    assert set(after) == {"ollama/llama3:latest", "ollama/new:1b"}


async def test_a_host_asks_nobody_until_it_is_asked() -> None:
    """S4-108: opening one never waits for a server."""
    with OllamaSimulator([LLAMA]) as sim:
        async with opened(sim.base_url) as host:
            assert host.catalog.models == ()
            assert sim.requests == []
            assert ids(await host.refresh()) == ["ollama/llama3:latest"]


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama3", "llama3:latest", "library/llama3"])
async def test_spellings_people_write_are_the_one_listed_model(name: str) -> None:
    """Wire notes 13.4, assertion 6."""
    with OllamaSimulator([LLAMA]) as sim:
        async with opened(sim.base_url) as host:
            await host.refresh()
            found = await host.resolve(f"ollama/{name}")

    assert (found.id, found.capabilities.tools) == ("ollama/llama3:latest", True)


@pytest.mark.parametrize("name", ["llama3", "LLAMA3", "Llama3:Latest", "LIBRARY/llama3"])
async def test_every_spelling_gets_an_answer(name: str) -> None:
    """Case counts neither for the server nor for what the plugin knows of the model."""
    with OllamaSimulator([LLAMA]) as sim:
        async with opened(sim.base_url) as host:
            result = await host.chat(ChatRequest(model=f"ollama/{name}", messages=[user("hi")]))

        assert sim.running.keys() == {"llama3:latest"}
    assert result.text == "Hello."


# --- what is asked of a model that cannot ---------------------------------------------------------


async def test_an_image_is_refused_for_a_model_that_does_not_see() -> None:
    """Trap 22: the server would ignore it, or fail late. Nothing is sent (S4-110)."""
    with OllamaSimulator([LLAMA]) as sim:
        async with opened(sim.base_url) as host:
            await host.refresh()
            picture = user("what is it?", ImagePart(data="aGk=", media_type="image/png"))
            with pytest.raises(UnsupportedFeatureError) as raised:
                await host.chat(ChatRequest(model="ollama/llama3", messages=[picture]))

        assert sim.calls_of("/api/chat") == 0
    assert raised.value.hint


# --- an agent's tools -----------------------------------------------------------------------------


async def called(host: Host, **arguments: str) -> object:
    call = ToolCall("c1", "ollama_manage", json.dumps(arguments))
    return json.loads(await host.call_tool(call))


async def test_an_agent_that_needs_a_model_finds_out_and_pulls_it() -> None:
    """S4-89 to S4-91: list, pull, list, ps, status; the tool's name is the kind's."""
    with OllamaSimulator([LLAMA], registry=[CODESTRAL], knobs=Knobs(default_ctx=4096)) as sim:
        async with opened(sim.base_url) as host:
            assert [tool.name for tool in host.tools()] == ["manage_models", "ollama_manage"]
            before = await called(host, action="list")
            pulled = await called(host, action="pull", model="codestral:22b")
            after = await called(host, action="list")
            await host.chat(ChatRequest(model="ollama/llama3", messages=[user("hi")]))
            running = await called(host, action="ps")
            status = await called(host, action="status")

    size = LLAMA.size_bytes
    llama = {"id": "ollama/llama3:latest", "state": "unloaded", "size_bytes": size}
    assert before == {"models": [llama]}
    assert isinstance(pulled, dict)
    assert (pulled["done"], pulled["model"]) == (True, "ollama/codestral:22b")
    assert after == {
        "models": [
            {"id": "ollama/codestral:22b", "state": "unloaded", "size_bytes": size},
            llama,
        ]
    }
    assert isinstance(running, dict)
    [model] = running["ollama"]["models"]
    assert (model["id"], model["state"]) == ("ollama/llama3:latest", "loaded")
    assert model["vram_bytes"] > 0
    assert status == {"ollama": {"healthy": True, "server": "Ollama 0.33.0", "version": "0.33.0"}}


async def test_an_agent_cannot_delete() -> None:
    """S4-90."""
    with OllamaSimulator([LLAMA]) as sim:
        async with opened(sim.base_url) as host:
            told = await called(host, action="delete", model="llama3")

        assert sim.installed == ["llama3:latest"]
        assert sim.calls_of("/api/delete") == 0
    assert isinstance(told, dict)
    assert told["actions"] == ["list", "pull", "status", "ps"]


async def test_an_agent_is_told_what_went_wrong() -> None:
    with OllamaSimulator([LLAMA]) as sim:
        async with opened(sim.base_url) as host:
            unknown = await called(host, action="pull", model="nosuch:1b")
            unnamed = await called(host, action="pull", model="no name")
            await host.refresh()
            sim.inject(Fault(drop=True))
            status = await called(host, action="status")

    assert isinstance(unknown, dict)
    assert unknown["code"] == "model_not_found"
    assert "ollama.com/library" in unknown["hint"]
    assert isinstance(unnamed, dict)
    assert unnamed["error"] == "'no name' is no model name"
    assert isinstance(status, dict)
    assert status["ollama"]["healthy"] is False
