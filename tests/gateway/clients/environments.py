"""Where clients live that are no part of the tests' own environment, and how they are asked.

They are installed as their users install them, into folders of their own: LiteLLM wants an older
`openai` than ours, and LangChain brings a plugin that every run of pytest would load.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).parent / "programs"
_TESTS = Path(__file__).parents[2]
_INSTALL_S = 600.0
_RUN_S = 120.0

# Of the surroundings, what reaches the package registries. A constraint of the tests' own
# environment is none of the clients'.
_KEPT = (
    "PIP_",
    "SSL_",
    "REQUESTS_",
    "HTTP_",
    "HTTPS_",
    "http",
    "NO_PROXY",
    "npm_",
    "NPM_",
    "NODE_",
)


def virtual_environment(folder: Path, constraints: str, *distributions: str) -> Path:
    """Install these; gives the folder of the environment's programs.

    Args:
        constraints: The file in `PROGRAMS` that says which versions.
    """
    venv.create(folder, symlinks=True)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    _run(
        [
            *(sys.executable, "-m", "pip", "--python", str(folder), "--quiet"),
            *("--disable-pip-version-check", "install", "--no-compile"),
            *("--constraint", str(PROGRAMS / constraints), *distributions),
        ],
        cwd=folder,
    )
    return programs


def node_folder(folder: Path) -> Path:
    """The programs for Node, beside what they import."""
    for file in PROGRAMS.iterdir():
        if file.suffix in (".mjs", ".json"):
            shutil.copy2(file, folder / file.name)
    npm = shutil.which("npm")
    assert npm is not None
    _run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"], cwd=folder)
    return folder


def asked(*command: str | Path, cwd: Path = _TESTS, **env: str) -> dict[str, Any]:
    """What a program told of all its questions."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=bare(env),
        capture_output=True,
        text=True,
        timeout=_RUN_S,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def bare(env: Mapping[str, str]) -> dict[str, str]:
    """An environment in which nothing but this machine can be reached through HTTP."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1",
        **env,
    }


def _run(command: list[str], *, cwd: Path) -> None:
    env = {
        name: value
        for name, value in os.environ.items()
        if name in ("HOME", "PATH") or (name.startswith(_KEPT) and name != "PIP_CONSTRAINT")
    }
    done = subprocess.run(
        command,
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=_INSTALL_S,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
