"""LiteLLM, asked everything once."""

import asyncio
import sys
from typing import Any

import litellm  # type: ignore[import-not-found] # not in the tests' own environment
from pydantic import BaseModel

from gateway.clients.programs.asking import raised, tell

BASE = f"{sys.argv[1]}/v1"
HI = [{"role": "user", "content": "hi"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
OPTIONS: dict[str, Any] = {"api_base": BASE, "api_key": "sk-no-key", "max_retries": 0}

litellm.suppress_debug_info = True  # it prints advice of its own beside what we tell


class Forecast(BaseModel):
    """The weather to come."""

    city: str
    degrees: int


def ask(name: str = "lab/org/tiny:q4", **options: Any) -> Any:
    values = {"messages": HI, **OPTIONS, **options}
    return litellm.completion(model=f"openai/{name}", **values)


def told(answer: Any) -> object:
    [choice] = answer.choices
    return {
        "model": answer.model,
        "content": choice.message.content,
        "reasoning": getattr(choice.message, "reasoning_content", None),
        "finish": choice.finish_reason,
        "total": answer.usage.total_tokens,
    }


def listed() -> object:
    return litellm.get_valid_models(
        check_provider_endpoint=True,
        custom_llm_provider="openai",
        api_key="sk-no-key",
        api_base=sys.argv[1],
    )


def stream() -> object:
    chunks = list(ask(stream=True, stream_options={"include_usage": True}))
    said = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    whole = litellm.stream_chunk_builder(chunks, messages=HI)
    return {"pieces": [piece for piece in said if piece], "whole": told(whole)}


def stream_asynchronously() -> object:
    async def pieces() -> list[str]:
        answer = await litellm.acompletion(
            model="openai/lab/org/tiny:q4", messages=HI, stream=True, **OPTIONS
        )
        said = [chunk.choices[0].delta.content async for chunk in answer if chunk.choices]
        return [piece for piece in said if piece]

    return asyncio.run(pieces())


def loop(*, streamed: bool) -> object:
    answer = ask("lab/caller", tools=[WEATHER], stream=streamed)
    if streamed:
        answer = litellm.stream_chunk_builder(list(answer), messages=HI)
    [choice] = answer.choices
    calls = choice.message.tool_calls
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls]
    second = ask(
        "lab/caller",
        messages=[*HI, choice.message.model_dump(), *results],
        tools=[WEATHER],
    )
    asked = [[call.function.name, call.function.arguments] for call in calls]
    return [choice.finish_reason, asked, second.choices[0].message.content]


def structured() -> object:
    answer = ask("lab/forecaster", response_format=Forecast)
    return Forecast.model_validate_json(answer.choices[0].message.content).model_dump()


def completion() -> object:
    answer = litellm.text_completion(
        model="text-completion-openai/lab/org/tiny:q4", prompt="once", max_tokens=4, **OPTIONS
    )
    return [answer.object, answer.choices[0].finish_reason, bool(answer.choices[0].text)]


def embeddings() -> object:
    answer = litellm.embedding(
        model="openai/lab/text-embedding-3-small", input=["a", "b"], **OPTIONS
    )
    return [each["embedding"] for each in answer.data]


def image() -> object:
    answer = litellm.image_generation(model="openai/busy/paint", prompt="a cat", **OPTIONS)
    return [each.b64_json[:11] for each in answer.data]


def broken_stream() -> object:
    said = []
    try:
        for chunk in ask("lab/breaks", stream=True):
            if chunk.choices and chunk.choices[0].delta.content:
                said.append(chunk.choices[0].delta.content)
    except Exception as error:
        return {"said": said, **raised(error)}
    return said


tell(
    {
        "list": listed,
        "chat": lambda: told(ask()),
        "stream": stream,
        "stream_asynchronously": stream_asynchronously,
        "loop": lambda: loop(streamed=False),
        "streamed_loop": lambda: loop(streamed=True),
        "structured": structured,
        "completion": completion,
        "embeddings": embeddings,
        "image": image,
        "unknown": lambda: told(ask("lab/nobody")),
        "too_long": lambda: told(ask(messages=[{"role": "user", "content": "hi" * 500}])),
        "broken": lambda: told(ask("lab/breaks")),
        "broken_stream": broken_stream,
        "limited": lambda: told(ask("busy/limited", max_retries=1)),
    }
)
