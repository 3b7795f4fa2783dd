"""The kit for llama.cpp: both modes of the simulator, and a real server."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelbay.errors import ProtocolError
from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import (
    Ability,
    Calls,
    FaultProxy,
    ProviderConformance,
    SimulatorTarget,
    Target,
    Thinks,
)
from modelbay.testing.conformance.closing import ClosingChecks
from modelbay.testing.conformance.features import FeatureChecks, ReasoningChecks, ToolChecks
from modelbay_llamacpp.simulator import LlamaCppSimulator, SimulatedModel, ToolCall
from tiny_gguf import write_tiny_gguf

PLUGIN = "modelbay_llamacpp.plugin"
SAYS = "Hello from llama.cpp, which has been asked to say a little more than usual."
OTHER = "The second server speaks."
# Otherwise the plugin waits patiently where the kit wants to see an error.
OPTIONS: dict[str, object] = {"busyWaitS": 0, "stopTimeoutS": 0.5}
CALL = ToolCall("weather", '{"city": "Oslo"}')


def oslo(model: str) -> Calls:
    return Calls(model, CALL.name, {"city": "Oslo"})


def provider(base_url: str) -> ProviderConfig:
    return ProviderConfig.model_validate(
        {"id": "desk", "kind": "llamacpp", "baseUrl": base_url, **OPTIONS}
    )


# --- simulated ------------------------------------------------------------------------------------


def talker(answer: str = SAYS) -> SimulatedModel:
    """It says one text, or under a schema another."""
    return SimulatedModel("tiny", answer=answer, json_answer='{"city":"Oslo","size":7}')


def caller(name: str) -> SimulatedModel:
    return SimulatedModel(name, answer=SAYS, tool_calls=[CALL])


def thinker(name: str) -> SimulatedModel:
    return SimulatedModel(name, answer=SAYS, reasoning="Let me think.")


def simulated(
    simulator: LlamaCppSimulator, other: SimulatorTarget | None, says: str = SAYS, **more: object
) -> SimulatorTarget:
    fields: dict[str, object] = {
        "plugin": PLUGIN,
        "config": provider(simulator.base_url),
        "model": "tiny",
        "says": says,
        "json_model": "tiny",
        # Every 404 of this server says that there is no such route; models are never named.
        "status_errors": {404: ProtocolError},
        "simulator": simulator,
        "count_loads": lambda: sum(simulator.loads.values()),
        "other": other,
    }
    return SimulatorTarget(**{**fields, **more})  # type: ignore[arg-type]


class TestSingle(ProviderConformance):
    """Single-model mode."""

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        cannot: dict[Ability, str] = {
            "tools": "this server's one model calls nothing; see TestSingleCaller",
            "reasoning": "this server's one model does not think; see TestSingleThinker",
            "embeddings": "this server was not started for embeddings; see TestRouter",
            "rerank": "this server was not started for reranking; see TestRouter",
            "load": "a single-model server neither loads nor unloads",
        }
        with (
            LlamaCppSimulator([talker()]) as simulator,
            LlamaCppSimulator([talker(OTHER)]) as second,
        ):
            yield simulated(simulator, simulated(second, None, OTHER), cannot=cannot)


class TestSingleCaller(ToolChecks):
    """Single-model mode, with a model that calls a tool."""

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        with LlamaCppSimulator([caller("tiny")]) as simulator:
            yield simulated(simulator, None, calls=oslo("tiny"))


class TestSingleThinker(ReasoningChecks):
    """Single-model mode, with a model that thinks."""

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        with LlamaCppSimulator([thinker("tiny")]) as simulator:
            yield simulated(simulator, None, thinks=Thinks("tiny", "Let me think.", SAYS))


class TestRouter(ProviderConformance):
    """Router mode."""

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        models = [
            talker(),
            SimulatedModel("talks", answer="more ", endless=True, token_s=0.01, n_ctx=100_000),
            thinker("thinker"),
            caller("caller"),
            SimulatedModel("vectors", embeddings=True, args=("--embeddings",)),
            SimulatedModel("ranker", rerank=True, pooling="rank", args=("--reranking",)),
        ]
        with (
            LlamaCppSimulator(models, mode="router") as simulator,
            LlamaCppSimulator([talker(OTHER)], mode="router") as second,
        ):
            yield simulated(
                simulator,
                simulated(second, None, OTHER),
                endless="talks",
                calls=oslo("caller"),
                thinks=Thinks("thinker", "Let me think.", SAYS),
                embedder="vectors",
                reranker="ranker",
            )


# --- real -----------------------------------------------------------------------------------------

Start = Callable[..., str]
# What cannot be done to a real server, for all classes below.
REAL: dict[Ability, str] = {
    "loads": "a single-model server has loaded its model before it listens",
    "load": "a single-model server neither loads nor unloads",
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a real llama.cpp server with a made model, and returns its address."""
    import xllamacpp  # missing is an error here, never a quiet skip

    folder = tmp_path_factory.mktemp("gguf")
    running: list[object] = []

    def run(name: str, *, embedding: bool = False, **made: object) -> str:
        path: Path = write_tiny_gguf(folder / f"{name}.gguf", **made)  # type: ignore[arg-type]
        params = xllamacpp.CommonParams()
        params.model.path, params.model_alias = str(path), {"tiny"}
        params.hostnames, params.port = ["127.0.0.1"], 0  # any free port
        params.n_ctx, params.n_parallel = 4096, 2
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.warmup, params.verbosity = False, 0
        params.embedding = embedding
        running.append(server := xllamacpp.Server(params))
        return str(server.listening_address)

    yield run
    running.clear()  # a server ends when nobody holds it


@dataclass(kw_only=True)
class RealTarget(SimulatorTarget):
    """A real server in single-model mode, behind a proxy for faults.

    Attributes:
        url: Of the server itself; its slots tell what it is busy with.
    """

    url: str

    def open_streams(self) -> int:
        with urllib.request.urlopen(f"{self.url}/slots", timeout=5) as answer:
            return sum(slot["is_processing"] for slot in json.load(answer))


@contextmanager
def real(url: str, other: SimulatorTarget | None = None, **more: object) -> Iterator[RealTarget]:
    """A target for a real server."""
    with FaultProxy(url) as proxy:
        fields: dict[str, object] = {"cannot": REAL, **more}
        yield RealTarget(
            plugin=PLUGIN,
            config=provider(proxy.base_url),
            model="tiny",
            status_errors={404: ProtocolError},
            simulator=proxy,
            other=other,
            url=url,
            **fields,  # type: ignore[arg-type]
        )


@pytest.fixture(scope="module")
def speakers(start: Start) -> tuple[str, str]:
    """Addresses of two servers, each with a model `tiny` that says a text of its own."""
    return start("says", say=SAYS), start("other", say=OTHER)


@pytest.mark.real
class TestReal(ProviderConformance):
    """A real server whose model says one text."""

    @pytest.fixture
    def target(self, speakers: tuple[str, str]) -> Iterator[Target]:
        cannot: dict[Ability, str] = {
            **REAL,
            "streams": "its answer is over before anybody could look; see TestRealEndless",
            "tools": "its template knows no tools; see TestRealCaller",
            "reasoning": "its template knows no thinking; see TestRealThinker",
            "json_schema": "it says its one text only; see TestRealNoise",
            "embeddings": "it was not started for embeddings; see TestRealVectors",
            "rerank": "it was not started for reranking",
        }
        with (
            real(speakers[1], says=OTHER, cannot=cannot) as second,
            real(speakers[0], second, says=SAYS, cannot=cannot) as first,
        ):
            yield first


@pytest.fixture(scope="module")
def endless(start: Start) -> str:
    return start("endless", say="Never ending, ", endless=True, slow=True)


@pytest.mark.real
class TestRealEndless(ClosingChecks):
    """A real server whose model does not stop by itself."""

    @pytest.fixture
    def target(self, endless: str) -> Iterator[Target]:
        with real(endless, endless="tiny") as target:
            yield target


@pytest.fixture(scope="module")
def real_caller(start: Start) -> str:
    call = f'<tool_call>\n{{"name": "{CALL.name}", "arguments": {CALL.arguments}}}\n</tool_call>'
    return start("caller", say=call, template="tools")


@pytest.mark.real
class TestRealCaller(ToolChecks):
    """A real server whose model calls a tool."""

    @pytest.fixture
    def target(self, real_caller: str) -> Iterator[Target]:
        with real(real_caller, calls=oslo("tiny")) as target:
            yield target


@pytest.fixture(scope="module")
def real_thinker(start: Start) -> str:
    said = f"<think>\nFirst I think.\n</think>\n\n{OTHER}"
    return start("thinker", say=said, template="tools")


@pytest.mark.real
class TestRealThinker(ReasoningChecks):
    """A real server whose model thinks before it answers."""

    @pytest.fixture
    def target(self, real_thinker: str) -> Iterator[Target]:
        with real(real_thinker, thinks=Thinks("tiny", "First I think.", OTHER)) as target:
            yield target


@pytest.fixture(scope="module")
def noise(start: Start) -> str:
    return start("noise")


@pytest.mark.real
class TestRealNoise(FeatureChecks):
    """A real server with a model of noise, which a grammar holds to a schema."""

    @pytest.fixture
    def target(self, noise: str) -> Iterator[Target]:
        cannot: dict[Ability, str] = {
            **REAL,
            "embeddings": "it was not started for embeddings; see TestRealVectors",
            "rerank": "it was not started for reranking",
        }
        with real(noise, json_model="tiny", cannot=cannot) as target:
            yield target


@pytest.fixture(scope="module")
def vectors(start: Start) -> str:
    return start("vectors", embedding=True, pooling="mean", template=None)


@pytest.mark.real
class TestRealVectors(FeatureChecks):
    """A real server that was started for embeddings."""

    @pytest.fixture
    def target(self, vectors: str) -> Iterator[Target]:
        cannot: dict[Ability, str] = {
            **REAL,
            "json_schema": "its model makes vectors",
            "complete": "its model makes vectors",
            "rerank": "it was not started for reranking",
        }
        with real(vectors, embedder="tiny", cannot=cannot) as target:
            yield target
