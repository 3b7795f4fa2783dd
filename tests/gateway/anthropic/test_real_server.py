"""The Anthropic client through the gateway to real llama.cpp servers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import anthropic
import pytest

from gateway.anthropic.conftest import Client
from gateway.real import CITY, SAYS, THINKS, real_servers
from plugins.llamacpp.conftest import llama as llama

pytestmark = pytest.mark.real

HI: list[Any] = [{"role": "user", "content": "hi"}]
WEATHER: Any = {"name": "get_weather", "description": "Weather.", "input_schema": CITY}
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}


@pytest.fixture
def ai(llama: Callable[..., str], client: Client) -> Iterator[anthropic.Anthropic]:
    with real_servers(llama) as served:
        yield client(served)


def ask(ai: anthropic.Anthropic, streamed: bool, **asked: Any) -> anthropic.types.Message:
    with ExitStack() as stack:
        if streamed:
            stream = stack.enter_context(ai.messages.stream(**asked))
            answer: anthropic.types.Message = stream.get_final_message()
        else:
            answer = ai.messages.create(**asked)
    return answer


def _read(usage: anthropic.types.Usage) -> int:
    """Tokens of a prompt: those of a cache are counted by themselves."""
    return usage.input_tokens + (usage.cache_read_input_tokens or 0)


@pytest.mark.parametrize("streamed", [True, False])
def test_text_and_counts(ai: anthropic.Anthropic, streamed: bool) -> None:
    answer = ask(ai, streamed, model="desk/speaker", max_tokens=64, messages=HI)

    assert [block.to_dict() for block in answer.content] == [{"type": "text", "text": SAYS}]
    assert (answer.stop_reason, answer.model) == ("end_turn", "desk/speaker")
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 1
    assert not (answer.usage.model_extra or {}).get("estimated")


@pytest.mark.parametrize("streamed", [True, False])
def test_a_limit_cuts_the_answer(ai: anthropic.Anthropic, streamed: bool) -> None:
    answer = ask(ai, streamed, model="desk/speaker", max_tokens=1, messages=HI)

    [block] = answer.content
    assert isinstance(block, anthropic.types.TextBlock)
    assert SAYS.startswith(block.text)
    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 1)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_loop_of_tools_with_thoughts(ai: anthropic.Anthropic, streamed: bool) -> None:
    asked: Any = {"model": "tools/caller", "max_tokens": 512, "tools": [WEATHER]}
    asked["thinking"] = THINKING

    first = ask(ai, streamed, messages=HI, **asked)
    thought, call = first.content
    assert isinstance(thought, anthropic.types.ThinkingBlock)
    assert isinstance(call, anthropic.types.ToolUseBlock)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    turns = [
        *HI,
        {"role": "assistant", "content": [block.to_dict() for block in first.content]},
        {"role": "user", "content": [result]},
    ]
    second = ask(ai, streamed, messages=turns, **asked)

    assert thought.thinking.strip() == THINKS
    assert (call.name, call.input, first.stop_reason) == (
        "get_weather",
        {"city": "Oslo"},
        "tool_use",
    )
    assert _read(second.usage) > _read(first.usage)
    assert second.usage.cache_read_input_tokens  # the server had kept the first turn's prompt


def test_a_request_that_does_not_fit_is_told_so(ai: anthropic.Anthropic) -> None:
    long: Any = [{"role": "user", "content": "x" * 5000}]
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        ai.messages.create(model="desk/speaker", max_tokens=9, messages=long)


def test_every_servers_model_is_listed(ai: anthropic.Anthropic) -> None:
    assert {model.id for model in ai.models.list()} == {
        "desk/speaker",
        "tools/caller",
        "vectors/embedder",
    }
