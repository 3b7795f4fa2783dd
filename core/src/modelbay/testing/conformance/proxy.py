"""A real server behind a simulator: what it says is real, and everything else can go wrong."""

import asyncio

import httpx2 as httpx

from modelbay.testing.simulator import Exchange, Simulator

_NOT_PASSED_ON = ("host", "connection", "content-length", "transfer-encoding", "keep-alive")


class FaultProxy(Simulator):
    """Forwards every request to a real server, chunk by chunk; use it as a target's simulator.

        with FaultProxy("http://127.0.0.1:8080") as proxy:
            yield SimulatorTarget(simulator=proxy, config=..., plugin=..., model=...)

    When its client leaves, it leaves the server, so that early closing can be observed there too.

    Args:
        url: Of the real server.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url.rstrip("/")
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            self.route(method, "/{path...}")(self._forward)

    async def _forward(self, exchange: Exchange) -> None:
        """Its own task: the client may leave while the server is silent."""
        work = asyncio.ensure_future(self._pass_on(exchange))
        gone = asyncio.ensure_future(exchange.disconnected.wait())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            work.cancel()
            await asyncio.wait({work, gone})  # also at the end: what is left would be torn apart
        if not work.cancelled():
            work.result()

    async def _pass_on(self, exchange: Exchange) -> None:
        request = exchange.request
        headers = {k: v for k, v in request.headers.items() if k not in _NOT_PASSED_ON}
        async with (
            httpx.AsyncClient(timeout=None, trust_env=False) as client,
            client.stream(
                request.method, self._url + request.target, headers=headers, content=request.body
            ) as answer,
        ):
            passed = [(k, v) for k, v in answer.headers.items() if k not in _NOT_PASSED_ON]
            kind = answer.headers.get("content-type", "")
            if not kind.startswith(("text/event-stream", "application/x-ndjson")):
                await exchange.send(await answer.aread(), answer.status_code, None, passed)
                return
            passed = [(name, value) for name, value in passed if name != "content-type"]
            await exchange.start_stream(kind, status=answer.status_code, headers=passed)
            async for block in answer.aiter_raw():
                await exchange.raw(block)
            await exchange.end()
