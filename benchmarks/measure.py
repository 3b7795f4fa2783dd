"""Turns, ratios, medians and the table."""

import os
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """A case against its base: one ratio for each round."""

    name: str
    base: str
    bar: float
    rounds: tuple[float, ...]

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
    pairs = zip(costs[name], costs[base], strict=True)
    return Ratio(name, base, bar, tuple(mine / theirs for mine, theirs in pairs))


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
    """Markdown: the case, its base, the median with its spread, and the bar."""
    lines = ["| case | base | median [least-most] | bar |", "|---|---|---|---|"]
    for found in ratios:
        spread = f"{found.median:.2f} [{min(found.rounds):.2f}-{max(found.rounds):.2f}]"
        lines.append(f"| {found.name} | {found.base} | {spread} | ≤ {found.bar:g} |")
    return "\n".join(lines)
