"""A thousand answers that nobody waits for the end of leave nothing behind, on either side."""

import asyncio
import gc
import os
from pathlib import Path

import pytest

from modelbay import ChatRequest, Host, ProviderConfig, user
from modelbay.models.events import TextDelta
from modelbay_llamacpp.simulator import LlamaCppSimulator, SimulatedModel

pytestmark = [pytest.mark.soak, pytest.mark.anyio]

STREAMS, SIDE_BY_SIDE = 1000, 50
HELD = SimulatedModel("held", answer="word " * 40, hold_after=8)  # stops in mid-answer, for ever


def open_files() -> int:
    return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir()))


async def abandon(host: Host) -> None:
    request = ChatRequest(model="sim/held", messages=[user("go on")])
    async with host.stream(request) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                return


async def cancel(host: Host) -> None:
    task = asyncio.create_task(host.chat(ChatRequest(model="sim/held", messages=[user("go on")])))
    await asyncio.sleep(0)
    started = asyncio.create_task(abandon(host))  # by its first text the other one is under way
    await started
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_thousand_abandoned_streams_leave_no_connection_task_or_file_behind() -> None:
    with LlamaCppSimulator([HELD], slots=2 * SIDE_BY_SIDE) as sim:
        config = ProviderConfig(id="sim", kind="llamacpp", base_url=sim.base_url)
        tasks, files = len(asyncio.all_tasks()), open_files()
        async with Host.open(
            providers=[config], env={"MODELBAY_DISABLE": "embedded,ollama"}
        ) as host:
            await host.refresh()
            for _ in range(STREAMS // SIDE_BY_SIDE):
                await asyncio.gather(*(abandon(host) for _ in range(SIDE_BY_SIDE)))
            await sim.wait_until_async(lambda: sim.open_streams == 0)

            assert sim.streams_opened == STREAMS
            assert sim.streams_closed_by_client == STREAMS
            assert sim.call(lambda: sim.busy_slots) == 0
            assert len(asyncio.all_tasks()) == tasks

            for _ in range(20):
                await asyncio.gather(*(cancel(host) for _ in range(5)))
            await sim.wait_until_async(lambda: sim.open_streams == 0)

        await sim.wait_until_async(lambda: sim.open_connections == 0)
        gc.collect()
        assert len(asyncio.all_tasks()) == tasks
        assert open_files() == files
