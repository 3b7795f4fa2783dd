"""Mirrors modelbay_cli/__init__.py and ready.py: the cheap calls, and what they must not cost."""

import contextlib
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click
import pytest

from cli.conftest import SOURCES, Installation, Invoke
from modelbay_cli import ready
from modelbay_cli.app import app

CHEAP: tuple[list[str], ...] = (["--version"], ["-V"], ["--help"], ["-h"], [])


def run(program: str, *arguments: str) -> str:
    """Run a program text in a bare interpreter with only our sources on the path."""
    code = f"import sys; sys.path[:0] = {SOURCES!r}\n{program}"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("arguments", CHEAP)
def test_a_cheap_call_imports_nothing_large(arguments: list[str]) -> None:
    program = """
before = set(sys.modules)
import modelbay_cli
code = modelbay_cli.main()
new = {name.partition(".")[0] for name in set(sys.modules) - before}
assert code == 0
assert new == {"modelbay_cli"}, new
"""
    run(program, *arguments)


def test_the_version_is_the_one_of_the_package() -> None:
    project = Path(__file__).parents[2] / "cli" / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["version"] == ready.VERSION
    with contextlib.suppress(PackageNotFoundError):  # run from the sources
        assert version("modelbay-cli") == ready.VERSION


def test_the_version_is_said_in_one_line(installation: Installation) -> None:
    assert installation.run("--version").stdout == f"modelbay {ready.VERSION}\n".encode()


def root() -> click.Context:
    return app.make_context("modelbay", [], resilient_parsing=True, terminal_width=80)


def test_the_ready_help_is_what_click_would_print() -> None:
    assert app.get_help(root()) + "\n" == ready.help_text()


@pytest.mark.parametrize("name", ready.COMMANDS)
def test_the_ready_help_says_of_a_command_what_its_own_help_says(name: str) -> None:
    command = app.get_command(root(), name)
    assert command is not None
    own = " ".join((command.help or "").split("\n\n")[0].split()).split(". ")[0].rstrip(".")
    # The own one may say more; both begin with the same verb.
    assert own.split()[0] == ready.COMMANDS[name].split()[0]


@pytest.mark.parametrize("name", [*ready.COMMANDS, "config path", "config show", "config explain"])
def test_every_command_has_examples(name: str, invoke: Invoke) -> None:
    out = invoke(*name.split(), "--help").stdout
    head, _, examples = out.partition("Examples:\n")
    assert head.startswith(f"Usage: modelbay {name}")
    assert re.search(rf"^    .*modelbay {name}", examples, re.MULTILINE), out


@pytest.mark.parametrize(("alias", "name"), ready.ALIASES.items())
def test_an_alias_is_the_command(alias: str, name: str) -> None:
    assert app.get_command(root(), alias) is app.get_command(root(), name)


def test_a_reader_that_left_is_no_error(installation: Installation) -> None:
    process = installation.process("--help", stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (141, b"")


WITHOUT_STDOUT = (["--version"], ["--help"], ["models"], ["models", "--json"], ["ps"])


@pytest.mark.parametrize("arguments", WITHOUT_STDOUT)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_one_line_and_exit_code_1(
    installation: Installation, arguments: list[str]
) -> None:
    installation.run(*arguments)  # what can be ready is ready now
    with Path("/dev/full").open("wb") as full:
        process = installation.process(*arguments, stdout=full)
        _, err = process.communicate(timeout=60)

    assert (process.returncode, err.decode()) == (1, "error: [Errno 28] No space left on device\n")


@pytest.mark.parametrize("arguments", WITHOUT_STDOUT)
@pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix closes it")
def test_a_closed_stdout_is_no_fault(installation: Installation, arguments: list[str]) -> None:
    installation.run(*arguments)
    command = f"exec {sys.executable} -m modelbay_cli {' '.join(arguments)} >&-"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env={**os.environ, **installation.env},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, b"")
