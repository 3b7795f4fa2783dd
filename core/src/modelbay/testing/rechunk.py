"""Whole HTTP answers as bytes, cut where a test wants them cut."""

from collections.abc import Sequence


def pieces(data: bytes, size: int) -> list[bytes]:
    """The data in pieces of `size` bytes; the last one may be shorter."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def http_answer(
    body: bytes,
    *,
    status: int = 200,
    content_type: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    chunk_bytes: int | None = None,
    whole: bool = True,
) -> bytes:
    """An answer on a connection that closes after it, for ``Fault(garbage=...)``.

    Args:
        chunk_bytes: Bytes in one HTTP chunk, which is how a client gets to see exactly these
            boundaries; the whole body in one by default.
        whole: ``False`` leaves out the last chunk, as a server does that dies.
    """
    head = [f"HTTP/1.1 {status} Answer", "Connection: close", "Transfer-Encoding: chunked"]
    if content_type is not None:
        head.append(f"Content-Type: {content_type}")
    head += [f"{name}: {value}" for name, value in headers]
    framed = [b"%x\r\n%b\r\n" % (len(p), p) for p in pieces(body, chunk_bytes or len(body) or 1)]
    return (
        "\r\n".join([*head, "", ""]).encode() + b"".join(framed) + (b"0\r\n\r\n" if whole else b"")
    )
