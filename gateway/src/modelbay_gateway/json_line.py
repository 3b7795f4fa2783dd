"""JSON on one line, for streams in which a line is a message."""

import msgspec

_encoder = msgspec.json.Encoder()
_encode = _encoder.encode
_encode_lines = _encoder.encode_lines


def to_json(value: object) -> bytes:
    """JSON on one line. Line separators of Unicode are escaped: some clients split lines there."""
    try:
        data = _encode(value)
    except UnicodeEncodeError:  # half of a surrogate pair, from a server that cut one in two
        data = _encode(_mended(value))
    return data if data.isascii() else _on_one_line(data)


def framed(before: bytes, pieces: list[str], after: bytes) -> bytes:
    """Each of these as JSON between the two; at once, since a newline never stands in JSON.

    A list, and nothing else: of other sequences msgspec 0.22 leaks an iterator with each call.
    """
    try:
        data = _encode_lines(pieces)
    except UnicodeEncodeError:
        data = _encode_lines([_mended(piece) for piece in pieces])
    if not data.isascii():
        data = _on_one_line(data)
    inner = data[:-1] if len(pieces) == 1 else data[:-1].replace(b"\n", after + before)
    return b"".join((before, inner, after))


def _on_one_line(data: bytes) -> bytes:
    if b"\xe2\x80" in data or b"\xc2\x85" in data:
        data = (
            data.replace(b"\xe2\x80\xa8", b"\\u2028")
            .replace(b"\xe2\x80\xa9", b"\\u2029")
            .replace(b"\xc2\x85", b"\\u0085")
        )
    return data


def _mended(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_mended(key): _mended(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_mended(inner) for inner in value]
        case _:
            return value
