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


@pytest.mark.parametrize(
    ("dist", "level"), [("modelbay-ollama", "gold"), ("modelbay-openai", "silver")]
)
def test_the_command_runs_the_kit_on_an_installed_plugin(
    dist: str, level: str, tmp_path: Path
) -> None:
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
    assert done.stdout.startswith(f"{PLUGINS[dist]}: {level} (")
    document = json.loads(report.read_text())
    assert (document["dist"], document["level"]) == (dist, level)
    assert document["counts"]["broken"] == document["counts"]["excused"] == 0
