"""The Ollama client through the gateway to real llama.cpp servers."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import ollama
import pytest

from gateway.ollama.conftest import Client
from gateway.real import CITY, SAYS, THINKS, real_servers
from plugins.llamacpp.conftest import llama as llama

pytestmark = pytest.mark.real

HI = [{"role": "user", "content": "hi"}]
WEATHER: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Weather.", "parameters": CITY},
}


@pytest.fixture
def ai(llama: Callable[..., str], client: Client) -> Iterator[ollama.Client]:
    with real_servers(llama) as served:
        yield client(served)


def ask(ai: ollama.Client, streamed: bool, **asked: Any) -> list[Any]:
    """The parts of an answer; the last one has its counts."""
    return list(ai.chat(stream=True, **asked)) if streamed else [ai.chat(**asked)]


@pytest.mark.parametrize("streamed", [True, False])
def test_text_and_counts(ai: ollama.Client, streamed: bool) -> None:
    parts = ask(ai, streamed, model="desk/speaker", messages=HI)
    last = parts[-1]

    assert "".join(part.message.content or "" for part in parts) == SAYS
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert (last.done_reason, last.model) == ("stop", "desk/speaker")
    assert last.prompt_eval_count > 0
    assert last.eval_count > 1


@pytest.mark.parametrize("streamed", [True, False])
def test_a_limit_cuts_the_answer(ai: ollama.Client, streamed: bool) -> None:
    options = {"num_predict": 1}
    parts = ask(ai, streamed, model="desk/speaker", messages=HI, options=options)

    assert SAYS.startswith("".join(part.message.content or "" for part in parts))
    assert (parts[-1].done_reason, parts[-1].eval_count) == ("length", 1)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_raw_prompt(ai: ollama.Client, streamed: bool) -> None:
    if streamed:
        parts: list[Any] = list(ai.generate("desk/speaker", "hi", raw=True, stream=True))
    else:
        parts = [ai.generate("desk/speaker", "hi", raw=True)]

    assert "".join(part.response for part in parts) == SAYS
    assert parts[-1].done_reason == "stop"


@pytest.mark.parametrize("streamed", [True, False])
def test_a_loop_of_tools_with_thoughts(ai: ollama.Client, streamed: bool) -> None:
    asked: Any = {"model": "tools/caller", "tools": [WEATHER], "think": True}

    first = ask(ai, streamed, messages=HI, **asked)
    [call] = [call for part in first for call in part.message.tool_calls or ()]
    thought = "".join(part.message.thinking or "" for part in first)
    turns = [
        *HI,
        {"role": "assistant", "content": "", "thinking": thought, "tool_calls": [call]},
        {"role": "tool", "content": "sunny", "tool_name": "get_weather"},
    ]
    second = ask(ai, streamed, messages=turns, **asked)

    assert thought.strip() == THINKS
    assert (call.function.name, call.function.arguments) == ("get_weather", {"city": "Oslo"})
    assert second[-1].prompt_eval_count > first[-1].prompt_eval_count


def test_vectors(ai: ollama.Client) -> None:
    two = ai.embed("vectors/embedder", ["one text", "another"])
    one = ai.embeddings("vectors/embedder", "one text")

    assert len(two.embeddings) == 2
    for vector in two.embeddings:
        assert math.isclose(sum(x * x for x in vector), 1.0, rel_tol=1e-3)
    assert one.embedding == pytest.approx(two.embeddings[0], abs=1e-5)
    assert {model.model for model in ai.list().models} == {
        "desk/speaker",
        "tools/caller",
        "vectors/embedder",
    }


def test_a_model_that_talks_makes_no_vectors(ai: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        ai.embed("desk/speaker", "a")
    assert 400 <= caught.value.status_code < 502


def test_a_request_that_does_not_fit_is_told_so(ai: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="exceed") as caught:
        ai.chat("desk/speaker", [{"role": "user", "content": "x" * 5000}])
    assert caught.value.status_code == 400
