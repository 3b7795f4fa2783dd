"""Mirrors modelbay_llamacpp/discovery.py and probe.py: what a look at a server finds."""

import math
from typing import Literal

import anyio
import pytest

from modelbay.errors import (
    AuthenticationError,
    BackendBusyError,
    BackendUnreachableError,
    ProtocolError,
    WrongServerError,
)
from modelbay.models.capabilities import Facts, Provenance
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.manage import Load, Pull, Unload
from modelbay.testing.simulator import Exchange, Fault, Simulator
from modelbay_llamacpp.simulator import LlamaCppSimulator, SimulatedModel
from plugins.llamacpp.bay import WITH_TOOLS, Bay, OpenBay, StartLlama

pytestmark = pytest.mark.anyio

LIST = "/v1/models data[]"


def asked(sim: Simulator) -> list[str]:
    return [f"{request.method} {request.target}" for request in sim.requests]


# --- single-model mode ---------------------------------------------------------------------------


async def test_a_single_model_server_has_one_loaded_model(bay: OpenBay) -> None:
    """S3-36, S3-70: all there is to know comes from two answers, with the evidence for it."""
    model = SimulatedModel("tiny", aliases=["zoo"], tags=["demo"], n_ctx=512, n_ctx_train=2048)
    with LlamaCppSimulator([model], slots=2) as sim:
        found = await bay(sim.base_url).backend.discover_models()

        assert found == (
            DiscoveredModel(
                wire_id="tiny",
                aliases=("zoo",),
                facts=Facts(
                    context_window=512,
                    trained_context=2048,
                    vision=False,
                    audio=False,
                    tools=True,
                    parallel_tools=True,
                    reasoning=True,
                ),
                evidence={
                    "context_window": f"{LIST}.meta.n_ctx, of one slot",
                    "trained_context": f"{LIST}.meta.n_ctx_train",
                    "vision": "/props modalities.vision",
                    "audio": "/props modalities.audio",
                    "tools": "/props chat_template_caps.supports_tools, supports_tool_calls",
                    "parallel_tools": "/props chat_template_caps.supports_parallel_tool_calls",
                    "reasoning": "/props chat_template_caps.supports_preserve_reasoning",
                },
                state="loaded",
                loaded_context=512,
                size_bytes=242176,
                quantization="F16",
                details={"tags": ["demo"], "parameters": 120768, "slots": 2},
            ),
        )
        assert sorted(asked(sim)) == ["GET /props", "GET /v1/models"]


async def test_json_and_grammars_work_with_any_model(bay: OpenBay) -> None:
    """S3-72."""
    with LlamaCppSimulator() as sim:
        capabilities = (await bay(sim.base_url).model()).capabilities

    assert (capabilities.json_mode, capabilities.json_schema) == (True, True)
    assert capabilities.provenance["json_schema"] == Provenance(
        layer="table", evidence="llama.cpp holds any model to a grammar made from the schema"
    )


async def test_a_sleeping_model_is_loaded_and_looking_does_not_wake_it(bay: OpenBay) -> None:
    with LlamaCppSimulator(sleep_idle_s=math.inf) as sim:
        sim.sleep_now("tiny")
        first = await bay(sim.base_url).discover()
        again = await bay(sim.base_url).discover()

    assert [(m.state, m.details.get("sleeping")) for m in first.values()] == [("loaded", True)]
    assert again == first


async def test_a_server_that_never_was_ready_counts_as_loading(bay: OpenBay) -> None:
    """It answers 503 to everything, so its model has no name yet."""
    with (
        LlamaCppSimulator([SimulatedModel("tiny", load_s=math.inf)]) as sim,
        pytest.raises(BackendBusyError, match="Loading model") as caught,
    ):
        await bay(sim.base_url).discover()

    assert caught.value.hint == "llama-server is still loading its model; ask again in a moment"


async def test_a_server_that_starts_again_lists_the_model_it_had_as_loading(bay: OpenBay) -> None:
    with LlamaCppSimulator() as sim:
        desk = bay(sim.base_url)
        before = await desk.discover()
        sim.inject(Fault(status=503, body=b'{"error":{"message":"Loading model","code":503}}'))
        meanwhile = await desk.discover()

    assert meanwhile == {"tiny": before["tiny"].model_copy(update={"state": "loading"})}


async def test_without_props_the_list_alone_tells_the_mode(bay: OpenBay) -> None:
    """An old server: no template, no modalities, but a context."""
    with LlamaCppSimulator([SimulatedModel("tiny", n_ctx=512)]) as sim:
        sim.inject(Fault(status=404, body=b"{}"), path="/props")
        (model,) = (await bay(sim.base_url).discover()).values()

    assert (model.state, model.facts) == (
        "loaded",
        Facts(context_window=512, trained_context=32768),
    )


@pytest.mark.real
async def test_a_real_server_is_found_with_its_context_and_template(
    bay: OpenBay, llama: StartLlama
) -> None:
    desk = bay(llama("tiny-tools", {"say": "Hi.", "template": "tools", "n_ctx_train": 8192}))
    model = (await desk.discover())["tiny-tools"]

    assert (model.state, model.loaded_context, model.quantization) == ("loaded", 4096, "F16")
    assert model.facts == Facts(
        context_window=4096,
        trained_context=8192,
        vision=False,
        audio=False,
        tools=True,
        parallel_tools=True,
        reasoning=True,
    )


# --- router mode ---------------------------------------------------------------------------------


async def test_a_router_lists_every_model_and_loads_none(bay: OpenBay) -> None:
    """S3-01, S3-36, U5: two requests, whatever the number of models."""
    models = [SimulatedModel(name, n_ctx=512) for name in ("a", "b", "c")]
    with LlamaCppSimulator(models, "router") as sim:
        found = await bay(sim.base_url).discover()

        assert {name: model.state for name, model in found.items()} == dict.fromkeys(
            "abc", "unloaded"
        )
        assert sorted(asked(sim)) == ["GET /props", "GET /v1/models"]
        assert sim.loads == {}


async def test_a_router_without_models_is_a_healthy_server(bay: OpenBay) -> None:
    with LlamaCppSimulator([], "router") as sim:
        assert await bay(sim.base_url).discover() == {}


async def test_an_unloaded_model_has_an_estimated_context(bay: OpenBay) -> None:
    """The ladder's third step: what the router will tell its child, marked as a guess."""
    model = SimulatedModel("a", n_ctx=384, vision=True, args=("--embeddings",))
    with LlamaCppSimulator([model], "router", slots=2) as sim:
        found = (await bay(sim.base_url).discover())["a"]

    assert found.facts == Facts(
        context_window=512,
        configured_context=768,
        vision=True,
        audio=False,
        embeddings=True,
    )
    assert found.evidence["context_window"].startswith("estimate: --ctx-size in status.args")
    assert found.loaded_context is None


async def test_a_loaded_model_has_its_measured_context(bay: OpenBay) -> None:
    model = SimulatedModel("a", n_ctx=384)
    with LlamaCppSimulator([model], "router", slots=2) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="a"))
        found = (await desk.discover())["a"]

    assert (found.state, found.loaded_context, found.facts.context_window) == ("loaded", 384, 384)
    assert found.facts.trained_context == 32768
    assert found.evidence["context_window"] == f"{LIST}.meta.n_ctx, of one slot"


async def test_a_model_that_failed_to_load_says_why(bay: OpenBay) -> None:
    with LlamaCppSimulator([SimulatedModel("a", exit_code=3)], "router") as sim:
        desk = bay(sim.base_url)
        with pytest.raises(Exception, match="exit code 3"):
            await desk.manage(Load(model="a"))
        found = (await desk.discover())["a"]

    assert (found.state, found.problem) == ("failed", "its process ended with exit code 3")


async def test_a_sleeping_model_of_a_router_is_loaded(bay: OpenBay) -> None:
    with LlamaCppSimulator([SimulatedModel("a")], "router", sleep_idle_s=math.inf) as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="a"))
        sim.sleep_now("a")
        found = (await desk.discover())["a"]

    assert (found.state, found.details["sleeping"]) == ("loaded", True)


async def test_a_download_is_listed_as_such(bay: OpenBay) -> None:
    late = SimulatedModel("acme/late:F16", source="cache", download_s=math.inf)
    with LlamaCppSimulator([], "router", hub=[late]) as sim:
        desk = bay(sim.base_url)
        pulling = desk.backend.manage(Pull(model="acme/late:F16"))
        await anext(pulling)
        found = await desk.discover()
        await pulling.aclose()  # type: ignore[attr-defined]

    assert {name: model.state for name, model in found.items()} == {"acme/late:F16": "downloading"}


async def test_paths_and_command_lines_stay_with_the_server(bay: OpenBay) -> None:
    model = SimulatedModel("a", path="/secret/dir/a.gguf", args=("--hf-token", "hf_topsecret"))
    with LlamaCppSimulator([model], "router") as sim:
        found = (await bay(sim.base_url).discover())["a"]

    assert found.details == {"source": "models_dir", "can_remove": False}
    assert "secret" not in found.model_dump_json()


async def test_an_early_router_is_read_without_its_later_fields(bay: OpenBay) -> None:
    entry = '{"id":"a","in_cache":true,"path":"/x","status":{"value":"loading"}}'
    with LlamaCppSimulator([], "router") as sim:
        sim.inject(Fault(body=f'{{"data":[{entry},{entry}]}}'.encode()), path="/v1/models")
        found = await bay(sim.base_url).backend.discover_models()

    assert found == (DiscoveredModel(wire_id="a", state="loading"),)


async def test_what_was_learned_of_a_template_lasts_as_long_as_the_model_runs(
    bay: OpenBay,
) -> None:
    with LlamaCppSimulator([SimulatedModel("a", tools=False)], "router") as sim:
        desk = bay(sim.base_url)
        await desk.manage(Load(model="a"))
        with pytest.raises(Exception, match="knows no tools"):
            await desk.chat(WITH_TOOLS, "a")
        running = (await desk.discover())["a"].facts.tools
        await desk.manage(Unload(model="a"))
        stopped = (await desk.discover())["a"].facts.tools

    assert (running, stopped) == (False, None)


# --- keys, prefixes, other servers ---------------------------------------------------------------


class AsksForBoth(LlamaCppSimulator):
    """Answers the first question when the second one has come."""

    async def admit(self, exchange: Exchange) -> bool:
        await self.wait_until_async(lambda: len(self.requests) > 1)
        return await super().admit(exchange)


async def test_both_answers_are_waited_for_at_once(bay: OpenBay) -> None:
    """A server that takes 1 s for an answer would never be listed otherwise."""
    with AsksForBoth([SimulatedModel("tiny")]) as sim:
        assert (await bay(sim.base_url).discover()).keys() == {"tiny"}


@pytest.mark.parametrize("fault", [Fault(hang=True), Fault(status=500), Fault(cut_after_bytes=2)])
@pytest.mark.parametrize("mode", ["single", "router"])
async def test_a_list_that_was_read_is_not_lost_to_missing_props(
    bay: OpenBay, mode: Literal["single", "router"], fault: Fault
) -> None:
    with LlamaCppSimulator([SimulatedModel("tiny")], mode) as sim:
        sim.inject(fault, path="/props")
        with anyio.fail_after(1.0):
            found = await bay(sim.base_url, probeTimeoutS=1.0).discover()

    assert {name: model.state for name, model in found.items()} == {
        "tiny": "loaded" if mode == "single" else "unloaded"
    }


async def test_a_missing_key_is_an_authentication_error(bay: OpenBay) -> None:
    with LlamaCppSimulator(keys=["k-12345"]) as sim:
        with pytest.raises(AuthenticationError, match="Invalid API Key"):
            await bay(sim.base_url).discover()
        assert list(await bay(sim.base_url, api_key="k-12345").discover()) == ["tiny"]


async def test_a_prefix_is_part_of_the_address(bay: OpenBay) -> None:
    with LlamaCppSimulator(prefix="/llm") as sim:
        assert list(await bay(sim.base_url).discover()) == ["tiny"]
        assert list(await bay(f"{sim.base_url}/v1").discover()) == ["tiny"]


async def test_a_server_that_is_not_there_is_unreachable(bay: OpenBay) -> None:
    with LlamaCppSimulator() as sim:
        gone = sim.base_url
    with pytest.raises(BackendUnreachableError):
        await bay(gone).discover()


class Impostor(Simulator):
    """Answers some paths; everything else is 404 with a text, as most servers have it."""

    def __init__(self, **answers: object) -> None:
        super().__init__()
        for path, answer in answers.items():
            self._answer(f"/{path.replace('__', '/').removeprefix('root')}", answer)

    def _answer(self, path: str, answer: object) -> None:
        async def route(exchange: Exchange) -> None:
            if isinstance(answer, str):
                await exchange.text(answer, content_type="text/html; charset=utf-8")
            else:
                await exchange.json(answer)

        self.route("GET", path)(route)

    async def no_route(self, exchange: Exchange, *, path_known: bool) -> None:
        await exchange.text("404 page not found", 404)


def listed_by(owner: str) -> dict[str, object]:
    return {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": owner}]}


PAGE = "<!doctype html><html><title>App</title>" + "x" * 200_000 + "</html>"


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ({"v1__models": listed_by("llama-swap")}, "llama-swap"),
        ({"running": {"running": []}, "v1__models": {"data": []}}, "llama-swap"),
        ({"root": "Ollama is running", "v1__models": {"object": "list", "data": None}}, "Ollama"),
        ({"v1__models": listed_by("library")}, "Ollama"),
        ({"api__version": {"version": "0.32.6"}}, "Ollama"),
        ({"v1__models": listed_by("vllm")}, "vLLM"),
        (
            {
                "props": {"error": "Unexpected endpoint or method. (GET /props)"},
                "v1__models": listed_by("organization_owner"),
            },
            "LM Studio",
        ),
        ({"root": PAGE, "props": PAGE, "v1__models": PAGE}, "a web page"),
        (
            {"v1__models": listed_by("somebody")},
            "an OpenAI-style server that is not llama.cpp",
        ),
        ({}, "something else"),
    ],
)
async def test_another_product_at_the_address_is_named(
    bay: OpenBay, answers: dict[str, object], found: str
) -> None:
    """Three products like port 8080."""
    with Impostor(**answers) as server:
        with pytest.raises(WrongServerError) as caught:
            await bay(server.base_url).discover()
        address = server.base_url

    assert caught.value.found == found
    assert caught.value.message == f"{address} is not a llama.cpp server but {found}"


async def test_llama_swap_is_known_by_how_it_asks_for_a_key(bay: OpenBay) -> None:
    with Simulator() as server:

        @server.route("GET", "/props")
        async def _(exchange: Exchange) -> None:
            exchange.headers.append(("WWW-Authenticate", 'Basic realm="llama-swap"'))
            await exchange.json({"error": "unauthorized"}, 401)

        with pytest.raises(WrongServerError) as caught:
            await bay(server.base_url).discover()

    assert caught.value.found == "llama-swap"


async def test_a_list_of_another_shape_is_a_protocol_or_wrong_server_error(bay: OpenBay) -> None:
    """S3-61."""
    with LlamaCppSimulator() as sim:
        sim.inject(Fault(body=b'{"data":[{"name":"m"}]}'), path="/v1/models")
        with pytest.raises((ProtocolError, WrongServerError)):
            await bay(sim.base_url).discover()


async def test_two_providers_remember_apart(bay: OpenBay) -> None:
    """S3-53, S3-73: each server identifies itself; mixed hosts need no rule."""
    with (
        LlamaCppSimulator([SimulatedModel("a")]) as single,
        LlamaCppSimulator([SimulatedModel("b")], "router") as router,
    ):
        desks: list[Bay] = [bay(single.base_url), bay(router.base_url, id="rack")]
        found = [list(await desk.discover()) for desk in desks]

    assert found == [["a"], ["b"]]
