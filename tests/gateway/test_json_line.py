"""Mirrors modelbay_gateway/json_line.py, and what encoders make of several pieces with it."""

import gc
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay.models.events import ReasoningDelta, StreamEvent, TextDelta
from modelbay_gateway.answer import Encoder
from modelbay_gateway.anthropic.encode import MessageEncoder
from modelbay_gateway.json_line import framed, to_json
from modelbay_gateway.ollama.encode import LineEncoder
from modelbay_gateway.openai.completions import CompletionEncoder
from modelbay_gateway.openai.encode import ChatEncoder
from modelbay_gateway.style import ReasoningField

PIECES = st.lists(st.text(st.characters(), min_size=1, max_size=5), max_size=5)  # also half pairs


def chat(reasoning_field: ReasoningField) -> ChatEncoder:
    return ChatEncoder(
        id="1", model="m", created=7, include_usage=True, reasoning_field=reasoning_field
    )


ENCODERS: dict[str, Callable[[], Encoder]] = {
    "chat": lambda: chat("reasoning_content"),
    "chat, thoughts in tags": lambda: chat("think_tags"),
    "completion": lambda: CompletionEncoder(id="1", model="m", created=7, include_usage=False),
    "ollama": lambda: LineEncoder(
        model="m", form="chat", clock=lambda: 1.0, wall_clock=lambda: 1.7e9
    ),
    "anthropic": lambda: MessageEncoder(id="1", model="m", input_tokens=1, thinks=True),
}


def test_lines_end_where_theirs_end_and_nowhere_else() -> None:
    data = to_json("a\u2028b\u2029c\u0085d\ne")

    assert data == b'"a\\u2028b\\u2029c\\u0085d\\ne"'
    assert json.loads(data) == "a\u2028b\u2029c\u0085d\ne"
    assert to_json({"a": ["\ud800"]}) == b'{"a":["?"]}'


@given(PIECES.filter(bool))
def test_framed_pieces_are_the_same_as_each_in_its_frame(pieces: list[str]) -> None:
    assert framed(b"<", pieces, b">") == b"".join(b"<" + to_json(each) + b">" for each in pieces)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoding_leaves_no_iterator_behind(name: str) -> None:
    """Of tuples msgspec 0.22 loses one with each call, for as long as the program runs."""

    def iterators() -> int:
        return sum(type(each) is type(iter(())) for each in gc.get_objects())

    encoder = ENCODERS[name]()
    gc.collect()
    before = iterators()
    for _ in range(100):
        encoder.encode(TextDelta("one"))
        encoder.encode_texts(["two", "three"])
    assert iterators() < before + 50


@pytest.mark.parametrize("name", ENCODERS)
@given(pieces=PIECES, has_thought=st.booleans())
def test_pieces_encoded_together_are_those_encoded_one_by_one(
    name: str, pieces: list[str], has_thought: bool
) -> None:
    together, alone = ENCODERS[name](), ENCODERS[name]()
    thought: list[StreamEvent] = [ReasoningDelta("hm")] if has_thought else []
    for event in [*thought, TextDelta("first"), *thought]:
        assert together.encode(event) == alone.encode(event)

    found = together.encode_texts(pieces) if pieces else b""

    assert found == b"".join(alone.encode(TextDelta(piece)) for piece in pieces)
    assert together.encode(TextDelta("last")) == alone.encode(TextDelta("last"))
