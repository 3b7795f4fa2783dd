"""Mirrors host/ledger.py: what was measured is kept for the very same model, whoever writes."""

import errno
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from modelbay.errors import ConfigError
from modelbay.host import ledger
from modelbay.host.ledger import Ledger
from modelbay.models.capabilities import Measurement
from modelbay.models.catalog import DiscoveredModel
from modelbay.refs import ModelRef

REF = ModelRef("desk", "a/b:c")
TOOLS = Measurement(field="tools", value=True, evidence="called", at=1.0)


def entry(**fields: object) -> DiscoveredModel:
    return DiscoveredModel.model_validate({"wire_id": "a/b:c", **fields})


LISTED = entry(facts={"tools": True, "context_window": 4096}, size_bytes=7)


@pytest.mark.parametrize(
    ("later", "known"),
    [
        (LISTED, True),
        (entry(), True),  # says less, and nothing else
        (LISTED.model_copy(update={"state": "loaded", "quantization": "Q4_K_M"}), True),
        (LISTED.model_copy(update={"evidence": {"tools": "/props"}, "name": "B"}), True),
        (entry(facts={"tools": True, "vision": True}, size_bytes=7), True),
        (entry(facts={"context_window": 6000}, loaded_context=6000), True),  # what it has got
        (entry(facts={"context_window": 6000}), False),  # configured anew
        (entry(facts={"tools": False}), False),
        (entry(size_bytes=8), False),
        (entry(origin="remote"), False),
        (entry(digest="d"), False),
    ],
)
def test_without_a_digest_the_listed_entry_says_whether_it_is_the_same_model(
    tmp_path: Path, later: DiscoveredModel, known: bool
) -> None:
    """Servers say more of a model once it is in memory, where measuring has brought it."""
    Ledger(tmp_path).write(REF, LISTED, [TOOLS])

    assert Ledger(tmp_path).read(REF, later) == ((TOOLS,) if known else ())


def test_what_was_said_once_is_held_against_a_later_entry(tmp_path: Path) -> None:
    """Also if the entry of the last measurement did not say it."""
    kept = Ledger(tmp_path)
    kept.write(REF, LISTED, [TOOLS])
    kept.write(REF, entry(), [TOOLS])

    assert kept.read(REF, entry(size_bytes=8)) == ()


def test_another_model_s_measurements_go_when_this_one_is_measured(tmp_path: Path) -> None:
    kept = Ledger(tmp_path)
    kept.write(REF, entry(digest="old"), [TOOLS])
    vision = Measurement(field="vision", value=False, evidence="refused", at=1.0)
    kept.write(REF, entry(digest="new"), [vision])

    assert kept.read(REF, entry(digest="new")) == (vision,)


def test_fields_that_were_not_measured_again_stay(tmp_path: Path) -> None:
    kept = Ledger(tmp_path)
    vision = Measurement(field="vision", value=False, evidence="refused", at=1.0)
    again = Measurement(field="tools", value=False, evidence="text", at=2.0)
    kept.write(REF, entry(), [TOOLS, vision])
    kept.write(REF, entry(), [again])

    assert kept.read(REF, entry()) == (again, vision)


def test_the_same_name_on_another_provider_is_another_model(tmp_path: Path) -> None:
    """S0-17: what is kept of a model is kept under its whole ref."""
    kept = Ledger(tmp_path)
    kept.write(REF, entry(), [TOOLS])

    assert kept.read(ModelRef("lab", "a/b:c"), entry()) == ()


@pytest.mark.parametrize("text", ["", "{}", "[1]"])
def test_a_damaged_page_says_nothing(tmp_path: Path, text: str) -> None:
    Ledger(tmp_path).write(REF, entry(), [TOOLS])
    [page] = (tmp_path / "measured").iterdir()
    page.write_text(text)

    assert Ledger(tmp_path).read(REF, entry()) == ()


# --- several programs -----------------------------------------------------------------------------

_PRELUDE = """
import sys
from pathlib import Path
from modelbay.host import ledger
from modelbay.models.capabilities import Measurement
from modelbay.models.catalog import DiscoveredModel
from modelbay.refs import ModelRef

folder, name = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
"""
_WRITES = (
    _PRELUDE
    + """
for n in range(40):
    found = Measurement(field=f"{name}-{n}", value=True, evidence="", at=1.0)
    model = DiscoveredModel(wire_id="a/b:c", digest="d")
    ledger.Ledger(folder, lock_s=60).write(ModelRef("desk", "a/b:c"), model, [found])
"""
)
_HOLDS = (
    _PRELUDE
    + """
with ledger._turn(folder / ledger.FOLDER, 0):
    print("held", flush=True)
    sys.stdin.readline()
"""
)


@contextmanager
def program(text: str, folder: Path, name: str = "") -> Iterator[subprocess.Popen[str]]:
    """Another program, which waits for a line before it does what it is for; gone at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", text, str(folder), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert says(process) == "ready"
            yield process
        finally:
            process.kill()


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_of_programs_that_measure_one_model_at_once_none_loses_what_it_found(
    tmp_path: Path,
) -> None:
    names = ("one", "two", "three")
    with ExitStack() as stack:
        writers = [stack.enter_context(program(_WRITES, tmp_path, name)) for name in names]
        for writer in writers:
            go(writer)
        assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]

    found = {measured.field for measured in Ledger(tmp_path).read(REF, entry(digest="d"))}
    assert found == {f"{name}-{n}" for name in names for n in range(40)}
    assert len(list((tmp_path / "measured").iterdir())) == 1  # and nothing else is left over


def test_who_holds_the_ledger_for_long_is_named_and_nothing_is_lost(tmp_path: Path) -> None:
    Ledger(tmp_path).write(REF, LISTED, [TOOLS])
    vision = Measurement(field="vision", value=False, evidence="refused", at=1.0)
    with program(_HOLDS, tmp_path) as holder:
        go(holder)
        assert says(holder) == "held"
        with pytest.raises(ConfigError, match="another program") as caught:
            Ledger(tmp_path, lock_s=0).write(REF, LISTED, [vision])
        assert caught.value.hint
        assert Ledger(tmp_path).read(REF, LISTED) == (TOOLS,)  # to read needs no turn
        go(holder)
        assert holder.wait(timeout=60) == 0

    Ledger(tmp_path, lock_s=0).write(REF, LISTED, [vision])
    assert Ledger(tmp_path).read(REF, LISTED) == (TOOLS, vision)


def test_a_program_that_died_while_it_wrote_blocks_nobody(tmp_path: Path) -> None:
    Ledger(tmp_path).write(REF, LISTED, [TOOLS])
    with program(_HOLDS, tmp_path) as holder:
        go(holder)
        assert says(holder) == "held"
        holder.kill()
        holder.wait(timeout=60)
        Ledger(tmp_path, lock_s=0).write(REF, LISTED, [TOOLS])

    assert Ledger(tmp_path).read(REF, LISTED) == (TOOLS,)


def test_a_folder_that_cannot_be_locked_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some network folders are."""

    def refuses(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(ledger, "_lock", refuses)
    Ledger(tmp_path, lock_s=0).write(REF, LISTED, [TOOLS])

    assert Ledger(tmp_path).read(REF, LISTED) == (TOOLS,)
