"""Tokens and prompts of the children.

The tokenizer is the one of the tiny models the recordings were made with: one token for each
character (each byte beyond ASCII), one for each tag of the template, a BOS in front.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

_BOS = 1
_TAGS = (
    "<s>",
    "</s>",
    "<|im_start|>",
    "<|im_end|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
)
_TAG = re.compile("|".join(map(re.escape, _TAGS)))
_TAG_IDS = {tag: 1 + at for at, tag in enumerate(_TAGS)}
_FIRST_BYTE = 5  # byte b has the id b + 5
_FIRST_CHAR = 261
_ALPHABET = (
    " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,"
    "!?:;'\"()[]{}<>/\\|-_=+*&^%$#@~\n"
)
_CHAR_IDS = {char: _FIRST_CHAR + at for at, char in enumerate(_ALPHABET)}


def tokenize(text: str, *, bos: bool = True) -> list[int]:
    """Token ids of a text."""
    ids = [_BOS] if bos else []
    for part in _split_tags(text):
        if part in _TAG_IDS:
            ids.append(_TAG_IDS[part])
            continue
        for char in part:
            known = _CHAR_IDS.get(char)
            ids += [known] if known else [byte + _FIRST_BYTE for byte in char.encode()]
    return ids


def _split_tags(text: str) -> Iterator[str]:
    at = 0
    for tag in _TAG.finditer(text):
        if tag.start() > at:
            yield text[at : tag.start()]
        yield tag.group()
        at = tag.end()
    if at < len(text):
        yield text[at:]


def pieces(text: str, size: int) -> list[str]:
    """What a model says, token by token: `size` characters each, a rest of one joined on."""
    cut = [text[at : at + size] for at in range(0, len(text), size)]
    if len(cut) > 1 and len(cut[-1]) == 1 and size > 1:
        cut[-2:] = [cut[-2] + cut[-1]]
    return cut


def render(messages: Sequence[Mapping[str, object]], tools: Sequence[object] = ()) -> str:
    """The prompt of a chat, in the template of the tiny models."""
    turns = [f"<|im_start|>system\n{tools}<|im_end|>\n"] if tools else []
    for message in messages:
        turns.append(f"<|im_start|>{message.get('role')}\n{content_text(message)}<|im_end|>\n")
    return "".join([*turns, "<|im_start|>assistant\n"])


def content_text(message: Mapping[str, object]) -> str:
    """The text of a message's content, whatever its form."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
