"""The official client, through the gateway and real plugins, to simulated servers."""

import base64
import json
import math
from collections.abc import Iterator
from typing import Any

import ollama
import pytest

from gateway.anthropic.simulated import ANSWERS, Simulated, simulated
from gateway.conftest import Start
from gateway.ollama.conftest import Client
from gateway.serving import Served

HI = [{"role": "user", "content": "hi"}]
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00"


def weather(city: str) -> str:
    """The weather in a city.

    Args:
        city: Which one.
    """
    return f"sunny in {city}"


@pytest.fixture
def servers(request: pytest.FixtureRequest) -> Iterator[Simulated]:
    with simulated(calls="tools" in request.node.name) as made:
        yield made


def test_every_provider_is_listed(servers: Simulated, start: Start, client: Client) -> None:
    ai = client(start(servers.host))

    assert sorted(str(model.model) for model in ai.list().models) == sorted(
        [*ANSWERS, "desk/embedder:latest"]
    )
    assert set(ai.show("desk/qwen3:8b").capabilities or ()) == {
        "completion",
        "tools",
        "thinking",
        "vision",
    }
    assert ai.show("desk/embedder").capabilities == ["embedding"]


@pytest.mark.parametrize("model", ANSWERS)
@pytest.mark.parametrize("streamed", [True, False])
def test_text_thoughts_and_counts_cross(
    servers: Simulated, start: Start, client: Client, model: str, streamed: bool
) -> None:
    ai = client(start(servers.host))

    if streamed:
        parts = list(ai.chat(model, HI, think=True, stream=True))
        text = "".join(part.message.content or "" for part in parts)
        thought = "".join(part.message.thinking or "" for part in parts)
        last: Any = parts[-1]
    else:
        last = ai.chat(model, HI, think=True)
        text, thought = last.message.content, last.message.thinking

    assert (text.strip(), thought.strip()) == (ANSWERS[model].strip(), "hm")
    assert (last.done, last.done_reason) == (True, "stop")
    assert last.prompt_eval_count > 0
    assert last.eval_count > 0
    assert last.total_duration > 0


@pytest.mark.parametrize("model", ANSWERS)
def test_a_loop_of_tools_with_an_image(
    servers: Simulated, start: Start, client: Client, model: str
) -> None:
    ai = client(start(servers.host))
    question = {"role": "user", "content": "Where is it, and how is it there?", "images": [PNG]}

    first = ai.chat(model, [question], tools=[weather]).message
    [call] = first.tool_calls or ()
    result = {"role": "tool", "content": "sunny", "tool_name": call.function.name}
    ai.chat(model, [question, first, result], tools=[weather])

    assert (call.function.name, call.function.arguments) == ("weather", {"city": "Rome"})
    sent = servers.asked(model)
    assert base64.b64encode(PNG).decode() in json.dumps(sent)
    assistant, tool = sent["messages"][-2:]
    assert (tool["role"], tool["content"]) == ("tool", "sunny")
    assert tool["tool_call_id"] == assistant["tool_calls"][0]["id"]


def test_options_reach_an_ollama_server_and_sampling_reaches_others(
    servers: Simulated, start: Start, client: Client
) -> None:
    ai = client(start(servers.host))
    options = {"num_ctx": 2048, "min_p": 0.1, "num_predict": 5}

    for model in ANSWERS:
        ai.chat(model, HI, options=options, keep_alive="7m")

    native, other = servers.asked("desk/qwen3:8b"), servers.asked("cpp/tiny")
    assert native["keep_alive"] == "7m"
    assert {name: native["options"][name] for name in options} == options
    assert (other["min_p"], other["max_tokens"]) == (0.1, 5)
    assert "num_ctx" not in json.dumps(other)


def test_vectors(servers: Simulated, start: Start, client: Client) -> None:
    ai = client(start(servers.host))

    two = ai.embed("desk/embedder", ["a", "b"])
    one = ai.embeddings("desk/embedder:latest", "a")

    assert [len(vector) for vector in two.embeddings] == [8, 8]
    assert one.embedding == two.embeddings[0]
    with pytest.raises(ollama.ResponseError) as caught:
        ai.embed("cloud/vendor/large", "a")
    assert 400 <= caught.value.status_code < 500


def test_what_is_loaded_is_told_and_can_be_freed(
    servers: Simulated, start: Start, client: Client
) -> None:
    ai = client(start(servers.host))
    before = _running(ai, "desk")
    ai.chat("desk/qwen3:8b", [])
    loaded = _running(ai, "desk")
    ai.generate("desk/qwen3:8b", keep_alive=0)

    assert (before, loaded, _running(ai, "desk")) == ([], ["desk/qwen3:8b"], [])


def _running(ai: ollama.Client, provider: str) -> list[str]:
    names = [str(model.model) for model in ai.ps().models]
    return [name for name in names if name.startswith(provider)]


@pytest.mark.parametrize("model", ANSWERS)
def test_a_server_that_breaks_off_in_the_middle_raises(
    servers: Simulated, start: Start, client: Client, model: str
) -> None:
    ai = client(start(servers.host))
    servers.cut(1500)

    said: list[str | None] = []
    with pytest.raises(ollama.ResponseError, match="broke off"):
        said.extend(part.message.content for part in ai.chat(model, HI, stream=True))

    assert said


def test_who_goes_away_ends_the_request_to_the_server(servers: Simulated, start: Start) -> None:
    held = servers.desk
    held.knobs.token_delay_s = math.inf
    served: Served = start(servers.host)

    with (
        ollama.Client(served.base_url, timeout=0.5, trust_env=False) as ai,
        pytest.raises(Exception, match="timed out"),
    ):
        ai.chat("desk/qwen3:8b", HI)

    # Idle connections are kept for some seconds; one with a held answer would stay for ever.
    held.wait_until(
        lambda: (
            any(each.path == "/api/chat" for each in held.requests) and held.open_connections == 0
        ),
        timeout_s=30,
    )
