"""The official Anthropic client, as it is, against the gateway."""

import asyncio
import base64
import threading
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pydantic
import pytest

from gateway.anthropic.conftest import Client
from gateway.conftest import Raw, Start
from gateway.serving import HELLO, acme, desk
from modelbay.errors import (
    AuthenticationError,
    BackendBusyError,
    BackendTimeoutError,
    BackendUnreachableError,
    ContextLengthError,
    InvalidRequestError,
    ModelbayError,
    QuotaExceededError,
    RateLimitedError,
    StreamInterruptedError,
    UnsupportedFeatureError,
)
from modelbay.models.capabilities import Facts
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.chat import (
    ChatRequest,
    ImagePart,
    JsonSchema,
    Message,
    NamedTool,
    TextPart,
    Tool,
)
from modelbay.models.events import (
    Finish,
    Notice,
    ReasoningDelta,
    Status,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from modelbay.state import open_store
from modelbay_gateway.limits import Limits
from modelbay_gateway.security import Access, key_for_this_run

HI: list[anthropic.types.MessageParam] = [{"role": "user", "content": "hi"}]
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\nxxxx").decode()
ANSWER: list[StreamEvent] = [
    ReasoningDelta("h"),
    ReasoningDelta("m"),
    TextDelta("Hel"),
    TextDelta("lo"),
    Usage(7, 4, cached_tokens=3, reasoning_tokens=2),
    Finish("stop"),
]
CALLS: list[StreamEvent] = [
    TextDelta("I look."),
    ToolCallDelta(0, id="x1", name="weather"),
    ToolCallDelta(0, '{"city":'),
    ToolCallDelta(1, '{"city":"Oslo"}', id="x2", name="weather"),
    ToolCallDelta(0, '"Rome"}'),
    ToolCall("x1", "weather", '{"city":"Rome"}', 0),
    ToolCall("x2", "weather", '{"city":"Oslo"}', 1),
    Finish("tool_calls"),
]
WEATHER: anthropic.types.ToolParam = {
    "name": "weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
THINKING: anthropic.types.ThinkingConfigEnabledParam = {"type": "enabled", "budget_tokens": 2000}


async def _thinks() -> list[DiscoveredModel]:
    return [DiscoveredModel(wire_id="m", facts=Facts(reasoning=True, context_window=4096))]


def fails(*events: StreamEvent, error: ModelbayError) -> Any:
    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        for event in events:
            yield event
        raise error

    return reply


# --- answers --------------------------------------------------------------------------------------


def test_a_chat(start: Start, client: Client) -> None:
    ai = client(start(desk(acme(ANSWER))))

    answer = ai.messages.create(model="m", max_tokens=10, messages=HI)

    assert (answer.role, answer.type, answer.model) == ("assistant", "message", "m")
    assert answer.id.startswith("msg_")
    assert answer._request_id
    [block] = answer.content  # who does not ask for thoughts gets none
    assert block.type == "text"
    assert block.text == "Hello"
    assert (answer.stop_reason, answer.stop_sequence) == ("end_turn", None)
    assert answer.usage.model_dump(exclude_none=True) == {
        "input_tokens": 4,  # without those that were cached
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 3,
        "output_tokens": 4,
        "output_tokens_details": {"thinking_tokens": 2},
    }


def test_a_server_that_counts_nothing_is_estimated_and_that_is_told(
    start: Start, client: Client
) -> None:
    ai = client(start(desk(acme(HELLO))))

    usage = ai.messages.create(model="m", max_tokens=10, messages=HI).usage

    assert (usage.input_tokens, usage.output_tokens) == (5, 2)
    assert usage.model_extra == {"estimated": True}


def test_thoughts_are_blocks_with_a_signature(start: Start, client: Client) -> None:
    seen: list[ChatRequest] = []
    ai = client(start(desk(acme(ANSWER, seen=seen, discover_models=_thinks))))

    answer = ai.messages.create(model="m", max_tokens=5000, messages=HI, thinking=THINKING)
    thought, text = answer.content
    ai.messages.create(
        model="m",
        max_tokens=5000,
        thinking=THINKING,
        messages=[*HI, {"role": "assistant", "content": answer.content}, *HI],
    )

    assert thought.type == "thinking"
    assert (thought.thinking, bool(thought.signature)) == ("hm", True)
    assert text.type == "text"
    assert seen[0].reasoning_effort == "low"
    assert seen[1].messages[1] == Message(role="assistant", content="Hello", reasoning="hm")


def test_a_stream_of_thoughts_and_text(start: Start, client: Client) -> None:
    ai = client(start(desk(acme(ANSWER, discover_models=_thinks))))

    with ai.messages.stream(model="m", max_tokens=5000, messages=HI, thinking=THINKING) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()

    assert [kind for kind in kinds if "_" in kind] == [
        "message_start",
        *("content_block_start", "content_block_delta", "content_block_delta"),
        *("content_block_delta", "content_block_stop"),
        *("content_block_start", "content_block_delta", "content_block_delta"),
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    thought, text = final.content
    assert thought.type == "thinking"
    assert (thought.thinking, bool(thought.signature)) == ("hm", True)
    assert text.type == "text"
    assert text.text == "Hello"
    assert (final.stop_reason, final.usage.input_tokens, final.usage.output_tokens) == (
        "end_turn",
        4,
        4,
    )


@pytest.mark.parametrize("streamed", [True, False])
def test_calls_side_by_side_come_one_after_the_other(
    start: Start, client: Client, streamed: bool
) -> None:
    seen: list[ChatRequest] = []
    ai = client(start(desk(acme(CALLS, seen=seen))))
    asked: Any = {
        "model": "m",
        "max_tokens": 10,
        "messages": HI,
        "tools": [WEATHER],
        "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
    }

    if streamed:
        with ai.messages.stream(**asked) as stream:
            answer: anthropic.types.Message = stream.get_final_message()
    else:
        answer = ai.messages.create(**asked)

    text, *calls = answer.content
    assert text.type == "text"
    assert text.text == "I look."
    assert [(c.id, c.name, c.input) for c in calls if c.type == "tool_use"] == [
        ("x1", "weather", {"city": "Rome"}),
        ("x2", "weather", {"city": "Oslo"}),
    ]
    assert answer.stop_reason == "tool_use"
    [request] = seen
    assert request.tools == [
        Tool(
            name="weather",
            description="The weather in a city.",
            parameters=WEATHER["input_schema"],  # type: ignore[arg-type]
        )
    ]
    assert request.tool_choice == NamedTool(name="weather")
    assert request.extra == {"parallel_tool_calls": False}


def test_results_of_tools_come_before_what_the_user_says(start: Start, client: Client) -> None:
    seen: list[ChatRequest] = []
    ai = client(start(desk(acme(HELLO, seen=seen))))
    image: anthropic.types.ImageBlockParam = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": PNG},
    }

    ai.messages.create(
        model="m",
        max_tokens=10,
        tools=[WEATHER],
        messages=[
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "x1", "name": "weather", "input": {"city": "Rome"}},
                    {"type": "tool_use", "id": "x2", "name": "weather", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "x1", "content": [image]},
                    {
                        "type": "tool_result",
                        "tool_use_id": "x2",
                        "content": "no such city",
                        "is_error": True,
                    },
                    {"type": "text", "text": "And now?"},
                ],
            },
        ],
    )

    assert seen[0].messages == [
        Message(
            role="assistant",
            tool_calls=[
                ToolCall("x1", "weather", '{"city":"Rome"}', 0),
                ToolCall("x2", "weather", "{}", 1),
            ],
        ),
        Message(
            role="tool",
            tool_call_id="x1",
            content=[ImagePart(data=PNG, media_type="image/png")],
        ),
        Message(
            role="tool",
            tool_call_id="x2",
            content="Error: no such city",
            opaque={"anthropic": {"is_error": True}},
        ),
        Message(role="user", content="And now?"),
    ]


def test_system_images_and_settings_arrive(start: Start, client: Client) -> None:
    seen: list[ChatRequest] = []
    ai = client(start(desk(acme(HELLO, seen=seen))))

    answer = ai.messages.with_raw_response.create(
        model="m",
        max_tokens=99,
        system=[
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}},
        ],
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                    },
                    {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
                ],
            }
        ],
        stop_sequences=["END"],
        metadata={"user_id": "u1"},
        extra_body={"temperature": 0.5, "top_p": 0.9, "top_k": 40},
    )

    [request] = seen
    assert request.model_copy(update={"model": None}) == ChatRequest(
        messages=[
            Message(
                role="system",
                content=[TextPart(text="Be brief."), TextPart(text="Be kind.")],
            ),
            Message(
                role="user",
                content=[
                    TextPart(text="What is it?"),
                    ImagePart(data=PNG, media_type="image/png"),
                    ImagePart(url="https://x.test/a.png"),
                ],
            ),
        ],
        max_tokens=99,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        stop=["END"],
        stream=False,
    )
    told = answer.headers["x-modelbay-notices"]
    assert "cache_control was left out (2 places)" in told
    assert "metadata was left out" in told
    assert answer.headers["request-id"] == answer.headers["x-request-id"]


def test_an_answer_may_be_held_to_a_schema(start: Start, client: Client) -> None:
    class City(pydantic.BaseModel):
        name: str

    seen: list[ChatRequest] = []
    reply: list[StreamEvent] = [TextDelta('{"name":'), TextDelta('"Rome"}'), Finish("stop")]
    ai = client(start(desk(acme(reply, seen=seen))))

    answer = ai.messages.parse(model="m", max_tokens=9, messages=HI, output_format=City)

    assert answer.parsed_output == City(name="Rome")
    assert isinstance(seen[0].response_format, JsonSchema)
    assert seen[0].response_format.schema_["required"] == ["name"]


def test_what_the_server_does_meanwhile_is_a_ping(start: Start, client: Client) -> None:
    go_on = threading.Event()

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield Status("loading", 0.5)
        yield Notice("weak_tools", "small")
        await asyncio.to_thread(go_on.wait, 30)
        yield TextDelta("hello")
        yield Finish("stop")

    served = start(desk(acme(reply)), limits=Limits(heartbeat_s=0.05))
    with client(served).messages.with_streaming_response.create(
        model="m", max_tokens=9, messages=HI, stream=True
    ) as answer:
        lines = answer.iter_lines()
        seen = []
        for line in lines:
            seen.append(line)
            if line == "event: ping":
                go_on.set()

    assert seen[:2][0] == "event: message_start"
    assert 'data: {"type":"ping"}' in seen
    assert seen[-3] == "event: message_stop"
    assert "weak_tools" in "".join(seen)


def test_a_request_as_claude_code_sends_it(start: Start, client: Client) -> None:
    seen: list[ChatRequest] = []
    ai = client(
        start(desk(acme(ANSWER, seen=seen, discover_models=_thinks))),
        api_key=None,
        auth_token="dummy",
        default_headers={"x-claude-code-session-id": "s1", "x-app": "cli"},
    )

    with ai.beta.messages.stream(  # posts to /v1/messages?beta=true
        model="m",
        max_tokens=32000,
        betas=["claude-code-20250219", "interleaved-thinking-2025-05-14"],
        system=[
            {"type": "text", "text": "You are.", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "An agent."},
        ],
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "<reminder/>"},
                    {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}},
                ],
            }
        ],
        tools=[{**WEATHER, "cache_control": {"type": "ephemeral"}}],
        thinking={"type": "adaptive"},
        output_config={"effort": "high"},
        metadata={"user_id": "u"},
        context_management={"edits": [{"type": "clear_tool_uses_20250919"}]},
    ) as stream:
        answer = stream.get_final_message()

    assert [block.type for block in answer.content] == ["thinking", "text"]
    [request] = seen
    assert (request.reasoning_effort, [tool.name for tool in request.tools]) == (
        "high",
        ["weather"],
    )
    assert request.max_tokens is not None
    assert request.max_tokens < 4096


def test_a_conversation_remembers_the_model_of_its_last_turn(
    start: Start, client: Client, raw: Raw
) -> None:
    store = open_store(":memory:")
    served = start(desk(acme(models=["one", "two"])), store=store)
    conversation = {"x-conversation-id": "c1"}

    try:
        client(served).messages.create(
            model="claude-local-desk/two", max_tokens=9, messages=HI, extra_headers=conversation
        )
        answer = raw(served).post(
            "/v1/chat/completions", json={"messages": HI}, headers=conversation
        )
    finally:
        served.ask(store.aclose())

    assert answer.headers["x-modelbay-model"] == "desk/two"


# --- the list and the count -----------------------------------------------------------------------


def test_models_are_listed_page_by_page(start: Start, client: Client) -> None:
    ai = client(start(desk(acme(models=["a/b:c", "d", "e"]))))

    first = ai.models.list(limit=2)

    assert ([model.id for model in first.data], first.has_more) == (["desk/a/b:c", "desk/d"], True)
    assert [model.id for model in ai.models.list(limit=2)] == ["desk/a/b:c", "desk/d", "desk/e"]
    assert [model.id for model in ai.models.list(before_id="desk/e", limit=1).data] == ["desk/d"]
    one = ai.models.retrieve("desk/a/b:c")
    assert (one.id, one.type, one.display_name) == ("desk/a/b:c", "model", "a/b:c (desk)")
    assert one.created_at.tzinfo is not None
    wrongs: list[dict[str, Any]] = [{"after_id": "nobody"}, {"limit": 0}, {"limit": 1001}]
    for wrong in wrongs:
        with pytest.raises(anthropic.BadRequestError):
            ai.models.list(**wrong)
    with pytest.raises(anthropic.NotFoundError) as caught:
        ai.models.retrieve("nobody")
    assert caught.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]


def test_claude_code_gets_names_it_shows_and_may_use_them(start: Start, client: Client) -> None:
    seen: list[ChatRequest] = []
    served = start(desk(acme(seen=seen)))
    ai = client(served, default_headers={"user-agent": "claude-cli/2.0 (external, cli)"})

    [model] = ai.models.list(limit=1000).data
    answer = ai.messages.create(model=f"{model.id}[1m]", max_tokens=9, messages=HI)

    assert model.id == "claude-local-desk/m"
    assert ai.models.retrieve(model.id).id == model.id
    assert answer.model == "claude-local-desk/m[1m]"
    assert seen[0].model == "desk/m"


def test_tokens_are_estimated_and_that_is_told(start: Start, client: Client) -> None:
    ai = client(start(desk(acme())))

    count = ai.messages.count_tokens(
        model="m", system="x" * 40, messages=HI, tools=[WEATHER], thinking=THINKING
    )

    assert count.input_tokens == 14 + 5 + 26  # system, message, tool
    assert count.model_extra == {"estimated": True}
    with pytest.raises(anthropic.NotFoundError):
        ai.messages.count_tokens(model="nobody", messages=HI)


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (InvalidRequestError("no"), 400, "invalid_request_error"),
        (UnsupportedFeatureError("no"), 400, "invalid_request_error"),
        (QuotaExceededError("empty"), 402, "billing_error"),
        (RateLimitedError("slow down", retry_after_s=3.0), 429, "rate_limit_error"),
        (AuthenticationError("our key"), 502, "api_error"),
        (BackendUnreachableError("down"), 502, "api_error"),
        (BackendTimeoutError("late"), 504, "timeout_error"),
        (BackendBusyError("loading"), 529, "overloaded_error"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_failure_before_the_answer_is_a_status(
    start: Start, client: Client, error: ModelbayError, status: int, kind: str, stream: bool
) -> None:
    ai = client(start(desk(acme(fails(error=error)))))

    with pytest.raises(anthropic.APIStatusError) as caught:
        ai.messages.create(model="m", max_tokens=9, messages=HI, stream=stream)

    assert caught.value.status_code == status
    body: Any = caught.value.body
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert body["error"]["message"] == error.message
    assert body["request_id"] == caught.value.request_id
    assert caught.value.request_id is not None


@pytest.mark.parametrize("stream", [True, False])
def test_a_prompt_that_is_too_long_is_said_in_words_clients_know(
    start: Start, client: Client, stream: bool
) -> None:
    reply = fails(error=ContextLengthError("9000 tokens were sent"))
    ai = client(start(desk(acme(reply, discover_models=_thinks))))

    with pytest.raises(anthropic.BadRequestError) as caught:
        ai.messages.create(model="m", max_tokens=9, messages=HI, stream=stream)

    body: Any = caught.value.body
    assert body["error"]["message"] == (
        "prompt is too long: it exceeds the context window of 4096 tokens of this model"
        " (9000 tokens were sent)"
    )


def test_a_failure_in_the_middle_raises(start: Start, client: Client) -> None:
    error = StreamInterruptedError("the connection broke off", partial="Hel")
    ai = client(start(desk(acme(fails(TextDelta("Hel"), error=error)))))

    said: list[str] = []
    with (
        ai.messages.stream(model="m", max_tokens=9, messages=HI) as stream,
        pytest.raises(anthropic.APIStatusError, match="the connection broke off"),
    ):
        said.extend(stream.text_stream)

    assert said == ["Hel"]


def test_who_goes_away_ends_the_stream_of_the_provider(start: Start, client: Client) -> None:
    ended = threading.Event()

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        try:
            yield TextDelta("Hel")
            await asyncio.Event().wait()
        finally:
            ended.set()

    ai = client(start(desk(acme(reply))))
    with ai.messages.stream(model="m", max_tokens=9, messages=HI) as stream:
        assert next(iter(stream.text_stream)) == "Hel"

    assert ended.wait(30)


def test_an_unknown_model_names_one_that_looks_like_it(start: Start, client: Client) -> None:
    ai = client(start(desk(acme(models=["qwen3:8b"]))))

    with pytest.raises(anthropic.NotFoundError) as caught:
        ai.messages.create(model="desk/qwen3:9b", max_tokens=9, messages=HI)

    body: Any = caught.value.body
    assert body["error"]["code"] == "unknown_model"
    assert body["error"]["hint"] == "did you mean desk/qwen3:8b?"


def test_an_overloaded_server_is_asked_again(start: Start, client: Client) -> None:
    seen: list[ChatRequest] = []

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        if len(seen) == 1:
            raise BackendBusyError("loading", retry_after_s=0.0)
        for event in HELLO:
            yield event

    ai = client(start(desk(acme(reply, seen=seen))), max_retries=1)

    answer = ai.messages.create(model="m", max_tokens=9, messages=HI)

    assert len(seen) == 2
    assert answer.stop_reason == "end_turn"


def test_either_header_carries_the_key(start: Start, client: Client) -> None:
    key = "a-key-of-sixteen-letters"
    access = Access(given_keys=(key_for_this_run(key, 1),))
    served = start(desk(acme()), access=access)

    for ai in (client(served, api_key=key), client(served, api_key=None, auth_token=key)):
        assert ai.messages.create(model="m", max_tokens=9, messages=HI).stop_reason == "end_turn"
    with pytest.raises(anthropic.AuthenticationError) as caught:
        client(served, api_key="another").messages.create(model="m", max_tokens=9, messages=HI)
    body: Any = caught.value.body
    assert body["error"]["type"] == "authentication_error"
