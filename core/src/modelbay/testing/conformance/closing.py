"""Checks of leaving early: the server hears of it, and whoever was cancelled stays so."""

import asyncio
import types
from collections.abc import AsyncIterator
from contextlib import aclosing

from modelbay.models.events import StreamEvent, TextDelta
from modelbay.testing.conformance.bay import HANGS_S, Bay, Rule, until
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.conformance.streaming import started
from modelbay.testing.fault import Fault

SLOW_BYTES_PER_S = 700.0


class ClosingChecks(Kit):
    read = "modelbay/hookspecs.py: stream_chat; modelbay/closing.py"

    async def test_text_comes_while_the_server_still_talks(self, bay: Bay, rule: Rule) -> None:
        """Events are handed on as they arrive, not when the answer is complete."""
        bay.target.require("streams")
        async with aclosing(await _slowly(bay)) as events:
            await _first_text(events)
            rule.holds(bay.target.open_streams() == 1, "the first text came after the last byte")

    async def test_early_close_reaches_the_server(self, bay: Bay, rule: Rule) -> None:
        """Whoever closes a stream early closes the request towards the server, at once."""
        bay.target.require("streams")
        events = await _slowly(bay)
        await _first_text(events)
        await events.aclose()
        await self._expect_no_stream(bay, rule)

    async def test_leaving_the_host_s_stream_reaches_the_server(self, bay: Bay, rule: Rule) -> None:
        """The same through the host: leaving the block ends the request."""
        bay.target.require("streams")
        await _make_slow(bay)
        request = bay.request(bay.target.endless)
        async with bay.host.stream(request) as stream:
            async for event in stream:
                if isinstance(event, TextDelta):
                    break
        await self._expect_no_stream(bay, rule)

    async def test_cancellation_reaches_the_server(self, bay: Bay, rule: Rule) -> None:
        """A cancelled turn ends with CancelledError, and its request ends with it."""
        bay.target.require("streams")
        events = await _slowly(bay)
        got_text = asyncio.Event()

        async def turn() -> None:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, TextDelta):
                        got_text.set()

        task = asyncio.create_task(turn())
        async with asyncio.timeout(HANGS_S):
            await got_text.wait()
        await asyncio.sleep(0)  # let it wait for the next event again
        task.cancel()
        await asyncio.wait({task}, timeout=min(1.0, self.patience_s))
        rule.holds(task.done(), "the turn went on for a second and more after it was cancelled")
        if not task.cancelled():
            rule.broken(f"the cancellation was swallowed; the turn ended with {task.exception()!r}")
        await self._expect_no_stream(bay, rule)

    async def _expect_no_stream(self, bay: Bay, rule: Rule) -> None:
        # Well before the slowed answer would have ended by itself.
        gone = await until(lambda: bay.target.open_streams() == 0, min(1.0, self.patience_s))
        rule.holds(gone, f"{bay.target.open_streams()} stream(s) still open at the server")


async def _make_slow(bay: Bay) -> None:
    if bay.target.endless is None:
        bay.target.require("faults")
        bay.target.arm(Fault(drip_bytes_per_s=SLOW_BYTES_PER_S), bay.target.chat_path)


async def _slowly(bay: Bay) -> "types.AsyncGeneratorType[StreamEvent]":
    """The plugin's own stream of an answer that goes on for a while."""
    await _make_slow(bay)
    info = await bay.model(bay.target.endless)
    return started(bay, info.ref.wire_id)


async def _first_text(events: AsyncIterator[StreamEvent]) -> None:
    async with asyncio.timeout(HANGS_S):
        async for event in events:
            if isinstance(event, TextDelta):
                return
