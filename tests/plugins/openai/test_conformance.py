"""The kit for any OpenAI-compatible server, in front of several personalities."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import (
    Calls,
    ProviderConformance,
    SimulatorTarget,
    Target,
    Thinks,
)
from modelbay.testing.conformance.discovery import DiscoveryChecks
from modelbay.testing.conformance.features import FeatureChecks
from modelbay.testing.conformance.management import ManagementChecks
from modelbay_openai.simulator import PERSONALITIES, OpenAISimulator, SimulatedModel, ToolCall

SAYS = "Hello from a compatible server, which has been asked to say a little more than usual."
OTHER = "The second server speaks."
THOUGHT = "Let me think."


def models(answer: str) -> list[SimulatedModel]:
    return [
        SimulatedModel("talker", answer=answer, json_answer='{"city":"Oslo","size":7}'),
        SimulatedModel("endless", answer="more ", endless=True),
        SimulatedModel("thinker", answer=SAYS, thinking=THOUGHT),
        SimulatedModel("caller", answer=SAYS, calls=[ToolCall("weather", '{"city": "Oslo"}')]),
        SimulatedModel("vectors", embeddings=True),
        SimulatedModel("ranker", rerank=True),
        SimulatedModel("painter", images=True),
    ]


def simulator(name: str, answer: str) -> OpenAISimulator:
    """OpenRouter lives under ``/api``; the kit wants addresses without the API's own path."""
    personality = PERSONALITIES[name]
    prefix = personality.api.removesuffix("/v1")
    made = OpenAISimulator(models(answer), replace(personality, api="/v1"), prefix=prefix)
    made.knobs.token_delay_s = 0.001  # an endless model must not fill the machine
    return made


def simulated(
    simulator: OpenAISimulator, other: SimulatorTarget | None, says: str = SAYS
) -> SimulatorTarget:
    name = simulator.personality.name
    config = {"id": "box", "kind": "openai", "baseUrl": simulator.base_url}
    if name in ("openai", "openrouter"):
        config["server"] = name  # told by the host name, which is another one here
    return SimulatorTarget(
        plugin="modelbay_openai.plugin",
        config=ProviderConfig.model_validate(config),
        model="talker",
        says=says,
        endless="endless",
        thinks=Thinks("thinker", THOUGHT, SAYS),
        calls=Calls("caller", "weather", {"city": "Oslo"}),
        json_model="talker",
        embedder="vectors",
        reranker="ranker",
        painter="painter",
        simulator=simulator,
        count_loads=lambda: sum(simulator.loads.values()),
        other=other,
    )


class _Of:
    """A server of one sort."""

    personality: str

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        with simulator(self.personality, SAYS) as first, simulator(self.personality, OTHER) as two:
            yield simulated(first, simulated(two, None, OTHER))


class TestOpenAI(_Of, ProviderConformance):
    """The standard itself."""

    personality = "openai"


class TestVLLM(_Of, ProviderConformance):
    """Recognised by its list; one look more."""

    personality = "vllm"


class TestLMStudio(_Of, ProviderConformance):
    """Loads on demand; unknown paths answer 200; one look more."""

    personality = "lmstudio"


class TestOpenRouter(_Of, ProviderConformance):
    """A hosted service with comments in its streams."""

    personality = "openrouter"


# The others differ in what they are asked besides the list, and in little else.


class TestSGLang(_Of, DiscoveryChecks, ManagementChecks, FeatureChecks):
    """Rankings without an object."""

    personality = "sglang"


class TestTabbyAPI(_Of, DiscoveryChecks, ManagementChecks):
    """Tells the model in memory by a route of its own."""

    personality = "tabbyapi"


class TestKoboldCpp(_Of, DiscoveryChecks, ManagementChecks):
    """Recognised by a header; two looks more."""

    personality = "koboldcpp"
