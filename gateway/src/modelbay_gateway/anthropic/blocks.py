"""Content blocks to messages. Pure.

One message of theirs may be several of ours: results of tools are messages of their own, before
whatever the user says beside them. What our fields have no place for (signatures, thinking that is
not shown, the order of unusual answers, failed tools) stays in `Message.opaque`.
"""

from collections.abc import Sequence

import msgspec

from modelbay.models.chat import ContentPart, FilePart, ImagePart, Message, TextPart
from modelbay.models.events import ToolCall
from modelbay.models.frozen import JsonObject
from modelbay_gateway.fields import Fields, made, unsupported, wrong
from modelbay_gateway.refusal import Refused

OPAQUE = "anthropic"  # our key in `Message.opaque`
# Goes with thoughts of models that sign none. Programs keep a signed thought and send it back.
SIGNATURE = "bW9kZWxiYXk="
# No other protocol can say that a tool failed, so the model has to read it.
FAILED = "Error: "

_RESULT = ("text", "image", "document", "search_result")  # what a tool may give, and a user say
_ORDER = ("thinking", "text", "tool_use")


def decode_messages(fields: Fields, ignored: list[str]) -> list[Message]:
    """The messages of a request.

    Args:
        ignored: Gets the paths of what was passed over.

    Raises:
        Refused: One is malformed, or holds what no provider can be given; the field is named.
    """
    found: list[Message] = []
    count = 0
    for each in fields.objects("messages"):
        count += 1
        role = each.needed_text("role")
        match role:
            case "user":
                found += _user(each, ignored)
            case "assistant":
                found.append(_assistant(each, ignored))
            case "system":
                parts, _ = _parts(each, ignored, ("text",))
                found.append(Message(role="system", content=plain(parts)))
            case _:
                raise Refused(
                    "invalid_field",
                    f"'{each.where('role')}' is neither user nor assistant",
                    field=each.where("role"),
                )
        ignored += each.unread()
    if not count:
        raise fields.missing("messages")
    return found


def text_block(block: Fields, ignored: list[str]) -> str:
    text = block.needed_text("text")
    ignored += block.unread()
    return text


def plain(parts: Sequence[ContentPart]) -> str | list[ContentPart]:
    """One text as a string: the two mean the same, and many chat templates know strings alone."""
    if not parts:
        return ""
    only = parts[0]
    return only.text if len(parts) == 1 and isinstance(only, TextPart) else list(parts)


# --- the user's -----------------------------------------------------------------------------------


def _user(fields: Fields, ignored: list[str]) -> list[Message]:
    parts, results = _parts(fields, ignored, (*_RESULT, "tool_result"))
    if results and not parts:
        return results
    return [*results, Message(role="user", content=plain(parts))]


def _parts(
    fields: Fields, ignored: list[str], kinds: Sequence[str]
) -> tuple[list[ContentPart], list[Message]]:
    """The parts of a message, and the results of tools among them."""
    raw = fields.any("content")
    where = fields.where("content")
    if raw is None:
        raise fields.missing("content")
    if isinstance(raw, str):
        return [TextPart(text=raw)], []
    if not isinstance(raw, list):
        raise wrong(where, "a string or a list of blocks", raw)
    parts: list[ContentPart] = []
    results: list[Message] = []
    for index, value in enumerate(raw):
        block = Fields(value, f"{where}[{index}]")
        kind = block.needed_text("type")
        if kind not in kinds:
            raise _unknown(block, kind)
        if kind == "tool_result":
            results.append(_result(block, ignored))
        else:
            parts += _block(block, kind, ignored)
    return parts, results


def _block(block: Fields, kind: str, ignored: list[str]) -> list[ContentPart]:
    match kind:
        case "text":
            return [TextPart(text=text_block(block, ignored))]
        case "image":
            return [_image(block, ignored)]
        case "document":
            return _document(block, ignored)
        case _:
            return [_search_result(block, ignored)]


def _image(block: Fields, ignored: list[str]) -> ImagePart:
    source = _source(block)
    kind = source.needed_text("type")
    match kind:
        case "base64":
            data = source.needed_text("data")
            media_type = source.text("media_type") or "image/png"
            found = made(ImagePart, data=data, media_type=media_type)
        case "url":
            found = made(ImagePart, url=source.needed_text("url"))
        case _:
            raise unsupported(
                source.where("type"), "files are not kept here", "send the image as base64"
            )
    ignored += source.unread() + block.unread()
    return found


def _document(block: Fields, ignored: list[str]) -> list[ContentPart]:
    source = _source(block)
    title = block.text("title")
    found: list[ContentPart]
    match source.needed_text("type"):
        case "base64":
            found = [
                FilePart(
                    data=source.needed_text("data"),
                    media_type=source.text("media_type") or "application/pdf",
                    name=title,
                )
            ]
        case "text":
            source.text("media_type")
            text = source.needed_text("data")
            found = [TextPart(text=f"{title}\n\n{text}" if title else text)]
        case "content":
            found = [TextPart(text=title)] if title else []
            found += _parts(source, ignored, ("text", "image"))[0]
        case _:
            raise unsupported(
                source.where("type"), "nothing is fetched here", "send the document as base64"
            )
    ignored += source.unread() + block.unread()
    return found


def _search_result(block: Fields, ignored: list[str]) -> TextPart:
    title, source = block.needed_text("title"), block.needed_text("source")
    parts, _ = _parts(block, ignored, ("text",))
    ignored += block.unread()
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    return TextPart(text="\n\n".join((f"{title} ({source})", *texts)))


def _source(block: Fields) -> Fields:
    source = block.object("source")
    if source is None:
        raise block.missing("source")
    return source


def _result(block: Fields, ignored: list[str]) -> Message:
    """What a tool gave, or how it failed."""
    tool_call_id = block.needed_text("tool_use_id")
    has_failed = block.flag("is_error") or False
    parts: list[ContentPart] = []
    if block.has("content"):
        parts, _ = _parts(block, ignored, _RESULT)
    ignored += block.unread()
    if has_failed:
        parts = _marked(parts)
    return Message(
        role="tool",
        tool_call_id=tool_call_id,
        content=plain(parts),
        opaque={OPAQUE: {"is_error": True}} if has_failed else {},
    )


def _marked(parts: list[ContentPart]) -> list[ContentPart]:
    first = parts[0] if parts else None
    if isinstance(first, TextPart):
        return [TextPart(text=FAILED + first.text), *parts[1:]]
    return [TextPart(text=FAILED), *parts]


# --- the assistant's ------------------------------------------------------------------------------


def _assistant(fields: Fields, ignored: list[str]) -> Message:
    raw = fields.any("content")
    where = fields.where("content")
    if raw is None:
        raise fields.missing("content")
    if isinstance(raw, str):
        return Message(role="assistant", content=raw)
    if not isinstance(raw, list):
        raise wrong(where, "a string or a list of blocks", raw)
    texts: list[ContentPart] = []
    calls: list[ToolCall] = []
    thoughts: list[str] = []
    frame: list[JsonObject] = []  # the blocks in their order; thoughts whole, others by type
    for index, value in enumerate(raw):
        block = Fields(value, f"{where}[{index}]")
        kind = block.needed_text("type")
        match kind:
            case "text":
                texts.append(TextPart(text=text_block(block, ignored)))
                frame.append({"type": "text"})
            case "tool_use":
                calls.append(_call(block, len(calls), ignored))
                frame.append({"type": "tool_use"})
            case "thinking":
                thought = block.needed_text("thinking")
                thoughts.append(thought)
                signature = block.text("signature") or ""
                frame.append({"type": "thinking", "thinking": thought, "signature": signature})
                ignored += block.unread()
            case "redacted_thinking":
                frame.append({"type": "redacted_thinking", "data": block.needed_text("data")})
                ignored += block.unread()
            case _:
                raise _unknown(block, kind)
    return Message(
        role="assistant",
        content=plain(texts),
        tool_calls=calls,
        reasoning="\n\n".join(thoughts) or None,
        opaque={} if _is_usual(frame) else {OPAQUE: {"content": [*frame]}},
    )


def _is_usual(frame: list[JsonObject]) -> bool:
    """One thought of ours at most, then texts, then calls: the fields alone say the same."""
    kinds = [str(block["type"]) for block in frame]
    thoughts = [block for block in frame if block["type"] == "thinking"]
    return (
        "redacted_thinking" not in kinds
        and len(thoughts) <= 1
        and all(each["thinking"] and each["signature"] in ("", SIGNATURE) for each in thoughts)
        and kinds == sorted(kinds, key=_ORDER.index)
    )


def _call(block: Fields, index: int, ignored: list[str]) -> ToolCall:
    call = ToolCall(
        id=block.needed_text("id"),
        name=block.needed_text("name"),
        arguments=msgspec.json.encode(block.json("input") or {}).decode(),
        index=index,
    )
    ignored += block.unread()
    return call


def _unknown(block: Fields, kind: str) -> Refused:
    where = block.where("type")
    return unsupported(where, f"blocks of type '{kind[:40]}' cannot be given to a model here")
