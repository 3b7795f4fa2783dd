"""A recording made a test."""

from pathlib import Path

from modelbay.testing.recording import write_test
from modelbay_cli.output import Screen


def write(recording: Path, path: Path) -> None:
    """Write the module, and say what is in it and what is not.

    Raises:
        ConfigError: Nothing of the recording can be asked again.
    """
    written = write_test(recording, path)
    out, err = Screen.stdout(), Screen.stderr()
    for why in written.left_out:
        err.line(f"left out: {why}", style="warning")
    for name in written.tests:
        out.line(f"{path}::{name}")
