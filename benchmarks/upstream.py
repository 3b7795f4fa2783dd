"""A loopback server that streams chunks as fast as it can, in two dialects; a process of its own.

`python -m benchmarks.upstream` prints its port and ends when its standard input closes. The model's
name says how many chunks: ``n20000``. ``/v1/chat/completions`` streams OpenAI-style events,
``/api/chat`` Ollama's lines.
"""

import asyncio
import json
import re
import sys

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
BATCH = 64  # chunks per write; the kernel cuts them as it likes
MODEL = "n20000"


def piece(data: bytes) -> bytes:
    """One chunk of the transfer: servers flush each of theirs."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(body: bytes) -> bytes:
    return piece(b"data: " + body + b"\n\n")


def chunk(**choice: object) -> bytes:
    head = {"id": "chatcmpl-benchmark-000000000000", "object": "chat.completion.chunk"}
    rest = {"created": 1, "model": "bench", "system_fingerprint": "fp_benchmark"}
    return event(json.dumps({**head, **rest, "choices": [{"index": 0, **choice}]}).encode())


def line(content: str, **rest: object) -> bytes:
    """A record of Ollama's, as compact as it writes them."""
    head = {"model": MODEL, "created_at": "2026-01-01T00:00:00.000000001Z"}
    record = {**head, "message": {"role": "assistant", "content": content}, **rest}
    return piece(json.dumps(record, separators=(",", ":")).encode() + b"\n")


LAST = b"0\r\n\r\n"
EVENTS = (
    b"text/event-stream",
    chunk(delta={"content": "~" + "word " * 12}, finish_reason=None),
    chunk(delta={}, finish_reason="stop") + event(b"[DONE]") + LAST,
)
LINES = (
    b"application/x-ndjson",
    line(" word", done=False),
    line(
        "",
        done=True,
        done_reason="stop",
        total_duration=10**9,
        load_duration=10**6,
        prompt_eval_count=11,
        prompt_eval_duration=10**8,
        eval_count=20_000,
        eval_duration=9 * 10**8,
    )
    + LAST,
)
STREAMS = {b"/v1/chat/completions": EVENTS, b"/api/chat": LINES}

LISTINGS: dict[bytes, object] = {
    b"/v1/models": {"object": "list", "data": [{"id": MODEL}]},
    b"/api/version": {"version": "0.33.0"},
    b"/api/tags": {
        "models": [
            {
                "name": MODEL,
                "digest": "0" * 64,
                "capabilities": ["completion"],
                "details": {"family": "llama", "context_length": 8192},
            }
        ]
    },
    b"/api/ps": {"models": [{"name": MODEL, "digest": "0" * 64, "context_length": 8192}]},
}


def listing(path: bytes) -> bytes:
    body = json.dumps(LISTINGS[path]).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, _ = head.split(b" ", 2)
            length = int((re.search(rb"(?i)content-length: (\d+)", head) or [b"", b"0"])[1])
            body = await reader.readexactly(length)
            if method == b"GET":
                writer.write(listing(path))
                continue
            kind, text, end = STREAMS[path]
            left = int(json.loads(body)["model"].removeprefix("n"))
            writer.write(HEAD % kind)
            while left > 0:
                writer.write(text * min(BATCH, left))
                left -= BATCH
                await writer.drain()
            writer.write(end)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
