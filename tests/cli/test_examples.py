"""The examples in the help of commands: each is a command line that is accepted."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from modelbay_cli.app import app

COMMANDS = ("models", "fav", "chat", "history", "conversations", "completion")


def every(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for inner, each in command.commands.items():
            yield from every(f"{name} {inner}", each)


def named(name: str) -> click.Command:
    command = app.get_command(click.Context(app, **app.context_settings), name)
    assert command is not None
    return command


def calls(line: str) -> Iterator[list[str]]:
    """The words of each call of ours in a line for a shell."""
    line = line.replace('eval "$(', "").replace(')"', "")
    words = shlex.split(line, comments=True)
    while "modelbay" in words:
        words = words[words.index("modelbay") + 1 :]
        end = next((at for at, word in enumerate(words) if word in ("|", "<", ">")), len(words))
        yield words[:end]


EXAMPLES = [
    (name, line.strip())
    for top in COMMANDS
    for name, command in every(top, named(top))
    for line in (command.epilog or "").split("Examples:\n")[-1].splitlines()
]


def accept(words: list[str]) -> list[str]:
    """Parse as the program would; the words that lead to the command."""
    command, path = named(words[0]), [words[0]]
    rest = words[1:]
    while isinstance(command, click.Group) and rest:
        inner = command.commands[rest[0]]
        path, command, rest = [*path, rest[0]], inner, rest[1:]
    command.make_context(" ".join(path), rest, parent=click.Context(app, **app.context_settings))
    return path


@pytest.mark.parametrize(("name", "line"), EXAMPLES)
def test_an_example_is_accepted(
    name: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").touch()
    found = list(calls(line))
    assert found, line
    for words in found:
        accept(words)


@pytest.mark.parametrize("top", COMMANDS)
def test_every_command_has_examples_of_itself(top: str) -> None:
    for name, command in every(top, named(top)):
        own = [line for owner, line in EXAMPLES if owner == name]
        assert any(f"modelbay {name}" in line for line in own), name
        assert command.get_short_help_str(80)


def test_an_example_with_a_wrong_word_would_be_noticed() -> None:
    with pytest.raises(click.UsageError):
        accept(["models", "--nosuch"])
    with pytest.raises(KeyError):
        accept(["fav", "dance"])
