"""A long run: what goes wrong once in a hundred turns, and what grows with every one."""

import gc
import tracemalloc

from modelbay.testing.conformance.bay import Bay, Rule, until
from modelbay.testing.conformance.kit import Kit
from modelbay.testing.streams import check_events, joined

TURNS = 200
_WARM = 40  # turns after which caches and pools have their size
_GROWTH_KB = 256  # of all later turns together; sound plugins stay below a tenth of it
_REQUEST_KB = 2.0  # of a request as a simulator keeps it, without its body
_PATIENCE_S = 2.0


class SoakChecks(Kit):
    """Not part of `ProviderConformance`; the level gold asks for it."""

    read = "modelbay/hookspecs.py; docs/writing-a-provider.md"

    async def test_two_hundred_turns_are_alike(self, bay: Bay, rule: Rule) -> None:
        """Turn after turn gives the first turn's events; nothing stays open and memory is flat."""
        info = await bay.model()
        first = joined((await bay.chat(info=info)).events)
        before_kb = 0.0
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
                if turn == _WARM:
                    before_kb = _traced_kb()
            growth_kb = _traced_kb() - before_kb - _kept_by_simulator_kb(bay)
        finally:
            tracemalloc.stop()
        rule.holds(growth_kb < _GROWTH_KB, f"{growth_kb:.0f} KB more after {TURNS} turns")
        if bay.target.has("streams"):
            closed = await until(lambda: bay.target.open_streams() == 0, _PATIENCE_S)
            rule.holds(closed, f"{bay.target.open_streams()} streams are open at the end")


def _traced_kb() -> float:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] / 1000


def _kept_by_simulator_kb(bay: Bay) -> float:
    """A simulator in this process keeps every request; that is not the plugin's growth."""
    if not bay.target.has("requests"):
        return 0.0
    kept = bay.seen()[-(TURNS - _WARM) :]
    return sum(_REQUEST_KB + len(request.body) / 1000 for request in kept)
