"""Core requests as Anthropic's clients write them: the way back, for what must come back whole."""

import json
from collections.abc import Sequence
from typing import Any

from modelbay.models.chat import (
    AudioPart,
    ChatRequest,
    ContentPart,
    FilePart,
    ImagePart,
    JsonSchema,
    Message,
    NamedTool,
    TextPart,
)
from modelbay_gateway.anthropic.blocks import FAILED, OPAQUE, SIGNATURE

Json = dict[str, Any]


def request_of(request: ChatRequest) -> Json:
    """The body of a request that says the same; texts alone are blocks."""
    first = request.messages[0] if request.messages else None
    has_system = first is not None and first.role == "system"
    body: Json = {
        "model": request.model,
        "messages": messages_of(request.messages[has_system:]),
        "stream": request.stream,
    }
    if has_system and first is not None:
        body["system"] = blocks_of(first)
    for name, value in (
        ("max_tokens", request.max_tokens),
        ("temperature", request.temperature),
        ("top_p", request.top_p),
        ("top_k", request.top_k),
        ("stop_sequences", list(request.stop) or None),
    ):
        if value is not None:
            body[name] = value
    if request.tools:
        body["tools"] = [
            {
                "name": tool.name,
                "input_schema": tool.parameters,
                **({"description": tool.description} if tool.description else {}),
                **({"strict": tool.strict} if tool.strict is not None else {}),
            }
            for tool in request.tools
        ]
    if request.tool_choice is not None:
        one_call = request.extra.get("parallel_tool_calls") is False
        body["tool_choice"] = {
            **_choice_of(request.tool_choice),
            **({"disable_parallel_tool_use": True} if one_call else {}),
        }
    config: Json = {}
    if request.reasoning_effort == "none":
        body["thinking"] = {"type": "disabled"}
    else:
        body["thinking"] = {"type": "adaptive"}
        if request.reasoning_effort is not None:
            config["effort"] = request.reasoning_effort
    if isinstance(request.response_format, JsonSchema):
        config["format"] = {"type": "json_schema", "schema": request.response_format.schema_}
    if config:
        body["output_config"] = config
    return body


def _choice_of(choice: str | NamedTool) -> Json:
    if isinstance(choice, NamedTool):
        return {"type": "tool", "name": choice.name}
    return {"type": {"required": "any"}.get(choice, choice)}


def messages_of(messages: Sequence[Message]) -> list[Json]:
    """Results of tools and what the user says after them are one message."""
    found: list[Json] = []
    for message in messages:
        blocks = [_result_of(message)] if message.role == "tool" else blocks_of(message)
        if message.role in ("tool", "user") and found and _is_results(found[-1]):
            found[-1]["content"] += blocks
        else:
            role = "user" if message.role == "tool" else message.role
            found.append({"role": role, "content": blocks})
    return found


def _is_results(message: Json) -> bool:
    return message["role"] == "user" and all(
        block["type"] == "tool_result" for block in message["content"]
    )


def _result_of(message: Message) -> Json:
    block: Json = {"type": "tool_result", "tool_use_id": message.tool_call_id}
    content = blocks_of(message)
    if message.opaque.get(OPAQUE, {}).get("is_error"):
        block["is_error"] = True
        text = content[0]["text"].removeprefix(FAILED)
        content = [{"type": "text", "text": text}, *content[1:]] if text else content[1:]
    if content:
        block["content"] = content
    return block


def blocks_of(message: Message) -> list[Json]:
    if isinstance(message.content, str):
        said = [{"type": "text", "text": message.content}] if message.content else []
    else:
        said = [_block_of(part) for part in message.content]
    if message.role != "assistant":
        return said
    calls: list[Json] = [
        {
            "type": "tool_use",
            "id": call.id,
            "name": call.name,
            "input": json.loads(call.arguments),
        }
        for call in message.tool_calls
    ]
    frame = message.opaque.get(OPAQUE, {}).get("content")
    if frame is None:
        thought = {"type": "thinking", "thinking": message.reasoning, "signature": SIGNATURE}
        return [*([thought] if message.reasoning else []), *said, *calls]
    texts, uses = iter(said), iter(calls)
    assert isinstance(frame, list)
    whole: list[Json] = []
    for block in frame:
        assert isinstance(block, dict)
        match block["type"]:
            case "text":
                whole.append(next(texts))
            case "tool_use":
                whole.append(next(uses))
            case _:
                whole.append(block)
    return whole


def _block_of(part: ContentPart) -> Json:
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case ImagePart(data=None):
            return {"type": "image", "source": {"type": "url", "url": part.url}}
        case ImagePart() | FilePart():
            source = {"type": "base64", "media_type": part.media_type, "data": part.data}
            if isinstance(part, ImagePart):
                return {"type": "image", "source": source}
            title = {} if part.name is None else {"title": part.name}
            return {"type": "document", "source": source, **title}
        case AudioPart():
            raise AssertionError("this protocol has no sound")
