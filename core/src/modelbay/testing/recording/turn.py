"""The chat request behind a recorded one, as far as it can be told from the wire."""

import json
from collections.abc import Mapping

from pydantic import JsonValue

from modelbay.models.chat import ChatRequest, ContentPart, ImagePart, Message, TextPart, Tool
from modelbay.models.events import ToolCall
from modelbay.models.frozen import JsonObject
from modelbay.testing.recording.form import RecordedExchange

_ROLES = ("system", "developer", "user", "assistant", "tool")
_REASONING = ("reasoning_content", "reasoning", "thinking")


class UntellableError(Exception):
    """It cannot be told what was asked; the message says why."""


def body_of(exchange: RecordedExchange) -> JsonObject | None:
    """The body of a chat request; ``None`` if it is none."""
    body = exchange.request.body.value
    if exchange.request.method != "POST" or not isinstance(body, dict):
        return None
    is_chat = isinstance(body.get("messages"), list) and isinstance(body.get("model"), str)
    return body if is_chat else None


def asked(exchange: RecordedExchange, extra: JsonObject) -> ChatRequest:
    """The messages, tools and model of a chat request.

    Args:
        extra: What else of the body a host would not send by itself.

    Raises:
        UntellableError: It holds something that is written in no known way.
    """
    body = body_of(exchange)
    if body is None:
        raise UntellableError("it is no chat request")
    try:
        return ChatRequest(
            model=f"{exchange.provider_id}/{body['model']}",
            messages=[_message(each) for each in _objects(body.get("messages"))],
            tools=[_tool(each) for each in _objects(body.get("tools"))],
            stream=body.get("stream") is not False,
            extra=extra,
        )
    except (KeyError, ValueError) as exc:
        raise UntellableError(f"what was asked is written in no known way ({exc!r})") from exc


def _message(wire: Mapping[str, JsonValue]) -> Message:
    role = wire.get("role")
    if role not in _ROLES:
        raise UntellableError("a message has no known role")
    parts = _parts(wire.get("content"))
    parts += [ImagePart(data=str(data)) for data in _list(wire.get("images"))]
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    reasoning = next((wire[name] for name in _REASONING if wire.get(name)), None)
    return Message(
        role=role,  # type: ignore[arg-type]
        content="".join(texts) if len(texts) == len(parts) else parts,
        tool_calls=[_call(each, at) for at, each in enumerate(_objects(wire.get("tool_calls")))],
        tool_call_id=_text(wire.get("tool_call_id")),
        name=_text(wire.get("name") or wire.get("tool_name")),
        reasoning=_text(reasoning),
    )


def _parts(content: JsonValue) -> list[ContentPart]:
    if content is None:
        return []
    if isinstance(content, str):
        return [TextPart(text=content)]
    return [_part(each) for each in _objects(content)]


def _part(wire: Mapping[str, JsonValue]) -> ContentPart:
    match wire:
        case {"type": "text", "text": str(text)}:
            return TextPart(text=text)
        case {"type": "image_url", "image_url": {"url": str(url)}}:
            head, comma, data = url.partition(",")
            if url.startswith("data:") and comma and head.endswith(";base64"):
                return ImagePart(data=data, media_type=head[len("data:") : -len(";base64")])
            return ImagePart(url=url)
        case _:
            raise UntellableError("a message holds a part of no known type")


def _call(wire: Mapping[str, JsonValue], at: int) -> ToolCall:
    match wire.get("function"):
        case {"name": str(name), "arguments": arguments}:
            text = arguments if isinstance(arguments, str) else json.dumps(arguments)
            return ToolCall(str(wire.get("id") or f"call_{at}"), name, text, at)
        case _:
            raise UntellableError("a message holds a tool call of no known form")


def _tool(wire: Mapping[str, JsonValue]) -> Tool:
    function = wire.get("function")
    if not isinstance(function, dict):
        raise UntellableError("a tool is no function")
    return Tool.model_validate(function)


def _objects(value: JsonValue) -> list[dict[str, JsonValue]]:
    found = [each for each in _list(value) if isinstance(each, dict)]
    if len(found) != len(_list(value)):
        raise UntellableError("a list holds something else than objects")
    return found


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _text(value: JsonValue) -> str | None:
    return value if isinstance(value, str) else None
