"""Mirrors modelbay_llamaswap/discovery.py, inventory.py and fingerprint.py: what is listed."""

import json

import anyio
import pytest

from modelbay.errors import AuthenticationError, BackendError, WrongServerError
from modelbay.models.capabilities import Facts
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.manage import Show
from modelbay.testing.simulator import Exchange, Fault, Simulator
from modelbay_llamacpp import plugin as llamacpp
from plugins.llamaswap.bay import OpenBay
from plugins.llamaswap.serving import Scripted, entry, process, refused
from pretend import lent
from recorded_exchanges import transcripts

pytestmark = pytest.mark.anyio

DECLARED = "/v1/models data[].context_length, as llama-swap's config declares it"
ARCH = "/v1/models data[].architecture"
CAPS = "/v1/models data[].capabilities"


def recorded(name: str) -> list[dict[str, object]]:
    """The records of a recorded model list."""
    (found,) = (t for t in transcripts("llamaswap") if t.name == f"models/{name}")
    body = next(e.answer.body for e in found.exchanges if e.target == "/v1/models" and e.answer)
    records: list[dict[str, object]] = json.loads(body)["data"]
    return records


QWEN = DiscoveredModel(
    wire_id="qwen-small",
    name="Qwen small",
    aliases=("gpt-4o-mini", "vendor/fast"),
    facts=Facts(
        context_window=4096,
        configured_context=4096,
        tools=True,
        vision=True,
        audio=False,
        image_generation=False,
    ),
    evidence={
        "context_window": DECLARED,
        "configured_context": "/v1/models data[].context_length",
        "vision": f"{CAPS}.vision",
        "tools": f"{CAPS}.function_calling",
        "audio": f"{ARCH}.input_modalities",
        "image_generation": f"{ARCH}.output_modalities",
    },
    state="unloaded",
    details={"description": "daily driver", "metadata": {"family": "qwen", "tags": ["a", "b"]}},
)


async def test_a_recorded_list_becomes_models(bay: OpenBay) -> None:
    """S1-18, S1-33."""
    with Scripted(recorded("02-one-loading"), [process("slow", "starting")]) as sim:
        models = await bay(sim.base_url).discover()

    assert models == {
        "embedder": DiscoveredModel(
            wire_id="embedder",
            facts=Facts(embeddings=True),
            evidence={"embeddings": "/v1/models data[].meta.llamaswap.task"},
            state="unloaded",
            details={"metadata": {"task": "embedding"}},
        ),
        "lab/a/b": _peer("lab/a/b", "lab: a/b"),
        "lab/mixtral": _peer("lab/mixtral", "lab: mixtral"),
        "painter": DiscoveredModel(
            wire_id="painter",
            facts=Facts(image_generation=True, vision=False, audio=False),
            evidence={
                "image_generation": f"{CAPS}.image_generation",
                "vision": f"{ARCH}.input_modalities",
                "audio": f"{ARCH}.input_modalities",
            },
            state="unloaded",
        ),
        "pick": DiscoveredModel(
            wire_id="pick",
            name="Picker",
            state="loading",
            details={"type": "selector", "targets": ["qwen-small", "slow"], "strategy": "warm"},
        ),
        "qwen-small": QWEN,
        "ranker": DiscoveredModel(
            wire_id="ranker",
            facts=Facts(rerank=True, vision=False, audio=False, image_generation=False),
            evidence={
                "rerank": f"{CAPS}.reranker",
                "vision": f"{ARCH}.input_modalities",
                "audio": f"{ARCH}.input_modalities",
                "image_generation": f"{ARCH}.output_modalities",
            },
            state="unloaded",
        ),
        "slow": DiscoveredModel(wire_id="slow", state="loading"),
    }


def _peer(wire_id: str, name: str) -> DiscoveredModel:
    return DiscoveredModel(
        wire_id=wire_id,
        name=name,
        origin="remote",
        state="unknown",
        details={"type": "peer", "peer": "lab"},
    )


async def test_aliases_that_are_listed_are_names_of_their_target(bay: OpenBay) -> None:
    """``includeAliasesInList``: each would be a second model."""
    with Scripted(recorded("04-aliases-listed")) as sim:
        models = await bay(sim.base_url).discover()

    assert models["qwen-small"] == QWEN
    assert models.keys().isdisjoint({"gpt-4o-mini", "vendor/fast"})


async def test_an_alias_of_an_unlisted_model_is_listed_itself(bay: OpenBay) -> None:
    alias = entry("short", meta={"llamaswap": {"type": "alias", "modelID": "org/hidden"}})
    with Scripted([alias], [process("org/hidden")]) as sim:
        models = await bay(sim.base_url).discover()

    assert models == {
        "short": DiscoveredModel(
            wire_id="short", state="loaded", details={"type": "alias", "alias_of": "org/hidden"}
        )
    }


async def test_discovery_asks_two_lists_and_never_a_model(bay: OpenBay) -> None:
    """S0-45, U5: `/upstream` and `/props` load what they are asked about."""
    with Scripted([entry(f"m{n}") for n in range(100)], [process("m7")]) as sim:
        models = await bay(sim.base_url).discover()

        paths = sim.paths()
    assert len(models) == 100
    assert sorted(paths) == ["GET /running", "GET /v1/models"]


async def test_running_decides_the_state_and_the_list_s_status_does_not(bay: OpenBay) -> None:
    """The list says loaded for a model that is starting or stopping too."""
    listed = [entry(name, status={"value": "loaded"}) for name in "abcde"]
    running = [process("a"), process("b", "starting"), process("c", "stopping"), process("d", "?")]
    with Scripted(listed, running) as sim:
        models = await bay(sim.base_url).discover()

    assert {name: model.state for name, model in models.items()} == {
        "a": "loaded",
        "b": "loading",
        "c": "unloading",
        "d": "unknown",
        "e": "unloaded",
    }


async def test_without_running_the_list_s_status_is_what_there_is(bay: OpenBay) -> None:
    with Scripted([entry("a", status={"value": "loaded"}), entry("b")]) as sim:
        sim.answer("/running", "404 page not found\n", 404, method="GET")
        models = await bay(sim.base_url).discover()

    assert {name: model.state for name, model in models.items()} == {"a": "loaded", "b": "unknown"}


class AsksForBoth(Scripted):
    """Answers the first question when the second one has come."""

    async def admit(self, exchange: Exchange) -> bool:
        await self.wait_until_async(lambda: len(self.requests) > 1)
        return await super().admit(exchange)


async def test_both_lists_are_waited_for_at_once(bay: OpenBay) -> None:
    """A llama-swap that takes 1 s for an answer would never be listed otherwise."""
    with AsksForBoth([entry("a")], [process("a")]) as sim:
        models = await bay(sim.base_url).discover()

    assert {name: model.state for name, model in models.items()} == {"a": "loaded"}


@pytest.mark.parametrize("fault", [Fault(hang=True), Fault(status=500), Fault(cut_after_bytes=2)])
async def test_a_list_that_was_read_is_not_lost_to_what_runs(bay: OpenBay, fault: Fault) -> None:
    with Scripted([entry("a", status={"value": "loaded"}), entry("b")], [process("b")]) as sim:
        sim.inject(fault, path="/running")
        with anyio.fail_after(1.0):
            models = await bay(sim.base_url, probeTimeoutS=1.0).discover()

    assert {name: model.state for name, model in models.items()} == {"a": "loaded", "b": "unknown"}


async def test_the_oldest_records_are_models_too(bay: OpenBay) -> None:
    """v100: an id and an owner."""
    with Scripted([{"id": "m", "owned_by": "llama-swap"}], [{"model": "m"}]) as sim:
        models = await bay(sim.base_url).discover()

    assert models == {"m": DiscoveredModel(wire_id="m", state="loaded")}


async def test_before_v241_the_word_type_was_the_user_s(bay: OpenBay) -> None:
    listed = [
        entry("vectors", meta={"llamaswap": {"type": "embedding"}}),
        entry("talker", meta={"llamaswap": {"type": "model", "task": "rerank"}}),
    ]
    with Scripted(listed) as sim:
        found = await bay(sim.base_url).discover()

    assert found["vectors"].facts.embeddings
    assert found["vectors"].details == {"metadata": {"type": "embedding"}}
    assert found["talker"].details == {"metadata": {"task": "rerank"}}


async def test_an_empty_list_is_known_by_running(bay: OpenBay) -> None:
    with Scripted([]) as sim:
        assert await bay(sim.base_url).discover() == {}


async def test_a_name_that_stands_twice_is_listed_once(bay: OpenBay) -> None:
    with Scripted([entry("a", name="first"), entry("a", name="second")]) as sim:
        models = await bay(sim.base_url).discover()

    assert [model.name for model in models.values()] == ["first"]


# --- what was measured ----------------------------------------------------------------------------


async def test_a_measured_context_is_stronger_than_a_declared_one_until_the_process_changes(
    bay: OpenBay,
) -> None:
    """S0-44, S0-46."""
    with Scripted([entry("tiny", context_length=4096)], [process("tiny")]) as sim:
        props = {"default_generation_settings": {"n_ctx": 512}, "total_slots": 2}
        sim.answer("/upstream/tiny/props", props, method="GET")
        desk = bay(sim.base_url)
        await desk.manage(Show(model="tiny"))
        measured = (await desk.discover())["tiny"]
        sim.running = [process("tiny", cmd="llama-server -c 8192")]
        after = (await desk.discover())["tiny"]

    assert (measured.facts.context_window, measured.loaded_context) == (512, 512)
    assert measured.facts.configured_context == 4096
    assert measured.evidence["context_window"] == (
        "/upstream/.../props of the running model: n_ctx of one slot"
    )
    assert (after.facts.context_window, after.loaded_context) == (4096, None)


# --- other servers at this address ----------------------------------------------------------------


def other(routes: dict[str, tuple[int, object]]) -> Simulator:
    """A server of another kind: GET answers by path."""
    sim = Simulator()

    def add(path: str, status: int, body: object) -> None:
        @sim.route("GET", path)
        async def answer(exchange: Exchange) -> None:
            if isinstance(body, str):
                await exchange.text(body, status)
            else:
                await exchange.json(body, status)

    for path, (status, body) in routes.items():
        add(path, status, body)
    return sim


@pytest.mark.parametrize(
    ("routes", "found"),
    [
        ({"/v1/models": (200, {"data": [{"id": "m", "owned_by": "llamacpp"}]})}, "llama.cpp"),
        ({"/v1/models": (200, {"data": [{"id": "m", "owned_by": "vllm"}]})}, "vLLM"),
        ({"/v1/models": (200, {"data": []}), "/": (200, "Ollama is running")}, "Ollama"),
        (
            {"/v1/models": (200, {"data": [{"id": "m"}]})},
            "an OpenAI-style server that is not llama-swap",
        ),
        ({"/": (200, "<!DOCTYPE html><p>hello")}, "a web page"),
        ({"/": (200, "hello")}, "something else"),
    ],
)
async def test_another_product_is_named(
    bay: OpenBay, routes: dict[str, tuple[int, object]], found: str
) -> None:
    with other(routes) as sim, pytest.raises(WrongServerError) as caught:
        await bay(sim.base_url).discover()

    assert caught.value.found == found
    assert caught.value.message == f"{sim.base_url} is not llama-swap but {found}"


async def test_llama_cpp_knows_that_this_is_none_of_its_servers() -> None:
    """Both kinds propose port 8080."""
    with Scripted([]) as sim:
        async with lent(sim.base_url) as context:
            with pytest.raises(WrongServerError) as caught:
                await llamacpp.discover_models(context)

    assert caught.value.found == "llama-swap"


async def test_a_server_that_is_ill_is_no_other_server(bay: OpenBay) -> None:
    with Scripted() as sim:
        sim.answer("/v1/models", refused("broken", "internal_error"), 500, method="GET")
        with pytest.raises(BackendError) as caught:
            await bay(sim.base_url).discover()

    assert type(caught.value) is BackendError


async def test_a_missing_key_is_told_as_one(bay: OpenBay) -> None:
    with Scripted() as sim:
        text = "unauthorized: invalid or missing API key"
        sim.answer("/v1/models", refused(text, "unauthorized"), 401, method="GET")
        with pytest.raises(AuthenticationError, match="invalid or missing API key"):
            await bay(sim.base_url).discover()
