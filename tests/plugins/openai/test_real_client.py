"""The official Python client against the simulated server, so that the latter has a second judge.

It is a dependency of the tests: without it they fail, they are not skipped.
"""

import json
from collections.abc import AsyncIterator, Iterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from modelbay_openai.simulator import (
    PERSONALITIES,
    Knobs,
    OpenAISimulator,
    SimulatedModel,
    ToolCall,
)
from modelbay_openai.simulator.media import vector

pytestmark = pytest.mark.anyio

KEY = "sk-test"
HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
MODELS = [
    SimulatedModel("tiny", answer="Blue light scatters.", json_answer='{"city":"Oslo"}'),
    SimulatedModel("caller", answer="Sunny.", calls=[ToolCall("weather", '{"city": "Rome"}')]),
    SimulatedModel("acme/think:8b", answer="Yes.", thinking="Hm."),
    SimulatedModel("vectors", embeddings=True),
    SimulatedModel("painter", images=True),
]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture(params=list(PERSONALITIES))
def server(request: pytest.FixtureRequest) -> Iterator[OpenAISimulator]:
    """Every server the simulator knows to be."""
    with OpenAISimulator(MODELS, request.param, key=KEY) as sim:
        yield sim


@pytest.fixture
async def client(server: OpenAISimulator) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=server.address, api_key=KEY, max_retries=0) as made:
        yield made


async def test_models(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == [model.id for model in MODELS]
    assert (await client.models.retrieve("acme/think:8b")).id == "acme/think:8b"


async def test_chat(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="tiny", messages=HI)

    assert answer.choices[0].message.content == "Blue light scatters."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5


async def test_stream(client: openai.AsyncOpenAI) -> None:
    text, usage, reasons = "", [], []
    async for chunk in await client.chat.completions.create(
        model="tiny", messages=HI, stream=True, stream_options={"include_usage": True}
    ):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reasons.append(choice.finish_reason)
        usage.append(chunk.usage)

    assert text == "Blue light scatters."
    assert [reason for reason in reasons if reason] == ["stop"]
    assert usage[-1] is not None


async def test_stream_helper_puts_tool_calls_together(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(
        model="caller", messages=HI, tools=[WEATHER]
    ) as stream:
        answer = await stream.get_final_completion()

    (call,) = answer.choices[0].message.tool_calls or []
    assert (call.id, call.function.name) == ("call_0", "weather")
    assert json.loads(call.function.arguments) == {"city": "Rome"}
    assert answer.choices[0].finish_reason == "tool_calls"


async def test_a_tool_loop(client: openai.AsyncOpenAI) -> None:
    first = await client.chat.completions.create(model="caller", messages=HI, tools=[WEATHER])
    call = (first.choices[0].message.tool_calls or [])[0]
    history: list[ChatCompletionMessageParam] = [
        *HI,
        first.choices[0].message.model_dump(exclude_none=True),  # type: ignore[list-item]
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    second = await client.chat.completions.create(model="caller", messages=history, tools=[WEATHER])

    assert second.choices[0].message.content == "Sunny."


async def test_a_schema(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model="tiny",
        messages=HI,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "city", "schema": {"type": "object"}},
        },
    )

    assert json.loads(answer.choices[0].message.content or "") == {"city": "Oslo"}


async def test_json_mode(client: openai.AsyncOpenAI, server: OpenAISimulator) -> None:
    asked = client.chat.completions.create(
        model="tiny", messages=HI, response_format={"type": "json_object"}
    )
    if server.personality.json_object:
        assert json.loads((await asked).choices[0].message.content or "") == {"city": "Oslo"}
    else:
        with pytest.raises(openai.BadRequestError):
            await asked


async def test_embeddings_in_base64_as_the_client_asks_for_them(
    client: openai.AsyncOpenAI, server: OpenAISimulator
) -> None:
    answer = await client.embeddings.create(model="vectors", input=["one", "two"])

    assert answer.data[1].embedding == pytest.approx(vector("two", 16), abs=1e-6)
    sent = server.requests[-1].json()
    assert isinstance(sent, dict)
    assert sent["encoding_format"] == "base64"


async def test_images(client: openai.AsyncOpenAI) -> None:
    made = await client.images.generate(model="painter", prompt="a cat", n=2)

    assert [bool(image.b64_json) for image in made.data or []] == [True, True]


async def test_completions(client: openai.AsyncOpenAI) -> None:
    answer = await client.completions.create(model="tiny", prompt="Once", max_tokens=2)

    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (
        "Blue light"[:10],
        "length",
    )


async def test_a_wrong_key(server: OpenAISimulator) -> None:
    async with openai.AsyncOpenAI(
        base_url=server.address, api_key="sk-wrong", max_retries=0
    ) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="tiny", messages=HI)


@pytest.mark.parametrize(
    ("knobs", "kind"),
    [
        (Knobs(rate_limited_s=1), openai.RateLimitError),
        (Knobs(overloaded=True), openai.InternalServerError),
        (Knobs(balance_empty=True), openai.APIStatusError),
    ],
)
async def test_refusals(
    client: openai.AsyncOpenAI,
    server: OpenAISimulator,
    knobs: Knobs,
    kind: type[openai.APIStatusError],
) -> None:
    server.knobs = knobs
    with pytest.raises(kind):
        await client.chat.completions.create(model="tiny", messages=HI)


async def test_an_error_in_the_middle(client: openai.AsyncOpenAI, server: OpenAISimulator) -> None:
    server.knobs.fail_after = 2
    stream = await client.chat.completions.create(model="tiny", messages=HI, stream=True)
    with pytest.raises(openai.APIError):
        [chunk async for chunk in stream]
