"""Mirrors modelbay/wire/think_tags.py."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelbay.models.events import ReasoningDelta, TextDelta
from modelbay.wire.think_tags import ThinkTagSplitter


def split(pieces: Iterable[str], *, inside: bool = False) -> tuple[str, str]:
    """All reasoning and all text; the pieces of each joined, and text never before reasoning."""
    splitter = ThinkTagSplitter(inside=inside)
    events = [event for piece in pieces for event in splitter.feed(piece)] + splitter.close()
    kinds = [type(event) for event in events]
    assert kinds == sorted(kinds, key=lambda kind: kind is TextDelta)
    return (
        "".join(event.text for event in events if isinstance(event, ReasoningDelta)),
        "".join(event.text for event in events if isinstance(event, TextDelta)),
    )


@pytest.mark.parametrize(
    ("text", "reasoning", "answer"),
    [
        ("hello", "", "hello"),
        ("<think>why</think>because", "why", "because"),
        ("<think>\nwhy\n</think>\n\nbecause", "why", "because"),
        ("\n <think>why</think>because", "why", "because"),
        ("<think></think>because", "", "because"),
        ("<think>\n\n</think>\n\nbecause", "", "because"),
        ("<think>a\n\nb</think>c\n\nd", "a\n\nb", "c\n\nd"),
        ("<think>never closed", "never closed", ""),
        ("<think>cut in the tag</thi", "cut in the tag</thi", ""),
        ("<think>a < b</thin></think>c", "a < b</thin>", "c"),
        ("  no tag, blanks kept", "", "  no tag, blanks kept"),
        ("the tag <think> is text</think> here", "", "the tag <think> is text</think> here"),
        ("<thinking>not this one", "", "<thinking>not this one"),
        ("<thi", "", "<thi"),
        ("<think>", "", ""),
        ("", "", ""),
        ("  ", "", "  "),
        ("<think>a</think>b<think>c</think>", "a", "b<think>c</think>"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_tag_at_the_head_splits_reasoning_from_the_answer(
    text: str, reasoning: str, answer: str, size: int
) -> None:
    pieces = [text[start : start + size] for start in range(0, len(text), size)]

    assert split(pieces) == (reasoning, answer)


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<", "/", "\n", " ", "a", "think>", "</thi"])),
    st.lists(st.integers(min_value=0)),
    st.booleans(),
)
@example(["<think>", "\n", "a", "\n", "</think>", "\n", "b"], [8, 9, 10], False)
def test_the_split_does_not_depend_on_where_the_text_is_cut(
    parts: list[str], places: list[int], inside: bool
) -> None:
    text = "".join(parts)
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]

    assert split(pieces, inside=inside) == split([text], inside=inside)


@given(st.text())
def test_a_text_without_a_tag_at_its_head_is_left_as_it_is(text: str) -> None:
    if text.lstrip().startswith("<think>"):
        return

    assert split(text) == ("", text)


def test_where_the_template_has_opened_the_tag_the_text_begins_as_reasoning() -> None:
    assert split("\nwhy\n</think>\n\nbecause", inside=True) == ("why", "because")


def test_reasoning_is_handed_on_as_it_comes() -> None:
    splitter = ThinkTagSplitter()

    assert [
        splitter.feed(piece) for piece in ("<think>one", " two\n", " three", "</think>four")
    ] == [
        [ReasoningDelta("one")],
        [ReasoningDelta(" two")],
        [ReasoningDelta("\n three")],
        [TextDelta("four")],
    ]


def test_tags_may_be_others() -> None:
    splitter = ThinkTagSplitter(open_tag="[[", close_tag="]]")

    assert splitter.feed("[[a]]b") == [ReasoningDelta("a"), TextDelta("b")]
