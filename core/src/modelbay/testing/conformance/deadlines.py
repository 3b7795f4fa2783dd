"""Checks of time: a deadline is kept, and what waits does not hold up the rest."""

import asyncio
import time
from collections.abc import Callable

from modelbay.errors import BackendTimeoutError
from modelbay.models.manage import ListModels
from modelbay.testing.conformance.bay import HANGS_S, Bay, Outcome, Rule, until
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.conformance.target import Target
from modelbay.testing.fault import Fault


class DeadlineChecks(Kit):
    read = "modelbay/deadline.py; modelbay/client/http.py: open_stream"

    async def test_a_silent_server_meets_the_deadline(self, bay: Bay, rule: Rule) -> None:
        """A server that never answers ends in BackendTimeoutError when the deadline passes."""
        outcome = await _at_deadline(bay, Fault(hang=True), self.deadline_s)
        self._in_time(rule, outcome)

    async def test_a_slow_server_meets_the_deadline(self, bay: Bay, rule: Rule) -> None:
        """So does one that goes on sending, a byte at a time."""
        outcome = await _at_deadline(bay, Fault(drip_bytes_per_s=200), self.deadline_s)
        self._in_time(rule, outcome)

    async def test_a_deadline_closes_the_request(self, bay: Bay, rule: Rule) -> None:
        """When the deadline has passed the server is no longer busy with the request."""
        bay.target.require("streams")
        await _at_deadline(bay, Fault(drip_bytes_per_s=200), self.deadline_s)
        gone = await until(lambda: bay.target.open_streams() == 0, min(1.0, self.patience_s))
        rule.holds(gone, "the stream is still open at the server")

    async def test_first_byte_timeout_is_kept(self, target: Target, rule: Rule) -> None:
        """`firstByteTimeoutS` of the provider ends a silent request."""
        config = target.config.model_copy(update={"first_byte_timeout_s": self.deadline_s})
        async with Bay.open(target, config) as bay:
            outcome = await _at_deadline(bay, Fault(hang=True), None)
        target.clear()
        self._in_time(rule, outcome)

    async def test_idle_timeout_is_kept(self, target: Target, rule: Rule) -> None:
        """`idleTimeoutS` of the provider ends a stream that stops in the middle."""
        config = target.config.model_copy(update={"idle_timeout_s": self.deadline_s})
        async with Bay.open(target, config) as bay:
            # One byte a second: always silent for longer than the limit.
            outcome = await _at_deadline(bay, Fault(drip_bytes_per_s=1), None)
        target.clear()
        self._in_time(rule, outcome)

    async def test_request_timeout_is_kept(self, target: Target, rule: Rule) -> None:
        """`requestTimeoutS` of the provider ends a whole request."""
        config = target.config.model_copy(update={"request_timeout_s": self.deadline_s})
        async with Bay.open(target, config) as bay:
            outcome = await _at_deadline(bay, Fault(drip_bytes_per_s=200), None)
        target.clear()
        self._in_time(rule, outcome)

    async def test_a_wide_deadline_changes_nothing(self, bay: Bay, rule: Rule) -> None:
        """A deadline that is not reached does not show."""
        outcome = await bay.chat(deadline_s=HANGS_S)
        rule.holds(outcome.error is None, outcome)

    async def test_management_meets_its_deadline(self, bay: Bay, rule: Rule) -> None:
        """A management action against a silent server ends when its deadline passes."""
        bay.target.require("faults")
        if "list" not in bay.backend().table.actions:
            return  # refused before anybody waits; see the checks of management
        bay.target.arm(Fault(hang=True))
        outcome = Outcome()
        began = time.monotonic()
        try:
            async with asyncio.timeout(HANGS_S):
                stream = bay.host.manage(bay.provider_id, ListModels(), deadline_s=self.deadline_s)
                async with stream as events:
                    async for _ in events:
                        pass
        except (BackendTimeoutError, TimeoutError) as exc:
            outcome.error = exc
        outcome.took_s = time.monotonic() - began
        self._in_time(rule, outcome)

    async def test_a_silent_server_cannot_hold_up_discovery(
        self, target: Target, rule: Rule
    ) -> None:
        """A look at a server that never answers ends after `probeTimeoutS`."""
        target.require("faults")
        config = target.config.model_copy(update={"probe_timeout_s": self.deadline_s})
        async with Bay.open(target, config) as bay:
            target.arm(Fault(hang=True))
            began = time.monotonic()
            catalog = await bay.host.refresh(force=True)
            took_s = time.monotonic() - began
        target.clear()
        rule.holds(took_s < self.deadline_s + self.patience_s, f"it took {took_s:.1f} s")
        problem = catalog.providers[0].problem
        rule.holds(problem is not None and problem.code == "backend_timeout", problem)

    async def test_waiting_leaves_the_loop_free(self, bay: Bay, rule: Rule) -> None:
        """While a server takes its time the rest of the program goes on."""
        bay.target.require("faults")
        info = await bay.model()
        bay.target.arm(Fault(delay_head_s=self.deadline_s))
        backend = bay.backend()
        for what, work in (
            ("a chat", lambda: bay.chat(info=info)),
            ("discovery", lambda: backend.discover_models()),
        ):
            ticks = await _ticks(work)
            rule.holds(ticks >= 5, f"{what} let the loop go round {ticks} times")

    def _in_time(self, rule: Rule, outcome: Outcome) -> None:
        rule.holds(isinstance(outcome.error, BackendTimeoutError), outcome)
        rule.holds(outcome.took_s < self.deadline_s + self.patience_s, outcome)
        rule.holds(outcome.took_s >= self.deadline_s * 0.8, f"too early: {outcome}")


async def _at_deadline(bay: Bay, fault: Fault, deadline_s: float | None) -> Outcome:
    bay.target.require("faults")
    info = await bay.model()
    bay.target.arm(fault, bay.target.chat_path)
    return await bay.chat(info=info, deadline_s=deadline_s)


async def _ticks(work: Callable[[], object]) -> int:
    """How often the loop went round, a hundredth of a second apart, while something ran."""
    count = 0

    async def tick() -> None:
        nonlocal count
        while True:
            await asyncio.sleep(0.01)
            count += 1

    ticker = asyncio.create_task(tick())
    await asyncio.sleep(0)
    try:
        await work()  # type: ignore[misc] # any awaitable
    finally:
        ticker.cancel()
    return count
