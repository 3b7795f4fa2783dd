"""What rules a check out: a declaration, and nothing else. Any other skip is a broken check."""

from collections.abc import Callable, Generator
from typing import NoReturn

import pytest

DECLARED = "declared"  # a property of a report, which comes through from other processes too


class DeclaredLack(pytest.skip.Exception):  # type: ignore[name-defined,misc] # it is a variable
    """The running check asks for what the target, the table or the plugin's hooks do not have."""


def rule_out(reason: str) -> NoReturn:
    """End the running check: what it asks for is declared to be missing.

    Raises:
        DeclaredLack: Always.
    """
    raise DeclaredLack(reason)


def judged(
    item: pytest.Item,
    call: pytest.CallInfo[None],
    report: pytest.TestReport,
    is_check: Callable[[pytest.Item], bool],
) -> pytest.TestReport:
    """The report, with the declaration as its property `DECLARED`, or failed if there is none.

    Only for checks of the kit; an author's own may be skipped for whatever reason.
    """
    if not report.skipped or hasattr(report, "wasxfail") or not is_check(item):
        return report
    error = None if call.excinfo is None else call.excinfo.value
    reason = str(getattr(error, "msg", error))
    if isinstance(error, DeclaredLack) and call.when == "call":
        report.user_properties.append((DECLARED, reason))
    else:
        report.outcome = "failed"
        report.longrepr = (
            f"{item.name}: skipped, and no declaration rules it out: {reason}\n"
            "  read: docs/conformance.md#what-a-server-lacks"
        )
    return report


class Judge:
    """The same for every run of pytest that has a class of the kit.

    Args:
        is_check: Tells the kit's tests from others.
    """

    def __init__(self, is_check: Callable[[pytest.Item], bool]) -> None:
        self._is_check = is_check

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        return judged(item, call, (yield), self._is_check)
