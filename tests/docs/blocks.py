"""Fenced blocks of the documents: what they are, and how their commands are run.

- ``console``: a line that begins with ``$ `` is typed, the lines after it are what comes out of
  it. ``...`` stands for anything, a line of its own for any number of lines. A command that ends
  in ``&`` goes on running.
- with ``title="PATH"``: the content of that file.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(
    r"^( *)```(\w*)(?: title=\"([^\"]+)\")?$\n(.*?)^\1```$", re.MULTILINE | re.DOTALL
)
PATIENCE_S = 300.0  # for the slowest command: it installs


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block and the line of the page it begins at."""

    language: str
    title: str
    text: str
    line: int

    def commands(self) -> Iterator[tuple[str, str]]:
        """Each command that is typed, and what is shown to come out."""
        for piece in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, _, output = piece.partition("\n")
            yield command, output


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(found[2], found[3] or "", dedented(found), text.count("\n", 0, found.start()) + 1)
        for found in FENCE.finditer(text)
    ]


def dedented(found: re.Match[str]) -> str:
    return re.sub(rf"^{found[1]}", "", found[4], flags=re.MULTILINE)


def fits(shown: str, real: str) -> bool:
    """Whether an output is the one that is shown."""
    parts = [re.escape(part) for part in shown.strip().split("...")]
    return re.fullmatch(r"(?:.|\n)*?".join(parts).strip(), real.strip()) is not None


@dataclass
class Shell:
    """Types commands in a folder, and ends what goes on running."""

    folder: Path
    env: Mapping[str, str]
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def type(self, command: str, shown: str = "") -> str:
        """What comes out, both streams as a terminal shows them."""
        if command.endswith("&"):
            return self._leave_running(command.removesuffix("&").strip(), shown)
        ran = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=dict(self.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert ran.returncode == 0, f"$ {command}\n{ran.stdout[-4000:]}"
        return ran.stdout

    def _leave_running(self, command: str, shown: str) -> str:
        started = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.folder,
            env={**self.env, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.running.append(started)
        assert started.stdout is not None
        return "".join(started.stdout.readline() for _ in shown.strip().splitlines())

    def close(self) -> None:
        for started in self.running:
            started.terminate()
            started.communicate(timeout=20)
