"""What the conformance kit is to test: this plugin, in front of two simulators of one version."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from modelbay.models.frozen import JsonObject
from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import Calls, SimulatorTarget, Target, Thinks, Wire
from modelbay_ollama.simulator.model import SimulatedModel, ToolCall
from modelbay_ollama.simulator.server import OllamaSimulator

SAYS = "Hello from Ollama, which has been asked to say a little more than usual."
OTHER = "The second server speaks."
THOUGHT = "Let me think."
NEWEST = "0.33.0"


def _line(value: JsonObject) -> bytes:
    return json.dumps({"model": "kit", **value}, ensure_ascii=False).encode() + b"\n"


NDJSON = Wire(
    content_type="application/x-ndjson",
    text=lambda piece: _line({"message": {"role": "assistant", "content": piece}, "done": False}),
    end=_line(
        {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
    ),
    error=lambda message: _line({"error": message}),
)


@contextmanager
def target(version: str = NEWEST) -> Iterator[Target]:
    """Two servers that run as long as the block."""
    with (
        OllamaSimulator(_models(SAYS), version=version) as simulator,
        OllamaSimulator(_models(OTHER), version=version) as second,
    ):
        yield _simulated(simulator, _simulated(second, None, OTHER))


def _models(answer: str) -> list[SimulatedModel]:
    return [
        SimulatedModel(
            "talker:8b",
            answer=answer,
            json_answer='{"city":"Oslo","size":7}',
            capabilities=("completion", "tools"),
        ),
        SimulatedModel("endless:8b", answer="more ", endless=True, token_delay_s=0.01),
        SimulatedModel(
            "thinker:8b", answer=SAYS, thinking=THOUGHT, capabilities=("completion", "thinking")
        ),
        SimulatedModel(
            "caller:8b",
            answer=SAYS,
            tool_calls=[ToolCall("weather", {"city": "Oslo"})],
            capabilities=("completion", "tools"),
        ),
        SimulatedModel("vectors:latest", family="bert", capabilities=("embedding",)),
    ]


def _simulated(
    simulator: OllamaSimulator, other: SimulatorTarget | None, says: str = SAYS
) -> SimulatorTarget:
    return SimulatorTarget(
        plugin="modelbay_ollama.plugin",
        config=ProviderConfig.model_validate(
            {"id": "desk", "kind": "ollama", "baseUrl": simulator.base_url, "busyTries": 1}
        ),
        model="talker:8b",
        says=says,
        endless="endless:8b",
        thinks=Thinks("thinker:8b", THOUGHT, SAYS),
        calls=Calls("caller:8b", "weather", {"city": "Oslo"}),
        json_model="talker:8b",
        embedder="vectors:latest",
        wire=NDJSON,
        chat_path="/api/chat",
        simulator=simulator,
        count_loads=lambda: sum(simulator.loads.values()),
        other=other,
        differs={
            "second system": "templates show one system message: all are sent as one",
            "retries": "503 is a full queue, which is tried as often as busyTries says",
        },
    )
