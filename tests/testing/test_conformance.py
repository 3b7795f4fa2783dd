"""The kit itself: a sound plugin passes all of it, and every seeded bug is caught by name."""

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import Ability, ProviderConformance, Target
from modelbay.testing.conformance.chat import ChatChecks
from modelbay.testing.conformance.digest import kit_digest
from modelbay.testing.conformance.kit import Kit, OverriddenCheckError
from testing.acme.simulator import target as acme
from testing.seeded_bugs import BUGS, Bug

ACME = Path(__file__).parent / "acme"


class TestAcme(ProviderConformance):
    @pytest.fixture
    def target(self) -> Iterator[Target]:
        with acme() as made:
            yield made


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
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--durations=8",
            "test_broken.py",
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
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
    assert len(checks) >= 128


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


# a check may be overridden only with a reasoned xfail


def _fresh() -> Callable[[Kit], Awaitable[None]]:
    """A check with a body of its own; a mark put on it stays on this one alone."""

    async def check(self: Kit) -> None:
        """A body."""

    return check


@pytest.mark.parametrize(
    "override",
    [
        None,
        _fresh(),
        property(lambda _: None),
        pytest.mark.skip(reason="not now")(_fresh()),
        pytest.mark.xfail(_fresh()),
        pytest.mark.xfail(reason=" ")(_fresh()),
    ],
    ids=("None", "another-body", "no-function", "a-skip", "xfail", "an-empty-reason"),
)
def test_an_override_that_is_no_reasoned_xfail_is_refused(override: object) -> None:
    with pytest.raises(OverriddenCheckError, match="test_answer_is_exact replaces a check"):
        type("TestMine", (ProviderConformance,), {"test_answer_is_exact": override})


@pytest.mark.parametrize("mark", ["skip", "skipif", "xfail"])
def test_a_mark_on_the_whole_class_is_refused(mark: str) -> None:
    marked = getattr(pytest.mark, mark)
    with pytest.raises(OverriddenCheckError, match=f"a mark '{mark}' on the whole class"):
        type("TestMine", (ChatChecks,), {"pytestmark": [marked]})


def test_a_reasoned_xfail_and_checks_of_ones_own_are_allowed() -> None:
    reasoned = pytest.mark.xfail(reason="no counts before 2.0: issue 12")(_fresh())
    mine = type("TestMine", (ChatChecks,), {"test_usage_is_told": reasoned, "test_own": _fresh()})
    assert vars(mine)["test_usage_is_told"] is reasoned


_MINE = """
import pytest
from modelbay.testing.conformance import ProviderConformance
from modelbay.testing.conformance.chat import ChatChecks
from testing.acme.simulator import target as acme

class TestMine({base}):
    @pytest.fixture
    def target(self):
        with acme() as made:
            yield made

    {override}
"""


def _pytest(folder: Path, text: str, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_mine.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_pytest_does_not_collect_a_class_that_deselects_a_check(tmp_path: Path) -> None:
    text = _MINE.format(base="ProviderConformance", override="test_answer_is_exact = None")
    done = _pytest(tmp_path, text)
    assert done.returncode == 2, done.stdout
    assert "OverriddenCheckError: TestMine.test_answer_is_exact replaces a check" in done.stdout
    assert "docs/conformance.md#overriding-a-check" in done.stdout


def test_pytest_prints_the_kits_digest_and_an_xfail_is_one(tmp_path: Path) -> None:
    override = (
        '@pytest.mark.xfail(reason="issue 12")\n    def test_usage_is_told(self): raise ValueError'
    )
    done = _pytest(tmp_path, _MINE.format(base="ChatChecks", override=override))
    assert done.returncode == 0, done.stdout
    assert f"modelbay kit {kit_digest()}\n" in done.stdout
    assert "1 xfailed" in done.stdout


# what a target declares to be missing has to be missing

_FALSE: tuple[tuple[Ability, str], ...] = (
    ("tools", "test_a_declared_lack_is_refused[tools]"),
    ("json_schema", "test_a_declared_lack_is_refused[json_schema]"),
    ("load", "test_a_declared_lack_is_refused[load]"),
    ("embeddings", "test_embeddings_keep_their_order"),
)


def test_a_false_declaration_breaks_a_rule(tmp_path: Path) -> None:
    lies = f"made.cannot = dict.fromkeys({[ability for ability, _ in _FALSE]}, 'a lie')"
    text = _MINE.format(base="ProviderConformance", override="")
    text = text.replace("yield made", f"{lies}\n            yield made")
    done = _pytest(tmp_path, text, "-k", "declared_lack or embeddings_keep")
    for _, check in _FALSE:
        assert f"::TestMine::{check}" in done.stdout
    assert f"{len(_FALSE)} failed" in done.stdout, done.stdout[-2000:]
