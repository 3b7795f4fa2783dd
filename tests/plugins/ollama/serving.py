"""A simulated Ollama and a plain HTTP client, and the words tests read its answers with."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import httpx2 as httpx

from modelbay_ollama.simulator import (
    OllamaSimulator,
    SimulatedModel,
    ToolCall,
)
from modelbay_ollama.simulator.versions import Release

Lines = list[dict[str, Any]]

VERSIONS = ("0.5.0", "0.12.0", "0.30.0", "0.33.0")
LATEST = Release("0.33.0")
HI = [{"role": "user", "content": "hi"}]
M = SimulatedModel("m:1b", answer="one two")
THINKER = SimulatedModel(
    "t:1b", answer="42", thinking="hm ok", capabilities=("completion", "tools", "thinking")
)
ROME = ToolCall("get_weather", {"city": "Rome"})
OSLO = ToolCall("get_weather", {"city": "Oslo"})
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}

EMBEDDER = SimulatedModel("e", capabilities=("embedding",), family="bert", embed_len=8)


@contextmanager
def serving(
    models: Sequence[SimulatedModel] = (M,), version: str = "0.33.0", **options: Any
) -> Iterator[tuple[OllamaSimulator, httpx.Client]]:
    with (
        OllamaSimulator(models, version, **options) as sim,
        httpx.Client(base_url=sim.base_url, timeout=10, trust_env=False) as http,
    ):
        yield sim, http


def chat(http: httpx.Client, model: str = "m:1b", **body: Any) -> httpx.Response:
    return http.post("/api/chat", json={"model": model, "messages": HI, **body})


def pull(http: httpx.Client, model: str = "new:7b", **body: Any) -> httpx.Response:
    return http.post("/api/pull", json={"model": model, **body})


def lines(response: httpx.Response) -> Lines:
    return [json.loads(line) for line in response.content.split(b"\n") if line]


def error(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]


def text(answer: Lines) -> str:
    return "".join(line["message"]["content"] for line in answer)


@contextmanager
def in_thread(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Work beside the test; what it raises is its own affair."""

    def quietly() -> None:
        with suppress(httpx.HTTPError):
            work()

    thread = threading.Thread(target=quietly, daemon=True)
    thread.start()
    yield thread
    thread.join(10)
    assert not thread.is_alive()
