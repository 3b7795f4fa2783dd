"""CPU per streamed chunk of Ollama's own protocol, against the official Python client."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ollama import AsyncClient, Client

from benchmarks.measure import Ratio, ratio, upstream
from benchmarks.upstream import MODEL
from modelbay import ChatRequest, Host, ProviderConfig, user
from modelbay.host.loader import Installed, Plugin, _manager
from modelbay.models.events import TextDelta
from modelbay_ollama import plugin

BASE = "ollama-python, the cheaper of its two clients"
CHUNKS = 20_000
MESSAGES = [{"role": "user", "content": "hi"}]

Read: TypeAlias = Callable[[], Awaitable[int]]


def run(rounds: int = 5) -> list[Ratio]:
    """One stream of 20,000 lines without a pause, in CPU seconds of the reader.

    All three read the same answers in turns. The base is whichever of the official clients was
    cheaper in that round.
    """
    with upstream() as port:
        return asyncio.run(_measure(f"http://127.0.0.1:{port}", rounds))


async def _measure(url: str, rounds: int) -> list[Ratio]:
    kind = Plugin("ollama", "ollama", "0", __name__, manager=_manager("ollama", plugin, ()))
    config = ProviderConfig(id="desk", kind="ollama", base_url=url)
    ours = "modelbay, Ollama's lines, CPU per chunk"
    costs: dict[str, list[float]] = {BASE: [], ours: []}
    async with Host.open(providers=[config], env={}, installed=Installed((kind,), ())) as host:
        await host.refresh()
        with Client(url, trust_env=False) as client:
            async with AsyncClient(url, trust_env=False) as async_client:
                readers: tuple[Read, ...] = (
                    lambda: _ours(host),
                    lambda: _official(client),
                    lambda: _official_async(async_client),
                )
                for read in readers:  # connections, imports and caches are no part of a chunk
                    await _cost(read)
                for _ in range(rounds):
                    mine, *theirs = [await _cost(read) for read in readers]
                    costs[ours].append(mine)
                    costs[BASE].append(min(theirs))
    return [ratio(ours, BASE, 1, costs)]


async def _cost(read: Read) -> float:
    began = time.process_time()
    seen = await read()
    cost_s = time.process_time() - began
    assert seen == CHUNKS, seen
    return cost_s / CHUNKS


async def _ours(host: Host) -> int:
    seen = 0
    request = ChatRequest(model=f"desk/{MODEL}", messages=[user("hi")])
    async with host.stream(request) as events:
        async for event in events:
            if type(event) is TextDelta and event.text:
                seen += 1
    return seen


async def _official(client: Client) -> int:
    parts = client.chat(MODEL, MESSAGES, stream=True)
    return sum(1 for part in parts if part.message.content)


async def _official_async(client: AsyncClient) -> int:
    parts = await client.chat(MODEL, MESSAGES, stream=True)
    return sum([1 async for part in parts if part.message.content])
