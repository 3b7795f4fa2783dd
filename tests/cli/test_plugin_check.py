"""Mirrors modelbay_cli/checking.py: the kit on an installed plugin, its report and its badge."""

import json
import sys
from pathlib import Path

import pytest

from cli.conftest import Installation, Invoke
from modelbay.testing.conformance.report import kit_digest
from modelbay_cli.scaffold import plugin_name, write

POINTS = (
    "[modelbay]\nacme = modelbay_acme.plugin\n"
    "[modelbay.targets]\nacme = modelbay_acme.target:target\n"
)


@pytest.fixture
def acme(installation: Installation, tmp_path: Path) -> Path:
    """The scaffold's native plugin, installed; the result is the folder of its package."""
    write(plugin_name("acme"), "native", tmp_path / "new")
    info = installation.packages / "modelbay_acme-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: modelbay-acme\nVersion: 1.0\n"
        "Requires-Dist: modelbay-core<1,>=0.1\n"
    )
    (info / "entry_points.txt").write_text(POINTS)
    package = installation.packages / "modelbay_acme"
    (tmp_path / "new" / "src" / "modelbay_acme").rename(package)
    return package


@pytest.mark.soak
def test_a_sound_plugin_is_gold_by_kind_and_by_distribution(
    acme: Path, invoke: Invoke, tmp_path: Path
) -> None:
    file, badge = tmp_path / "report.json", tmp_path / "badge.svg"
    done = invoke("plugin", "check", "acme", "--json", str(file), "--badge", str(badge))
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("acme: gold (")
    assert done.stderr == "running the kit on acme (modelbay-acme 1.0)\n"
    document = json.loads(file.read_text())
    assert (document["level"], document["kit"]) == ("gold", kit_digest())
    assert (document["dist"], document["version"]) == ("modelbay-acme", "1.0")
    assert "gold" in badge.read_text()
    assert "modelbay_acme" not in sys.modules  # the plugin ran in a process of its own

    done = invoke("plugin", "check", "Modelbay_Acme", "--level", "bronze", "--json", "-")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert (document["asked"], document["level"], document["kind"]) == ("bronze", "bronze", "acme")


def test_a_broken_rule_is_told_and_fails_the_command(acme: Path, invoke: Invoke) -> None:
    plugin = acme / "plugin.py"
    source = plugin.read_text()
    assert "exc.partial = partial" in source
    plugin.write_text(source.replace("exc.partial = partial", "pass"))
    done = invoke("plugin", "check", "acme", "--level", "silver")
    assert done.exit_code == 1
    assert "broken: test_a_missing_end_is_an_error (interruption)\n" in done.stdout
    assert "  read: modelbay/errors.py" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("acme: bronze (")


def test_a_plugin_that_cannot_be_imported_is_named(acme: Path, invoke: Invoke) -> None:
    (acme / "target.py").write_text("raise RuntimeError('boom')")
    done = invoke("plugin", "check", "acme")
    assert done.exit_code == 1
    assert "modelbay_acme.target:target cannot be loaded: RuntimeError: boom" in done.stderr


def test_a_plugin_without_a_target_is_told_how_to_have_one(invoke: Invoke) -> None:
    done = invoke("plugin", "check", "fake")
    assert done.exit_code == 1
    assert "modelbay-fake does not say how 'fake' is tested" in done.stderr
    assert 'modelbay.targets: fake = "MODULE:FUNCTION"' in done.stderr


@pytest.mark.parametrize("name", ["nobody", "pytest", "modelbay-core"])
def test_what_is_no_plugin_cannot_be_checked(name: str, invoke: Invoke) -> None:
    done = invoke("plugin", "check", name)
    assert (done.exit_code, f"no plugin '{name}' is installed" in done.stderr) == (1, True)


def test_without_pytest_the_command_says_what_to_install(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = invoke("plugin", "check", "fake")
    assert done.exit_code == 1
    assert "hint: modelbay plugin install pytest anyio\n" in done.stderr


def test_a_missing_test_library_is_named_with_the_extra_that_has_it(
    acme: Path, installation: Installation, invoke: Invoke
) -> None:
    metadata = installation.packages / "modelbay_acme-1.0.dist-info" / "METADATA"
    text = metadata.read_text() + "Provides-Extra: trying\n"
    metadata.write_text(f'{text}Requires-Dist: no_such.kit>=1; extra == "trying"\n')
    (acme / "target.py").write_text("import no_such_kit.files")
    done = invoke("plugin", "check", "acme")
    assert done.exit_code == 1
    assert "the target of modelbay-acme needs no_such_kit, which is not installed" in done.stderr
    assert f'{sys.executable} -m pip install "modelbay-acme[trying]"' in done.stderr


def test_a_missing_library_of_no_extra_is_installed_by_its_name(acme: Path, invoke: Invoke) -> None:
    (acme / "target.py").write_text("import no_such_kit")
    done = invoke("plugin", "check", "acme")
    assert "modelbay plugin install no-such-kit" in done.stderr


@pytest.mark.parametrize("option", ["--json", "--badge"])
def test_a_report_that_cannot_be_written_is_refused_before_the_kit_runs(
    acme: Path, invoke: Invoke, tmp_path: Path, option: str
) -> None:
    (acme / "target.py").write_text("raise RuntimeError('the kit ran')")
    folder = tmp_path / "no such folder"
    done = invoke("plugin", "check", "acme", option, str(folder / "report"))
    assert done.exit_code != 0
    assert f"there is no folder {folder}" in done.stderr
    assert f"mkdir -p '{folder}'" in done.stderr
    assert "the kit ran" not in done.output + done.stderr
