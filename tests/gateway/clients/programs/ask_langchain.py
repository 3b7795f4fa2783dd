"""LangChain's clients for OpenAI, asked everything once."""

import asyncio
import sys
from typing import Any

from langchain_core.messages import (  # type: ignore[import-not-found] # in no other environment
    AIMessage,
    BaseMessage,
    HumanMessage,
    ToolMessage,
)
from langchain_openai import (  # type: ignore[import-not-found] # the same
    ChatOpenAI,
    OpenAIEmbeddings,
)

from gateway.clients.programs.asking import raised, tell

BASE = f"{sys.argv[1]}/v1"
WEATHER = {
    "title": "weather",
    "description": "The weather in a city.",
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
FORECAST = {
    "title": "forecast",
    "description": "The weather to come.",
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}


def model(name: str = "lab/org/tiny:q4", **options: Any) -> Any:
    values = {"base_url": BASE, "api_key": "sk-no-key", "max_retries": 0, **options}
    return ChatOpenAI(model=name, **values)


def chat() -> object:
    answer = model().invoke("hi")
    told = answer.response_metadata
    return {
        "content": answer.content,
        "model": told["model_name"],
        "finish": told["finish_reason"],
        "total": answer.usage_metadata["total_tokens"],
    }


def stream() -> object:
    chunks = list(model(stream_usage=True).stream("hi"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return {
        "pieces": [chunk.content for chunk in chunks if chunk.content],
        "content": whole.content,
        "finish": whole.response_metadata["finish_reason"],
        "total": whole.usage_metadata["total_tokens"],
    }


def stream_asynchronously() -> object:
    async def pieces() -> list[str]:
        return [chunk.content async for chunk in model().astream("hi") if chunk.content]

    return asyncio.run(pieces())


def loop(*, streamed: bool) -> object:
    caller = model("lab/caller").bind_tools([WEATHER])
    messages: list[BaseMessage] = [HumanMessage("Rome?")]
    if streamed:
        first, *more = caller.stream(messages)
        for chunk in more:
            first += chunk
        calls = first.tool_calls
        messages.append(AIMessage(first.content, tool_calls=calls))
    else:
        first = caller.invoke(messages)
        calls = first.tool_calls
        messages.append(first)
    messages += [ToolMessage("sunny", tool_call_id=call["id"]) for call in calls]
    asked = [{name: call[name] for name in ("name", "args", "type")} for call in calls]
    return [asked, caller.invoke(messages).content]


def rounds() -> object:
    """Tools, until the model has called enough."""
    thinker = model("deepseek/deepseek-flash").bind_tools([WEATHER])
    messages: list[BaseMessage] = [HumanMessage("Rome?")]
    while True:
        answer = thinker.invoke(messages)
        if not answer.tool_calls:
            return [len(messages), answer.content]
        messages.append(answer)
        messages += [ToolMessage("sunny", tool_call_id=call["id"]) for call in answer.tool_calls]


def structured(name: str, method: str, schema: object) -> object:
    found: object = model(name).with_structured_output(schema, method=method).invoke("hi")
    return found


def embeddings() -> object:
    vectors = OpenAIEmbeddings(
        model="text-embedding-3-small",
        base_url=BASE,
        api_key="sk-no-key",
        check_embedding_ctx_length=False,
    )
    return [vectors.embed_query("a"), vectors.embed_documents(["a", "b"])]


def broken_stream() -> object:
    said = []
    try:
        for chunk in model("lab/breaks").stream("hi"):
            if chunk.content:
                said.append(chunk.content)
    except Exception as error:
        return {"said": said, **raised(error)}
    return said


tell(
    {
        "chat": chat,
        "stream": stream,
        "stream_asynchronously": stream_asynchronously,
        "loop": lambda: loop(streamed=False),
        "streamed_loop": lambda: loop(streamed=True),
        "rounds": rounds,
        "json_schema": lambda: structured("lab/forecaster", "json_schema", FORECAST),
        "json_mode": lambda: structured("lab/forecaster", "json_mode", FORECAST),
        "function_calling": lambda: structured("lab/caller", "function_calling", WEATHER),
        "embeddings": embeddings,
        "unknown": lambda: model("lab/nobody").invoke("hi"),
        "too_long": lambda: model().invoke("hi" * 500),
        "broken": lambda: model("lab/breaks").invoke("hi"),
        "broken_stream": broken_stream,
        "limited": lambda: model("busy/limited", max_retries=1).invoke("hi"),
    }
)
