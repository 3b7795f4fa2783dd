"""Mirrors modelbay/wire/lines.py."""

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelbay.errors import ProtocolError
from modelbay.wire.lines import LINE_LIMIT, LineDecoder

if TYPE_CHECKING:
    from typing_extensions import Buffer


def cut(data: bytes, places: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    for start, end in pairwise(edges):
        yield data[start:end]


def read(chunks: Iterator[bytes]) -> tuple[list[bytes], bytes]:
    lines = LineDecoder()
    return [line for chunk in chunks for line in lines.feed(chunk)], lines.close()


@given(
    st.lists(st.sampled_from([b"\n", b"\r\n", b"a", "\u2028".encode(), "\x85".encode(), b"{}"])),
    st.lists(st.integers(min_value=0)),
)
@example([b"a", b"\n"], [0, 0, 1])
def test_lines_do_not_depend_on_where_chunks_split(pieces: list[bytes], places: list[int]) -> None:
    data = b"".join(pieces)

    *lines, rest = data.split(b"\n")

    assert read(cut(data, places)) == (lines, rest)


def test_only_lf_ends_a_line() -> None:
    text = "one\u2028two\u0085three\vfour\rfive\x1csix\n"

    assert LineDecoder().feed(text.encode()) == [text.encode()[:-1]]


def test_nothing_is_left_after_closing() -> None:
    lines = LineDecoder()
    lines.feed(b"one")

    assert (lines.close(), lines.close(), lines.feed(b"two\n")) == (b"one", b"", [b"two"])


@pytest.mark.parametrize(
    "chunks",
    [[b"12345", b"6"], [b"123456"], [b"123456\n"], [b"a\n12", b"3456\n"], [b"12345", b"6\nb"]],
)
def test_a_line_longer_than_the_limit_is_refused_wherever_it_is_cut(chunks: list[bytes]) -> None:
    lines = LineDecoder(limit=5)

    with pytest.raises(ProtocolError, match="a line of more than 5 bytes") as caught:  # noqa: PT012
        for chunk in chunks:
            lines.feed(chunk)

    assert caught.value.stage == "decode"


def test_a_line_of_exactly_the_limit_is_accepted_and_many_short_ones_are() -> None:
    lines = LineDecoder(limit=5)

    assert lines.feed(b"12345\n12345\n123") + lines.feed(b"45\n") == [b"12345"] * 3


def test_an_inlined_image_of_ten_megabytes_is_below_the_limit() -> None:
    assert LINE_LIMIT > 10_000_000


def test_a_long_line_is_joined_once_however_many_chunks_it_comes_in() -> None:
    class Counted(bytes):
        copied = 0

        def __radd__(self, other: "Buffer") -> bytes:
            Counted.copied += 1
            return bytes(other) + bytes(self)

        def __add__(self, other: "Buffer") -> bytes:
            Counted.copied += 1
            return bytes(self) + bytes(other)

    lines = LineDecoder()
    chunk = Counted(b"x" * 1024)
    for _ in range(10_000):
        assert lines.feed(chunk) == []
    [line] = lines.feed(b"\n")

    assert (len(line), Counted.copied) == (10_240_000, 0)
