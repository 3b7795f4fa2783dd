"""Mirrors modelbay_llamaswap/loading_text.py: what llama-swap types while a model loads."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay.models.events import Status
from modelbay.wire.sse import SSEDecoder
from modelbay_llamaswap.loading_text import LoadingText
from plugins.llamaswap.serving import LOADED, LOADING, chunk, loading
from recorded_exchanges import transcripts

BARS = "━━━━━"
RECORDED = {
    f"{transcript.name} {number}": recorded.answer.body
    for transcript in transcripts("llamaswap")
    for number, recorded in enumerate(transcript.exchanges)
    if recorded.answer is not None
    and recorded.answer.is_stream
    and "reasoning_content" in recorded.answer.body
}


def frames(body: str | bytes) -> list[bytes]:
    data = body.encode() if isinstance(body, str) else body
    return SSEDecoder().feed(data + b"\n\n")


def told(body: str | bytes) -> tuple[list[tuple[str, str | None]], list[bytes]]:
    """The statuses of a stream, and the frames that are the model's own."""
    reader = LoadingText()
    shown: list[tuple[str, str | None]] = []
    own: list[bytes] = []
    for data in frames(body):
        read = reader.read(data)
        if read is None:
            own.append(data)
        else:
            shown += [(status.state, status.message) for status in read]
    return shown, own


@pytest.mark.parametrize("name", RECORDED)
def test_no_frame_of_a_recorded_loading_text_is_taken_for_the_model_s_own(name: str) -> None:
    _, own = told(RECORDED[name])

    assert [data for data in own if b'"id"' not in data and data != b"[DONE]"] == []


def test_there_are_recordings() -> None:
    assert {name.split()[0] for name in RECORDED} >= {
        "loading/30-cold-then-answer",
        "loading/32-child-fails",
        "loading/34-queued",
    }


def test_a_place_in_the_queue_is_told_as_one() -> None:
    shown, _ = told(RECORDED["loading/34-queued 0"])

    assert shown == [
        ("loading", "llama-swap loading model: tiny"),
        ("queued", "Queue position: #1"),
    ]


def test_bars_blanks_and_done_are_no_news() -> None:
    """ "Done!" is typed also when the load has failed."""
    shown, own = told(LOADING + LOADED)

    assert (shown, own) == ([("loading", "llama-swap loading model: tiny")], [])


def test_a_line_that_goes_on_with_dots_is_told_once() -> None:
    shown, _ = told(
        loading(BARS, "\n", "Train", "ing h", "ard", " ", ".", ".", "\n", "Other", "\n")
    )

    assert shown == [("loading", "Training hard"), ("loading", "Other")]


def test_whole_lines_as_older_servers_send_them_are_read_too() -> None:
    shown, own = told(loading("━━━━━\n", "llama-swap loading model: x\n", "Done! (1.00s)\n"))

    assert (shown, own) == ([("loading", "llama-swap loading model: x")], [])


@pytest.mark.parametrize("end", ["", "\n"])
def test_the_failure_an_older_server_types_is_kept(end: str) -> None:
    reader = LoadingText()
    for data in frames(loading(f"{BARS}\n", f"Unable to swap model err: exit 1{end}")):
        assert reader.read(data) == []

    assert reader.failure == "exit 1"


def test_after_the_first_frame_of_the_model_s_own_nothing_is_taken_away() -> None:
    """A small server may leave `id` and `object` out of its reasoning."""
    reader = LoadingText()
    own = [data for body in (chunk({"content": "a"}), loading("thought")) for data in frames(body)]

    assert [reader.read(data) for data in own] == [None, None]


@pytest.mark.parametrize("first", ["thought", "\n", "━━", "━━━━━━", " ━━━━━", ""])
def test_bare_reasoning_that_no_bars_open_is_the_model_s_own(first: str) -> None:
    """Some servers leave `id` and `object` out of every frame."""
    own = frames(loading(first, "Let me ", "think.\n", "━━━━━", "\n"))

    assert told(loading(first, "Let me ", "think.\n", "━━━━━", "\n")) == ([], own)


@pytest.mark.parametrize("opening", [(BARS, "\n"), (f"{BARS}\n",)])
@pytest.mark.parametrize(
    "closing",
    [
        ("\n", "Done!", " (0.3", "4s)", "\n", BARS, "\n", " ", "\n"),
        ("\nDone! (0.34s)\n", f"{BARS}\n", " \n"),
        ("\n", "Done!", " (0.3", "4s)", "\n", BARS),  # the rest was cut off
        ("\n", "Done!", " (0.3", "4s)"),
    ],
)
@pytest.mark.parametrize("thought", [("Let me ", "think.\n"), ("Done! (1.00s)", "\n"), ("", "a")])
def test_bare_reasoning_after_the_closing_lines_is_the_model_s_own(
    opening: tuple[str, ...], closing: tuple[str, ...], thought: tuple[str, ...]
) -> None:
    text = loading(*opening, "llama-swap loading model: x", "\n", *closing)
    shown, own = told(text + loading(*thought))

    assert shown == [("loading", "llama-swap loading model: x")]
    assert own == frames(loading(*thought))[-len(own) :]
    assert len(own) == sum(bool(piece) for piece in thought)


def test_a_failure_that_is_typed_after_the_closing_lines_is_kept() -> None:
    """Two of the server's tasks write into one stream."""
    reader = LoadingText()
    end = loading(f"{BARS}\n", "Done! (1.00s)\n", f"{BARS}\n", " \n")
    failed = loading("Unable to swap model err: exit 1\n")
    assert [reader.read(data) for data in frames(end + failed)] == [[]] * 5

    assert reader.failure == "exit 1"


@pytest.mark.parametrize(
    "frame",
    [
        {"choices": [{"delta": {"reasoning_content": "x"}, "index": 0}]},
        {"choices": [{"delta": {"reasoning_content": "x", "content": ""}}]},
        {"choices": [{"delta": {"reasoning_content": "x"}, "finish_reason": None}]},
        {"choices": [{"delta": {"reasoning_content": "x"}}], "id": "1"},
        {"choices": [{"delta": {"reasoning_content": "x"}}], "object": "chat.completion.chunk"},
        {"choices": [{"delta": {"reasoning_content": None}}]},
        {"choices": [{"delta": {"reasoning_content": "x"}}, {}]},
    ],
)
def test_what_says_more_than_reasoning_is_the_model_s_own(frame: dict[str, object]) -> None:
    data = json.dumps(frame, separators=(",", ":")).encode()
    reader = LoadingText()
    (opening,) = frames(loading(BARS))
    assert reader.read(opening) == []

    assert reader.read(data) is None


@given(st.binary(), st.booleans())
def test_any_bytes_are_either_loading_text_or_the_model_s_own(data: bytes, opened: bool) -> None:
    reader = LoadingText()
    for frame in frames(loading(BARS) * opened):
        reader.read(frame)
    read = reader.read(b'{"choices":[{"delta":{"reasoning_content":' + data)

    assert reader.over == (read is None)


@given(st.text(alphabet="ab\n. ", max_size=60), st.integers(2, 60))
def test_pieces_of_any_size_lose_no_line(text: str, size: int) -> None:
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    shown, own = told(loading(BARS, "\n", *pieces, "\n"))

    lines = [line.strip().rstrip(".").strip() for line in text.split("\n")]
    assert own == []
    assert {line for line in lines if line} <= {message for _, message in shown}


def test_a_status_is_what_comes_out() -> None:
    reader = LoadingText()
    opening, data = frames(loading(f"{BARS}\n", "llama-swap loading model: x\n"))
    assert reader.read(opening) == []

    assert reader.read(data) == [Status("loading", message="llama-swap loading model: x")]
