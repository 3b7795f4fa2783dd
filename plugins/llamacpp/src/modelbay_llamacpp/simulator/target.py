"""What the conformance kit is to test: this plugin, in front of two simulators in either mode."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from modelbay.errors import ProtocolError
from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import (
    Ability,
    Calls,
    Peculiarity,
    SimulatorTarget,
    Target,
    Thinks,
)
from modelbay_llamacpp.simulator import LlamaCppSimulator, SimulatedModel, ToolCall

PLUGIN = "modelbay_llamacpp.plugin"
SAYS = "Hello from llama.cpp, which has been asked to say a little more than usual."
OTHER = "The second server speaks."
THOUGHT = "Let me think."
CALL = ToolCall("weather", '{"city": "Oslo"}')
# Otherwise the plugin waits patiently where the kit wants to see an error.
OPTIONS: dict[str, object] = {"busyWaitS": 0, "stopTimeoutS": 0.5}
DIFFERS: Mapping[Peculiarity, str] = {
    "unstreamed": "always asked as a stream: only so a busy server notices that its client left",
}
ADDS = {"max_tokens": "without a limit a model may talk until its context is full"}
# Its one model is in memory before it listens.
DIFFERS_SINGLE: Mapping[Peculiarity, str] = {
    **DIFFERS,
    "state": "a single-model server has loaded its model before it listens",
}
# Of a server in single-model mode whose one model only talks.
SINGLE: Mapping[Ability, str] = {
    "tools": "the one model's template knows no tools",
    "reasoning": "the one model does not think",
    "embeddings": "the server was not started for embeddings",
    "rerank": "the server was not started for reranking",
    "load": "a single-model server neither loads nor unloads",
}


@contextmanager
def target() -> Iterator[Target]:
    """Two routers that run as long as the block."""
    models = [
        _talker(),
        SimulatedModel("talks", answer="more ", endless=True, token_s=0.01, n_ctx=100_000),
        thinker("thinker"),
        caller("caller"),
        SimulatedModel("vectors", embeddings=True, args=("--embeddings",)),
        SimulatedModel("ranker", rerank=True, pooling="rank", args=("--reranking",)),
    ]
    with (
        LlamaCppSimulator(models, mode="router") as simulator,
        LlamaCppSimulator([_talker(OTHER)], mode="router") as second,
    ):
        yield simulated(
            simulator,
            simulated(second, None, OTHER),
            endless="talks",
            calls=calls("caller"),
            thinks=Thinks("thinker", THOUGHT, SAYS),
            embedder="vectors",
            reranker="ranker",
        )


@contextmanager
def single() -> Iterator[Target]:
    """Two servers of one model each."""
    with (
        LlamaCppSimulator([_talker(tools=False)]) as simulator,
        LlamaCppSimulator([_talker(OTHER, tools=False)]) as second,
    ):
        yield simulated(
            simulator, simulated(second, None, OTHER), cannot=SINGLE, differs=DIFFERS_SINGLE
        )


def provider(base_url: str) -> ProviderConfig:
    return ProviderConfig.model_validate(
        {"id": "desk", "kind": "llamacpp", "baseUrl": base_url, **OPTIONS}
    )


def caller(name: str) -> SimulatedModel:
    """It calls a tool whenever it has one."""
    return SimulatedModel(name, answer=SAYS, tool_calls=[CALL])


def thinker(name: str) -> SimulatedModel:
    return SimulatedModel(name, answer=SAYS, reasoning=THOUGHT)


def calls(model: str) -> Calls:
    return Calls(model, CALL.name, {"city": "Oslo"})


def simulated(
    simulator: LlamaCppSimulator, other: SimulatorTarget | None, says: str = SAYS, **more: object
) -> SimulatorTarget:
    """The target for one server; `more` are fields of it."""
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
        "differs": DIFFERS,
        "adds": ADDS,
    }
    return SimulatorTarget(**{**fields, **more})  # type: ignore[arg-type]


def _talker(answer: str = SAYS, *, tools: bool = True) -> SimulatedModel:
    """It says one text, or under a schema another."""
    return SimulatedModel(
        "tiny", answer=answer, json_answer='{"city":"Oslo","size":7}', tools=tools
    )
