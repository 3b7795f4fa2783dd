"""Six providers, four of them misbehaving: the whole program, cold and warm."""

import json
import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measure import Ratio, child_cpu_s, ratio, take_turns
from benchmarks.startup import WARM_OVER_VERSION, find_program
from modelbay.testing.simulator import Exchange, Fault, Simulator

LIMIT_S = 1.5  # of a look, by default
COLD_BAR = 1.15  # 0.3 s more than the program and the limit of a look take together
FAULTS = {
    "healthy": None,
    "slow": Fault(delay_head_s=1.0),
    "hung": Fault(hang=True),
    "drip": Fault(drip_bytes_per_s=1),
    "crash": Fault(cut_after_bytes=20),
    "huge": Fault(huge_mb=200),
}
WELL = ("healthy", "slow")
MODELS = 20


def run(rounds: int = 3) -> list[Ratio]:
    """The time of the first listing, and the CPU of the next, which asks nobody.

    What is cold has a home of its own in every run. The base of its time is a run with the healthy
    provider alone, plus the limit of a look: what is left is what the bad ones cost beside it.
    """
    command = find_program()
    with _servers() as servers, TemporaryDirectory() as folder:
        homes = Path(folder)
        cold = "modelbay models, cold, four of six providers misbehave, time"
        alone = "the same with one healthy provider, and the limit of a look"
        times: dict[str, list[float]] = {alone: [], cold: []}
        for turn in range(rounds):
            home = _home(homes / f"alone-{turn}", servers, ("healthy",))
            times[alone].append(_list_s(command, home, ("healthy",)) + LIMIT_S)
            home = _home(homes / f"six-{turn}", servers, FAULTS)
            times[cold].append(_list_s(command, home, WELL))
        # The last listing is the one that is printed again; failures are kept for 15 s.
        env = _env(home)
        version, warm = "modelbay --version", "modelbay models, warm, four of six misbehave"
        cases = {
            version: partial(child_cpu_s, [command, "--version"], 3, env),
            warm: partial(child_cpu_s, [command, "models"], 3, env),
        }
        costs = take_turns(cases, 5)
    return [ratio(cold, alone, COLD_BAR, times), ratio(warm, version, WARM_OVER_VERSION, costs)]


@contextmanager
def _servers() -> Iterator[Mapping[str, str]]:
    """The address of each, by name."""
    listed = {"object": "list", "data": [{"id": f"m{n}", "object": "model"} for n in range(MODELS)]}
    with ExitStack() as stack:
        found = {}
        for name, fault in FAULTS.items():
            server = stack.enter_context(Simulator())

            @server.route("GET", "/v1/models")
            async def models(exchange: Exchange) -> None:
                await exchange.json(listed)

            if fault is not None:
                server.inject(fault)  # on every path
            found[name] = server.base_url
        yield found


def _home(home: Path, servers: Mapping[str, str], names: Iterable[str]) -> Path:
    home.mkdir()
    entries = [{"id": name, "kind": "openai", "baseUrl": servers[name]} for name in names]
    (home / "providers.json").write_text(json.dumps({"providers": entries}))
    return home


def _env(home: Path) -> Mapping[str, str]:
    return {**os.environ, "MODELBAY_HOME": str(home)}


def _list_s(command: str, home: Path, well: Iterable[str]) -> float:
    """Seconds from the start of the program to its end; its list has to be whole."""
    began = time.perf_counter()
    done = subprocess.run(
        [command, "models"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=_env(home),
        check=True,
    )
    took_s = time.perf_counter() - began
    missing = [f"{name}/m{n}" for name in well for n in range(MODELS)]
    missing = [name for name in missing if name not in done.stdout]
    assert not missing, missing
    return took_s


if __name__ == "__main__":
    from benchmarks.measure import table

    print(table(run()))
