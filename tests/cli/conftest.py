"""An installed fake provider, a configuration that uses it, and two ways to run the program."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click.testing
import importlib_metadata
import pytest

from modelbay_cli.app import app

FAKE = Path(__file__).with_name("fake_backend.py")
SOURCES = [
    str(Path(__file__).parents[2] / "core" / "src"),
    str(Path(__file__).parents[2] / "cli" / "src"),
]

UNSET = ("LLAMA_PROVIDERS_PATH", "DEFAULT_MODEL", "NO_COLOR", "FORCE_COLOR", "FAKE_PROPOSAL")


def install(folder: Path, name: str, entry_points: str, module: str = "") -> None:
    """Put a distribution into a folder of the path, as pip would leave it.

    Args:
        module: The source of its one module; empty if that is there already.
    """
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    if module:
        (folder / f"{name.replace('-', '_')}.py").write_text(module)


@dataclass
class Installation:
    """A home folder of its own, and packages on the path in front of all others."""

    packages: Path
    home: Path
    patch: pytest.MonkeyPatch
    env: dict[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.home / "providers.json"

    @property
    def notes(self) -> list[str]:
        """What the fake provider noted."""
        path = Path(self.env["FAKE_NOTES"])
        return path.read_text().splitlines() if path.exists() else []

    def put(self, *models: str) -> None:
        """From now on these are all the models the fake provider has."""
        Path(self.env["FAKE_NOTES"]).with_name("models").write_text("\n".join(models))

    def configure(self, *providers: Mapping[str, Any], **top: Any) -> None:
        """Write providers.json; a provider is of the fake kind unless it says else."""
        entries = [{"kind": "fake", **provider} for provider in providers]
        self.file.write_text(json.dumps({"providers": entries, **top}))

    def setenv(self, name: str, value: str) -> None:
        """Set a variable for runs in this process and in others."""
        self.patch.setenv(name, value)
        self.env[name] = value

    def propose(self, mode: str, source: str = "loopback") -> None:
        """Let the plugin propose a provider ``nearby``; only kinds not configured may."""
        self.setenv("FAKE_PROPOSAL", f"{mode} {source}")

    def process(self, *arguments: str, **more: Any) -> subprocess.Popen[bytes]:
        """The program in a process of its own, its streams piped unless told else."""
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        environment = {**os.environ, **self.env, **more.pop("env", {})}
        return subprocess.Popen(
            [sys.executable, "-m", "modelbay_cli", *arguments],
            env=environment,
            **{**pipes, **more},
        )

    def run(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        process = self.process(*arguments)
        out, err = process.communicate(stdin, timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


Invoke = Callable[..., click.testing.Result]


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """The fake kind is installed, every real one switched off, and one provider configured."""
    packages, home = tmp_path / "packages", tmp_path / "home"
    home.mkdir()
    install(packages, "modelbay-fake", "[modelbay]\nfake = modelbay_fake\n", FAKE.read_text())
    others = {entry.name for entry in importlib_metadata.entry_points(group="modelbay")}
    for name in (*UNSET, *(f"XDG_{kind}_HOME" for kind in ("CONFIG", "DATA", "CACHE"))):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.syspath_prepend(packages)
    found = Installation(packages, home, monkeypatch)
    found.setenv("MODELBAY_HOME", str(home))
    found.setenv("MODELBAY_DISABLE", ",".join(sorted(others)))
    found.setenv("FAKE_NOTES", str(tmp_path / "notes"))
    found.setenv("PYTHONPATH", os.pathsep.join([str(packages), *SOURCES]))
    found.configure({"id": "desk", "label": "Sam's desk"})
    yield found
    for name, module in list(sys.modules.items()):  # another test's plugin may have the same name
        if str(getattr(module, "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def invoke(installation: Installation) -> Invoke:
    """Runs the program in this process; ``stdin`` is what is piped in."""

    def run(*arguments: str, stdin: str | bytes = "") -> click.testing.Result:
        words: Sequence[str] = list(arguments)
        return click.testing.CliRunner().invoke(app, words, input=stdin, prog_name="modelbay")

    return run
