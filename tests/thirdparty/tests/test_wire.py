"""Mirrors modelbay_quill/wire.py: frames, the shelf, and what goes out."""

# mypy: disable-error-code="import-not-found"

import pytest
from modelbay_quill.simulator import frame
from modelbay_quill.wire import FrameDecoder, Pen, decode_frame, decode_shelf, encode

from modelbay.errors import ProtocolError, StreamInterruptedError
from modelbay.models.chat import ChatRequest, Message, user
from modelbay.models.events import Finish, Notice, TextDelta, Usage

FRAMES = frame("W", "zw\u00f6lf\u2028") + frame("-", "") + frame("E", "full 7 5")


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(FRAMES)])
def test_events_do_not_depend_on_where_chunks_split(size: int) -> None:
    frames = FrameDecoder()
    chunks = [FRAMES[at : at + size] for at in range(0, len(FRAMES), size)]
    found = [one for chunk in chunks for pair in frames.feed(chunk) for one in decode_frame(*pair)]
    assert found == [
        TextDelta("zw\u00f6lf\u2028"),
        Usage(input_tokens=7, output_tokens=5),
        Finish("length", raw_reason="full"),
    ]
    frames.close()


@pytest.mark.parametrize("data", [b"HTTP/1.1 200 OK", b"W 00000zz1\nx", b"W ffffffff\nx"])
def test_what_is_no_frame_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="no frame of Quill's"):
        list(FrameDecoder().feed(data))


def test_half_a_frame_is_no_end() -> None:
    frames = FrameDecoder()
    assert list(frames.feed(frame("W", "whole")[:-1])) == []
    with pytest.raises(ProtocolError, match="ends within a frame"):
        frames.close()


@pytest.mark.parametrize("pair", [(b"B", b"ink ran out"), (b"E", b"dry"), (b"W", b"\xff")])
def test_a_blot_and_what_cannot_be_read_are_errors(pair: tuple[bytes, bytes]) -> None:
    with pytest.raises(StreamInterruptedError):
        decode_frame(*pair)


def test_the_shelf_is_read_by_the_names_of_its_columns() -> None:
    assert decode_shelf(
        b"pen;color;state;span\ngoose;white;wet;4096\nraven;black;moulting;?\n"
    ) == [
        Pen("goose", 4096, "loaded"),
        Pen("raven", 0, "unknown"),
    ]


@pytest.mark.parametrize("body", [b"", b"<html></html>", b"\xff"])
def test_what_is_no_shelf_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_shelf(body)


def test_a_request_has_quills_own_names() -> None:
    request = ChatRequest(
        messages=[Message(role="system", content="Be brief."), user("Ahoy")],
        temperature=0.0,
        max_tokens=9,
        seed=3,
        extra={"ink": "blue"},
    )
    assert encode(request, "goose") == (
        {
            "pen": "goose",
            "talk": [["desk", "Be brief."], ["guest", "Ahoy"]],
            "hand": {"warmth": 0.0, "longest": 9},
            "whole": False,
            "ink": "blue",
        },
        [Notice("dropped_field", "Quill has no seed")],
    )
