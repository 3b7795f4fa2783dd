"""Messages of the native API to ours. Pure.

Media travel as bare base64 in ``images``, sound too; what they are is known by their first bytes.
Results of tools may name their tool alone: other servers want the id of the call.
"""

import base64
import binascii

import msgspec

from modelbay.models.chat import AudioPart, ContentPart, ImagePart, Message, Role, TextPart
from modelbay.models.events import ToolCall
from modelbay.models.media import image_format
from modelbay_gateway.fields import Fields, made, wrong
from modelbay_gateway.refusal import Refused

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_HEAD = 16  # bytes that tell what a file is


def decode_messages(fields: Fields, ignored: list[str]) -> list[Message]:
    """The messages of a request; there may be none.

    Args:
        ignored: Gets the paths of what was passed over.

    Raises:
        Refused: One is malformed; the field is named.
    """
    found: list[Message] = []
    waiting: list[ToolCall] = []  # calls whose results have not come yet
    count = 0
    for each in fields.objects("messages"):
        role = _role(each)
        calls: list[ToolCall] = []
        if role == "assistant":
            for call in each.objects("tool_calls"):
                calls.append(_call(call, len(calls), count))
                count += 1
            waiting = list(calls)
        tool_call_id = None
        if role == "tool":
            tool_call_id = _claimed(each, waiting)
        else:
            each.any("tool_call_id")
            each.any("tool_name")
        text = each.text("content") or ""
        found.append(
            made(
                Message,
                role=role,
                content=content_of(text, each),
                tool_calls=calls,
                tool_call_id=tool_call_id,
                reasoning=each.text("thinking") or None,
            )
        )
        ignored += each.unread()
    return found


def content_of(text: str, fields: Fields) -> str | list[ContentPart]:
    """A text and the ``images`` beside it, which come first as they do at the model."""
    parts: list[ContentPart] = []
    for index, data in enumerate(fields.texts("images") or ()):
        parts.append(_media(data, f"{fields.where('images')}[{index}]"))
    if not parts:
        return text
    return [*parts, TextPart(text=text)] if text else parts


def _role(fields: Fields) -> Role:
    role = fields.needed_text("role").lower()
    if role not in _ROLES:
        raise Refused(
            "invalid_field",
            f"'{fields.where('role')}' is none of the roles",
            field=fields.where("role"),
            hint=f"one of {', '.join(_ROLES)}",
        )
    return _ROLES[role]


def _media(data: str, where: str) -> ImagePart | AudioPart:
    data = data.replace("\r", "").replace("\n", "")  # the server's own decoder skips line ends
    try:
        head = base64.b64decode(data[: _HEAD * 4 // 3 // 4 * 4 + 4], validate=True)
    except (binascii.Error, ValueError):
        raise Refused(
            "invalid_field",
            f"'{where}' is not base64",
            field=where,
            hint="send the bytes of the file as base64, without data: before them",
        ) from None
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return AudioPart(data=data, format="wav")
    if head.startswith(b"ID3") or head[:2] in (b"\xff\xfb", b"\xff\xf3", b"\xff\xf2"):
        return AudioPart(data=data, format="mp3")
    return ImagePart(data=data, media_type=f"image/{image_format(head) or 'png'}")


def _call(fields: Fields, index: int, number: int) -> ToolCall:
    """A call of an earlier turn.

    Args:
        number: Of the call in the conversation; makes an id where there is none.
    """
    function = fields.object("function")
    if function is None:
        raise fields.missing("function")
    arguments = function.any("arguments")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        raise wrong(function.where("arguments"), "an object", arguments)
    return ToolCall(
        id=fields.text("id") or f"call_{number}",
        name=function.needed_text("name"),
        arguments=msgspec.json.encode(arguments).decode(),
        index=index,
    )


def _claimed(fields: Fields, waiting: list[ToolCall]) -> str:
    """The id of the call this is the result of: the one named, else the first of that tool."""
    id, name = fields.text("tool_call_id"), fields.text("tool_name")
    call = next((each for each in waiting if each.id == id), None)
    if call is None and id is None:
        same = (each for each in waiting if each.name == name)
        call = next(same, waiting[0] if waiting and name is None else None)
    if call is not None:
        waiting.remove(call)
        return call.id
    return id or f"call_of_{name or 'tool'}"
