"""The kit for llama-swap: servers of three ages, and one that types while it loads."""

from collections.abc import Iterator

import pytest

from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import (
    Ability,
    Calls,
    ProviderConformance,
    SimulatorTarget,
    Target,
    Thinks,
)
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
TEXT = Capabilities(("text",), ("text",))


def provider(base_url: str) -> ProviderConfig:
    return ProviderConfig.model_validate(
        {"id": "desk", "kind": "llama-swap", "baseUrl": base_url, **OPTIONS}
    )


def models(answer: str) -> list[SimulatedModel]:
    return [
        SimulatedModel("talker", answer=answer, json_answer='{"city":"Oslo","size":7}'),
        SimulatedModel("endless", answer="more ", endless=True, token_s=1, n_ctx=100_000),
        SimulatedModel("thinker", answer=SAYS, reasoning=THOUGHT),
        SimulatedModel("caller", answer=SAYS, tool_calls=[ToolCall("weather", '{"city": "Oslo"}')]),
        SimulatedModel("embedder", role="embedding", metadata={"task": "embedding"}),
        SimulatedModel("ranker", role="rerank", capabilities=Capabilities(reranker=True)),
        SimulatedModel("painter", role="image", capabilities=Capabilities(("text",), ("image",))),
    ]


def server(dialect: Dialect, answer: str, *, loading_state: bool = False) -> LlamaSwapSimulator:
    made = models(answer)
    together = {"all": Group([model.id for model in made], swap=False)}
    return LlamaSwapSimulator(made, dialect, groups=together, loading_state=loading_state)


def simulated(
    simulator: LlamaSwapSimulator, other: SimulatorTarget | None, says: str = SAYS, **more: object
) -> SimulatorTarget:
    fields: dict[str, object] = {
        "plugin": "modelbay_llamaswap.plugin",
        "config": provider(simulator.base_url),
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
    }
    return SimulatorTarget(**{**fields, **more})  # type: ignore[arg-type]


class _Of:
    """A server of one version."""

    dialect: Dialect = "head"
    loading_state = False
    cannot: dict[Ability, str] = {}

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        with (
            server(self.dialect, SAYS, loading_state=self.loading_state) as simulator,
            server(self.dialect, OTHER, loading_state=self.loading_state) as second,
        ):
            yield simulated(simulator, simulated(second, None, OTHER), cannot=self.cannot)


class TestHead(_Of, ProviderConformance):
    """The newest: five changes after v250."""


class TestTyping(_Of, ProviderConformance):
    """The same, with ``sendLoadingState``: every cold stream begins with its text."""

    loading_state = True


class TestV217(_Of, ProviderConformance):
    """The last of the old server: errors are text, and what starts is not listed."""

    dialect = "v217"


class TestV160(_Of, ProviderConformance):
    """Before one model could be unloaded, before images, and before keys."""

    dialect = "v160"
    cannot = {
        "images": "images since v180",
        "load": "unloads only all models at once",
    }
