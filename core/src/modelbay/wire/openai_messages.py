"""Messages of a request as OpenAI-style servers read them."""

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import JsonValue

from modelbay.errors import UnsupportedFeatureError
from modelbay.models.chat import (
    AudioPart,
    ContentPart,
    FilePart,
    ImagePart,
    Message,
    TextPart,
)
from modelbay.models.frozen import JsonObject

if TYPE_CHECKING:
    from modelbay.wire.openai_chat import Dialect


def encode_message(message: Message, dialect: "Dialect") -> JsonObject:
    """One message as this server reads it.

    Raises:
        UnsupportedFeatureError: A part cannot be sent.
    """
    role = message.role
    if role == "developer" and not dialect.developer_role:
        role = "system"
    encoded: JsonObject = {"role": role, "content": _content(message.content, dialect)}
    if message.tool_calls:
        encoded["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        encoded["tool_call_id"] = message.tool_call_id
    if message.name is not None:
        encoded["name"] = message.name
    if message.reasoning and dialect.reasoning_history:
        encoded[dialect.reasoning_history] = message.reasoning
    return encoded


def _content(content: str | Sequence[ContentPart], dialect: "Dialect") -> str | list[JsonValue]:
    if isinstance(content, str):
        return content
    if len(content) == 1 and not dialect.refusals:
        only = content[0]
        if isinstance(only, TextPart) and only.refusal:
            return only.text  # many chat templates know strings alone
    return [_part(part, dialect) for part in content]


def _part(part: ContentPart, dialect: "Dialect") -> JsonObject:
    match part:
        case TextPart():
            if part.refusal and dialect.refusals:
                return {"type": "refusal", "refusal": part.text}
            return {"type": "text", "text": part.text}
        case ImagePart():
            image: JsonObject = {"url": _image_url(part, dialect)}
            if part.detail is not None:
                image["detail"] = part.detail
            return {"type": "image_url", "image_url": image}
        case AudioPart():
            _check_base64(part.data, "audio")
            return {
                "type": "input_audio",
                "input_audio": {"data": part.data, "format": part.format},
            }
        case FilePart():
            raise UnsupportedFeatureError(
                "this server takes no files in messages",
                hint="put the file's text into the message",
                stage="encode",
            )


def _image_url(part: ImagePart, dialect: "Dialect") -> str:
    if part.data is not None:
        _check_base64(part.data, "image")
        return f"data:{part.media_type};base64,{part.data}"
    url = part.url or ""
    if url.startswith("data:"):
        return url
    if url.startswith(("http://", "https://")) and dialect.image_urls:
        return url
    raise UnsupportedFeatureError(
        "an image must be sent inline here; an address would make the server fetch it",
        hint="read the image and pass ImagePart(data=<base64>, media_type=...)",
        stage="encode",
    )


def _check_base64(data: str, what: str) -> None:
    try:
        base64.b64decode(data, validate=True)
    except ValueError as exc:
        raise UnsupportedFeatureError(
            f"the {what} is not base64", hint="encode the file's bytes as base64", stage="encode"
        ) from exc
