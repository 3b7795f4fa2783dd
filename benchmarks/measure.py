"""Turns, ratios, medians and the table."""

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """A case against its base: one ratio for each round.

    Attributes:
        cost_s: The case's own median, in CPU seconds; good for this run alone.
        base_s: The base's.
    """

    name: str
    base: str
    bar: float
    rounds: tuple[float, ...]
    cost_s: float
    base_s: float

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


def take_turns(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """The cost of each case in each round; the cases run one after another in every round."""
    costs: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, run in cases.items():
            costs[name].append(run())
    return costs


def ratio(name: str, base: str, bar: float, costs: Mapping[str, Sequence[float]]) -> Ratio:
    """The case's cost over the base's, round by round."""
    mine, theirs = costs[name], costs[base]
    rounds = tuple(one / other for one, other in zip(mine, theirs, strict=True))
    return Ratio(name, base, bar, rounds, statistics.median(mine), statistics.median(theirs))


@contextmanager
def upstream() -> Iterator[int]:
    """The port of `benchmarks.upstream`, in a process of its own."""
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.upstream"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        yield int(child.stdout.readline())
    finally:
        child.stdin.close()
        child.wait(timeout=10)
        child.stdout.close()


def child_cpu_s(
    command: Sequence[str], times: int = 1, env: Mapping[str, str] | None = None
) -> float:
    """CPU seconds of a command, user and system, per run."""
    total = 0.0
    for _ in range(times):
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=None if env is None else dict(env),
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            raise RuntimeError(f"{command} ended with {child.returncode}")
        total += usage.ru_utime + usage.ru_stime
    return total / times


def table(ratios: Sequence[Ratio]) -> str:
    """Markdown: case and base with their costs, the median ratio with its spread, and the bar."""
    lines = ["| case | base | ratio [least-most] | bar |", "|---|---|---|---|"]
    for found in ratios:
        spread = f"{found.median:.2f} [{min(found.rounds):.2f}-{max(found.rounds):.2f}]"
        case = f"{found.name}: {_figure(found.cost_s)}"
        base = f"{found.base}: {_figure(found.base_s)}"
        lines.append(f"| {case} | {base} | {spread} | ≤ {found.bar:g} |")
    return "\n".join(lines)


def _figure(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.2f} µs"
