"""Run the kit on an installed plugin, in a process of its own."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from modelbay.errors import PluginError
from modelbay.testing.conformance.report import CheckResult, Level

_LIMIT_S = 900.0
_RAN = (0, 1)  # pytest: all passed, some failed
_TAIL_LINES = 6


def run_kit(target: str, level: Level, env: Mapping[str, str]) -> tuple[CheckResult, ...]:
    """The results of every check the level asks for.

    Args:
        target: ``module:function``; the function gives a context manager of a `Target`.
        env: The environment of the process; its pytest options are left out.

    Raises:
        PluginError: The kit could not be run at all.
    """
    with tempfile.TemporaryDirectory(prefix="modelbay-kit-") as place:
        folder = Path(place)
        results = folder / "results"
        settings = folder / "pytest.ini"  # so that no project's own settings are found
        settings.write_text("[pytest]\n", encoding="utf-8")
        command = [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-p", "modelbay.testing.conformance.recorder", "-c", str(settings)),
            *("--rootdir", place, "--import-mode=importlib"),
            f"--modelbay-target={target}",
            f"--modelbay-level={level}",
            f"--modelbay-results={results}",
            str(Path(__file__).with_name("installed.py")),
        ]
        kept = {name: value for name, value in env.items() if name != "PYTEST_ADDOPTS"}
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter, our own arguments
                command,
                env=kept,
                cwd=place,
                capture_output=True,
                text=True,
                timeout=_LIMIT_S,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise PluginError(f"the kit did not end within {_LIMIT_S:g} s") from exc
        if done.returncode not in _RAN or not results.exists():
            said = (done.stdout + done.stderr).strip().splitlines()[-_TAIL_LINES:]
            raise PluginError(
                f"the kit could not be run (pytest ended with {done.returncode}): "
                + " | ".join(line.strip() for line in said if line.strip())
            )
        lines = results.read_text(encoding="utf-8").splitlines()
    return tuple(CheckResult(*json.loads(line)) for line in lines)
