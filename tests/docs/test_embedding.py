"""Every program of the embedding guide runs, and prints what stands under it."""

from itertools import pairwise
from pathlib import Path

import pytest

from docs.blocks import Block, blocks, fits

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "embedding.md"


def programs() -> list[tuple[Block, str]]:
    """Each program, and what it prints."""
    return [
        (first, second.text)
        for first, second in pairwise(blocks(PAGE))
        if (first.language, second.language) == ("python", "text")
    ]


@pytest.mark.usefixtures("two_providers")
@pytest.mark.parametrize(
    ("program", "shown"), programs(), ids=[f"line {block.line}" for block, _ in programs()]
)
def test_a_program_prints_what_stands_under_it(
    program: Block, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(program.text, f"{PAGE.name}:{program.line}", "exec"), {"__name__": "__main__"})

    printed = capsys.readouterr().out
    assert fits(shown, printed), printed


def test_no_program_stands_without_its_output() -> None:
    assert [b.line for b in blocks(PAGE) if b.language == "python"] == [
        block.line for block, _ in programs()
    ]


@pytest.mark.usefixtures("two_providers")
def test_the_readmes_program_prints_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = [b.text for b in blocks(ROOT / "README.md") if b.language == "python"]

    exec(compile(program, "README.md", "exec"), {"__name__": "__main__"})

    assert capsys.readouterr().out == "This is a pretended answer after a pretended thought."
