"""Mirrors modelbay_llamacpp/prefill.py: a repeated prefix comes off, wherever it was cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay.models.chat import ChatRequest, ImagePart, Message, TextPart, user
from modelbay.models.events import ToolCall
from modelbay_llamacpp.prefill import PrefillStripper, prefill_of


def strip(prefix: str, pieces: list[str]) -> str:
    stripper = PrefillStripper(prefix)
    text = "".join(stripper.feed(piece) for piece in pieces)
    return text + (stripper.close() if stripper.pending else "")


def cut(text: str, places: list[int]) -> list[str]:
    ends = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[a:b] for a, b in itertools.pairwise(ends)]


@given(st.text(max_size=8), st.text(max_size=12), st.lists(st.integers(0, 100), max_size=6))
def test_the_prefix_goes_and_the_rest_stays_however_it_is_cut(
    prefix: str, rest: str, places: list[int]
) -> None:
    assert strip(prefix, cut(prefix + rest, places)) == rest


@given(st.text(min_size=1, max_size=8), st.text(max_size=12), st.lists(st.integers(0, 100)))
def test_a_text_that_does_not_repeat_the_prefix_stays_whole(
    prefix: str, text: str, places: list[int]
) -> None:
    if not text.startswith(prefix):
        assert strip(prefix, cut(text, places)) == text


@pytest.mark.parametrize(
    ("messages", "extra", "expected"),
    [
        ([user("hi"), Message(role="assistant", content="So: ")], {}, "So: "),
        (
            [Message(role="assistant", content=[TextPart(text="a"), TextPart(text="b")])],
            {},
            "ab",
        ),
        ([user("hi")], {}, ""),
        ([], {}, ""),
        ([Message(role="assistant", content=[ImagePart(data="AA==")])], {}, ""),
        (
            [Message(role="assistant", content="x", tool_calls=[ToolCall("1", "f", "{}")])],
            {},
            "",
        ),
        (
            [Message(role="assistant", content="So: ")],
            {"continue_final_message": True, "add_generation_prompt": False},
            "",
        ),
    ],
)
def test_only_a_last_text_of_the_assistant_is_repeated(
    messages: list[Message], extra: dict[str, bool], expected: str
) -> None:
    assert prefill_of(ChatRequest(messages=messages, extra=dict(extra))) == expected
