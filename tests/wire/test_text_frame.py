"""Mirrors modelbay/wire/text_frame.py: what is read by the frame is what would be read without."""

import json
import tracemalloc
from collections.abc import Sequence
from unittest.mock import patch

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay.errors import ModelbayError
from modelbay.models.events import StreamEvent
from modelbay.wire import openai_chat
from modelbay.wire.openai_chat import ChatDecoder, Dialect
from modelbay.wire.openai_chunk import decode_chunk
from modelbay.wire.text_frame import TextFrame, framed_texts, text_frame


def frame(data: bytes) -> TextFrame | None:
    return text_frame(data, decode_chunk(data))


@pytest.mark.parametrize(
    ("before", "text", "after"),
    [
        (b'{"choices":[{"delta":{"content":', b'"x"', b"}}]}"),
        (b'{"choices": [{"delta": {"content" : ', rb'"a \"b\" \\"', b' }, "index": 0}]}'),
        (b'{"choices":[{"delta":{"content":', rb'"\ud83d\ude00"', b'}}],"usage":null}'),
        (
            b'{"id":"1","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":',
            b'"x"',
            b',"tool_calls":null},"finish_reason":null}],"error":null}',
        ),
        (
            rb'{"id":"\"content\":\"x\"","choices":[{"delta":{"content":',
            b'"x"',
            b"}}]}",
        ),
    ],
)
def test_a_frame_stands_around_the_text(before: bytes, text: bytes, after: bytes) -> None:
    assert frame(before + text + after) == (before, after)


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"choices":[]}',
        b'{"choices":[{"delta":{"content":""}}]}',
        b'{"choices":[{"delta":{"content":null}}]}',
        b'{"choices":[{"delta":{"content":"x"}},{"delta":{"content":"y"}}]}',
        b'{"choices":[{"index":1,"delta":{"content":"x"}}]}',
        b'{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}',
        b'{"choices":[{"delta":{"content":"x","reasoning":"y"}}]}',
        b'{"choices":[{"delta":{"content":"x","refusal":"y"}}]}',
        b'{"choices":[{"delta":{"content":"x","tool_calls":[{"index":0}]}}]}',
        b'{"choices":[{"delta":{"content":"x","function_call":{}}}]}',
        b'{"choices":[{"delta":{"content":"x"},"message":{"content":"y"}}]}',
        b'{"choices":[{"delta":{"content":"x"}}],"usage":{"prompt_tokens":1}}',
        b'{"choices":[{"delta":{"content":"x"}}],"timings":{"prompt_n":1}}',
        b'{"choices":[{"delta":{"content":"x"}}],"prompt_progress":{"total":1}}',
        # What is found first is not what is read.
        b'{"content":"x","choices":[{"delta":{"content":"x"}}]}',
        b'{"choices":[{"delta":{"content":"y","content":"x"}}]}',
        b'{"choices":[{"delta":{"cont\\u0065nt":"x"}}]}',
    ],
)
def test_a_chunk_that_says_more_or_cannot_be_framed_has_none(data: bytes) -> None:
    assert frame(data) is None


def told(chunks: Sequence[bytes], *, cuts: Sequence[int] = ()) -> tuple[object, ...]:
    """Everything a decoder says of these, in blocks that end after so many."""
    decoder = ChatDecoder(Dialect())
    events: list[StreamEvent] = []
    failure = None
    try:
        rest = list(chunks)
        for size in cuts:
            block, rest = rest[:size], rest[size:]
            events += decoder.events(block)
        events += decoder.events(rest)
        events += decoder.close()
    except ModelbayError as exc:
        failure = (type(exc), exc.message)
    return events, failure, decoder.partial, decoder.finished, decoder.done, decoder.failed


def told_without_frames(chunks: Sequence[bytes]) -> tuple[object, ...]:
    with patch.object(openai_chat, "text_frame", lambda data, chunk: None):
        return told(chunks)


TEXTS = st.one_of(st.text(max_size=4), st.sampled_from(["", '"', "\\", '","x":"', "}", "é", "😀"]))


def chunk(delta: object, **more: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}], **more}


CHUNKS = st.one_of(
    st.builds(lambda text: chunk({"content": text}, id="1", model="m"), TEXTS),
    st.builds(lambda text: chunk({"content": text}, id="2", model="n"), TEXTS),
    st.builds(lambda text: chunk({"content": text, "reasoning": "r"}), TEXTS),
    st.builds(lambda text: {"content": "x", **chunk({"content": text})}, TEXTS),
    st.builds(lambda text: chunk({"reasoning_content": text}), TEXTS),
    st.builds(lambda text: chunk({"content": [{"type": "text", "text": text}]}), TEXTS),
    st.builds(
        lambda n: chunk(
            {"content": "t"}, id="1", model="m", usage={"prompt_tokens": n, "completion_tokens": 1}
        ),
        st.integers(0, 9),
    ),
    st.just({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    st.just({"error": {"message": "no"}}),
    st.just({}),
)
ENCODINGS = st.sampled_from(
    [json.dumps, lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))]
)


@given(st.lists(CHUNKS, max_size=12), ENCODINGS, st.lists(st.integers(0, 4), max_size=6))
def test_frames_change_nothing_of_what_is_read(
    values: list[object], encode: "type[str]", cuts: list[int]
) -> None:
    chunks = [encode(value).encode("utf-8", "replace") for value in values]
    for end in ([], [b"[DONE]"], [b"[DONE]", *chunks]):
        assert told([*chunks, *end], cuts=cuts) == told_without_frames([*chunks, *end])


def test_of_many_alike_the_first_alone_is_decoded() -> None:
    data = [json.dumps(chunk({"content": f"piece {n}"}, id="1")).encode() for n in range(50)]
    decoded: list[bytes] = []

    def counting(chunk: bytes) -> object:
        decoded.append(chunk)
        return decode_chunk(chunk)

    with patch.object(openai_chat, "decode_chunk", counting):
        told(data)
    assert decoded == data[:1]


def test_where_every_chunk_has_another_frame_they_are_looked_for_seldom() -> None:
    data = [json.dumps(chunk({"content": "x"}, id=str(n))).encode() for n in range(100)]
    looked: list[bytes] = []

    def counting(data: bytes, chunk: object) -> None:
        looked.append(data)

    with patch.object(openai_chat, "text_frame", counting):
        told(data)
    assert len(looked) == 26


def test_half_a_pair_of_surrogates_is_read_or_refused_as_without_frames() -> None:
    data = [rb'{"choices":[{"delta":{"content":"\ud83d"}}]}'] * 3
    assert told(data) == told_without_frames(data)


def test_a_frame_is_found_in_a_text_of_any_length_without_much_memory() -> None:
    text = msgspec.json.encode('"\\' * 200_000)
    before, after = b'{"choices":[{"delta":{"content":', b"}}]}"
    data = before + text + after
    chunk = decode_chunk(data)

    tracemalloc.start()
    found = text_frame(data, chunk)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found == (before, after)
    assert most < 8 * len(data)


def test_what_cannot_be_read_at_once_is_not_looked_through_again_and_again() -> None:
    """Each of these begins and ends like the one before, and every second says more."""
    before, after = b'{"choices":[{"delta":{"content":', b"}}]}"
    pieces = [b'"a"', b'"b","role":"assistant"'] * 500
    data = [before + piece + after for piece in pieces]
    looked = 0

    def counting(frame: TextFrame, chunks: Sequence[bytes], begin: int, end: int) -> list[str]:
        nonlocal looked
        looked += end - begin
        return framed_texts(frame, chunks, begin, end)

    with patch.object(openai_chat, "framed_texts", counting):
        assert told(data) == told_without_frames(data)
    assert looked < 2 * len(data)


@pytest.mark.parametrize(
    "pieces",
    [
        [b'"a"', b'"b","c"', b'"d"'],  # two texts for one
        [b'"a', b'b"'],
        [b'"a"\n"b"', b"", b'"c"'],
        [b'"a"', b" ", b'"c"'],
        [b'"a"', b"null"],
        [b'"a"', b'"\xff"'],
    ],
)
def test_texts_that_are_none_are_not_read_beside_others(pieces: list[bytes]) -> None:
    before, after = b'{"choices":[{"delta":{"content":', b"}}]}"
    data = [before + piece + after for piece in (b'"first"', *pieces)]
    assert told(data) == told_without_frames(data)
    assert told(data[1:]) == told_without_frames(data[1:])
