"""Mirrors modelbay_cli/actions.py and the commands on it: ps, load, unload, show, pull, rm, cp."""

import json
import os
import pty
import subprocess

import pytest

from cli.conftest import Installation, Invoke, install


@pytest.mark.parametrize(
    ("arguments", "action", "said"),
    [
        (
            ("load", "desk/slow"),
            '{"action":"load","model":"slow","options":{}}',
            "desk/slow is loaded",
        ),
        (
            ("load", "desk/echo"),
            '{"action":"load","model":"echo","options":{}}',
            "desk/echo was already loaded",
        ),
        (
            ("unload", "desk/echo"),
            '{"action":"unload","model":"echo","force":false}',
            "desk/echo is unloaded",
        ),
        (
            ("stop", "desk/echo", "--force"),
            '{"action":"unload","model":"echo","force":true}',
            "desk/echo is unloaded",
        ),
        (
            ("unload", "--provider", "desk", "--all"),
            '{"action":"unload","model":null,"force":false}',
            "desk is unloaded",
        ),
        (
            ("pull", "desk/hf.co/user/new:q4"),
            '{"action":"pull","model":"hf.co/user/new:q4"}',
            "✓ desk/hf.co/user/new:q4 ready",
        ),
        (("rm", "-y", "desk/echo"), '{"action":"delete","model":"echo"}', "desk/echo is deleted"),
    ],
)
def test_an_action_reaches_the_provider_and_its_end_is_said(
    installation: Installation,
    invoke: Invoke,
    arguments: tuple[str, ...],
    action: str,
    said: str,
) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (0, f"{said}\n")
    assert installation.notes == [action]


def test_progress_and_log_are_on_stderr(invoke: Invoke) -> None:
    result = invoke("load", "desk/slow")
    assert result.stderr.splitlines() == ["reading the file", "loading 50 %"]


def test_a_pull_is_told_in_tenths_when_nobody_watches(invoke: Invoke) -> None:
    lines = invoke("pull", "desk/new").stderr.splitlines()
    assert lines[0] == "pulling 0 % (0 B of 1.0 GB)"
    assert lines[-1] == "pulling 100 % (1.0 GB of 1.0 GB)"
    assert len(lines) == 11


def test_a_pull_without_a_provider_says_where_it_goes(
    installation: Installation, invoke: Invoke
) -> None:
    result = invoke("pull", "hf.co/user/new:q4")
    assert result.stdout == "✓ desk/hf.co/user/new:q4 ready\n"
    assert result.stderr.startswith("provider: desk\n")


def test_a_pull_with_no_provider_at_all_is_refused(
    installation: Installation, invoke: Invoke
) -> None:
    installation.configure()
    assert invoke("pull", "new").exit_code == 4


def test_json_is_every_event_on_a_line(invoke: Invoke) -> None:
    result = invoke("load", "desk/slow", "--json")
    assert [json.loads(line)["type"] for line in result.stdout.splitlines()] == [
        "log",
        "progress",
        "done",
    ]
    assert result.stderr == ""


def test_json_ends_a_failure_with_an_error_event(invoke: Invoke) -> None:
    result = invoke("pull", "desk/nosuch", "--json")
    event = json.loads(result.stdout.splitlines()[-1])
    assert (event["type"], event["code"], result.exit_code) == ("error", "model_not_found", 4)


def test_what_a_backend_cannot_do_says_what_to_do_instead(
    installation: Installation, invoke: Invoke
) -> None:
    installation.configure({"id": "lab", "mode": "bare"})
    result = invoke("pull", "lab/new")
    assert result.exit_code == 6
    assert result.stderr == "error: fake cannot pull\nhint: fetch it yourself\n"


@pytest.mark.parametrize(
    "arguments",
    [(), ("desk/echo", "--all"), ("--provider", "desk"), ("--all",), ("x", "--provider", "desk")],
)
def test_unload_wants_one_model_or_all_of_a_provider(
    invoke: Invoke, arguments: tuple[str, ...]
) -> None:
    assert invoke("unload", *arguments).exit_code == 2


# --- rm ---------------------------------------------------------------------------------------


def test_nothing_is_deleted_when_nobody_can_be_asked(
    installation: Installation, invoke: Invoke
) -> None:
    result = invoke("rm", "desk/echo", stdin="y\n")
    assert result.exit_code == 2
    assert "-y" in result.stderr
    assert installation.notes == []


@pytest.mark.parametrize(("reply", "code"), [(b"y\n", 0), (b"n\n", 1), (b"\n", 1)])
def test_a_person_is_asked(installation: Installation, reply: bytes, code: int) -> None:
    ours, theirs = pty.openpty()
    process = installation.process("rm", "desk/echo", stdin=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    os.write(ours, reply)
    out, err = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == code
    assert b"Delete desk/echo? [y/N]" in err
    assert out == (b"desk/echo is deleted\n" if code == 0 else b"")
    assert len(installation.notes) == (1 if code == 0 else 0)


def test_a_backend_that_cannot_delete_says_so_before_it_asks(installation: Installation) -> None:
    installation.configure({"id": "lab", "mode": "bare"})
    ours, theirs = pty.openpty()
    process = installation.process("rm", "lab/user/one:q4", stdin=theirs)
    os.close(theirs)
    out, err = process.communicate(timeout=30)
    os.close(ours)
    assert (process.returncode, out) == (6, b"")
    assert err.startswith(b"error: fake cannot delete")


# --- cp ---------------------------------------------------------------------------------------

COPIER = """
from pathlib import Path
from modelbay.hookspecs import hookimpl
from modelbay.models.capabilities import CapabilityTable
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.events import Finish
from modelbay.models.manage import Done


@hookimpl
def capabilities():
    return CapabilityTable(actions=frozenset({"copy"}))


@hookimpl
async def discover_models(provider):
    two = DiscoveredModel(wire_id="two:latest", aliases=("two",))
    return [DiscoveredModel(wire_id="one:1b"), two]


@hookimpl
async def stream_chat(provider, request, model):
    yield Finish("stop")


@hookimpl
async def manage(provider, action):
    with Path(provider.resources.env["FAKE_NOTES"]).open("a") as notes:
        notes.write(f"{action.model} -> {action.to}\\n")
    yield Done()
"""


@pytest.fixture
def copier(installation: Installation) -> Installation:
    """A provider ``lab`` that can copy, beside ``desk``, which cannot."""
    install(installation.packages, "copier", "[modelbay]\ncopier = copier\n", COPIER)
    installation.configure({"id": "desk"}, {"id": "lab", "kind": "copier"})
    return installation


@pytest.mark.parametrize("name", ["mine", "lab/mine", "sam/mine", "lab/desk/mine"])
def test_a_copy_stays_at_its_provider(copier: Installation, invoke: Invoke, name: str) -> None:
    to = name.removeprefix("lab/")

    result = invoke("cp", "lab/one:1b", name)

    assert (result.exit_code, result.stdout) == (0, f"lab/one:1b is copied to lab/{to}\n")
    assert copier.notes == [f"one:1b -> {to}"]


def test_a_copy_to_another_provider_is_refused(copier: Installation, invoke: Invoke) -> None:
    result = invoke("cp", "lab/one:1b", "desk/mine")

    assert (result.exit_code, copier.notes) == (2, [])
    assert "'desk' is another one (if it is meant as a namespace: lab/desk/mine)" in result.stderr


@pytest.mark.parametrize("name", ["two", "two:latest", "lab/two"])
def test_no_model_is_replaced_when_nobody_can_be_asked(
    copier: Installation, invoke: Invoke, name: str
) -> None:
    refused = invoke("cp", "lab/one:1b", name, stdin="y\n")
    assert (refused.exit_code, copier.notes) == (2, [])
    assert "lab/two:latest is there" in refused.stderr

    for number, flag in enumerate(("-y", "--yes", "--force"), 1):
        assert invoke("cp", flag, "lab/one:1b", name).exit_code == 0
        assert copier.notes == [f"one:1b -> {name.removeprefix('lab/')}"] * number


@pytest.mark.parametrize(("reply", "code"), [(b"y\n", 0), (b"n\n", 1), (b"\n", 1)])
def test_a_person_is_asked_before_a_model_is_replaced(
    copier: Installation, reply: bytes, code: int
) -> None:
    ours, theirs = pty.openpty()
    process = copier.process("cp", "lab/one:1b", "two", stdin=theirs)
    os.close(theirs)
    os.write(ours, reply)
    _, err = process.communicate(timeout=30)
    os.close(ours)

    assert (process.returncode, len(copier.notes)) == (code, 1 - code)
    assert b"Replace lab/two:latest? [y/N]" in err


def test_a_backend_that_cannot_copy_says_so(copier: Installation, invoke: Invoke) -> None:
    assert invoke("cp", "desk/echo", "slow").exit_code == 6


# --- ps ---------------------------------------------------------------------------------------


def test_ps_asks_every_provider_that_can_tell(installation: Installation, invoke: Invoke) -> None:
    installation.configure(
        {"id": "desk"}, {"id": "lab", "mode": "bare"}, {"id": "gone", "mode": "down"}
    )
    result = invoke("ps")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert rows[1][:7] == ["desk/echo", "loaded", "?", "5.0", "GB", "8k", "-"]
    assert rows[2][:2] == ["gone", "down"]
    assert result.stdout.rstrip().endswith("nothing answers there; start the server")
    assert len(rows) == 3


def test_ps_of_one_provider_fails_as_it_does(installation: Installation, invoke: Invoke) -> None:
    installation.configure({"id": "lab", "mode": "bare"}, {"id": "gone", "mode": "down"})
    assert invoke("ps", "gone").exit_code == 3
    refused = invoke("ps", "lab")
    assert refused.exit_code == 6
    assert refused.stderr == "error: fake cannot tell what is in memory\nhint: look at its page\n"


def test_ps_leaves_out_proposals_that_do_not_answer(
    installation: Installation, invoke: Invoke
) -> None:
    installation.configure()
    installation.propose("down")
    result = invoke("ps")
    assert (result.stdout, result.exit_code) == ("", 0)
    assert result.stderr == "no model is in memory: modelbay load REF\n"


def test_ps_json(installation: Installation, invoke: Invoke) -> None:
    installation.configure({"id": "desk"}, {"id": "gone", "mode": "down"})
    desk, gone = json.loads(invoke("ps", "--json").stdout)["providers"]
    assert (desk["id"], desk["problem"]) == ("desk", None)
    assert [model["id"] for model in desk["models"]] == ["desk/echo"]
    assert (gone["problem"]["code"], gone["models"]) == ("backend_unreachable", [])


# --- show -------------------------------------------------------------------------------------


def test_show_has_what_is_known_and_what_the_server_says(invoke: Invoke) -> None:
    rows = {line[:18].strip(): line[18:] for line in invoke("show", "desk/echo").stdout.split("\n")}
    assert rows["id"].strip() == "desk/echo"
    assert rows["context window"].strip() == "8192 tokens"
    assert rows["tools"].strip() == "yes"
    assert rows["audio"].strip() == "?"
    assert rows["prices"].strip() == "free"
    assert rows["limits.streams"].strip() == "4"
    assert rows["template"].strip() == f"{'x' * 200}... (500 characters; --json has all)"


def test_show_needs_no_show_action(installation: Installation, invoke: Invoke) -> None:
    installation.configure({"id": "lab", "mode": "bare"})
    result = invoke("show", "lab/user/one:q4", "--json")
    document = json.loads(result.stdout)
    assert (document["id"], document["server"]) == ("lab/user/one:q4", {})
