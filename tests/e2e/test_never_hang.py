"""Six providers, four of them misbehaving, listed by the installed program."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e.conftest import Program
from modelbay.testing.simulator import Exchange, Fault, Simulator

pytestmark = pytest.mark.e2e

FAULTS = {
    "hung": Fault(hang=True),
    "drip": Fault(drip_bytes_per_s=1),
    "crash": Fault(cut_after_bytes=20),
    "huge": Fault(huge_mb=200),
}
GROWTH_MB = 30


@pytest.fixture
def servers() -> Iterator[Mapping[str, str]]:
    """The address of each server, by name."""
    listed = {"object": "list", "data": [{"id": f"m{n}", "object": "model"} for n in range(20)]}
    with ExitStack() as stack:
        found = {}
        for name in ("healthy", "slow", *FAULTS):
            sim = stack.enter_context(Simulator())

            @sim.route("GET", "/v1/models")
            async def models(exchange: Exchange, slow: bool = name == "slow") -> None:
                if slow:
                    await exchange.sleep(1.0)
                await exchange.json(listed)

            if name in FAULTS:
                sim.inject(FAULTS[name])
            found[name] = sim.base_url
        yield found


def listing(
    program: Program, file: Path, servers: Mapping[str, str], names: list[str]
) -> tuple[dict[str, object], float]:
    """What `modelbay models --json` prints, and the most memory it used, in MB."""
    entries = [{"id": name, "kind": "openai", "baseUrl": servers[name]} for name in names]
    file.write_text(json.dumps({"providers": entries}))
    child = subprocess.Popen(
        [program.bin / "modelbay", "models", "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**program.env, "MODELBAY_HOME": str(file.parent)},
    )
    assert child.stdout is not None
    printed = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    child.stdout.close()
    assert child.returncode == 0
    providers = json.loads(printed)["providers"]
    return {
        entry["id"]: entry for entry in providers if entry["id"] in names
    }, usage.ru_maxrss / 1024


def test_healthy_models_are_complete_and_four_problems_are_named_within_the_probe_limit(
    program: Program, servers: Mapping[str, str], tmp_path: Path
) -> None:
    _, small_mb = listing(program, tmp_path / "providers.json", servers, ["healthy"])
    found, large_mb = listing(program, tmp_path / "providers.json", servers, list(servers))

    shown = {
        name: (
            len(entry["models"]),  # type: ignore[index]
            None if entry["problem"] is None else entry["problem"]["code"],  # type: ignore[index]
        )
        for name, entry in found.items()
    }
    assert shown == {
        "healthy": (20, None),
        "slow": (20, None),
        "hung": (0, "backend_timeout"),
        "drip": (0, "backend_timeout"),
        "crash": (0, "stream_interrupted"),
        "huge": (0, "protocol_error"),
    }
    looks = [entry for entry in found.values() if entry["took_s"] is not None]  # type: ignore[index]
    took_s = [entry["took_s"] for entry in looks]  # type: ignore[index]
    assert len(looks) == len(found) - 1  # the healthy one was read a moment ago
    assert max(took_s) < 1.5 + 0.3  # on the host's own clock
    assert large_mb - small_mb < GROWTH_MB


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
