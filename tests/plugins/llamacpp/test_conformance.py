"""The kit for llama.cpp: both modes of the simulator, and a real server."""

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from modelbay.errors import ProtocolError
from modelbay.testing.conformance import (
    Ability,
    FaultProxy,
    ProviderConformance,
    SimulatorTarget,
    Target,
    Thinks,
)
from modelbay.testing.conformance.closing import ClosingChecks
from modelbay.testing.conformance.features import FeatureChecks, ReasoningChecks, ToolChecks
from modelbay.testing.conformance.media import MediaChecks
from modelbay.testing.conformance.soak import SoakChecks
from modelbay_llamacpp.simulator import LlamaCppSimulator
from modelbay_llamacpp.simulator import target as simulation
from modelbay_llamacpp.simulator.target import CALL, OTHER, PLUGIN, SAYS, THOUGHT
from tiny_gguf import write_tiny_gguf

# --- simulated ------------------------------------------------------------------------------------


class TestSingle(ProviderConformance, SoakChecks):
    """Single-model mode."""

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        with simulation.single() as made:
            yield made


class TestSingleCaller(ToolChecks):
    """Single-model mode, with a model that calls a tool."""

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        with LlamaCppSimulator([simulation.caller("tiny")]) as simulator:
            yield simulation.simulated(simulator, None, calls=simulation.calls("tiny"))


class TestSingleThinker(ReasoningChecks):
    """Single-model mode, with a model that thinks."""

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        with LlamaCppSimulator([simulation.thinker("tiny")]) as simulator:
            yield simulation.simulated(simulator, None, thinks=Thinks("tiny", THOUGHT, SAYS))


class TestRouter(ProviderConformance, SoakChecks):
    """Router mode."""

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        with simulation.target() as made:
            yield made


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
        fields: dict[str, object] = {
            "cannot": REAL,
            "differs": simulation.DIFFERS_SINGLE,
            "adds": simulation.ADDS,
            **more,
        }
        yield RealTarget(
            plugin=PLUGIN,
            config=simulation.provider(proxy.base_url),
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
            "embeddings": "it was not started for embeddings; see TestRealVectors",
            "rerank": "it was not started for reranking",
        }
        with (
            real(speakers[1], says=OTHER, cannot=cannot) as second,
            real(speakers[0], second, says=SAYS, json_model="tiny", cannot=cannot) as first,
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
        with real(real_caller, calls=simulation.calls("tiny")) as target:
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
class TestRealNoise(FeatureChecks, MediaChecks):
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
class TestRealVectors(FeatureChecks, MediaChecks):
    """A real server that was started for embeddings."""

    @pytest.fixture
    def target(self, vectors: str) -> Iterator[Target]:
        cannot: dict[Ability, str] = {
            **REAL,
            "json_schema": "its model makes vectors",
            "rerank": "it was not started for reranking",
        }
        with real(vectors, embedder="tiny", cannot=cannot) as target:
            yield target
