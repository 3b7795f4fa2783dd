"""The official OpenAI client against the simulated server, so that the latter has a second judge.

It is a dependency of the tests: without it they fail, they are not skipped.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from modelbay_deepseek.simulator import DeepSeekSimulator, Knobs

pytestmark = pytest.mark.anyio

FLASH = "deepseek-flash"
HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
TEXT, THOUGHT = "This is a pretended answer.", "Let me think about that."
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "examples": ["Oslo"]}},
        },
    },
}


@pytest.fixture(params=["", "/v1"])
async def client(
    request: pytest.FixtureRequest, server: DeepSeekSimulator
) -> AsyncIterator[openai.AsyncOpenAI]:
    """Both forms of the address that people give it."""
    async with opened(f"{server.base_url}{request.param}") as client:
        yield client


def opened(base_url: str, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=base_url,
        api_key=options.pop("api_key", "sk-test"),
        max_retries=0,
        http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
        **options,
    )


def reasoning(message: object) -> str:
    return str(getattr(message, "reasoning_content", None) or "")


async def test_models(client: openai.AsyncOpenAI) -> None:
    listed = [model.id async for model in client.models.list()]

    assert listed == [FLASH, "deepseek-v4-pro"]
    assert (await client.models.retrieve(FLASH)).owned_by == "deepseek"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("deepseek-v4-flash")


async def test_chat(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model=FLASH, messages=HI)

    [choice] = answer.choices
    assert (choice.message.content, reasoning(choice.message)) == (TEXT, THOUGHT)
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is not None
    assert answer.usage.completion_tokens_details.reasoning_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_chat_without_thinking(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model=FLASH, messages=HI, extra_body={"thinking": {"type": "disabled"}}
    )

    assert reasoning(answer.choices[0].message) == ""
    assert answer.usage is not None
    assert answer.usage.completion_tokens_details is None


async def chunks(stream: AsyncIterator[ChatCompletionChunk]) -> list[ChatCompletionChunk]:
    return [chunk async for chunk in stream]


async def test_stream(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model=FLASH, messages=HI, stream=True, stream_options={"include_usage": True}
    )
    seen = await chunks(stream)

    deltas = [chunk.choices[0].delta for chunk in seen]
    assert "".join(delta.content or "" for delta in deltas) == TEXT
    assert "".join(reasoning(delta) for delta in deltas) == THOUGHT
    assert [chunk.choices[0].finish_reason for chunk in seen if chunk.usage] == ["stop"]
    assert len({(chunk.id, chunk.created, chunk.system_fingerprint) for chunk in seen}) == 1


async def test_a_tool_loop(client: openai.AsyncOpenAI, server: DeepSeekSimulator) -> None:
    messages = [*HI]
    first = await client.chat.completions.create(model=FLASH, messages=messages, tools=[TOOL])
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls is not None
    [call] = message.tool_calls
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == (
        "get_weather",
        {"city": "Oslo"},
    )

    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    whole: Any = message.model_dump(exclude_none=True)
    last = await client.chat.completions.create(
        model=FLASH, messages=[*messages, whole, result], tools=[TOOL]
    )
    assert last.choices[0].message.content == "The tool said: sunny"

    without = {name: value for name, value in whole.items() if name != "reasoning_content"}
    lacking: Any = [*messages, without, result]
    with pytest.raises(openai.BadRequestError, match="must be passed back"):
        await client.chat.completions.create(model=FLASH, messages=lacking, tools=[TOOL])


async def test_a_streamed_tool_call(client: openai.AsyncOpenAI, server: DeepSeekSimulator) -> None:
    server.knobs = Knobs(parallel=2)
    stream = await client.chat.completions.create(
        model=FLASH, messages=HI, tools=[TOOL], stream=True
    )
    arguments = {0: "", 1: ""}
    names = []
    async for chunk in stream:
        for call in chunk.choices[0].delta.tool_calls or ():
            assert call.function is not None
            arguments[call.index] += call.function.arguments or ""
            names += [call.function.name] if call.function.name else []

    assert names == ["get_weather", "get_weather"]
    assert [json.loads(text) for text in arguments.values()] == [{"city": "Oslo"}] * 2


async def test_json_mode(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model=FLASH,
        messages=[{"role": "user", "content": "As JSON!"}],
        response_format={"type": "json_object"},
    )
    assert json.loads(answer.choices[0].message.content or "") == {"answer": TEXT}

    with pytest.raises(openai.BadRequestError, match="must contain the word 'json'"):
        await client.chat.completions.create(
            model=FLASH, messages=HI, response_format={"type": "json_object"}
        )


async def test_fill_in_the_middle_is_at_the_beta_address(server: DeepSeekSimulator) -> None:
    async with opened(f"{server.base_url}/beta") as client:
        answer = await client.completions.create(model=FLASH, prompt="def f(", suffix="return 1")
        stream = await client.completions.create(model=FLASH, prompt="x", stream=True)
        streamed = "".join([chunk.choices[0].text async for chunk in stream])
    async with opened(server.base_url) as client:
        with pytest.raises(openai.NotFoundError):
            await client.completions.create(model=FLASH, prompt="def f(")

    assert (answer.choices[0].text, streamed) == (TEXT, TEXT)
    assert answer.object == "text_completion"


@pytest.mark.parametrize("stream", [True, False])
async def test_keep_alives_of_a_queue_do_not_disturb(
    client: openai.AsyncOpenAI, server: DeepSeekSimulator, stream: bool
) -> None:
    server.knobs = Knobs(queue_ms=500, tick_s=0)
    if stream:
        seen = await chunks(
            await client.chat.completions.create(model=FLASH, messages=HI, stream=True)
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in seen)
    else:
        answer = await client.chat.completions.create(model=FLASH, messages=HI)
        text = answer.choices[0].message.content or ""

    assert text == TEXT


@pytest.mark.parametrize(
    ("scenario", "wanted"),
    [
        ("status=402", openai.APIStatusError),
        ("status=429", openai.RateLimitError),
        ("status=500", openai.InternalServerError),
        ("status=503, bare_text", openai.InternalServerError),
        ("html_502", openai.InternalServerError),
    ],
)
async def test_a_header_chooses_what_goes_wrong(
    server: DeepSeekSimulator, scenario: str, wanted: type[Exception]
) -> None:
    async with opened(server.base_url, default_headers={"x-sim-scenario": scenario}) as client:
        with pytest.raises(wanted):
            await client.chat.completions.create(model=FLASH, messages=HI)


async def test_a_wrong_key(server: DeepSeekSimulator) -> None:
    async with opened(server.base_url, api_key="sk-wrong-abcd") as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await client.models.list()

    assert caught.value.body == {
        "message": "Authentication Fails, Your api key: ****abcd is invalid",
        "type": "authentication_error",
        "param": None,
        "code": "invalid_request_error",
    }
