"""Mirrors conformance/report.py, recorder.py, running.py and soak.py: levels, JSON and badge."""

import json
import os
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import get_args

import pytest

from modelbay.errors import PluginError
from modelbay.testing.conformance import Ability, ProviderConformance
from modelbay.testing.conformance.document import document
from modelbay.testing.conformance.report import (
    GROUPS,
    LEVELS,
    CheckResult,
    Level,
    Report,
    Verdict,
    checks_of,
    group_name,
    group_of,
    is_part_of,
    kit_digest,
)
from modelbay.testing.conformance.running import run_kit
from modelbay.testing.conformance.soak import SoakChecks

ALL = {level: [c for g in GROUPS[level] for c in checks_of(g)] for level in LEVELS}

TARGET = """
from contextlib import contextmanager
from testing.acme.simulator import AcmeSimulator, acme_target
import {plugin}

@contextmanager
def target():
    with AcmeSimulator() as simulator, AcmeSimulator("I am the other one.") as other:
        yield acme_target(simulator, other, "{plugin}", {project!r})

@contextmanager
def nothing():
    yield None
"""
ROOT = Path(__file__).parents[2]
ACME = Path(__file__).parent / "acme"


def report(asked: Level = "gold", **verdicts: Verdict) -> Report:
    """A report in which every check holds but those named."""
    results = [
        CheckResult(name, verdicts.get(name, "held"), "why" if name in verdicts else "")
        for level in LEVELS
        for name in ALL[level]
        if is_part_of(name, asked)
    ]
    return Report("acme", "modelbay-acme", "1.0", asked, tuple(results), "0" * 16, "0.1.0")


def test_every_check_of_the_kit_belongs_to_one_level() -> None:
    kit = {name for name in dir(ProviderConformance) if name.startswith("test_")}
    listed = [name for level in LEVELS for name in ALL[level]]
    assert len(listed) == len(set(listed))
    assert set(listed) == kit | set(checks_of(SoakChecks))
    assert len(kit) >= 128


def test_levels_grow_to_about_the_promised_size() -> None:
    sizes = [sum(len(ALL[one]) for one in LEVELS[: at + 1]) for at in range(len(LEVELS))]
    assert sizes[0] >= 60
    assert sizes[1] >= 96
    assert sizes[2] >= 129


# What authors were promised: checks by theme, and the groups that are about it.
PROMISED = {
    "packaging and metadata": (10, ["packaging"]),
    "declarations": (2, ["declaration"]),
    "prompts": (10, ["prompt"]),
    "discovery": (14, ["discovery"]),
    "capabilities": (12, ["capability"]),
    "chat": (8, ["chat"]),
    "streaming": (20, ["stream", "interruption"]),
    "tools and reasoning": (10, ["tool", "reasoning", "feature"]),
    "errors": (12, ["error"]),
    "management": (14, ["management"]),
    "deadlines and cancellation": (8, ["deadline", "closing"]),
    "images and embeddings": (6, ["media"]),
    "security and hygiene": (10, ["secrecy", "isolation", "hygiene"]),
    "performance": (4, ["performance"]),
}


@pytest.mark.parametrize("theme", PROMISED)
def test_every_theme_has_the_promised_number_of_checks(theme: str) -> None:
    promised, groups = PROMISED[theme]
    sizes = {group_name(g): len(checks_of(g)) for level in LEVELS for g in GROUPS[level]}
    assert sum(sizes[name] for name in groups) >= promised


def test_every_group_has_a_theme() -> None:
    themed = sorted(name for _, groups in PROMISED.values() for name in groups)
    names = sorted(group_name(g) for level in LEVELS for g in GROUPS[level])
    assert sorted([*themed, "soak"]) == names


def test_groups_are_called_after_their_classes() -> None:
    assert group_of("test_answer_is_exact") == "chat"
    assert group_of("test_two_hundred_turns_are_alike") == "soak"
    assert group_of("test_of_the_author") == "own"
    names = [group_name(group) for level in LEVELS for group in GROUPS[level]]
    assert len(names) == len(set(names)) == 21


@pytest.mark.parametrize("asked", LEVELS)
def test_a_level_is_reached_when_all_its_checks_hold(asked: Level) -> None:
    found = report(asked)
    assert (found.level, found.passed) == (asked, True)


@pytest.mark.parametrize(
    ("check", "reached"),
    [
        ("test_answer_is_exact", None),
        ("test_a_reset_is_an_error", "bronze"),
        ("test_idle_timeout_is_kept", "silver"),
    ],
)
@pytest.mark.parametrize("verdict", ["broken", "excused"])
def test_one_check_that_does_not_hold_takes_its_level(
    check: str, reached: Level | None, verdict: Verdict
) -> None:
    found = report("gold", **{check: verdict})
    assert (found.level, found.passed) == (reached, False)
    assert found.missing(LEVELS[0 if reached is None else LEVELS.index(reached) + 1]) == (check,)


def test_a_check_that_is_ruled_out_counts_as_held() -> None:
    assert report("gold", test_a_schema_holds="ruled_out").level == "gold"


def test_a_check_that_was_not_run_does_not_count() -> None:
    whole = report("gold")
    results = tuple(r for r in whole.results if r.name != "test_answer_is_exact")
    found = Report("acme", "d", "1", "gold", results, "0", "0")
    assert (found.level, found.missing("bronze")) == (None, ("test_answer_is_exact",))


def test_one_set_of_parameters_that_breaks_is_enough() -> None:
    whole = report("gold")
    more = (CheckResult("test_a_cut_is_an_error_with_the_partial_text[7]", "broken"),)
    found = Report("acme", "d", "1", "gold", whole.results + more, "0", "0")
    assert found.level == "bronze"


def test_json_holds_every_check_and_the_kits_digest() -> None:
    document = json.loads(json.dumps(report("silver", test_a_reset_is_an_error="broken").as_json()))
    checks = document.pop("checks")
    assert document == {
        "schema": 1,
        "kind": "acme",
        "dist": "modelbay-acme",
        "version": "1.0",
        "core": "0.1.0",
        "kit": "0" * 16,
        "asked": "silver",
        "level": "bronze",
        "counts": {"held": len(checks) - 1, "broken": 1, "ruled_out": 0, "excused": 0},
        "missing": {"bronze": [], "silver": ["test_a_reset_is_an_error"]},
        "badge": {
            "schemaVersion": 1,
            "label": "modelbay",
            "message": "bronze",
            "color": "b0703c",
        },
    }
    assert {c["name"] for c in checks} == {*ALL["bronze"], *ALL["silver"]}
    assert [c for c in checks if c["verdict"] == "broken"] == [
        {
            "name": "test_a_reset_is_an_error",
            "group": "interruption",
            "verdict": "broken",
            "reason": "why",
            "took_s": 0.0,
        }
    ]


@pytest.mark.parametrize(
    ("found", "message"),
    [(report(), "gold"), (report("gold", test_answer_is_exact="broken"), "not yet")],
)
def test_the_badge_is_an_image_that_says_the_level(found: Report, message: str) -> None:
    root = ET.fromstring(found.as_svg())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["modelbay", message]
    assert root.attrib["aria-label"] == f"modelbay: {message}"


def test_the_digest_names_this_kit() -> None:
    assert len(kit_digest()) == 16
    assert int(kit_digest(), 16) >= 0
    assert kit_digest() == kit_digest()


# the kit itself, in another process


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    path = os.pathsep.join([str(tmp_path), *(str(Path(e).resolve()) for e in sys.path if e)])
    return {**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": "--collect-only"}


def put(
    folder: Path,
    plugin: str = "testing.acme.plugin",
    project: Path = ACME / "pyproject.toml",
) -> None:
    (folder / "acme_kit.py").write_text(TARGET.format(plugin=plugin, project=str(project)))


def run(folder: Path, env: dict[str, str], level: Level, *changes: tuple[str, str]) -> Report:
    """The report on the sample plugin with pieces of its source replaced."""
    source = (ACME / "plugin.py").read_text()
    for before, after in changes:
        assert before in source
        source = source.replace(before, after)
    (folder / "acme_changed.py").write_text(source)
    project = folder / "pyproject.toml"
    text = (ACME / "pyproject.toml").read_text()
    project.write_text(text.replace("testing.acme.plugin", "acme_changed"))
    put(folder, "acme_changed", project)
    results = run_kit("acme_kit:target", level, env)
    return Report("acme", "modelbay-acme", "1.0", level, results, kit_digest(), "0.1.0")


@pytest.mark.soak
def test_a_sound_plugin_is_gold(tmp_path: Path, env: dict[str, str]) -> None:
    put(tmp_path)
    results = run_kit("acme_kit:target", "gold", env)
    found = Report("acme", "modelbay-acme", "1.0", "gold", results, kit_digest(), "0.1.0")
    assert [r for r in found.results if r.verdict in ("broken", "excused")] == []
    assert found.level == "gold"
    assert {r.check for r in found.results} == {name for level in LEVELS for name in ALL[level]}
    assert all(r.reason for r in found.results if r.verdict == "ruled_out")


def test_a_broken_plugin_gets_the_level_below(tmp_path: Path, env: dict[str, str]) -> None:
    found = run(tmp_path, env, "silver", ("exc.partial = decoder.partial", "pass"))
    assert (found.level, found.passed) == ("bronze", False)
    broken = [r for r in found.results if r.verdict == "broken"]
    assert broken
    assert {r.group for r in broken} <= {"interruption"}
    assert all("read: " in r.reason for r in broken)
    assert {r.check for r in found.results} == {*ALL["bronze"], *ALL["silver"]}


@pytest.mark.soak
def test_what_grows_with_every_turn_is_found(tmp_path: Path, env: dict[str, str]) -> None:
    found = run(
        tmp_path,
        env,
        "gold",
        ("DIALECT = Dialect()", "DIALECT = Dialect()\n\nclass Kept:\n    all = []\n"),
        (
            "    encoded = encode_chat(",
            "    Kept.all.append(bytearray(4_000))\n    encoded = encode_chat(",
        ),
    )
    broken = [r for r in found.results if r.verdict == "broken"]
    assert [r.name for r in broken] == ["test_two_hundred_turns_are_alike"]
    assert "KB more after 200 turns" in broken[0].reason
    assert found.level == "silver"


@pytest.mark.soak
@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("acme_kit:nowhere", "cannot be loaded: AttributeError"),
        ("no_such_module:target", "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_a_target_that_cannot_be_loaded_is_an_error(
    target: str, why: str, tmp_path: Path, env: dict[str, str]
) -> None:
    put(tmp_path)
    with pytest.raises(PluginError, match=why):
        run_kit(target, "bronze", env)


@pytest.mark.soak
def test_a_target_that_is_none_breaks_every_check(tmp_path: Path, env: dict[str, str]) -> None:
    put(tmp_path)
    results = run_kit("acme_kit:nothing", "bronze", env)
    assert {(r.verdict, r.reason) for r in results} == {
        ("broken", "the target is NoneType, no Target")
    }


def test_the_page_of_rules_is_the_one_the_checks_give() -> None:
    written = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")
    assert written == document(), (
        "python -m modelbay.testing.conformance.document > docs/conformance.md"
    )
    for level in LEVELS:
        for name in ALL[level]:
            assert f"| `{name}` | " in written


def test_the_page_of_rules_explains_every_ability() -> None:
    assert all(f"| `{ability}` | " in document() for ability in get_args(Ability))
