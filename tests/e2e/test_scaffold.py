"""A stranger's afternoon in a minute: a fresh environment, a new plugin of each sort, the kit.

Needs the package registry for what modelbay itself depends on, as the other tests here do.
"""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
PARTS = ("core", "cli", "plugins/openai")
PLUGINS = (("acme", "openai"), ("zenith", "native"))
# The scaffold's simulator at its usual address, until standard input ends.
SERVER = """
import sys
from {package}.simulator import demo
with demo():
    print("ready", flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment outside the tree with the wheels of core, cli and the OpenAI plugin."""

    bin: Path
    work: Path
    env: dict[str, str]

    def run(self, *words: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.bin / words[0]), *words[1:]],
            cwd=self.work,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def done(self, *words: str) -> str:
        """Standard output of a command that has to work."""
        ran = self.run(*words)
        assert ran.returncode == 0, f"{words}: {ran.stdout[-2000:]}{ran.stderr[-2000:]}"
        return ran.stdout

    def listed(self) -> dict[str, dict[str, object]]:
        rows = json.loads(self.done("modelbay", "plugin", "list", "--json"))
        return {row["kind"]: row for row in rows}


@pytest.fixture(scope="module")
def fresh(bare_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("fresh")
    for part in PARTS:  # a copy, so that building leaves nothing in the tree
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
        shutil.copytree(ROOT / part, folder / "tree" / part, ignore=ignored)
    env = {**bare_env, "HOME": str(folder), "MODELBAY_HOME": str(folder / "home")}
    subprocess.run(["python3", "-m", "venv", str(folder / "venv")], env=env, check=True)
    work = folder / "work"
    work.mkdir()
    made = Environment(folder / "venv" / "bin", work, env)
    parts = [f"{folder}/tree/{part}" for part in PARTS]
    wheels = folder / "wheels"
    made.done("pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), *parts)
    made.done("pip", "install", "--quiet", *map(str, sorted(wheels.iterdir())))
    return made


@pytest.mark.parametrize(("name", "style"), PLUGINS)
def test_a_new_plugin_is_found_and_green_after_three_commands(
    fresh: Environment, name: str, style: str
) -> None:
    fresh.done("modelbay", "plugin", "new", name, "--kind", style)
    fresh.done("modelbay", "plugin", "install", "-e", f"./modelbay-{name}[test]")
    report = fresh.work / f"{name}.json"
    checked = fresh.done("modelbay", "plugin", "check", name, "--json", str(report))

    assert checked.startswith(f"{name}: gold (")
    assert json.loads(report.read_text())["level"] == "gold"
    row = fresh.listed()[name]
    assert (row["state"], row["dist"], row["wished"]) == ("ok", f"modelbay-{name}", True)
    assert (row["code"], row["reason"]) == ("", "")
    assert row["api_range"] == "<1,>=0.1"
    own = fresh.run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"./modelbay-{name}")
    assert own.returncode == 0, own.stdout[-2000:]


@pytest.mark.parametrize(("name", "style"), PLUGINS)
def test_models_shows_the_models_of_a_new_plugin(fresh: Environment, name: str, style: str) -> None:
    fake = subprocess.Popen(
        [str(fresh.bin / "modelbay"), "fake", name, "--port", "0"],
        env={**fresh.env, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert fake.stdout is not None
        host = fake.stdout.readline().strip().removeprefix("http://")
        shown = fresh.done("modelbay", "-p", f"{name}://{host}", "models")
        assert "talker" in shown
    finally:
        fake.terminate()
        fake.communicate(timeout=20)


@pytest.mark.parametrize(("name", "style"), [("nova", "openai"), ("vega", "native")])
def test_models_shows_a_new_plugin_at_the_third_command(
    fresh: Environment, name: str, style: str
) -> None:
    """New, install, models: the server is one that runs at the usual address of its kind."""
    package = f"modelbay_{name}"
    commands = [
        ("modelbay", "plugin", "new", name, "--kind", style),
        ("modelbay", "plugin", "install", "-e", f"./modelbay-{name}"),
        ("modelbay", "models", "--json"),
    ]
    fresh.done(*commands[0])
    server = subprocess.Popen(
        [str(fresh.bin / "python"), "-c", SERVER.format(package=package)],
        env={**fresh.env, "PYTHONPATH": str(fresh.work / f"modelbay-{name}" / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        fresh.done(*commands[1])
        listed = json.loads(fresh.done(*commands[2]))["providers"]
        shown = {one["id"]: [model["id"] for model in one["models"]] for one in listed}
        assert f"{name}/talker" in shown[name]
    finally:
        server.communicate(timeout=20)  # it ends with its standard input
    fresh.done("modelbay", "plugin", "uninstall", name)


def test_a_first_party_plugin_can_be_neither_written_nor_replaced(fresh: Environment) -> None:
    for name in ("openai", "OpenAI", "modelbay_openai"):
        refused = fresh.run("modelbay", "plugin", "new", name)
        assert (refused.returncode, "taken by modelbay-openai" in refused.stderr) == (2, True)
    assert not (fresh.work / "modelbay-openai").exists()
    assert fresh.listed()["openai"]["state"] == "ok"


def test_a_plugin_that_breaks_is_listed_and_removed(fresh: Environment) -> None:
    folder = fresh.work / "modelbay-acme" / "src" / "modelbay_acme"
    (folder / "plugin.py").write_text("raise RuntimeError('broken on purpose')\n")

    found = fresh.listed()
    assert (found["acme"]["state"], found["acme"]["code"]) == ("broken", "plugin_broken")
    assert "broken on purpose" in str(found["acme"]["reason"])
    assert found["zenith"]["state"] == "ok"

    assert "modelbay-acme is removed" in fresh.done("modelbay", "plugin", "uninstall", "acme")
    assert set(fresh.listed()) == {"openai", "zenith"}


def test_sync_brings_back_what_a_new_environment_lost(fresh: Environment) -> None:
    fresh.done("python", "-m", "pip", "uninstall", "--quiet", "-y", "modelbay-zenith")
    rows = json.loads(fresh.done("modelbay", "plugin", "list", "--json"))
    missing = [row["dist"] for row in rows if row["state"] == "missing"]
    assert missing == ["modelbay-zenith"]

    fresh.done("modelbay", "plugin", "sync")

    assert fresh.listed()["zenith"]["state"] == "ok"
