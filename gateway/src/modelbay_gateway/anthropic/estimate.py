"""How many tokens a request may have, before anybody has counted. Pure.

No hook asks a backend for a count, and tokenizers differ by model: this is a rule of thumb, and is
called one wherever it is told.
"""

import msgspec

from modelbay.models.chat import ChatRequest, ContentPart, FilePart, Message, TextPart

BYTES_PER_TOKEN = 4  # of UTF-8; prose and code in English come near it, and other scripts too
_MESSAGE = 4  # what chat templates put round a message, and round a tool
_IMAGE = 1000  # an image of usual size; models that see count from some hundreds to some thousands


def tokens_of(size_bytes: int) -> int:
    return -(-size_bytes // BYTES_PER_TOKEN)


def estimate(request: ChatRequest) -> int:
    """Tokens of the prompt: text by its bytes, a flat number for every image. At least one."""
    count = sum(map(_message, request.messages))
    for tool in request.tools:
        schema = len(msgspec.json.encode(tool.parameters))
        count += _MESSAGE + tokens_of(_size(tool.name) + _size(tool.description) + schema)
    return max(count, 1)


def _message(message: Message) -> int:
    count = _MESSAGE
    if isinstance(message.content, str):
        count += tokens_of(_size(message.content))
    else:
        count += sum(map(_part, message.content))
    for call in message.tool_calls:
        count += _MESSAGE + tokens_of(_size(call.name) + _size(call.arguments))
    return count


def _part(part: ContentPart) -> int:
    match part:
        case TextPart():
            return tokens_of(_size(part.text))
        case FilePart():
            return tokens_of(len(part.data) * 3 // 4)
        case _:
            return _IMAGE


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
