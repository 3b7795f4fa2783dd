"""The official client, through the gateway and real plugins, to simulated servers."""

import base64
import json
import math
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from gateway.anthropic.conftest import Client
from gateway.anthropic.simulated import ANSWERS, Simulated, simulated
from gateway.conftest import Start

HI: list[anthropic.types.MessageParam] = [{"role": "user", "content": "hi"}]
PNG = base64.b64encode(
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00"
).decode()
WEATHER: anthropic.types.ToolParam = {
    "name": "weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
THINKING: anthropic.types.ThinkingConfigEnabledParam = {"type": "enabled", "budget_tokens": 5000}


@pytest.fixture
def servers(request: pytest.FixtureRequest) -> Iterator[Simulated]:
    with simulated(calls="tools" in request.node.name) as made:
        yield made


def said(message: anthropic.types.Message, kind: str) -> str:
    texts = [getattr(block, kind) for block in message.content if block.type == kind]
    return "".join(texts)


def test_every_provider_is_listed(servers: Simulated, start: Start, client: Client) -> None:
    ai = client(start(servers.host))

    assert sorted(model.id for model in ai.models.list()) == sorted(
        [*ANSWERS, "desk/embedder:latest"]
    )


@pytest.mark.parametrize("model", ANSWERS)
@pytest.mark.parametrize("streamed", [True, False])
def test_text_and_thoughts_cross(
    servers: Simulated, start: Start, client: Client, model: str, streamed: bool
) -> None:
    ai = client(start(servers.host))
    asked: Any = {"model": model, "max_tokens": 9000, "messages": HI, "thinking": THINKING}

    if streamed:
        with ai.messages.stream(**asked) as stream:
            answer: anthropic.types.Message = stream.get_final_message()
    else:
        answer = ai.messages.create(**asked)

    assert (said(answer, "text").strip(), said(answer, "thinking").strip()) == (
        ANSWERS[model].strip(),
        "hm",
    )
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens > 0
    assert answer.usage.input_tokens > 0
    assert not (answer.usage.model_extra or {}).get("estimated")


@pytest.mark.parametrize("model", ANSWERS)
def test_a_loop_of_tools_with_an_image(
    servers: Simulated, start: Start, client: Client, model: str
) -> None:
    ai = client(start(servers.host))
    question: anthropic.types.MessageParam = {
        "role": "user",
        "content": [
            {"type": "text", "text": "Where is it, and what is the weather there?"},
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": PNG},
            },
        ],
    }
    asked: Any = {"model": model, "max_tokens": 9000, "thinking": THINKING, "tools": [WEATHER]}

    first = ai.messages.create(messages=[question], **asked)
    [call] = [block for block in first.content if block.type == "tool_use"]
    result: anthropic.types.MessageParam = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}],
    }
    turn: anthropic.types.MessageParam = {"role": "assistant", "content": first.content}
    ai.messages.create(messages=[question, turn, result], **asked)

    assert (call.name, call.input, first.stop_reason) == (
        "weather",
        {"city": "Rome"},
        "tool_use",
    )
    sent = servers.asked(model)
    assert PNG in json.dumps(sent)
    assert sent["messages"][-1]["role"] == "tool"
    assert sent["messages"][-1]["content"] == "sunny"
    assert sent["messages"][-1]["tool_call_id"] == sent["messages"][-2]["tool_calls"][0]["id"]


@pytest.mark.parametrize("model", ANSWERS)
def test_a_server_that_breaks_off_in_the_middle_raises(
    servers: Simulated, start: Start, client: Client, model: str
) -> None:
    ai = client(start(servers.host))
    list(ai.models.list())
    servers.cut(1500)

    with (
        ai.messages.stream(model=model, max_tokens=9, messages=HI) as stream,
        pytest.raises(anthropic.APIStatusError) as caught,
    ):
        stream.get_final_message()

    body: Any = caught.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "api_error")


def test_who_goes_away_ends_the_request_to_the_server(
    servers: Simulated, start: Start, client: Client
) -> None:
    held = servers.desk
    held.knobs.token_delay_s = math.inf
    served = start(servers.host)

    ai = client(served)
    with pytest.raises(anthropic.APITimeoutError):
        ai.messages.create(model="desk/qwen3:8b", max_tokens=9, messages=HI, timeout=0.5)

    # Idle connections are kept for some seconds; one with a held answer would stay for ever.
    held.wait_until(
        lambda: (
            any(each.path == "/api/chat" for each in held.requests) and held.open_connections == 0
        ),
        timeout_s=30,
    )
