"""What it costs to start the program for an answer it knows by heart."""

import shutil
import sys
from functools import partial
from pathlib import Path

from benchmarks.measure import Ratio, child_cpu_s, ratio, take_turns

BASE = "python -c pass"


def run(rounds: int = 9) -> list[Ratio]:
    """``modelbay --version`` and ``--help`` against a bare interpreter, in CPU."""
    beside = Path(sys.executable).with_name("modelbay")
    program = str(beside) if beside.exists() else shutil.which("modelbay")
    if program is None:
        raise RuntimeError("modelbay is not installed: pip install ./core ./cli")
    commands = {
        BASE: [sys.executable, "-c", "pass"],
        "modelbay --version": [program, "--version"],
        "modelbay --help": [program, "--help"],
    }
    cases = {name: partial(child_cpu_s, command, 5) for name, command in commands.items()}
    costs = take_turns(cases, rounds)
    return [ratio(name, BASE, 6, costs) for name in commands if name != BASE]
