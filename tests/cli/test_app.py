"""Mirrors modelbay_cli/app.py, failure.py, log.py and plugins.py: what every command shares."""

import logging
import re

import click
import pytest

from cli.conftest import Installation, Invoke, install
from modelbay import Host
from modelbay.errors import CODES

SERVE = """\
import click

@click.command()
def command():
    "Serve the models over HTTP."
    click.echo("serving")
"""


@pytest.fixture
def serve(installation: Installation) -> None:
    entry_points = "[modelbay.commands]\nserve = modelbay_serve:command\n"
    install(installation.packages, "modelbay-serve", entry_points, SERVE)


@pytest.mark.usefixtures("serve")
def test_a_plugin_brings_a_command(invoke: Invoke) -> None:
    assert invoke("serve").stdout == "serving\n"


@pytest.mark.usefixtures("serve")
def test_help_lists_the_commands_of_plugins(invoke: Invoke) -> None:
    assert "serve  Serve the models over HTTP. (modelbay-serve)" in invoke("help").stdout


def test_a_command_that_cannot_be_imported_names_its_package(
    installation: Installation, invoke: Invoke
) -> None:
    entry_points = "[modelbay.commands]\nboom = modelbay_boom:command\n"
    install(installation.packages, "modelbay-boom", entry_points, "raise OSError('no such luck')")

    result = invoke("boom")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "error: the command 'boom' of modelbay-boom cannot be imported: OSError: no such luck\n"
        "hint: modelbay plugin upgrade modelbay-boom"
        "   # or: modelbay plugin uninstall modelbay-boom\n"
    )
    assert re.search(r"boom +\(broken: ", invoke("help").stdout)


def test_a_command_of_a_package_whose_kind_is_switched_off_is_not_imported(
    installation: Installation, invoke: Invoke
) -> None:
    entry_points = (
        "[modelbay]\nboom = modelbay_boom\n[modelbay.commands]\nboom = modelbay_boom:command\n"
    )
    trap = f"open({str(installation.home / 'imported')!r}, 'w').close()\n"
    install(installation.packages, "modelbay-boom", entry_points, trap)
    installation.setenv("MODELBAY_DISABLE", f"{installation.env['MODELBAY_DISABLE']},boom")

    assert invoke("boom").exit_code == 2
    assert "boom" not in invoke("help").stdout
    assert not (installation.home / "imported").exists()


def test_a_command_of_a_package_that_is_not_for_this_core_is_not_imported(
    installation: Installation, invoke: Invoke
) -> None:
    entry_points = "[modelbay.commands]\nboom = modelbay_boom:command\n"
    trap = f"open({str(installation.home / 'imported')!r}, 'w').close()\n"
    install(installation.packages, "modelbay-boom", entry_points, trap)
    metadata = installation.packages / "modelbay_boom-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text() + "Requires-Dist: modelbay-core>=99\n")

    result = invoke("boom")

    assert result.exit_code == 1
    assert "the command 'boom' of modelbay-boom (modelbay-boom 1.0) is too new" in result.stderr
    assert not (installation.home / "imported").exists()


def test_a_damaged_package_hides_no_command(installation: Installation, invoke: Invoke) -> None:
    info = installation.packages / "aaa-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_bytes(b"\xff\xfe[")
    entry_points = "[modelbay.commands]\nserve = modelbay_serve:command\n"
    install(installation.packages, "modelbay-serve", entry_points, SERVE)

    assert invoke("serve").stdout == "serving\n"


def test_an_unknown_command_is_a_usage_error_with_a_near_name(invoke: Invoke) -> None:
    result = invoke("modles")
    assert result.exit_code == 2
    assert "No such command 'modles'. Did you mean models?" in result.stderr


def test_a_shell_is_told_the_commands(installation: Installation) -> None:
    for name, value in (("_MODELBAY_COMPLETE", "bash_complete"), ("COMP_WORDS", "modelbay p")):
        installation.setenv(name, value)
    installation.setenv("COMP_CWORD", "1")
    names = ["ps", "pull", "providers", "plugin"]
    assert installation.run().stdout.decode().split() == [f"plain,{name}" for name in names]


def test_help_of_a_command_is_its_help(invoke: Invoke) -> None:
    assert invoke("help", "chat").stdout == invoke("chat", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("show", "desk/nosuch"), "unknown_model", "unknown model 'desk/nosuch'"),
        (("pull", "desk/nosuch"), "model_not_found", "there is no model 'nosuch'"),
        (("ps", "nowhere"), "unknown_provider", "there is no provider 'nowhere'"),
        (("chat", "-m", "desk/refuses", "hi"), "authentication_failed", "the key is refused"),
        (("chat", "-m", "desk/breaks", "hi"), "stream_interrupted", "closed the connection"),
        (("load", "gone/x"), "backend_unreachable", "nothing answers"),
        (("pull", "bare/x"), "unsupported_action", "cannot pull"),
        (("chat", "-m", "desk/slow", "--deadline", "0.2", "hi"), "backend_timeout", "0.2 s"),
    ],
)
def test_an_error_is_a_message_a_hint_and_the_exit_code_of_its_code(
    installation: Installation,
    invoke: Invoke,
    arguments: tuple[str, ...],
    code: str,
    said: str,
) -> None:
    installation.configure(
        {"id": "desk"}, {"id": "gone", "mode": "down"}, {"id": "bare", "mode": "bare"}
    )

    result = invoke(*arguments)

    assert result.exit_code == CODES[code][1]
    error = next(line for line in result.stderr.splitlines() if line.startswith("error: "))
    assert said in error
    assert "Traceback" not in result.stderr


def test_an_error_of_the_configuration_names_the_file_and_the_place(
    installation: Installation, invoke: Invoke
) -> None:
    installation.configure({"id": "desk", "baseUrl": 7})

    result = invoke("models")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert f"error: {installation.file}#/providers/0/baseUrl: " in result.stderr


def test_a_traceback_is_shown_when_asked_for_twice(invoke: Invoke) -> None:
    quiet = invoke("chat", "-m", "desk/crashes", "-v", "hi")
    loud = invoke("chat", "-m", "desk/crashes", "-vv", "hi")

    assert (quiet.exit_code, loud.exit_code) == (1, 1)
    assert "Traceback" not in quiet.stderr
    assert "secret-in-a-foreign-message" not in quiet.stderr
    assert "Traceback" in loud.stderr


def test_a_fault_of_our_own_is_one_line(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(**options: object) -> None:
        raise ZeroDivisionError("a key, perhaps")

    monkeypatch.setattr("modelbay_cli.session.Host.open", fault)

    result = invoke("models")

    assert result.exit_code == 1
    assert result.stderr == (
        "error: unexpected ZeroDivisionError; this is a fault of modelbay\n"
        "hint: run it again with -vv for the traceback\n"
    )


def test_the_log_of_requests_is_shown_when_asked_for(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = Host.open

    def talkative(**options: object) -> Host:
        logging.getLogger("modelbay.http").debug("-> GET http://127.0.0.1:1/models")
        logging.getLogger("modelbay").debug("something else")
        return really()

    monkeypatch.setattr("modelbay_cli.session.Host.open", talkative)

    assert invoke("models").stderr == ""
    assert invoke("models", "-v").stderr == "-> GET http://127.0.0.1:1/models\n"
    assert "something else" in invoke("models", "-vv").stderr
    assert not logging.getLogger("modelbay").handlers


@pytest.mark.parametrize("raised", [KeyboardInterrupt, click.Abort])
def test_an_interrupt_is_130(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, raised: type[BaseException]
) -> None:
    def interrupted(**options: object) -> None:
        raise raised

    monkeypatch.setattr("modelbay_cli.session.Host.open", interrupted)
    result = invoke("models")
    assert (result.exit_code, result.stderr) == (130, "")
