"""Mirrors modelbay/wire/sse.py."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelbay.errors import ProtocolError
from modelbay.wire.sse import SSEDecoder

# As servers send it: a comment first, CRLF in places, raw U+2028 and U+0085, an event of two lines.
RECORDED = (
    b": ping\n\n"
    b'data: {"a":"one\xe2\x80\xa8two\xc2\x85three"}\n\n'
    b"event: message\r\nid: 7\r\nretry: 10\r\ndata: crlf\r\n\r\n"
    b"data:no space\n\n"
    b"data:  two spaces\n\n"
    b"data: first\ndata: second\r\n\n"
    b"data\n\n"
    b"data:\n\n"
    b":\n\n\n\n"
    b"data: [DONE]\n\n"
)
EVENTS = [
    '{"a":"one\u2028two\u0085three"}'.encode(),
    b"crlf",
    b"no space",
    b" two spaces",
    b"first\nsecond",
    b"",
    b"",
    b"[DONE]",
]


def read(data: bytes, places: list[int]) -> tuple[list[bytes], bytes]:
    sse = SSEDecoder()
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    events = [event for start, end in pairwise(edges) for event in sse.feed(data[start:end])]
    return events + sse.close(), sse.stray


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, len(RECORDED)])
def test_events_do_not_depend_on_the_size_of_chunks(size: int) -> None:
    assert read(RECORDED, list(range(0, len(RECORDED), size))) == (EVENTS, b"")


@given(
    st.lists(
        st.sampled_from(
            [b"data: a", b"data:b", b"event: e", b": c", b"x: y", b"\n", b"\r\n", "é".encode()]
        )
    ).map(b"".join),
    st.lists(st.integers(min_value=0)),
)
@example(b"data: a\r\n\r\n", [8, 10])
@example(b"data: a\r\n\ndata: b\n\n", [3])
@example(b"data: a\n\n\ndata: b\n\n", [9])
def test_events_do_not_depend_on_where_chunks_split(data: bytes, places: list[int]) -> None:
    assert read(data, places) == read(data, [])


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_the_last_event_needs_no_blank_line(end: bytes) -> None:
    assert read(b"data: one\n\ndata: [DONE]" + end, []) == ([b"one", b"[DONE]"], b"")


def test_an_event_may_have_very_many_lines() -> None:
    sse = SSEDecoder()

    assert [sse.feed(b"data: y\n" * 8192) for _ in range(40)] == [[]] * 40
    assert sse.feed(b"\n") == [b"\n".join([b"y"] * 40 * 8192)]


@pytest.mark.parametrize(("lines", "fits"), [(3, True), (4, False)])
def test_the_limit_is_for_all_lines_of_an_event_and_what_joins_them(lines: int, fits: bool) -> None:
    sse = SSEDecoder(limit=11)
    data = b"data: one\n" * lines

    if fits:
        assert sse.feed(data + b"\n") == [b"one\none\none"]
    else:
        with pytest.raises(ProtocolError, match="an event of more than 11 bytes"):
            sse.feed(data + b"\n")


def test_an_event_waits_for_its_blank_line() -> None:
    sse = SSEDecoder()

    assert (sse.feed(b"data: one\n"), sse.feed(b"\n")) == ([], [b"one"])


def test_fields_without_data_make_no_event() -> None:
    assert read(b"event: ping\nid: 1\n\n: comment\n\nretry: 5\n\n", []) == ([], b"")


def test_lines_that_are_no_sse_are_kept_apart() -> None:
    body = b'{"error": "no model"}\ndata: one\n\n<html>\r\nupstream: gone\n'

    assert read(body, []) == ([b"one"], b'{"error": "no model"}\n<html>\nupstream: gone\n')


def test_of_stray_lines_sixty_four_kilobytes_are_kept() -> None:
    _, stray = read(b"x" * 1000 + b"\n" + b"y" * 100_000 + b"\n", [])

    assert stray == b"x" * 1000 + b"\n" + b"y" * (65_536 - 1001)


def test_an_endless_line_is_refused() -> None:
    sse = SSEDecoder(limit=100)

    with pytest.raises(ProtocolError, match="a line of more than 100"):  # noqa: PT012
        for _ in range(20):
            sse.feed(b"data: xxxx")


def test_the_limit_holds_for_a_whole_event_in_one_chunk_too() -> None:
    with pytest.raises(ProtocolError, match="a line of more than 100 bytes"):
        SSEDecoder(limit=100).feed(b"data: " + b"x" * 200 + b"\n\n")


def test_an_event_that_never_ends_is_refused_too() -> None:
    sse = SSEDecoder(limit=100)

    with pytest.raises(ProtocolError):  # noqa: PT012
        for _ in range(1000):
            sse.feed(b"data: xxxx\n")
