"""A loopback server that streams OpenAI-style chunks as fast as it can; one process of its own.

`python -m benchmarks.upstream` prints its port and ends when its standard input closes. The model's
name says how many chunks: ``n20000``.
"""

import asyncio
import json
import re
import sys

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
BATCH = 64  # chunks per write; the kernel cuts them as it likes


def event(body: bytes) -> bytes:
    data = b"data: " + body + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def chunk(**choice: object) -> bytes:
    head = {"id": "chatcmpl-benchmark-000000000000", "object": "chat.completion.chunk"}
    rest = {"created": 1, "model": "bench", "system_fingerprint": "fp_benchmark"}
    return event(json.dumps({**head, **rest, "choices": [{"index": 0, **choice}]}).encode())


TEXT = chunk(delta={"content": "~" + "word " * 12}, finish_reason=None)
END = chunk(delta={}, finish_reason="stop") + event(b"[DONE]") + b"0\r\n\r\n"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int((re.search(rb"(?i)content-length: (\d+)", head) or [b"", b"0"])[1])
            body = await reader.readexactly(length)
            if head.startswith(b"GET"):
                listing = b'{"object":"list","data":[{"id":"n20000"}]}'
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (len(listing), listing)
                )
                continue
            left = int(json.loads(body)["model"].removeprefix("n"))
            writer.write(HEAD)
            while left > 0:
                writer.write(TEXT * min(BATCH, left))
                left -= BATCH
                await writer.drain()
            writer.write(END)
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
