"""The program as a user gets it: a copy of the tree, plain pip, no cache, an empty environment."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMANDS = re.findall(r"```sh\n(python3 -m venv [^\n]+)\n```", (ROOT / "README.md").read_text())


@dataclass(frozen=True, slots=True)
class Program:
    """An installed modelbay.

    Attributes:
        bin: The folder of its commands.
        env: An environment with an empty home and nothing of the machine's but what pip needs.
    """

    bin: Path
    env: dict[str, str]

    def run(
        self, *arguments: str, stdin: str = "", timeout_s: float = 60, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run ``modelbay`` to its end."""
        return subprocess.run(
            [self.bin / "modelbay", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env={**self.env, **env},
            check=False,
        )

    def start(self, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Start ``modelbay``; the caller ends it."""
        return subprocess.Popen(
            [self.bin / "modelbay", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.env, **env},
        )


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree as a fresh clone has it: tracked files only, as they are now."""
    folder = tmp_path_factory.mktemp("clone") / "modelbay"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def bare_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An empty home, no cache, and of the surroundings only what reaches the package registry."""
    home = tmp_path_factory.mktemp("home")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("PIP_", "SSL_", "REQUESTS_", "HTTP_", "HTTPS_", "http", "NO_PROXY"))
        and name != "PIP_CONSTRAINT"
    }
    # `python3` of the command is the interpreter the tests run with, not their environment's.
    path = f"{Path(sys.executable).resolve().parent}:/usr/bin:/bin"
    return {**kept, "HOME": str(home), "PATH": path, "PIP_NO_CACHE_DIR": "1"}


@pytest.fixture(scope="session")
def first_command(clone: Path, bare_env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The README's first command, run as it stands there."""
    return subprocess.run(
        ["bash", "-c", COMMANDS[0]],
        cwd=clone,
        env=bare_env,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture(scope="session")
def program(
    clone: Path, bare_env: dict[str, str], first_command: subprocess.CompletedProcess[str]
) -> Program:
    assert first_command.returncode == 0, first_command.stderr
    return Program(clone / ".venv" / "bin", bare_env)
