"""What the conformance kit is to test: this plugin, in front of two simulators."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import Calls, SimulatorTarget, Target, Thinks
from modelbay_deepseek.simulator import KEY, DeepSeekSimulator, Knobs, Script

SAYS = "Hello from DeepSeek, which has been asked to say a little more than usual."
OTHER = "The second server speaks."
THOUGHT = "Let me think."


@contextmanager
def target(shape: Literal["classic", "extended"] = "extended") -> Iterator[Target]:
    """Two servers that run as long as the block; `shape` is that of their lists."""
    knobs = Knobs(models_shape=shape)
    with (
        DeepSeekSimulator(Script(THOUGHT, SAYS), knobs) as simulator,
        DeepSeekSimulator(Script(THOUGHT, OTHER), knobs) as second,
    ):
        yield _simulated(simulator, _simulated(second, None, OTHER))


def _simulated(
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
        chat_path="/chat/completions",
        simulator=simulator,
        other=other,
        cannot={
            "loads": "a hosted model is never loaded",
            "load": "a hosted model is never loaded",
            "json_schema": "the chat API has no json_schema format",
        },
    )
