"""The tutorial as a reader lives it: commands typed, files written, outputs compared."""

import ast
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs.blocks import Shell, blocks, fits
from e2e.conftest import bare_env

__all__ = ["bare_env"]  # a fixture: an empty home and nothing of this environment

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
PARTS = ("core", "cli", "plugins/openai")


@pytest.fixture(scope="module")
def shell(bare_env: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """An empty folder, and an environment that holds modelbay and nothing else."""
    folder = tmp_path_factory.mktemp("tutorial")
    for part in PARTS:  # a copy, so that building leaves nothing in the tree
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
        shutil.copytree(ROOT / part, folder / "tree" / part, ignore=ignored)
    env = {**bare_env, "HOME": str(folder), "MODELBAY_HOME": str(folder / "home")}
    subprocess.run(["python3", "-m", "venv", str(folder / "venv")], env=env, check=True)
    work = folder / "work"
    work.mkdir()
    shell = Shell(work, {**env, "PATH": f"{folder / 'venv' / 'bin'}:{env['PATH']}"})
    try:
        shell.type("pip install --quiet " + " ".join(f"{folder}/tree/{part}" for part in PARTS))
        yield shell
    finally:
        shell.close()


@pytest.mark.soak
def test_every_step_does_what_the_page_says(shell: Shell) -> None:
    for block in blocks(PAGE):
        if block.title:
            (shell.folder / block.title).write_text(block.text, encoding="utf-8")
        for command, shown in block.commands():
            real = shell.type(command, shown)
            assert fits(shown, real), f"line {block.line}: $ {command}\n{real}"


def test_every_block_is_a_command_or_a_file() -> None:
    found = blocks(PAGE)
    assert PAGE.read_text(encoding="utf-8").count("```") == 2 * len(found)
    strange = [b.line for b in found if not b.title and b.language != "console"]
    assert strange == []
    silent = [b.line for b in found if b.language == "console" and not [*b.commands()]]
    assert silent == []


def test_every_step_leaves_a_distribution_of_the_length_that_is_promised() -> None:
    """What an author writes for chat, discovery, loading and unloading."""
    files = {Path(b.title).name: b.text for b in blocks(PAGE) if b.title}
    written = [
        line for name in ("plugin.py", "wire.py", "table.py") for line in code_lines(files[name])
    ]
    assert len(written) <= 150


def code_lines(text: str) -> list[str]:
    """Lines of code: no blank ones, no comments, no docstrings."""
    tree = ast.parse(text)
    told: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                told.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return [
        line
        for at, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.strip().startswith("#") and at not in told
    ]


@pytest.mark.parametrize(
    ("shown", "real", "same"),
    [
        ("one", "one\n", True),
        ("one ... three", "one two three", True),
        ("one\n...\nthree", "one\ntwo\n2\nthree", True),
        ("one", "two", False),
        ("one", "one two", False),
        ("", "anything", False),
    ],
)
def test_three_dots_stand_for_anything_and_nothing_else_does(
    shown: str, real: str, same: bool
) -> None:
    assert fits(shown, real) is same
