"""What all tests share: the event loop they run in, and a look at what they leave behind."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Generator, Iterator

import pytest
from hypothesis import settings

from modelbay.testing.conformance.kit import is_check
from modelbay.testing.conformance.ruling import DECLARED, judged
from modelbay.testing.simulator import Simulator

# No time limit for one example: the machine may be busy. No folder of examples in the checkout. A
# change is judged by the same examples each time; with MODELBAY_SEARCH set, others are tried.
settings.register_profile(
    "modelbay", deadline=None, database=None, derandomize="MODELBAY_SEARCH" not in os.environ
)
settings.load_profile("modelbay")

_TICKS = 20  # turns of the loop in which what a test has closed or cancelled may end


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A check of the kit that a declaration rules out is held, not skipped; the summary names it.

    That the declaration is true is a check of its own. Any other skip of a check has failed.
    """
    report = judged(item, call, (yield), is_check)
    if report.skipped and any(name == DECLARED for name, _ in report.user_properties):
        report.outcome, report.longrepr = "passed", None
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = [
        str(value)
        for report in terminalreporter.getreports("passed")
        for name, value in report.user_properties
        if name == DECLARED
    ]
    if reasons:
        terminalreporter.section("checks of the kit that a declaration rules out")
        for reason, times in sorted(Counter(reasons).items()):
            terminalreporter.line(f"{times} {reason}")


@pytest.fixture
def anyio_backend() -> object:
    return "asyncio"


@pytest.fixture
async def watched_tasks(anyio_backend_name: str) -> AsyncIterator[None]:
    """Fail a test that leaves a task running in its loop."""
    if anyio_backend_name != "asyncio":
        yield
        return
    before = asyncio.all_tasks()
    yield
    for _ in range(_TICKS):
        await asyncio.sleep(0)
    # The plugin that runs the tests has a task of its own, which waits for this fixture.
    left = {
        task
        for task in asyncio.all_tasks() - before - {asyncio.current_task()}
        if not getattr(task.get_coro(), "__qualname__", "").startswith("TestRunner.")
    }
    for task in left:
        task.cancel()
    assert not left, f"the test left {len(left)} tasks behind: {left}"


@pytest.fixture(autouse=True)
def _nothing_stays(request: pytest.FixtureRequest) -> None:
    if "anyio_backend" in request.fixturenames:
        request.getfixturevalue("watched_tasks")


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """A server on a real loopback socket; the test registers its routes."""
    with Simulator() as simulator:
        yield simulator
