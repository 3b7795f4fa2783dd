"""Ten processes write to one state file, and a thousand times one is killed in mid-write."""

from pathlib import Path

import pytest

from state.writers import Trial

pytestmark = pytest.mark.soak

WRITERS, KILLS = 10, 1000


def test_a_thousand_killed_writers_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "state.db", writers=WRITERS, seed=20261121, look_every=50)

    report = trial.run(KILLS)

    print(report)
    assert (report.errors, report.lost, set(report.integrity)) == ([], [], {"ok"})
    assert report.kills == KILLS
    assert report.killed_under_way > KILLS // 2  # or the kills have missed the writes
