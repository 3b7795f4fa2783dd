"""The kit itself: a sound plugin passes all of it, and every seeded bug is caught by name."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest

from modelbay.models.provider import ProviderConfig
from modelbay.testing.conformance import Ability, Peculiarity, ProviderConformance, Target
from modelbay.testing.conformance.chat import ChatChecks
from modelbay.testing.conformance.digest import kit_digest
from modelbay.testing.conformance.kit import Kit, OverriddenCheckError
from modelbay.testing.conformance.ruling import DeclaredLack
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


SEEDED = "test_a_seeded_bug_is_caught"


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """The kit run once over the broken plugins asked for, each with the check that catches it."""
    wanted = {
        item.callspec.params["number"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == SEEDED
    }
    folder = tmp_path_factory.mktemp("broken")
    tests = [_HEAD.format(project=str(ACME / "pyproject.toml"))]
    for number, bug in enumerate(BUGS):
        if number not in wanted:
            continue
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
    ("number", "bug"),
    [
        pytest.param(
            number,
            bug,
            id=bug.name.replace(" ", "-"),
            marks=() if number % 4 == 0 else pytest.mark.soak,  # a second each
        )
        for number, bug in enumerate(BUGS)
    ],
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
    with pytest.raises(DeclaredLack, match="declared in the Target: no faults: it is re"):
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


class _Mixed:
    """Mixed in, it comes before the kit."""

    async def test_usage_is_told(self) -> None:
        """Nothing."""


@pytest.mark.parametrize("name", ["rule", "bay", "anyio_backend", "_announced", "_nowhere"])
def test_a_part_of_the_kit_cannot_be_replaced(name: str) -> None:
    with pytest.raises(OverriddenCheckError, match=f"TestMine.{name} replaces a part of the kit"):
        type("TestMine", (ProviderConformance,), {name: lambda self: None})
    mixin = type("Mixin", (), {name: lambda self: None})
    with pytest.raises(OverriddenCheckError, match=f"TestMine.{name} replaces a part of the kit"):
        type("TestMine", (mixin, ProviderConformance), {})


def test_an_override_that_is_mixed_in_is_refused() -> None:
    with pytest.raises(OverriddenCheckError, match="test_usage_is_told replaces a check"):
        type("TestMine", (_Mixed, ProviderConformance), {})
    with pytest.raises(OverriddenCheckError, match="test_answer_is_exact replaces a check"):
        type("TestMine", (type("M", (), {"test_answer_is_exact": None}), ChatChecks), {})
    marked = type("M", (), {"pytestmark": [pytest.mark.skip]})
    with pytest.raises(OverriddenCheckError, match="a mark 'skip' on the whole class"):
        type("TestMine", (marked, ChatChecks), {})


def test_a_limit_and_the_target_may_be_mixed_in() -> None:
    mixin = type("Mixin", (), {"target": None, "patience_s": 5.0, "shape": "classic"})
    assert type("TestMine", (mixin, ChatChecks), {}).__mro__[1] is mixin


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

SHOWN: tuple[Ability, ...] = (
    *("address", "faults", "requests", "streams", "loads", "second", "metadata", "usage"),
    *("text", "reasoning", "tools", "json_schema", "embeddings"),
)

_FALSE: tuple[tuple[Ability, str], ...] = (
    *((ability, f"test_a_declared_lack_is_no_pretext[{ability}]") for ability in SHOWN),
    ("tools", "test_a_declared_lack_is_refused[tools]"),
    ("json_schema", "test_a_declared_lack_is_refused[json_schema]"),
    ("load", "test_a_declared_lack_is_refused[load]"),
    ("embeddings", "test_embeddings_keep_their_order"),
)


def test_a_false_declaration_breaks_a_rule(tmp_path: Path) -> None:
    lies = f"made.cannot = dict.fromkeys({[ability for ability, _ in _FALSE]}, 'a lie')"
    done = _pytest(tmp_path, _with(lies), "-k", "declared_lack or embeddings_keep")
    failed = sorted(re.findall(r"^FAILED test_mine.py::TestMine::(\S+)", done.stdout, re.M))
    assert failed == sorted(check for _, check in _FALSE)


def test_a_usage_that_comes_belies_a_target_without_counts(tmp_path: Path) -> None:
    lies = "made.cannot, made.counts = {'usage': 'it cannot count'}, None"
    done = _pytest(tmp_path, _with(lies), "-k", "no_pretext and usage")
    assert "'usage' is declared to be missing, and it told Usage(" in done.stdout


def test_a_declaration_without_a_reason_breaks_a_rule(tmp_path: Path) -> None:
    done = _pytest(tmp_path, _with("made.cannot = {'images': 'x'}"), "-k", "declaration_says_why")
    assert "no reason for ['images']" in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize("case", get_args(Peculiarity))
def test_a_declared_difference_that_is_none_breaks_a_rule(differing: str, case: str) -> None:
    assert f"it keeps to the rule; declared in Target.differs: '{case}'" in differing


@pytest.fixture(scope="session")
def differing(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the kit says of a plugin that keeps to every rule and declares otherwise."""
    lies = f"made.differs = dict.fromkeys({get_args(Peculiarity)}, 'a lie')"
    words = "prompt_reaches or who_said or besides or asked_again or path_of or as_one or nobody"
    folder = tmp_path_factory.mktemp("differing")
    return _pytest(folder, _with(lies), "-k", f"{words} or writes_no_file").stdout


def test_a_number_that_is_declared_and_not_sent_breaks_a_rule(tmp_path: Path) -> None:
    done = _pytest(tmp_path, _with("made.adds = {'top_k': 'a lie'}"), "-k", "no_number")
    assert "declared in Target.adds, and not sent: ['top_k']" in done.stdout


def _with(change: str) -> str:
    """A test class whose target is changed before it is used."""
    text = _MINE.format(base="ProviderConformance", override="")
    return text.replace("yield made", f"{change}\n            yield made")


# only a declaration rules a check out


@pytest.mark.parametrize("reason", ["not today", "declared in the Target: no faults: a lie"])
def test_a_target_that_skips_breaks_every_check(tmp_path: Path, reason: str) -> None:
    done = _pytest(tmp_path, _with(f"pytest.skip({reason!r})"), "-k", "ChatChecks or answer_is")
    assert done.returncode == 1, done.stdout
    assert f"skipped, and no declaration rules it out: {reason}" in done.stdout
    assert "skipped" not in done.stdout.splitlines()[-1]


def test_a_target_that_raises_the_kits_own_skip_breaks_every_check(tmp_path: Path) -> None:
    change = "raise __import__('modelbay.testing.conformance.ruling', fromlist='x').DeclaredLack"
    done = _pytest(tmp_path, _with(f"{change}('a lie')"), "-k", "answer_is")
    assert done.returncode == 1, done.stdout
    assert "skipped, and no declaration rules it out: a lie" in done.stdout


def test_a_target_cannot_decide_what_is_checked() -> None:
    with pytest.raises(TypeError, match=r"Mine\.require decides what is checked"):
        type("Mine", (Target,), {"require": lambda *_: None})
