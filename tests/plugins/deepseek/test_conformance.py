"""The kit for DeepSeek: the list in both of its shapes."""

from collections.abc import Iterator
from typing import Literal

import pytest

from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import (
    OPENAI_SSE,
    Calls,
    ProviderConformance,
    SimulatorTarget,
    Target,
    Thinks,
)
from modelbay_deepseek.simulator import KEY, DeepSeekSimulator, Knobs, Script

SAYS = "Hello from DeepSeek, which has been asked to say a little more than usual."
OTHER = "The second server speaks."
THOUGHT = "Let me think."


def simulated(
    simulator: DeepSeekSimulator, other: SimulatorTarget | None, says: str = SAYS
) -> SimulatorTarget:
    return SimulatorTarget(
        plugin="modelbay_deepseek.plugin",
        config=ProviderConfig.model_validate(
            {
                "id": "cloud",
                "kind": "deepseek",
                "baseUrl": simulator.base_url,
                "apiKey": KEY,
                "retries": 0,
            }
        ),
        model="deepseek-flash",
        says=says,
        thinks=Thinks("deepseek-flash", THOUGHT, says),
        calls=Calls("deepseek-flash", "weather", {"city": "city"}),
        wire=OPENAI_SSE,
        chat_path="/chat/completions",
        simulator=simulator,
        other=other,
        cannot={
            "loads": "a hosted model is never loaded",
            "load": "a hosted model is never loaded",
            "json_schema": "the chat API has no json_schema format",
        },
    )


class _Of:
    """A list of one shape."""

    shape: Literal["classic", "extended"]

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        knobs = Knobs(models_shape=self.shape)
        with (
            DeepSeekSimulator(Script(THOUGHT, SAYS), knobs) as simulator,
            DeepSeekSimulator(Script(THOUGHT, OTHER), knobs) as second,
        ):
            yield simulated(simulator, simulated(second, None, OTHER))


class TestClassic(_Of, ProviderConformance):
    """The list of before September 2026: ids, and nothing else."""

    shape = "classic"


class TestExtended(_Of, ProviderConformance):
    """The list of October 2026."""

    shape = "extended"
