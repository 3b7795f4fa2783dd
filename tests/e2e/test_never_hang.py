"""Six providers, four of them misbehaving, listed by the installed program."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import Program
from modelbay.testing.simulator import Exchange, Fault, Simulator

pytestmark = pytest.mark.e2e

LIMIT_S = 1.5  # of a look, by default
SPARE_S = 0.3
PATIENCE_S = 10 * (LIMIT_S + SPARE_S)  # for the whole program, on a machine that does other things
GROWTH_MB = 30
FAULTS = {
    "hung": Fault(hang=True),
    "drip": Fault(drip_bytes_per_s=1),
    "crash": Fault(cut_after_bytes=20),
    "huge": Fault(huge_mb=200),
}
SHOWN = {
    "healthy": (20, None),
    "slow": (20, None),
    "hung": (0, "backend_timeout"),
    "drip": (0, "backend_timeout"),
    "crash": (0, "stream_interrupted"),
    "huge": (0, "protocol_error"),
}
# A process begins with the largest memory of the one that made it, so a small one stands between.
MEASURED = """
import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)
"""


class Slow(Simulator):
    """Takes a second for every answer, whatever it is asked."""

    async def admit(self, exchange: Exchange) -> bool:
        await exchange.sleep(1.0)
        return True


@pytest.fixture
def servers() -> Iterator[Mapping[str, str]]:
    """The address of each server, by name."""
    listed = {"object": "list", "data": [{"id": f"m{n}", "object": "model"} for n in range(20)]}
    with ExitStack() as stack:
        found = {}
        for name in SHOWN:
            sim = stack.enter_context(Slow() if name == "slow" else Simulator())

            @sim.route("GET", "/v1/models")
            async def models(exchange: Exchange) -> None:
                await exchange.json(listed)

            if name in FAULTS:
                sim.inject(FAULTS[name])
            found[name] = sim.base_url
        yield found


@dataclass(frozen=True, slots=True)
class Ended:
    """A run of the program that came to its end by itself, in good order.

    Attributes:
        largest_mb: The most memory it used.
    """

    stdout: str
    stderr: str
    largest_mb: float

    @property
    def providers(self) -> dict[str, dict[str, Any]]:
        """What ``--json`` says of each of our providers."""
        found = json.loads(self.stdout)["providers"]
        return {entry["id"]: entry for entry in found if entry["id"] in SHOWN}

    @property
    def shown(self) -> dict[str, tuple[int, str | None]]:
        """Of each the number of models, and the code of its problem."""
        return {
            name: (len(entry["models"]), entry["problem"] and entry["problem"]["code"])
            for name, entry in self.providers.items()
        }


def home_with(home: Path, servers: Mapping[str, str], names: Iterable[str]) -> Path:
    """A folder where nothing is remembered, with these servers as providers."""
    home.mkdir()
    entries = [{"id": name, "kind": "openai", "baseUrl": servers[name]} for name in names]
    (home / "providers.json").write_text(json.dumps({"providers": entries}))
    return home


def ended(program: Program, home: Path, *arguments: str) -> Ended:
    """Run ``modelbay`` from its start to its end; one that hangs anywhere fails."""
    measured = home / "largest"
    child = subprocess.Popen(
        [sys.executable, "-c", MEASURED, measured, program.bin / "modelbay", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**program.env, "MODELBAY_HOME": str(home)},
        start_new_session=True,
    )
    try:
        stdout, stderr = child.communicate(timeout=PATIENCE_S)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    assert (arguments, child.returncode) == (arguments, 0), stderr
    assert "unexpected" not in stderr
    return Ended(stdout, stderr, int(measured.read_text()) / 1024)


def test_healthy_models_are_complete_and_four_problems_are_named_within_the_probe_limit(
    program: Program, servers: Mapping[str, str], tmp_path: Path
) -> None:
    """Nobody was asked before: neither a list nor a failure is remembered."""
    found = ended(program, home_with(tmp_path / "cold", servers, SHOWN), "models", "--json")

    assert found.shown == SHOWN
    took_s = {name: entry["took_s"] for name, entry in found.providers.items()}
    assert None not in took_s.values()  # each was asked in this very run
    assert {name: s for name, s in took_s.items() if s >= LIMIT_S + SPARE_S} == {}
    assert took_s["healthy"] < took_s["slow"]  # on the host's own clock


def test_providers_that_misbehave_cost_little_memory(
    program: Program, servers: Mapping[str, str], tmp_path: Path
) -> None:
    alone = ended(program, home_with(tmp_path / "alone", servers, ["healthy"]), "models", "--json")
    all_six = ended(program, home_with(tmp_path / "all", servers, SHOWN), "models", "--json")

    assert all_six.shown == SHOWN
    assert all_six.largest_mb - alone.largest_mb < GROWTH_MB


def test_what_misbehaved_is_remembered_and_hinders_no_later_command(
    program: Program, servers: Mapping[str, str], tmp_path: Path
) -> None:
    """Every command of another process begins with the failures that the first one has kept."""
    home = home_with(tmp_path / "home", servers, SHOWN)
    ended(program, home, "models")

    again = ended(program, home, "models", "--json")
    assert again.shown == SHOWN
    healthy = ended(program, home, "models", "healthy").stdout
    assert all(f"healthy/m{n}" in healthy for n in range(20))
    ended(program, home, "fav", "add", "healthy/m3", "hung/m1")
    assert ended(program, home, "fav", "list").stdout.count("healthy/m3") == 1
    for arguments in (("models", "--refresh", "--json"), ("models", "--json")):
        assert ended(program, home, *arguments).shown == SHOWN


def test_what_was_read_is_printed_again_without_asking_anybody(
    program: Program, servers: Mapping[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "providers.json"
    file.write_text(
        json.dumps({"providers": [{"id": "slow", "kind": "openai", "baseUrl": servers["slow"]}]})
    )
    first = program.run("models", MODELBAY_HOME=str(tmp_path))
    kept = list((tmp_path / "cache" / "ready").iterdir())
    second = program.run("models", MODELBAY_HOME=str(tmp_path))

    assert (first.returncode, "slow/m19" in first.stdout) == (0, True)
    assert kept
    assert second.stdout == first.stdout
