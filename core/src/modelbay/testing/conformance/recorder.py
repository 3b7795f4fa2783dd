"""A pytest plugin that writes down what became of each check. Loaded by `running` alone."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import cast

import pytest

from modelbay.testing.conformance.digest import announce
from modelbay.testing.conformance.kit import is_check
from modelbay.testing.conformance.report import LEVELS, CheckResult, Level, Verdict, is_part_of
from modelbay.testing.conformance.ruling import DECLARED

_WORST: tuple[Verdict, ...] = ("held", "ruled_out", "excused", "broken")
_REASON_LIMIT = 2000
_SAID = "Failed: "  # what pytest.fail puts before the words of a rule


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("modelbay")
    group.addoption("--modelbay-target", help="the target, as module:function")
    group.addoption("--modelbay-level", choices=LEVELS, help="the level to run")
    group.addoption("--modelbay-results", help="the file for the results, one on a line")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    level = cast(Level, config.getoption("modelbay_level"))
    items[:] = [item for item in items if is_part_of(item.name.partition("[")[0], level)]


class Recorder:
    """Keeps the worst of setup, call and teardown of each check."""

    def __init__(self) -> None:
        self.results: dict[str, CheckResult] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.rpartition("::")[2]
        verdict, reason = _verdict(report)
        before = self.results.get(name, CheckResult(name, "held"))
        if _WORST.index(verdict) < _WORST.index(before.verdict):
            verdict, reason = before.verdict, before.reason
        took_s = before.took_s + report.duration
        self.results[name] = CheckResult(name, verdict, reason or before.reason, took_s)


def pytest_configure(config: pytest.Config) -> None:
    target = str(config.getoption("modelbay_target"))
    try:
        load(target)
    except (Exception, SystemExit) as exc:  # whatever a stranger's module does when imported
        raise pytest.UsageError(f"{target} cannot be loaded: {type(exc).__name__}: {exc}") from exc
    announce(config, is_check)
    config.pluginmanager.register(Recorder(), "modelbay-recorder")


def pytest_sessionfinish(session: pytest.Session) -> None:
    recorder = session.config.pluginmanager.get_plugin("modelbay-recorder")
    path = session.config.getoption("modelbay_results")
    if isinstance(recorder, Recorder) and path:
        rows = [
            json.dumps([r.name, r.verdict, r.reason, r.took_s]) for r in recorder.results.values()
        ]
        Path(path).write_text("\n".join(rows), encoding="utf-8")


def load(target: str) -> Callable[[], AbstractContextManager[object]]:
    """The function that makes the target, from ``module:function``."""
    module, _, name = target.partition(":")
    found: Callable[[], AbstractContextManager[object]] = getattr(import_module(module), name)
    return found


def _verdict(report: pytest.TestReport) -> tuple[Verdict, str]:
    if hasattr(report, "wasxfail"):
        return "excused", str(report.wasxfail)[:_REASON_LIMIT]
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        if crash is None:
            text = report.longreprtext
        elif crash.message.startswith(_SAID):
            text = crash.message.removeprefix(_SAID)
        else:  # an exception, and no rule that says what it saw
            text = f"{crash.message} ({crash.path}:{crash.lineno})"
        return "broken", text[:_REASON_LIMIT]
    if report.skipped:  # a check that is skipped for another reason has failed
        reasons = [str(value) for name, value in report.user_properties if name == DECLARED]
        return ("ruled_out" if reasons else "broken"), " ".join(reasons)[:_REASON_LIMIT]
    return "held", ""
