"""A provider that strangers wrote: its wheel in a fresh environment, its models, the kit.

Needs the package registry for what modelbay itself depends on, as the other tests here do.
"""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.soak

ROOT = Path(__file__).parents[2]
PARTS = ("core", "cli", "tests/thirdparty")


class Desk:
    """A virtual environment with the wheels of core, cli and Quill, and nothing of the checkout."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.bin = folder / "venv" / "bin"
        self.work = folder / "work"
        self.env = {**env, "HOME": str(folder), "MODELBAY_HOME": str(folder / "home")}
        self.work.mkdir()

    def done(self, *words: str) -> str:
        """Standard output of a command that has to work."""
        ran = subprocess.run(
            [str(self.bin / words[0]), *words[1:]],
            cwd=self.work,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert ran.returncode == 0, f"{words}: {ran.stdout[-2000:]}{ran.stderr[-2000:]}"
        return ran.stdout


@pytest.fixture(scope="module")
def desk(bare_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    for part in PARTS:  # a copy, so that building leaves nothing in the tree
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
        shutil.copytree(ROOT / part, folder / "tree" / part, ignore=ignored)
    subprocess.run(["python3", "-m", "venv", str(folder / "venv")], env=bare_env, check=True)
    made = Desk(folder, bare_env)
    wheels = folder / "wheels"
    trees = [str(folder / "tree" / part) for part in PARTS]
    made.done("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), *trees)
    built = {path.name.split("-")[0]: path for path in wheels.glob("*.whl")}
    assert set(built) == {"modelbay_core", "modelbay_cli", "modelbay_quill"}
    made.done(
        *("pip", "install", "--quiet", str(built["modelbay_core"]), str(built["modelbay_cli"])),
        f"{built['modelbay_quill']}[test]",
    )
    return made


def test_its_models_are_shown(desk: Desk) -> None:
    fake = subprocess.Popen(
        [str(desk.bin / "modelbay"), "fake", "quill", "--port", "0"],
        env={**desk.env, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert fake.stdout is not None
        host = fake.stdout.readline().strip().removeprefix("http://")
        shown = desk.done("modelbay", "-p", f"quill://{host}", "models")
        assert all(pen in shown for pen in ("goose", "raven", "fountain"))
    finally:
        fake.terminate()
        fake.communicate(timeout=20)


def test_it_passes_the_kit_at_gold(desk: Desk) -> None:
    report = desk.work / "quill.json"
    said = desk.done("modelbay", "plugin", "check", "modelbay-quill", "--json", str(report))
    assert said.startswith("quill: gold (")
    document = json.loads(report.read_text())
    assert (document["dist"], document["version"]) == ("modelbay-quill", "0.3.0")
    assert document["counts"]["broken"] == document["counts"]["excused"] == 0
