"""One plugin broken in each of many ways: all others work, and the program says what and why.

The plugins are real distributions in a virtual environment of their own, and every command is a
process of its own. The environment sees the packages of the one that runs the tests.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import importlib_metadata
import pytest

pytestmark = pytest.mark.soak

ROOT = Path(__file__).parents[2]
FAKE = ROOT / "tests" / "cli" / "fake_backend.py"

SOUND = """
from modelbay.hookspecs import hookimpl
from modelbay.models.capabilities import CapabilityTable

@hookimpl
def capabilities():
    return CapabilityTable()

@hookimpl
async def discover_models(provider):
    return []

@hookimpl
async def stream_chat(provider, request, model):
    raise NotImplementedError
    yield

@hookimpl
def manage(provider, action):
    raise NotImplementedError
"""

WAIT = "threading.main_thread().join"  # the program's end is the thread's


@dataclass(frozen=True, slots=True)
class Way:
    """One way to be broken, and what is said of it.

    Attributes:
        source: The plugin's module.
        dist: The plugin's distribution.
        code: The diagnosis.
        reason: Words of what is said.
        fix: The first words of what is to be typed.
    """

    source: str
    code: str
    reason: str
    fix: str = "modelbay plugin upgrade modelbay-zeta"
    state: str = "broken"
    kind: str = "zeta"
    dist: str = "modelbay-zeta"
    requires: Sequence[str] = ("modelbay-core>=0.1",)


WAYS: Mapping[str, Way] = {
    "import error": Way(
        "from os import nothing_of_that_name",
        "plugin_broken",
        "ImportError: cannot import name 'nothing_of_that_name'",
    ),
    "syntax error": Way("def broken(:\n", "plugin_broken", "SyntaxError: "),
    "exit": Way("import sys\nsys.exit(3)", "plugin_broken", "SystemExit: 3"),
    "slow": Way(
        f"import time\ntime.sleep(3)\n{SOUND}",
        "plugin_slow",
        "its import took 3.",
        fix="export MODELBAY_DISABLE=",
        state="ok",
    ),
    "wrong signature": Way(
        SOUND.replace("stream_chat(provider, request, model)", "stream_chat(provider, prompt)"),
        "plugin_mismatch",
        "prompt",
    ),
    "missing hook": Way(
        SOUND.replace("@hookimpl\ndef manage", "def manage"), "plugin_mismatch", "lacks manage"
    ),
    "duplicate kind": Way(
        SOUND,
        "kind_duplicate",
        "the kind 'fake' of modelbay-zeta is taken by modelbay-fake",
        fix="modelbay plugin uninstall modelbay-zeta",
        state="duplicate",
        kind="fake",
    ),
    "duplicate kind that sorts first": Way(
        SOUND,
        "kind_duplicate",
        "the kind 'fake' of aa-zeta is taken by modelbay-fake",
        fix="modelbay plugin uninstall aa-zeta",
        state="duplicate",
        kind="fake",
        dist="aa-zeta",
    ),
    "duplicate kind named like ours": Way(
        SOUND,
        "kind_duplicate",
        "the kind 'fake' of modelbay-aaa is taken by modelbay-fake",
        fix="modelbay plugin uninstall modelbay-aaa",
        state="duplicate",
        kind="fake",
        dist="modelbay-aaa",
    ),
    "too new": Way(
        "raise AssertionError('imported')",
        "plugin_incompatible",
        "(modelbay-zeta 1.0) is too new: it is for modelbay-core >=99,",
        fix="modelbay plugin uninstall modelbay-zeta",
        state="incompatible",
        requires=("modelbay-core>=99",),
    ),
    "dependency missing": Way(
        "import nothing_of_that_name",
        "plugin_dependency_missing",
        "needs the module 'nothing_of_that_name', which is not installed",
        fix="modelbay plugin install modelbay-zeta",
        requires=("modelbay-core>=0.1", "nothing-of-that-name>=1"),
    ),
    "raising in capabilities": Way(
        SOUND.replace("return CapabilityTable()", "raise KeyError('table')"),
        "plugin_contract",
        "capabilities raised KeyError",
    ),
    # More than ten.
    "no exception": Way(
        "class Odd(BaseException): ...\nraise Odd('no')", "plugin_broken", "Odd: no"
    ),
    "cancelled": Way(
        "import asyncio\nraise asyncio.CancelledError", "plugin_broken", "CancelledError"
    ),
    "prints": Way(
        f"print('hello from zeta')\n{SOUND}",
        "plugin_prints",
        "it prints when it is imported",
        state="ok",
    ),
    "interrupt that nobody pressed": Way(
        "raise KeyboardInterrupt", "plugin_broken", "cannot be imported: KeyboardInterrupt"
    ),
    "thread": Way(
        f"import threading\nthreading.Thread(target={WAIT}, name='sampler').start()\n{SOUND}",
        "plugin_thread",
        "its import leaves a thread running, for which a command's end may wait: sampler",
        state="ok",
    ),
    "exit in a hook": Way(
        f"{SOUND}\n@hookimpl\ndef default_providers(env):\n    raise SystemExit(3)\n",
        "plugin_contract",
        "default_providers failed: SystemExit",
    ),
    "too old": Way(
        "raise AssertionError('imported')",
        "plugin_incompatible",
        "is too old: it is for modelbay-core <0.0.1",
        state="incompatible",
        requires=("modelbay-core<0.0.1",),
    ),
}


@dataclass(slots=True)
class Environment:
    """A virtual environment that sees this one's packages, with plugins of its own."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def site(self) -> Path:
        scheme = {"base": str(self.folder), "platbase": str(self.folder)}
        return Path(sysconfig.get_path("purelib", "venv", vars=scheme))

    def install(
        self, dist: str, kind: str, source: str, requires: Sequence[str] = ()
    ) -> list[Path]:
        """A distribution as an installer leaves it; all its files."""
        module = dist.replace("-", "_")
        info = f"{module}-1.0.dist-info"
        needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
        files = {
            f"{module}.py": source,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n{needs}",
            f"{info}/entry_points.txt": f"[modelbay]\n{kind} = {module}\n",
            f"{info}/INSTALLER": "pip\n",
        }
        record = "".join(f"{name},{_digest(text)},{len(text)}\n" for name, text in files.items())
        for name, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            (self.site / name).parent.mkdir(exist_ok=True)
            (self.site / name).write_text(text)
        return [self.site / name for name in files]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.folder / "bin" / "python"), "-m", "modelbay_cli", *arguments],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def side_by_side(self, *commands: Sequence[str]) -> list[subprocess.CompletedProcess[str]]:
        """Run all of them at once, to their ends."""
        running = [self.start(*command) for command in commands]
        done = []
        for process in running:
            out, err = process.communicate(timeout=120)
            done.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
        return done


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("broken")
    made = Environment(folder / "venv")
    venv.create(made.folder, with_pip=False)
    packages = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    lines = [f"import site; site.addsitedir({place!r})" for place in dict.fromkeys(packages)]
    (made.site / "tests.pth").write_text("\n".join(lines) + "\n")
    made.install("modelbay-fake", "fake", FAKE.read_text(), ("modelbay-core>=0.1",))
    home = folder / "home"
    home.mkdir()
    (home / "providers.json").write_text(
        json.dumps({"providers": [{"id": "desk", "kind": "fake", "label": "Desk"}]})
    )
    others = {entry.name for entry in importlib_metadata.entry_points(group="modelbay")}
    made.env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "MODELBAY_HOME": str(home),
        "MODELBAY_DISABLE": ",".join(sorted(others)),
        "FAKE_NOTES": str(folder / "notes"),
        "PYTHONDONTWRITEBYTECODE": "1",
        **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
    }
    return made


def rows(text: str) -> dict[str, dict[str, Any]]:
    return {row["dist"]: row for row in json.loads(text)}


@pytest.mark.skipif(sys.platform == "win32", reason="the environment's folders are Unix's")
@pytest.mark.parametrize("name", WAYS)
def test_a_broken_plugin_is_told_and_removed_and_the_others_work(
    name: str, environment: Environment
) -> None:
    way = WAYS[name]
    files = environment.install(way.dist, way.kind, way.source, way.requires)
    try:
        models, chat, doctor, listing = environment.side_by_side(
            ["models", "--json", "--refresh"],
            ["chat", "-m", "desk/echo", "hello"],
            ["doctor", "--json"],
            ["plugin", "list", "--json"],
        )

        assert models.returncode == 0, models.stderr
        shown = {m["id"] for p in json.loads(models.stdout)["providers"] for m in p["models"]}
        assert "desk/echo" in shown
        assert (chat.returncode, "hello" in chat.stdout) == (0, True), chat.stderr
        for done in (models, chat, doctor, listing):
            assert "Traceback" not in done.stderr
            assert "hello from zeta" not in done.stdout

        row = rows(listing.stdout)[way.dist]
        assert (row["kind"], row["state"], row["code"]) == (way.kind, way.state, way.code)
        assert way.reason in row["reason"]
        assert row["hint"].startswith(way.fix)
        assert rows(listing.stdout)["modelbay-fake"]["state"] == "ok"

        [finding] = json.loads(doctor.stdout)["findings"]
        assert (finding["code"], finding["subject"]) == (way.code, f"plugin {way.kind}")
        assert way.reason in finding["message"]
        assert finding["fix"].startswith(way.fix)
        works = way.state in ("ok", "duplicate")
        assert (finding["level"], doctor.returncode) == (("warning", 0) if works else ("error", 1))

        [removed] = environment.side_by_side(["plugin", "uninstall", way.dist])
        assert (removed.returncode, removed.stdout) == (0, f"{way.dist} is removed\n"), (
            removed.stderr
        )
        assert f"pip uninstall -y {way.dist}" in removed.stderr
        assert [file for file in files if file.exists()] == []
    finally:
        for file in files:
            file.unlink(missing_ok=True)


RAW = """
import os
import subprocess
import sys
os.write(1, b"raw from zeta\\n")
print("kept from zeta", file=sys.__stdout__)
subprocess.run([sys.executable, "-c", "print('child of zeta')"], check=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the environment's folders are Unix's")
def test_what_a_plugin_writes_past_python_stands_in_no_document(environment: Environment) -> None:
    files = environment.install("modelbay-zeta", "zeta", RAW + SOUND)
    try:
        commands = (
            ["models", "--json", "--refresh"],
            ["doctor", "--json"],
            ["plugin", "list", "--json"],
            ["providers", "list", "--json"],
        )
        for command, done in zip(commands, environment.side_by_side(*commands), strict=True):
            assert done.returncode == 0, done.stderr
            json.loads(done.stdout)
            said = [line for line in done.stderr.splitlines() if line.endswith(" zeta")]
            told = ["child of zeta", "kept from zeta", "raw from zeta"]
            assert sorted(said) == told, command
    finally:
        for file in files:
            file.unlink(missing_ok=True)


HELD = f"""
import os
import threading
threading.Thread(target=lambda: os.read(int(os.environ["ZETA_GATE"]), 1), name="sampler").start()
{SOUND}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the environment's folders are Unix's")
@pytest.mark.parametrize("command", [("plugin", "list", "--json"), ("doctor", "--json")])
def test_a_plugin_that_holds_the_program_is_named_before_the_program_ends(
    command: tuple[str, ...], environment: Environment
) -> None:
    files = environment.install("modelbay-zeta", "zeta", HELD)
    waits, opened = os.pipe()
    process = subprocess.Popen(
        [str(environment.folder / "bin" / "python"), "-m", "modelbay_cli", *command],
        env={**environment.env, "ZETA_GATE": str(waits)},
        pass_fds=[waits],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:  # ends with the document, while the program still runs
            said += line
            if line.rstrip() in ("}", "]"):
                break
        assert "plugin_thread" in said
        assert "sampler" in said
        assert process.poll() is None
        os.write(opened, b"x")
        assert process.wait(timeout=60) == 0
    finally:
        os.close(opened)
        os.close(waits)
        process.kill()
        process.communicate()
        for file in files:
            file.unlink(missing_ok=True)
