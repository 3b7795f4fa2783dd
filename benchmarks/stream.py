"""CPU per streamed chunk, over a real socket, against an asyncio protocol with orjson."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from types import ModuleType

import orjson

from benchmarks.measure import Ratio, ratio, upstream
from modelbay import ChatRequest, Host, ProviderConfig, user
from modelbay.client import openai_compat
from modelbay.context import ProviderContext
from modelbay.hookspecs import hookimpl
from modelbay.host.loader import Installed, Plugin, _manager
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.catalog import DiscoveredModel, ModelInfo
from modelbay.models.events import StreamEvent, TextDelta
from modelbay.models.manage import Action, Done, ManageEvent
from modelbay.wire.openai_chat import Dialect

BASE = "raw asyncio + orjson"
CHUNKS = 20_000
TABLE, DIALECT = CapabilityTable(), Dialect()


@hookimpl
def capabilities() -> CapabilityTable:
    return TABLE


@hookimpl
async def discover_models() -> Sequence[DiscoveredModel]:
    return [DiscoveredModel(wire_id=f"n{CHUNKS}", state="loaded")]


@hookimpl
def stream_chat(
    provider: ProviderContext, request: ChatRequest, model: ModelInfo
) -> AsyncIterator[StreamEvent]:
    return openai_compat.stream_chat(provider, request, model, dialect=DIALECT)


@hookimpl
async def manage(action: Action) -> AsyncIterator[ManageEvent]:
    yield Done(message=action.action)


def run(rounds: int = 5) -> list[Ratio]:
    """One stream of 20,000 chunks without a pause, in CPU seconds of the reader."""
    with upstream() as port:
        return asyncio.run(_measure(port, rounds))


async def _measure(port: int, rounds: int) -> list[Ratio]:
    this: ModuleType = sys.modules[__name__]
    plugin = Plugin("bench", "bench", "0", __name__, manager=_manager("bench", this, ()))
    config = ProviderConfig(id="bench", kind="bench", base_url=f"http://127.0.0.1:{port}")
    ours = "modelbay, CPU per chunk"
    costs: dict[str, list[float]] = {BASE: [], ours: []}
    async with Host.open(providers=[config], env={}, installed=Installed((plugin,), ())) as host:
        await host.refresh()
        for _ in range(rounds):
            costs[BASE].append(await _raw(port))
            costs[ours].append(await _ours(host))
    return [ratio(ours, BASE, 8, costs)]


async def _ours(host: Host) -> float:
    request = ChatRequest(model=f"bench/n{CHUNKS}", messages=[user("hi")])
    began, seen = time.process_time(), 0
    async with host.stream(request) as events:
        async for event in events:
            if type(event) is TextDelta and event.text:
                seen += 1
    assert seen == CHUNKS, seen
    return (time.process_time() - began) / CHUNKS


class _Reader(asyncio.Protocol):
    """What Python can do with no library between: bytes in, batches of them out."""

    def __init__(self) -> None:
        self._batch: list[bytes] = []
        self._come = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self._batch.append(data)
        self._come.set()

    async def texts(self) -> AsyncIterator[str]:
        """The text of each chunk: events split at blank lines, decoded with orjson."""
        rest = b""
        while True:
            await self._come.wait()
            self._come.clear()
            batch, self._batch = self._batch, []
            events = (rest + b"".join(batch)).split(b"\n\n")
            rest = events.pop()
            for event in events:
                body = event[event.find(b"data: ") + 6 :]
                if body == b"[DONE]":
                    return
                text = orjson.loads(body)["choices"][0]["delta"].get("content")
                if text:
                    yield text


async def _raw(port: int) -> float:
    body = b'{"model":"n%d","messages":[{"role":"user","content":"hi"}],"stream":true}' % CHUNKS
    loop = asyncio.get_running_loop()
    began, seen = time.process_time(), 0
    transport, reader = await loop.create_connection(_Reader, "127.0.0.1", port)
    transport.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s"
        % (len(body), body)
    )
    async for _text in reader.texts():
        seen += 1
    transport.close()
    assert seen == CHUNKS, seen
    return (time.process_time() - began) / CHUNKS
