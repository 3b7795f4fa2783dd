"""The kit for Ollama: servers of three ages."""

import json
from collections.abc import Iterator

import pytest

from modelbay.models.frozen import JsonObject
from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import (
    Calls,
    ProviderConformance,
    SimulatorTarget,
    Target,
    Thinks,
    Wire,
)
from modelbay_ollama.simulator import OllamaSimulator, SimulatedModel, ToolCall

SAYS = "Hello from Ollama, which has been asked to say a little more than usual."
OTHER = "The second server speaks."
THOUGHT = "Let me think."


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


def provider(base_url: str) -> ProviderConfig:
    return ProviderConfig.model_validate(
        {"id": "desk", "kind": "ollama", "baseUrl": base_url, "busyTries": 1}
    )


def models(answer: str) -> list[SimulatedModel]:
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


def simulated(
    simulator: OllamaSimulator, other: SimulatorTarget | None, says: str = SAYS
) -> SimulatorTarget:
    return SimulatorTarget(
        plugin="modelbay_ollama.plugin",
        config=provider(simulator.base_url),
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
    )


class _Of:
    """A server of one version."""

    version: str

    @pytest.fixture
    def target(self) -> Iterator[Target]:
        with (
            OllamaSimulator(models(SAYS), version=self.version) as simulator,
            OllamaSimulator(models(OTHER), version=self.version) as second,
        ):
            yield simulated(simulator, simulated(second, None, OTHER))


class TestOld(_Of, ProviderConformance):
    """Before the list said what a model can do."""

    version = "0.12.11"


class TestNative(_Of, ProviderConformance):
    """Two chat paths."""

    version = "0.30.1"


class TestNew(_Of, ProviderConformance):
    """The newest one the notes on its wire were read from."""

    version = "0.33.0"
