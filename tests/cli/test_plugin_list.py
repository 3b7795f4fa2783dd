"""Mirrors modelbay_cli/installing/listing.py: each plugin, its state and the reason for it."""

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cli.conftest import Installation, Invoke, install
from modelbay_cli.installing import wishes
from modelbay_cli.installing.requirement import Requirement

HOOKS = """
from modelbay.hookspecs import hookimpl
from modelbay.models.capabilities import CapabilityTable

@hookimpl
def capabilities():
    return CapabilityTable()

@hookimpl
async def discover_models(provider):
    return []

@hookimpl
def stream_chat(provider, request, model):
    raise NotImplementedError

@hookimpl
def manage(provider, action):
    raise NotImplementedError
"""


@pytest.fixture(autouse=True)
def _imported_anew() -> Iterator[None]:
    """Each test's plugin is another module of the same name."""
    sys.modules.pop("modelbay_acme", None)
    yield
    sys.modules.pop("modelbay_acme", None)


def put(installation: Installation, kind: str, module: str, *, core: str = "") -> None:
    """An installed plugin of this kind."""
    package = f"modelbay_{kind}"
    install(installation.packages, f"modelbay-{kind}", f"[modelbay]\n{kind} = {package}\n", module)
    metadata = installation.packages / f"{package}-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text() + core)


def listed(invoke: Invoke) -> dict[str, dict[str, Any]]:
    done = invoke("plugin", "list", "--json")
    assert done.exit_code == 0, done.output
    return {row["kind"] or row["dist"]: row for row in json.loads(done.stdout)}


def test_a_sound_plugin_is_shown_with_all_that_is_known(
    invoke: Invoke, installation: Installation
) -> None:
    put(installation, "acme", HOOKS, core="Requires-Dist: modelbay-core<1,>=0.1\n")
    wishes.add(
        installation.home / "data" / "plugins.json", [Requirement("modelbay-acme", "modelbay-acme")]
    )
    row = listed(invoke)["acme"]
    assert row.pop("import_s") >= 0
    assert row == {
        "kind": "acme",
        "aliases": [],
        "dist": "modelbay-acme",
        "version": "1.0",
        "api_range": "<1,>=0.1",
        "hooks": ["capabilities", "discover_models", "stream_chat", "manage"],
        "state": "ok",
        "code": "",
        "reason": "",
        "hint": "",
        "entry_point": "modelbay_acme",
        "wished": True,
    }


def test_a_disabled_plugin_is_listed_and_not_imported(
    invoke: Invoke, installation: Installation
) -> None:
    trap = f"open({str(installation.home / 'imported')!r}, 'w').close()\n"
    put(installation, "acme", trap + HOOKS)
    installation.setenv("MODELBAY_DISABLE", "acme")
    row = listed(invoke)["acme"]
    assert (row["state"], row["hooks"], row["version"]) == ("disabled", None, "1.0")
    assert (row["reason"], row["hint"]) == ("MODELBAY_DISABLE names it", "unset MODELBAY_DISABLE")
    assert not (installation.home / "imported").exists()
    installation.setenv("MODELBAY_DISABLE", "")
    assert listed(invoke)["acme"]["state"] == "ok"
    assert (installation.home / "imported").exists()


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("raise RuntimeError('boom')", "cannot be imported: RuntimeError: boom"),
        ("def", "cannot be imported: SyntaxError"),
        ("import sys; sys.exit(3)", "cannot be imported: SystemExit: 3"),
        ("raise KeyboardInterrupt", "cannot be imported: KeyboardInterrupt"),
        ("import nothing_like_it", "needs the module 'nothing_like_it'"),
        (HOOKS.replace("def manage", "def managed"), "does not fit this core"),
        (HOOKS.replace("@hookimpl\ndef manage", "def manage"), "lacks manage"),
        (HOOKS.replace("(provider, action)", "(provider, deed)"), "does not fit this core"),
    ],
)
def test_a_broken_plugin_says_why_and_how_to_be_rid_of_it(
    module: str, reason: str, invoke: Invoke, installation: Installation
) -> None:
    put(installation, "acme", module)
    found = listed(invoke)
    row = found["acme"]
    assert (row["state"], row["hooks"]) == ("broken", None)
    assert reason in row["reason"]
    assert "modelbay plugin uninstall modelbay-acme" in row["hint"]
    assert found["fake"]["state"] == "ok"  # the others work


def test_of_two_of_a_kind_one_is_named_as_the_second(
    invoke: Invoke, installation: Installation
) -> None:
    install(installation.packages, "zz-fake", "[modelbay]\nfake = zz_fake\n", HOOKS)
    done = invoke("plugin", "list", "--json")
    rows = {row["dist"]: row for row in json.loads(done.stdout)}
    assert rows["modelbay-fake"]["state"] == "ok"
    assert rows["zz-fake"]["state"] == "duplicate"
    assert "taken by modelbay-fake" in rows["zz-fake"]["reason"]


def test_a_stranger_that_sorts_first_takes_no_kind_and_its_fix_is_one_that_works(
    invoke: Invoke, installation: Installation
) -> None:
    install(installation.packages, "aa-fake", "[modelbay]\nfake = aa_fake\n", HOOKS)
    rows = {row["dist"]: row for row in json.loads(invoke("plugin", "list", "--json").stdout)}
    assert rows["modelbay-fake"]["state"] == "ok"
    assert (rows["aa-fake"]["state"], rows["aa-fake"]["code"]) == ("duplicate", "kind_duplicate")
    assert rows["aa-fake"]["hint"] == "modelbay plugin uninstall aa-fake"
    done = invoke(*rows["aa-fake"]["hint"].split()[1:], "--dry-run")
    assert (done.exit_code, done.stdout.split()[-1]) == (0, "aa-fake")


def test_a_plugin_that_leaves_a_thread_running_is_named(
    invoke: Invoke, installation: Installation
) -> None:
    waits = "threading.Thread(target=GATE.wait, name='sampler').start()"
    put(installation, "acme", f"import threading\nGATE = threading.Event()\n{waits}\n{HOOKS}")
    row = listed(invoke)["acme"]
    sys.modules["modelbay_acme"].GATE.set()
    assert (row["state"], row["code"]) == ("ok", "plugin_thread")
    assert row["reason"].endswith("for which a command's end may wait: sampler")
    assert row["hint"].startswith("modelbay plugin upgrade modelbay-acme ")


def test_what_is_wished_and_gone_is_listed_as_missing(
    invoke: Invoke, installation: Installation
) -> None:
    wishes.add(
        installation.home / "data" / "plugins.json",
        [Requirement("modelbay-acme", "modelbay-acme>=2")],
    )
    row = listed(invoke)["modelbay-acme"]
    assert (row["state"], row["hint"]) == ("missing", "modelbay plugin sync")
    assert "modelbay-acme>=2" in row["reason"]


def test_a_damaged_wish_list_is_no_obstacle(invoke: Invoke, installation: Installation) -> None:
    path = installation.home / "data" / "plugins.json"
    path.parent.mkdir()
    path.write_text("{")
    done = invoke("plugin", "list")
    assert (done.exit_code, "wished plugins" in done.stderr) == (0, True)
    assert "modelbay-fake" in done.stdout


def test_a_table_has_a_row_for_each_and_a_hint_for_those_in_trouble(
    invoke: Invoke, installation: Installation
) -> None:
    put(installation, "acme", "raise RuntimeError('boom')")
    done = invoke("plugin", "list")
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["KIND", "DISTRIBUTION", "VERSION", "CORE", "HOOKS", "STATE", "REASON"]
    states = {line[0]: line[5] for line in lines[1:]}
    assert (states["acme"], states["fake"]) == ("broken", "ok")
    fix = "modelbay plugin upgrade modelbay-acme   # or: modelbay plugin uninstall modelbay-acme"
    assert f"acme: {fix}\n" in done.stderr
    assert "[plugin_broken]" in done.stdout


def test_a_slow_import_is_named_with_its_time(
    invoke: Invoke, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelbay_cli.installing.trouble.SLOW_S", 0.0)
    put(installation, "acme", HOOKS)
    row = listed(invoke)["acme"]
    assert (row["state"], row["code"]) == ("ok", "plugin_slow")
    assert row["reason"].startswith("its import took 0.")
    off = os.environ["MODELBAY_DISABLE"]
    assert row["hint"] == f"export MODELBAY_DISABLE={off},acme"
