"""Checks of what a turn leaves behind: nothing printed, nothing written, nothing running."""

import asyncio
import threading

import pytest

from modelbay.models.chat import user
from modelbay.testing.conformance.audit import writes
from modelbay.testing.conformance.bay import Bay, Rule, until
from modelbay.testing.conformance.kit import Kit

_PROMPT = "kit: nobody else's business, 4b91"


class HygieneChecks(Kit):
    read = "modelbay/hookspecs.py: stream_chat; docs/writing-a-provider.md"

    async def test_a_turn_prints_nothing(
        self, bay: Bay, rule: Rule, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Neither the prompt nor anything else is printed; output is the program's."""
        capfd.readouterr()
        await bay.chat(bay.request(messages=[user(_PROMPT)]))
        await bay.backend().discover_models()
        printed = capfd.readouterr()
        rule.holds(not printed.out, f"on standard output: {printed.out[:80]!r}")
        rule.holds(_PROMPT not in printed.err, "the prompt is on standard error")

    async def test_a_turn_writes_no_file(self, bay: Bay, rule: Rule) -> None:
        """What people ask stands in no file; a turn writes, makes and removes none."""
        await bay.chat()  # whatever it sets up once is over now
        with writes() as seen:
            await bay.chat(bay.request(messages=[user(_PROMPT)]))
        bay.keeps(rule, "files", not seen, seen[:3])

    async def test_a_turn_leaves_nothing_running(self, bay: Bay, rule: Rule) -> None:
        """Soon after a turn there are the tasks and threads there were before it."""
        await bay.chat()  # what the host and the pool keep is there now
        tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
        for _ in range(3):
            await bay.chat()

        def left() -> list[object]:
            new = [t for t in asyncio.all_tasks() - tasks if not t.done()]
            return [*new, *(t for t in set(threading.enumerate()) - threads if not t.daemon)]

        ended = await until(lambda: not left(), self.patience_s)
        rule.holds(ended, f"still running: {left()[:3]}")
