"""Mirrors modelbay_cli/commands/models.py: one test per rule of the listing."""

import json

import pytest

from cli.conftest import Installation, Invoke
from cli.fake_backend import MODELS


def test_a_pipe_gets_one_row_per_model(invoke: Invoke) -> None:
    lines = invoke("models").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["MODEL", *(f"desk/{name}" for name in MODELS)]
    assert lines[0].split() == ["MODEL", "STATE", "CONTEXT", "CAN", "SIZE", "NOTE"]
    assert lines[1].split() == (
        ["desk/echo", "loaded", "8k", "tools", "vision", "json", "4.1", "GB", "-"]
    )
    assert lines[2].split() == ["desk/slow", "unloaded", "<=128k", "-", "?", "-"]


def test_a_terminal_gets_one_section_per_provider(
    installation: Installation, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.configure({"id": "desk", "label": "Sam's desk"}, {"id": "lab", "mode": "bare"})
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    out = invoke("models").stdout
    assert out.index("Sam's desk (desk), fake") < out.index("desk/echo") < out.index("lab, fake")
    assert "lab/user/one:q4" in out


def test_json_has_exactly_these_fields(installation: Installation, invoke: Invoke) -> None:
    installation.configure({"id": "desk", "label": "Sam's desk"}, {"id": "gone", "mode": "down"})
    document = json.loads(invoke("models", "--json").stdout)
    desk, gone = document.pop("providers")
    models, age_s = desk.pop("models"), desk.pop("age_s")
    assert 0 <= desk.pop("took_s") < 60
    assert 0 <= gone.pop("took_s") < 60
    assert 60 < desk.pop("next_look_s") <= 300
    assert 0 <= gone.pop("next_look_s") <= 15
    assert document == {}
    assert desk == {
        "id": "desk",
        "label": "Sam's desk",
        "kind": "fake",
        "status": "ok",
        "problem": None,
    }
    assert 0 <= age_s < 60
    assert [model["id"] for model in models] == [f"desk/{name}" for name in MODELS]
    assert gone == {
        "id": "gone",
        "label": "gone",
        "kind": "fake",
        "status": "down",
        "problem": {
            "code": "backend_unreachable",
            "message": "nothing answers at http://127.0.0.1:1",
            "hint": "start the server",
        },
        "age_s": None,
        "models": [],
    }


def test_a_provider_that_is_down_is_a_row_and_no_failure(
    installation: Installation, invoke: Invoke
) -> None:
    installation.configure({"id": "gone", "mode": "down"}, {"id": "desk"})
    result = invoke("models")
    row = result.stdout.splitlines()[1]
    assert result.exit_code == 0
    assert row.split()[:2] == ["gone", "down"]
    assert row.endswith("nothing answers at http://127.0.0.1:1; start the server")
    assert "desk/echo" in result.stdout


def test_strict_makes_a_problem_exit_code_7(installation: Installation, invoke: Invoke) -> None:
    assert invoke("models", "--strict").exit_code == 0
    installation.configure({"id": "gone", "mode": "down"}, {"id": "desk"})
    result = invoke("models", "--strict")
    assert result.exit_code == 7
    assert "desk/echo" in result.stdout


@pytest.mark.parametrize("only", ["desk/echo", "ECHO", "cho"])
def test_a_filter_keeps_the_refs_that_contain_it(invoke: Invoke, only: str) -> None:
    providers = json.loads(invoke("models", only, "--json").stdout)["providers"]
    assert [m["id"] for p in providers for m in p["models"]] == ["desk/echo"]


def test_a_filter_that_is_a_provider_keeps_all_of_it(
    installation: Installation, invoke: Invoke
) -> None:
    installation.configure({"id": "desk"}, {"id": "lab", "mode": "bare"})
    lines = invoke("models", "lab").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["MODEL", "lab/user/one:q4"]


def test_nothing_found_says_what_to_do_next(installation: Installation, invoke: Invoke) -> None:
    installation.configure()
    result = invoke("models")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("no models found: start a model server, or describe one in")
    assert str(installation.file) in result.stderr


def test_nothing_matching_says_so(invoke: Invoke) -> None:
    result = invoke("models", "nosuch")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no model matches 'nosuch': modelbay models   # lists all of them\n"


def test_the_stand_in_is_marked_as_what_it_is(installation: Installation, invoke: Invoke) -> None:
    installation.configure({"id": "here", "mode": "stand-in"})
    row = invoke("models").stdout.splitlines()[1]
    assert row.startswith("here/welcome")
    assert row.endswith("built-in welcome text, not a language model")


def test_a_proposal_that_never_answered_is_shown_only_with_all(
    installation: Installation, invoke: Invoke
) -> None:
    installation.configure()
    installation.propose("down")
    assert invoke("models").stdout == ""
    assert "nearby" in invoke("models", "--all").stdout


def test_a_deadline_is_exit_code_124(installation: Installation, invoke: Invoke) -> None:
    installation.configure({"id": "desk", "mode": "hangs", "probeTimeoutS": 30})
    assert invoke("models", "--deadline", "0.2").exit_code == 124
