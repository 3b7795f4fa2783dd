"""Run installers where the user can see them."""

import io
import shlex
import subprocess
import sys
from collections.abc import Sequence

from modelbay.errors import PluginError
from modelbay_cli.installing.manner import Commands
from modelbay_cli.output import Screen


def run_all(commands: Commands) -> None:
    """Show each command on stderr and run it; what it says goes there too.

    Raises:
        PluginError: One failed; those after it are not run.
    """
    err = Screen.stderr()
    for command in commands:
        err.line(f"$ {shlex.join(command)}", style="dim")
        try:
            done = subprocess.run(command, stdout=_stderr(), check=False)  # noqa: S603 - shown above
        except OSError as exc:
            raise PluginError(f"{command[0]} cannot be run: {exc.strerror or exc}") from exc
        if done.returncode:
            raise PluginError(
                f"{_program(command)} ended with exit code {done.returncode}; see above",
                hint=f"{shlex.join(command)}   # run it yourself; then: modelbay plugin list",
            )


def _stderr() -> int | None:
    try:
        return sys.stderr.fileno()
    except (io.UnsupportedOperation, ValueError):  # replaced by something that is no file
        return None


def _program(command: Sequence[str]) -> str:
    return "pip" if command[1:3] == ("-m", "pip") else command[0]
