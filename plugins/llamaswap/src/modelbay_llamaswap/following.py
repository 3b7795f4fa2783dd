"""llama-swap's own events: reasons to look, for who watches and for who waits for a load."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import anyio

from modelbay.client.http import open_stream, raise_for_status
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import BackendError
from modelbay.wire.sse import SSEDecoder
from modelbay_llamaswap.config import JSON, at
from modelbay_llamaswap.memory import memory
from modelbay_llamaswap.wire import in_flight, model_statuses

ROUTE = "api/events"
_SNAPSHOT_S = 2.0
_PAUSE_S = 0.3  # the opening events come at once; a server before v192 has none of requests


@asynccontextmanager
async def following(
    provider: ProviderContext, wire_id: str, changed: Callable[[], None]
) -> AsyncIterator[None]:
    """Call ``changed`` whenever a model's state is another one, as long as the server tells.

    Events are reasons to look, never the outcome: slow readers lose some, and the stream ends
    with every reload of the config (traps 18 and 21). So whoever uses this polls too.

    The reader is the host's background work: reading here would mean a task group open across the
    caller's ``yield``.
    """
    scope = anyio.CancelScope()

    async def read() -> None:
        with scope:
            await _listen(provider, wire_id, changed)

    if ROUTE not in memory(provider).lacking:
        provider.resources.start_soon(read)
    try:
        yield
    finally:
        scope.cancel()


async def _listen(provider: ProviderContext, wire_id: str, changed: Callable[[], None]) -> None:
    """Until the server ends it."""
    last: str | None = None
    try:
        async with open_stream(
            provider, "GET", at(provider, ROUTE), headers=JSON, own_limits=True
        ) as response:
            if response.status in (404, 405):
                memory(provider).lacking.add(ROUTE)  # before v135
            if response.status != 200:
                return
            sse = SSEDecoder()
            async with closing(response.blocks()) as blocks:
                async for block in blocks:
                    for data in sse.feed(block):
                        states = model_statuses(data)
                        if states is not None and states.get(wire_id) != last:
                            last = states.get(wire_id)
                            changed()
    except BackendError:
        pass  # polling goes on without events, and meets the same server


async def watch_models(provider: ProviderContext) -> AsyncIterator[None]:
    """Yield at every change of a model's state, until the server ends it.

    Raises:
        BackendError: The server cannot be asked.
    """
    if ROUTE in memory(provider).lacking:
        return
    last: Mapping[str, str] = {}
    async with open_stream(
        provider, "GET", at(provider, ROUTE), headers=JSON, own_limits=True
    ) as response:
        if response.status in (404, 405):
            memory(provider).lacking.add(ROUTE)  # before v135
            return
        await raise_for_status(provider, response)
        sse = SSEDecoder()
        async with closing(response.blocks()) as blocks:
            async for block in blocks:
                for data in sse.feed(block):
                    states = model_statuses(data)
                    if states is not None and states != last:
                        last = states
                        yield


async def requests_in_flight(provider: ProviderContext, wire_id: str | None) -> int | None:
    """How many requests of anybody a model is answering; ``None`` where the server does not say.

    The opening events hold a snapshot, by model since v235; a total alone (v192) counts where
    all models are meant. ``wire_id`` ``None`` is all of them.
    """
    if ROUTE in memory(provider).lacking:
        return None
    try:
        async with open_stream(
            provider,
            "GET",
            at(provider, ROUTE),
            headers=JSON,
            deadline_s=_SNAPSHOT_S,
            idle_s=_PAUSE_S,
        ) as response:
            if response.status != 200:
                return None
            sse = SSEDecoder()
            async with closing(response.blocks()) as blocks:
                async for block in blocks:
                    for data in sse.feed(block):
                        found = in_flight(data)
                        if found is not None:
                            total, by_model = found
                            if wire_id is None:
                                return total
                            if total and not by_model:
                                return None
                            return by_model.get(wire_id, 0)
    except BackendError:
        pass
    return None
