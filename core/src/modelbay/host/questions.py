"""The tiny requests that `modelbay.host.measuring` asks a model. Pure."""

import base64
import struct
import zlib

from modelbay.models.chat import ChatRequest, ImagePart, JsonMode, JsonSchema, Tool, user
from modelbay.models.frozen import JsonObject

ANSWER_TOKENS = 512  # room for a model that thinks before it answers
NUMBER = 4619  # nothing in a prompt leads to it but the request to say it
NOTE = Tool(
    name="note_number",
    description="Write a number down.",
    parameters={
        "type": "object",
        "properties": {"number": {"type": "integer"}},
        "required": ["number"],
    },
)
METER = Tool(
    name="read_meter",
    description="Gives what the meter shows at this moment.",
    parameters={
        "type": "object",
        "properties": {"meter": {"type": "string"}},
        "required": ["meter"],
    },
)
COLOURS = {
    "red": b"\xff\x00\x00",
    "blue": b"\x00\x00\xff",
    "green": b"\x00\x80\x00",
    "yellow": b"\xff\xff\x00",
}
PICTURES = (("red", "blue"), ("yellow", "green"))  # what is left and right in each
_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"zq7": {"type": "integer", "enum": [NUMBER]}},
    "required": ["zq7"],
    "additionalProperties": False,
}


def _png(left: str, right: str) -> str:
    """A picture of 64 x 64 in two colours."""
    row = b"\x00" + COLOURS[left] * 32 + COLOURS[right] * 32

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    content = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(row * 64))
        + chunk(b"IEND", b"")
    )
    return base64.b64encode(content).decode()


def question(text: str, *parts: ImagePart, **fields: object) -> ChatRequest:
    """A request that wants a short answer, and the same one each time."""
    return ChatRequest.model_validate(
        {
            "messages": [user(text, *parts)],
            "max_tokens": ANSWER_TOKENS,
            "temperature": 0,
            **fields,
        }
    )


def sight(left: str, right: str) -> ChatRequest:
    """What two colours a picture has."""
    return question(
        "Which two colours does this picture have, left and right? Answer with two of these words:"
        f" {', '.join(COLOURS)}.",
        ImagePart(data=_png(left, right), media_type="image/png"),
    )


A_CALL = question(
    f"Write down the number {NUMBER} with the tool.", tools=[NOTE], tool_choice="required"
)
ONLY_A_TOOL_KNOWS = question(
    "What does the meter in the kitchen show now? Nobody knows but the tool: call it.",
    tools=[METER],
    tool_choice="auto",
)
AN_OBJECT = question("Answer with a JSON object that has one key.", response_format=JsonMode())
BY_SCHEMA = question("Answer.", response_format=JsonSchema(schema=_SCHEMA, name="answer"))
