"""The OpenAI client through the gateway to real llama.cpp servers: tools, thoughts, vectors."""

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from gateway.real import CITY, SAYS, THINKS, real_servers
from plugins.llamacpp.conftest import llama as llama

pytestmark = pytest.mark.real

HI: list[Any] = [{"role": "user", "content": "hi"}]
WEATHER: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Weather.", "parameters": CITY},
}


@pytest.fixture
def ai(llama: Callable[..., str]) -> Iterator[openai.OpenAI]:
    with (
        real_servers(llama) as served,
        openai.OpenAI(base_url=served.base_url, api_key="x", max_retries=0) as ai,
    ):
        yield ai


def ask(ai: openai.OpenAI, streamed: bool, **asked: Any) -> Any:
    if not streamed:
        return ai.chat.completions.create(**asked)
    with ai.chat.completions.stream(stream_options={"include_usage": True}, **asked) as stream:
        return stream.get_final_completion()


@pytest.mark.parametrize("streamed", [True, False])
def test_a_loop_of_tools_with_thoughts(ai: openai.OpenAI, streamed: bool) -> None:
    asked: Any = {"model": "tools/caller", "tools": [WEATHER]}

    first = ask(ai, streamed, messages=HI, **asked)
    [choice] = first.choices
    [call] = choice.message.tool_calls
    thought = choice.message.model_extra["reasoning_content"]
    function = {"name": call.function.name, "arguments": call.function.arguments}
    turns = [
        *HI,
        {
            "role": "assistant",
            "content": None,
            "reasoning_content": thought,
            "tool_calls": [{"id": call.id, "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    second = ask(ai, streamed, messages=turns, **asked)

    assert thought.strip() == THINKS
    assert choice.finish_reason == "tool_calls"
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "get_weather",
        {"city": "Oslo"},
    )
    assert second.usage.prompt_tokens > first.usage.prompt_tokens


def test_vectors_as_numbers_and_as_base64(ai: openai.OpenAI) -> None:
    texts = ["one text", "another"]
    packed = ai.embeddings.create(model="vectors/embedder", input=texts)  # the client unpacks it
    plain = ai.embeddings.create(model="vectors/embedder", input=texts, encoding_format="float")

    assert [each.index for each in plain.data] == [0, 1]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert math.isclose(sum(x * x for x in other.embedding), 1.0, rel_tol=1e-3)
        assert one.embedding == pytest.approx(other.embedding, abs=1e-5)


def test_a_raw_prompt(ai: openai.OpenAI) -> None:
    answer = ai.completions.create(model="desk/speaker", prompt="hi", max_tokens=64)

    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (SAYS, "stop")
