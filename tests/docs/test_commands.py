"""Every command line in the documents is one that the program accepts."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from docs.blocks import blocks
from modelbay_cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELL = ("sh", "console", "bash", "")
PRINTED = ("modelbay kit ",)  # begins what the program itself says
OPERATORS = set("();<>|&")


def typed(text: str, language: str) -> Iterator[str]:
    """The lines of a block that somebody types."""
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        if language == "console" or line.startswith("$ "):
            if line.startswith("$ "):
                yield line.removeprefix("$ ")
        else:
            yield line.strip()


def calls(line: str) -> Iterator[list[str]]:
    """The words after each ``modelbay`` of a line, without what the shell makes of the rest."""
    line = re.sub(
        r"\$\((modelbay [^)]*)\)", r"; \1 ;", line.replace('"$(', "$(").replace(')"', ")")
    )
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    try:
        words = list(lexer)
    except ValueError:  # prose with an apostrophe
        return
    while words:
        if words.pop(0) == "modelbay":
            end = next((n for n, w in enumerate(words) if set(w) <= OPERATORS), len(words))
            if "--" in words[:end]:  # the call after it is one of its own
                end = min(end, words.index("--"))
            yield words[:end]
            words = words[end:]


def refused(words: list[str]) -> str | None:
    """What the program has against these words."""
    name = "modelbay"
    command: click.Command = app
    context = click.Context(app, **app.context_settings)
    while words and words[0] in ("-p", "--provider"):
        words = words[2:]
    if not words or words[0] in ("--help", "--version", "-h", "-V"):
        return None
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        inner = command.get_command(context, words[0])
        if inner is None:
            return f"no command {words[0]}"
        name, command, words = words[0], inner, words[1:]
    known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    known |= {"--help", "-h", "--"}
    for word in words:
        option = word.partition("=")[0]
        if re.fullmatch(r"--[a-z][a-z-]*|-[a-zA-Z]", option) and option not in known:
            return f"{name} has no {option}"
    return None


def lines(page: Path) -> Iterator[str]:
    """What is typed in blocks, and what stands in the text as code."""
    for block in blocks(page):
        if block.language in SHELL:
            yield from (line for line in typed(block.text, block.language) if "modelbay " in line)
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for line in re.findall(r"`(modelbay [a-z][^`\n]*)`", text):
        if not line.startswith(PRINTED):
            yield re.sub(r"\[[^\]]*\]|\|.*", "", line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_command_line_is_accepted(page: Path) -> None:
    wrong = [
        (line, problem)
        for line in lines(page)
        for words in calls(line)
        if (problem := refused(words)) is not None
    ]
    assert wrong == []


def test_there_are_many() -> None:
    assert sum(1 for page in PAGES for line in lines(page) for _ in calls(line)) > 200


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("modelbay nosuch", "no command nosuch"),
        ("modelbay fav nosuch", "no command nosuch"),
        ("modelbay models --nosuch", "models has no --nosuch"),
        ("X=1 modelbay serve keys add laptop --nosuch && true", "add has no --nosuch"),
        ("modelbay -p ollama://host models --json | jq -r x", None),
        ("modelbay chat 'what --is this' # --comment", None),
    ],
)
def test_a_wrong_word_would_be_noticed(line: str, problem: str | None) -> None:
    (words,) = calls(line)
    assert refused(words) == problem
