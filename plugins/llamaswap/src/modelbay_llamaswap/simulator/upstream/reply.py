"""How a child writes its answers: llama-server's way, or that of a small server."""

import json
from typing import TYPE_CHECKING

from modelbay.testing.exchange import dump_json
from modelbay_llamaswap.simulator.model import SimulatedModel
from modelbay_llamaswap.simulator.upstream.request import UpstreamError

if TYPE_CHECKING:
    from modelbay_llamaswap.simulator.upstream.server import Outlet

# The llama.cpp commit the recordings were made with.
BUILD = "b1-0c1e570"


class Reply:
    """The writer of one answer.

    Attributes:
        plain: Without llama.cpp's headers and timings.
    """

    def __init__(self, model: SimulatedModel, outlet: "Outlet", origin: str) -> None:
        self._outlet = outlet
        self.plain = model.flavour == "plain" or model.role in ("image", "audio")
        # llama-server sends the CORS field always; without an Origin it is empty.
        self._headers = (
            [("Server", "stub")]
            if self.plain
            else [("Access-Control-Allow-Origin", origin), ("Server", "llama.cpp")]
        )

    async def json(self, value: object, status: int = 200) -> None:
        text = json.dumps(value, ensure_ascii=False) if self.plain else dump_json(value)
        kind = "application/json" if self.plain else "application/json; charset=utf-8"
        await self.send(text.encode(), kind, status)

    async def send(self, body: bytes, content_type: str, status: int = 200) -> None:
        await self._outlet.whole(status, body, [*self._headers, ("Content-Type", content_type)])

    async def error(self, error: UpstreamError) -> None:
        # sd-server's errors are bare strings.
        await self.json({"error": error.message} if self.plain else error.body, error.status)

    async def stream(self) -> None:
        """Begin a stream of events."""
        await self._outlet.begin(200, [*self._headers, ("Content-Type", "text/event-stream")])

    async def event(self, data: object) -> None:
        text = data if isinstance(data, str) else dump_json(data)
        await self._outlet.write(f"data: {text}\n\n".encode())

    async def named(self, name: str, data: object) -> None:
        """An event with a name, as the other dialects of chat use them."""
        await self._outlet.write(f"event: {name}\ndata: {dump_json(data)}\n\n".encode())
