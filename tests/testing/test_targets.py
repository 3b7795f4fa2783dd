"""Every plugin of ours can be checked by whoever has installed it: `modelbay plugin check`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelbay.testing.conformance import Target
from modelbay.testing.conformance.recorder import load
from modelbay_cli.checking import find_target

PLUGINS = {
    "modelbay-deepseek": "deepseek",
    "modelbay-llamacpp": "llamacpp",
    "modelbay-llamaswap": "llama-swap",
    "modelbay-ollama": "ollama",
    "modelbay-openai": "openai",
}

KINDS = {**PLUGINS, "modelbay-embedded": "embedded"}


@pytest.mark.parametrize(("dist", "kind"), PLUGINS.items())
def test_an_installed_plugin_of_ours_names_its_target(dist: str, kind: str) -> None:
    found, name, target = find_target(dist)
    assert (found.name, name) == (dist, kind)
    with load(target)() as made:
        assert isinstance(made, Target)
        assert made.config.kind == kind


@pytest.mark.parametrize("word", ["llamacpp", "llama.cpp"])
def test_every_spelling_of_a_kind_finds_its_target(word: str) -> None:
    assert find_target(word)[1] == "llamacpp"


@pytest.mark.real
def test_the_embedded_engine_names_its_target() -> None:
    _, kind, target = find_target("modelbay-embedded")
    with load(target)() as made:
        assert isinstance(made, Target)
        assert made.config.kind == kind == "embedded"


QUICK = "modelbay-ollama"  # one in every run; a soak for each


@pytest.mark.parametrize(
    "dist",
    [
        *(pytest.param(d, marks=() if d == QUICK else pytest.mark.soak) for d in PLUGINS),
        pytest.param("modelbay-embedded", marks=(pytest.mark.soak, pytest.mark.real)),
    ],
)
def test_every_plugin_of_ours_is_gold_by_the_command(dist: str, tmp_path: Path) -> None:
    level = "gold"
    report = tmp_path / "report.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "modelbay_cli", "plugin", "check", dist),
            *("--level", level, "--json", str(report)),
        ],
        env={**os.environ, "MODELBAY_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{KINDS[dist]}: {level} (")
    document = json.loads(report.read_text())
    assert (document["dist"], document["level"]) == (dist, level)
    assert document["counts"]["broken"] == document["counts"]["excused"] == 0


def test_no_plugin_of_ours_is_left_out() -> None:
    ours = Path(__file__).parents[2].glob("plugins/*/pyproject.toml")
    tested = {f"modelbay-{p.parent.name}" for p in ours if "modelbay.targets" in p.read_text()}
    assert set(KINDS) == tested
