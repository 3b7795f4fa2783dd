"""A long run: what goes wrong once in a hundred turns, and what grows with every one."""

import gc
import sys
import tracemalloc
from pathlib import Path

from modelbay import testing
from modelbay.testing.conformance.bay import Bay, Rule, until
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.conformance.target import SimulatorTarget
from modelbay.testing.streams import check_events, joined

TURNS = 200
_WARM = 40  # turns after which caches and pools have their size
_HALF = 120
_GROWTH_KB = 256  # of all later turns together; sound plugins stay below a tenth of it
_PATIENCE_S = 2.0


class SoakChecks(Kit):
    """Not part of `ProviderConformance`; the level gold asks for it."""

    read = "modelbay/hookspecs.py; docs/writing-a-provider.md"

    async def test_two_hundred_turns_are_alike(self, bay: Bay, rule: Rule) -> None:
        """Turn after turn gives the first turn's events; nothing stays open and memory is flat."""
        info = await bay.model()
        first = joined((await bay.chat(info=info)).events)
        sizes_kb: list[float] = []
        tracemalloc.start()
        try:
            for turn in range(1, TURNS):
                outcome = await bay.chat(info=info)
                rule.holds(outcome.error is None, f"turn {turn + 1}: {outcome}")
                broken = check_events(outcome.events)
                rule.holds(not broken, f"turn {turn + 1}: {broken}")
                if bay.target.has("text"):
                    same = joined(outcome.events) == first
                    rule.holds(same, f"turn {turn + 1} differs from the first: {outcome}")
                if turn in (_WARM, _HALF):
                    sizes_kb.append(_traced_kb(bay))
            warm, half, end = *sizes_kb, _traced_kb(bay)
        finally:
            tracemalloc.stop()
        # What leaks does so in both halves; a table of the interpreter that is enlarged, in one.
        growth_kb = 2 * min(half - warm, end - half)
        rule.holds(growth_kb < _GROWTH_KB, f"{growth_kb:.0f} KB more after {TURNS} turns")
        if bay.target.has("streams"):
            closed = await until(lambda: bay.target.open_streams() == 0, _PATIENCE_S)
            rule.holds(closed, f"{bay.target.open_streams()} streams are open at the end")


def _traced_kb(bay: Bay) -> float:
    """Memory that lives now, without what the simulator in this process keeps of every request."""
    gc.collect()
    filters = [tracemalloc.Filter(False, place) for place in _of_simulators(bay)]
    traces = tracemalloc.take_snapshot().filter_traces(filters).traces
    return sum(trace.size for trace in traces) / 1000


def _of_simulators(bay: Bay) -> list[str]:
    """File names, as patterns, of the simulator's modules and of what it is built on."""
    places = [str(Path(testing.__file__).parent / "*"), tracemalloc.__file__]
    if isinstance(bay.target, SimulatorTarget):
        module = sys.modules[type(bay.target.simulator).__module__]
        file = Path(str(module.__file__))
        package = bay.target.module.rpartition(".")[0]
        apart = module.__name__.startswith(f"{package}.") and "." in module.__name__.removeprefix(
            f"{package}."
        )
        places.append(str(file.parent / "*" if apart else file))
    return places
