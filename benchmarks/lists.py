"""Loopback servers that list models, all in a process of their own; some never answer.

`python -m benchmarks.lists` prints a port for each, in one line, and ends when its standard input
closes. The first `HUNG` of them take every request and stay silent.
"""

import asyncio
import json
import sys
from functools import partial
from typing import cast

SERVERS = 50
HUNG = 2
MODELS = 100  # of each server
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def listing(server: int) -> bytes:
    """The answer of one server: names that no other has, an owner nobody knows."""
    entries = [
        {
            "id": f"org-{server:02}/model-{number:03}",
            "object": "model",
            "created": 1_790_000_000 + number,
            "owned_by": "benchmark",
        }
        for number in range(MODELS)
    ]
    body = json.dumps({"object": "list", "data": entries}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


class _Connection(asyncio.Protocol):
    """Answers a request without a body; says nothing if there is no answer."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self._answer is None or not self._head.endswith(b"\r\n\r\n"):
            return
        asked_for_list = self._head.startswith(b"GET /v1/models ")
        self._transport.write(self._answer if asked_for_list else MISSING)
        self._head = b""


async def main() -> None:
    loop = asyncio.get_running_loop()
    ports = []
    for server in range(SERVERS):
        answer = None if server < HUNG else listing(server)
        listening = await loop.create_server(partial(_Connection, answer), "127.0.0.1", 0)
        ports.append(listening.sockets[0].getsockname()[1])
    print(*ports, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
