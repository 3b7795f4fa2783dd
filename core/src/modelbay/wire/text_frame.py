"""What stands around the text of a chunk: while a model writes, only the text in it changes.

Of such a chunk everything has been said with the one before it, so that of the next ones the text
alone is read.
"""

import re
from collections.abc import Sequence

import msgspec

from modelbay.wire.openai_chunk import Chunk, Delta, decode_chunk

TextFrame = tuple[bytes, bytes]  # up to the text's opening quote, and from its closing quote on

# Nothing is tried a second time: of a text of megabytes each way back would be remembered.
_CONTENT = re.compile(rb'"content"\s*+:\s*+("[^"\\]*+(?:\\.[^"\\]*+)*+")', re.DOTALL)

_texts = msgspec.json.Decoder(str)


def text_frame(data: bytes, chunk: Chunk) -> TextFrame | None:
    """The frame of a chunk that says a piece of text and nothing else; ``None`` for all others.

    Args:
        data: A chunk that could be read, and reports no error.
        chunk: What was read.
    """
    delta = _text_alone(chunk)
    found = None if delta is None else _CONTENT.search(data)
    if delta is None or found is None:
        return None
    before, after = data[: found.start(1)], data[found.end(1) :]
    # It may be another field of that name that was found: with another text between the two, the
    # chunk has to be the same but for its text.
    text = delta.content
    try:
        probe = decode_chunk(before + msgspec.json.encode(f"{text}.") + after)
    except (msgspec.DecodeError, UnicodeError):
        return None
    probed = _text_alone(probe)
    if probed is None or probed.content != f"{text}.":
        return None
    probed.content = text
    return (before, after) if probe == chunk else None


def framed_texts(frame: TextFrame, chunks: Sequence[bytes], begin: int, end: int) -> list[str]:
    """The texts of the chunks in this frame, of these up to the first that is not in it.

    All are read at once, each on a line of its own; if one of them says something else, only the
    first is read, and none if that one does.
    """
    before, after = frame
    opening, closing = len(before), -len(after)
    pieces: list[bytes] = []
    for position in range(begin, end):
        data = chunks[position]
        if not (data.startswith(before) and data.endswith(after)):
            break
        pieces.append(data[opening:closing])
    try:
        if len(pieces) > 1:
            lines = b"\n".join(pieces)
            texts = _texts.decode_lines(lines)
            if len(texts) == len(pieces) == lines.count(b"\n") + 1:
                return texts
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return [_texts.decode(pieces[0])] if pieces else []
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []


def _text_alone(chunk: Chunk) -> Delta | None:
    """The part of a chunk that holds its text, where it says nothing else."""
    beside = chunk.usage, chunk.timings, chunk.prompt_progress
    if not chunk.choices or len(chunk.choices) > 1 or beside != (None, None, None):
        return None
    choice = chunk.choices[0]
    delta = choice.delta
    if delta is None or choice.index or choice.message is not None or choice.finish_reason:
        return None
    more = delta.reasoning_content or delta.reasoning or delta.tool_calls or delta.refusal
    if more or delta.function_call is not None or not delta.content:
        return None
    return delta
