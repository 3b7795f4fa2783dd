"""What the conformance kit is to test: this plugin, in front of two servers of one personality."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import Calls, Peculiarity, SimulatorTarget, Target, Thinks
from modelbay_openai.simulator import PERSONALITIES, OpenAISimulator, SimulatedModel, ToolCall

SAYS = "Hello from a compatible server, which has been asked to say a little more than usual."
OTHER = "The second server speaks."
THOUGHT = "Let me think."
_LISTED: Mapping[Peculiarity, str] = {"state": "it lists nothing but what it has in memory"}
_STATE: dict[str, Mapping[Peculiarity, str]] = {
    "vllm": _LISTED,
    "sglang": _LISTED,
    "koboldcpp": _LISTED,
    "lmstudio": {"state": "not a word says what is loaded, but a list of its instances"},
}


@contextmanager
def target(personality: str = "openai") -> Iterator[Target]:
    """Two servers that run as long as the block."""
    with _simulator(personality, SAYS) as first, _simulator(personality, OTHER) as second:
        yield _simulated(first, _simulated(second, None, OTHER))


def _models(answer: str) -> list[SimulatedModel]:
    return [
        SimulatedModel("talker", answer=answer, json_answer='{"city":"Oslo","size":7}'),
        SimulatedModel("endless", answer="more ", endless=True),
        SimulatedModel("thinker", answer=SAYS, thinking=THOUGHT),
        SimulatedModel("caller", answer=SAYS, calls=[ToolCall("weather", '{"city": "Oslo"}')]),
        SimulatedModel("vectors", embeddings=True),
        SimulatedModel("ranker", rerank=True),
        SimulatedModel("painter", images=True),
    ]


def _simulator(name: str, answer: str) -> OpenAISimulator:
    """OpenRouter lives under ``/api``; the kit wants addresses without the API's own path."""
    personality = PERSONALITIES[name]
    prefix = personality.api.removesuffix("/v1")
    made = OpenAISimulator(_models(answer), replace(personality, api="/v1"), prefix=prefix)
    made.knobs.token_delay_s = 0.001  # an endless model must not fill the machine
    return made


def _simulated(
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
        differs=_STATE.get(name, {}),
    )
