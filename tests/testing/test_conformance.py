"""The kit itself: a sound plugin passes all of it, and every seeded bug is caught by name."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import ProviderConformance, Target
from testing.acme.simulator import AcmeSimulator, acme_target
from testing.seeded_bugs import BUGS, Bug

ACME = Path(__file__).parent / "acme"


class TestAcme(ProviderConformance):
    @pytest.fixture
    def target(self) -> Iterator[Target]:
        with AcmeSimulator() as simulator, AcmeSimulator("I am the other one.") as other:
            yield acme_target(simulator, other, "testing.acme.plugin")


class Report(dict[str, list[tuple[str, str, str]]]):
    """By class: check, outcome, and what the check said."""


_TEST = """
class Test{number}(Broken):
    caught_by = "{caught_by}"
    plugin = "{module}"
"""
_HEAD = """
import pytest
from modelbay.testing.conformance import ProviderConformance
from testing.acme.simulator import AcmeSimulator, acme_target

class Broken(ProviderConformance):
    @pytest.fixture
    def target(self):
        with AcmeSimulator() as simulator, AcmeSimulator("I am the other one.") as other:
            yield acme_target(simulator, other, self.plugin, {project!r})
"""
_CONFTEST = """
import json

def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if item.originalname == item.cls.caught_by]

def pytest_runtest_logreport(report):
    if report.when == "call":
        cls, check = report.nodeid.split("::")[1:]
        with open("report.jsonl", "a") as file:
            json.dump([cls, check, report.outcome, report.longreprtext], file)
            file.write("\\n")
"""


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The kit run once over all broken plugins, each with the check that has to catch it."""
    folder = tmp_path_factory.mktemp("broken")
    tests = [_HEAD.format(project=str(ACME / "pyproject.toml"))]
    for number, bug in enumerate(BUGS):
        module = f"broken_{number}"
        (folder / f"{module}.py").write_text(bug.source(), encoding="utf-8")
        tests.append(_TEST.format(number=number, caught_by=bug.caught_by, module=module))
    (folder / "test_broken.py").write_text("\n".join(tests), encoding="utf-8")
    (folder / "conftest.py").write_text(_CONFTEST, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    path = os.pathsep.join([str(folder), *(entry for entry in sys.path if entry)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_broken.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-1000:]
    found = Report()
    for line in (folder / "report.jsonl").read_text(encoding="utf-8").splitlines():
        cls, check, outcome, text = json.loads(line)
        found.setdefault(cls, []).append((check, outcome, text))
    return found


@pytest.mark.parametrize(
    ("number", "bug"), list(enumerate(BUGS)), ids=[bug.name.replace(" ", "-") for bug in BUGS]
)
def test_a_seeded_bug_is_caught(report: Report, number: int, bug: Bug) -> None:
    runs = report[f"Test{number}"]
    failed = [text for _, outcome, text in runs if outcome == "failed"]
    assert failed, f"{bug.caught_by} let it pass: {runs}"
    # By its rule, that is: not by falling over something else.
    assert any(bug.caught_by in text and "seen:" in text for text in failed), failed[0]


def test_every_check_has_a_rule_and_a_place_to_read() -> None:
    checks = [name for name in dir(ProviderConformance) if name.startswith("test_")]
    without = [name for name in checks if not getattr(ProviderConformance, name).__doc__]
    assert without == []
    assert len(checks) >= 40


def test_what_is_not_written_must_be_declared() -> None:
    config = ProviderConfig(id="desk", kind="acme", base_url="http://127.0.0.1:9")
    target = Target(plugin="testing.acme.plugin", config=config, model="tiny")
    with pytest.raises(NotImplementedError, match=r"cannot=\{'streams': 'why not'\}"):
        target.open_streams()


def test_a_declared_lack_skips_with_its_reason() -> None:
    config = ProviderConfig(id="desk", kind="acme", base_url="http://127.0.0.1:9")
    target = Target(
        plugin="testing.acme.plugin", config=config, model="tiny", cannot={"faults": "it is real"}
    )
    with pytest.raises(pytest.skip.Exception, match="declared in the Target: no faults: it is re"):
        target.require("requests", "faults")
    target.clear()
