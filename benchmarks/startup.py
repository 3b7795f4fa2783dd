"""What it costs to start the program for an answer it knows by heart, or read a moment ago."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Ratio, child_cpu_s, ratio, take_turns
from modelbay.testing.simulator import Exchange, Simulator

BASE = "python -c pass"
MODELS = 5_000
WARM_OVER_VERSION = 3.0
BARS = {
    "modelbay --version": 4.0,
    "modelbay --help": 4.0,
    f"modelbay models, warm, {MODELS:,} models": 6.0,
}


def run(rounds: int = 9) -> list[Ratio]:
    """``--version``, ``--help`` and a warm ``models`` against a bare interpreter, in CPU.

    The warm one against ``--version`` too: what a list costs beside the program itself.
    """
    program = find_program()
    version, helped, warm = BARS
    with TemporaryDirectory() as home:
        env = {**os.environ, "MODELBAY_HOME": home}
        _warm_up(program, Path(home), env)
        cases = {
            BASE: partial(child_cpu_s, [sys.executable, "-c", "pass"], 5),
            version: partial(child_cpu_s, [program, "--version"], 5),
            helped: partial(child_cpu_s, [program, "--help"], 5),
            warm: partial(child_cpu_s, [program, "models"], 5, env),
        }
        costs = take_turns(cases, rounds)
    return [
        *(ratio(name, BASE, bar, costs) for name, bar in BARS.items()),
        ratio(warm, version, WARM_OVER_VERSION, costs),
    ]


def find_program() -> str:
    beside = Path(sys.executable).with_name("modelbay")
    program = str(beside) if beside.exists() else shutil.which("modelbay")
    if program is None:
        raise RuntimeError("modelbay is not installed: pip install ./core ./cli")
    return program


def _warm_up(program: str, home: Path, env: Mapping[str, str]) -> None:
    """One listing of a server that has gone by the time of the next: only what was kept is left."""
    listed = [{"id": f"org/model-{number:04}", "object": "model"} for number in range(MODELS)]
    with Simulator() as server:

        @server.route("GET", "/v1/models")
        async def models(exchange: Exchange) -> None:
            await exchange.json({"object": "list", "data": listed})

        entry = {"id": "big", "kind": "openai", "baseUrl": server.base_url}
        (home / "providers.json").write_text(json.dumps({"providers": [entry]}))
        first = subprocess.run([program, "models"], capture_output=True, env=env, check=True)
    second = subprocess.run([program, "models"], capture_output=True, env=env, check=True)
    assert first.stdout == second.stdout
    assert first.stdout.count(b"big/org/model-") == MODELS
