"""Many processes on one state file. The long version is tests/soak/test_state_processes.py."""

from pathlib import Path

from state.writers import Trial


def test_killed_writers_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    report = Trial(tmp_path / "state.db", writers=4, seed=1, look_every=10).run(kills=20)

    assert (report.errors, report.lost, set(report.integrity)) == ([], [], {"ok"})
    assert report.kills == 20
    assert report.killed_under_way > 0
