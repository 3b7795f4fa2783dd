"""Streams that outlive their connection (``X-Conversation-Id``)."""

import asyncio
import time
from collections.abc import Callable, Coroutine

from modelbay.testing.exchange import dump_json
from modelbay.testing.simulator import Exchange
from modelbay_llamacpp.simulator.answer import ApiError, Call, items_of

Spawn = Callable[[Coroutine[object, object, None]], object]


class Conversation:
    """What one stream has sent so far, to be read by anybody from any byte on."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.started_at = int(time.time())
        self.completed_at = 0
        self._grown = asyncio.Event()

    @property
    def done(self) -> bool:
        return self.completed_at > 0

    def sse(self, data: object) -> None:
        text = data if isinstance(data, str) else dump_json(data)
        self.data += f"data: {text}\n\n".encode()
        self._wake()

    def finish(self) -> None:
        self.completed_at = int(time.time())
        self._wake()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    async def follow(self, exchange: Exchange, at: int) -> None:
        """Replay from a byte on, then go on as it grows."""
        while True:
            if at < len(self.data):
                fresh = bytes(self.data[at:])
                at += len(fresh)
                await exchange.raw(fresh)
            elif self.done:
                return
            else:
                await exchange.wait_for(self._grown)


class Conversations:
    """All conversations of one process, by id."""

    def __init__(self, spawn: Spawn) -> None:
        self.spawn = spawn
        self._known: dict[str, Conversation] = {}

    def begin(self, key: str) -> Conversation:
        """A new one; it replaces an old one of the same id."""
        self._known[key] = Conversation()
        return self._known[key]

    async def replay(self, call: Call) -> None:
        """``GET /v1/stream?conv_id=ID&from=BYTE``"""
        conversation = self._wanted(call)
        start = call.exchange.request.query.get("from", "0")
        await call.start_stream()
        await conversation.follow(call.exchange, int(start) if start.isdigit() else 0)

    async def delete(self, call: Call) -> None:
        """``DELETE /v1/stream?conv_id=ID``"""
        self._wanted(call)
        del self._known[call.exchange.request.query["conv_id"]]
        await call.exchange.send(b"", 204, "application/json")

    async def lookup(self, call: Call) -> None:
        """``POST /v1/streams/lookup``: those of the asked ids that are known."""
        found = []
        for key in items_of(call.body, "conversation_ids"):
            conversation = self._known.get(key) if isinstance(key, str) else None
            if conversation is not None:
                found.append(
                    {
                        "conversation_id": key,
                        "is_done": conversation.done,
                        "total_bytes": len(conversation.data),
                        "started_at": conversation.started_at,
                        "completed_at": conversation.completed_at,
                    }
                )
        await call.json(found)

    def _wanted(self, call: Call) -> Conversation:
        key = call.exchange.request.query.get("conv_id", "")
        if not key:
            raise ApiError(400, "Missing conversation id in path")
        if key not in self._known:
            raise ApiError(404, "not found", "not_found_error")
        return self._known[key]
