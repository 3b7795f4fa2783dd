"""The two providers that the programs in the documents talk to."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbay_ollama.simulator.model import SimulatedModel as OllamaModel
from modelbay_ollama.simulator.server import OllamaSimulator
from modelbay_openai.simulator.model import SimulatedModel, ToolCall
from modelbay_openai.simulator.server import OpenAISimulator

ELSEWHERE = ("llamacpp", "embedded", "llama-swap", "deepseek")  # must not answer on this machine


@pytest.fixture
def two_providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    thinker = SimulatedModel(
        "qwen3-8b",
        thinking="Nobody thinks here.",
        answer="This is a pretended answer after a pretended thought.",
        calls=[ToolCall("get_weather", '{"city": "Oslo"}')],
        context=40960,
    )
    llama = OllamaModel(
        "llama3.1:8b",
        answer="This is a pretended answer.",
        capabilities=("completion", "tools"),
    )
    models = [thinker, SimulatedModel("nomic-embed", embeddings=True, context=2048)]
    with OpenAISimulator(models, personality="vllm") as desk, OllamaSimulator([llama]) as tower:
        providers = [
            {"id": "desk", "kind": "openai", "baseUrl": desk.base_url},
            {"id": "tower", "kind": "ollama", "baseUrl": tower.base_url},
        ]
        file = tmp_path / "providers.json"
        file.write_text(json.dumps({"providers": providers}), encoding="utf-8")
        monkeypatch.setenv("LLAMA_PROVIDERS_PATH", str(file))
        monkeypatch.setenv("MODELBAY_HOME", str(tmp_path))
        monkeypatch.setenv("MODELBAY_DISABLE", ",".join(ELSEWHERE))
        monkeypatch.setenv("BOX_URL", desk.base_url)
        monkeypatch.delenv("DEFAULT_MODEL", raising=False)
        yield
