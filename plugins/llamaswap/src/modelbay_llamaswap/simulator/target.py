"""What the conformance kit is to test: this plugin, in front of two simulators of one age."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import Ability, Calls, SimulatorTarget, Target, Thinks
from modelbay_llamaswap.simulator import (
    Capabilities,
    Dialect,
    Group,
    LlamaSwapSimulator,
    SimulatedModel,
    ToolCall,
)

SAYS = "Hello from llama-swap, which has been asked to say a little more than usual."
OTHER = "The second server speaks."
THOUGHT = "Let me think."
# Otherwise the plugin waits patiently where the kit wants to see an error.
OPTIONS: dict[str, object] = {"busyWaitS": 0, "unloadTimeoutS": 0.5}


@contextmanager
def target(
    dialect: Dialect = "head",
    *,
    loading_state: bool = False,
    cannot: Mapping[Ability, str] | None = None,
) -> Iterator[Target]:
    """Two servers that run as long as the block."""
    with (
        _server(dialect, SAYS, loading_state=loading_state) as simulator,
        _server(dialect, OTHER, loading_state=loading_state) as second,
    ):
        declared = cannot or {}
        painter = None if "images" in declared else "painter"
        beside = _simulated(second, None, OTHER)
        yield _simulated(simulator, beside, cannot=declared, painter=painter)


def _provider(base_url: str) -> ProviderConfig:
    return ProviderConfig.model_validate(
        {"id": "desk", "kind": "llama-swap", "baseUrl": base_url, **OPTIONS}
    )


def _models(answer: str) -> list[SimulatedModel]:
    return [
        SimulatedModel("talker", answer=answer, json_answer='{"city":"Oslo","size":7}'),
        SimulatedModel("endless", answer="more ", endless=True, token_s=1, n_ctx=100_000),
        SimulatedModel("thinker", answer=SAYS, reasoning=THOUGHT),
        SimulatedModel("caller", answer=SAYS, tool_calls=[ToolCall("weather", '{"city": "Oslo"}')]),
        SimulatedModel("embedder", role="embedding", metadata={"task": "embedding"}),
        SimulatedModel("ranker", role="rerank", capabilities=Capabilities(reranker=True)),
        SimulatedModel("painter", role="image", capabilities=Capabilities(("text",), ("image",))),
    ]


def _server(dialect: Dialect, answer: str, *, loading_state: bool = False) -> LlamaSwapSimulator:
    made = _models(answer)
    together = {"all": Group([model.id for model in made], swap=False)}
    return LlamaSwapSimulator(made, dialect, groups=together, loading_state=loading_state)


def _simulated(
    simulator: LlamaSwapSimulator, other: SimulatorTarget | None, says: str = SAYS, **more: object
) -> SimulatorTarget:
    fields: dict[str, object] = {
        "plugin": "modelbay_llamaswap.plugin",
        "config": _provider(simulator.base_url),
        "model": "talker",
        "says": says,
        "endless": "endless",
        "thinks": Thinks("thinker", THOUGHT, SAYS),
        "calls": Calls("caller", "weather", {"city": "Oslo"}),
        "json_model": "talker",
        "embedder": "embedder",
        "reranker": "ranker",
        "painter": "painter",
        "simulator": simulator,
        "count_loads": lambda: sum(simulator.starts.values()),
        "other": other,
        "adds": {"max_tokens": "without a limit a model may talk until its context is full"},
    }
    return SimulatorTarget(**{**fields, **more})  # type: ignore[arg-type]
