"""Mirrors modelbay_cli/commands/models.py: one test per rule of the listing."""

import json

import pytest

from cli.conftest import Installation, Invoke
from cli.fake_backend import MODELS
from modelbay.models.capabilities import Capabilities, Facts
from modelbay_cli import facts
from modelbay_cli.sift import CAPABILITIES


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


# --- favourites -----------------------------------------------------------------------------------


def test_favourites_come_first_and_again_among_their_provider(
    installation: Installation, invoke: Invoke
) -> None:
    """S0-38, S0-58, S0-59, S0-61: in a pipe each row says that it is one."""
    installation.configure({"id": "desk"}, {"id": "lab", "mode": "bare"})
    invoke("fav", "add", "lab/user/one:q4", "desk/slow")

    lines = [line.split() for line in invoke("models").stdout.splitlines()[1:]]

    assert [line[0] for line in lines] == [
        "lab/user/one:q4",
        "desk/slow",
        *(f"desk/{name}" for name in MODELS),
        "lab/user/one:q4",
    ]
    assert [line[0] for line in lines if line[-1] == "favourite"] == [
        "lab/user/one:q4",
        "desk/slow",
        "desk/slow",
        "lab/user/one:q4",
    ]


def test_a_terminal_gets_favourites_as_a_section_of_their_own(
    installation: Installation, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S0-50, S0-58, S0-59, S0-62: then the providers in the file's order."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    installation.configure(
        {"id": "lab", "mode": "bare"}, {"id": "desk", "label": "Sam's desk"}, defaultProvider="desk"
    )
    installation.put("echo", "slow")
    invoke("fav", "add", "desk/slow", "desk/gone")

    lines = [" ".join(line.split()) for line in invoke("models").stdout.splitlines()]

    assert lines == [
        "MODEL STATE CONTEXT CAN SIZE NOTE",
        "Favourites, 1 hidden (offline)",
        "desk/slow unloaded <=128k ?",
        "lab, fake",
        "lab/user/one:q4 loaded ? ?",
        "Sam's desk (desk), fake",
        "desk/echo loaded 8k tools vision json 4.1 GB",
        "desk/slow unloaded <=128k ? favourite",
    ]


def test_json_keeps_its_shape_and_marks_favourites(invoke: Invoke) -> None:
    """S0-35, S0-38: they are the user's, and so no provider of the catalogue."""
    invoke("fav", "add", "desk/slow")
    document = json.loads(invoke("models", "--json").stdout)
    plain = json.loads(invoke("models", "--json", "--no-favorites").stdout)

    [desk] = document["providers"]
    assert {m["id"] for m in desk["models"] if m.get("favorite")} == {"desk/slow"}
    [slow] = [model for model in desk["models"] if model["id"] == "desk/slow"]
    assert slow.pop("favorite") is True
    assert desk["models"] == plain["providers"][0]["models"]


def test_without_favourites_there_is_no_section_and_no_mark(invoke: Invoke) -> None:
    invoke("fav", "add", "desk/slow")
    out = invoke("models", "--no-favorites").stdout
    assert out.count("desk/slow") == 1
    assert "favourite" not in out


def test_a_filter_is_for_favourites_too(invoke: Invoke) -> None:
    invoke("fav", "add", "desk/slow", "desk/echo", "desk/gone")
    lines = invoke("models", "echo").stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["desk/echo", "desk/echo"]


def test_a_damaged_state_file_takes_away_the_favourites_alone(
    installation: Installation, invoke: Invoke
) -> None:
    data = installation.home / "data"
    data.mkdir()
    (data / "state.db").write_bytes(b"no database" * 1000)

    result = invoke("models")

    assert result.exit_code == 0
    assert "desk/echo" in result.stdout
    assert result.stderr.startswith("warning: favourites cannot be read: ")
    assert not (installation.home / "cache" / "ready").exists()  # the warning is not repeated


# --- filters --------------------------------------------------------------------------------------


@pytest.fixture
def many(installation: Installation) -> Installation:
    installation.put("qwen3-coder:30b", "qwen3:4b", "gemma3", "deepseek-r1", "echo")
    return installation


@pytest.mark.parametrize(
    ("only", "found"),
    [
        ("qwen3:", ["desk/qwen3:4b"]),  # what contains it comes before what looks like it
        ("q3c", ["desk/qwen3-coder:30b"]),
        ("gma", ["desk/gemma3"]),
        ("r1", ["desk/deepseek-r1"]),
        ("gemna3", ["desk/gemma3"]),
        ("Deapseek-R1", ["desk/deepseek-r1"]),
    ],
)
def test_what_only_looks_like_the_filter_is_listed_where_nothing_contains_it(
    many: Installation, invoke: Invoke, only: str, found: list[str]
) -> None:
    """S0-63, S0-73: searching the picker."""
    result = invoke("models", only)
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == found
    exact = any(only.lower() in ref for ref in found)
    note = f"no model contains '{only}'; these look like it\n"
    assert result.stderr == ("" if exact else note)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--capability", "tools"), ["desk/echo"]),
        (("--capability", "tools", "--capability", "vision"), ["desk/echo"]),
        (("--capability", "tools", "--capability", "audio"), []),
        (("--loaded",), ["desk/echo", "lab/user/one:q4"]),
        (("--loaded", "--capability", "vision"), ["desk/echo"]),
        (("lab", "--loaded"), ["lab/user/one:q4"]),
        (("slow", "--loaded"), []),
    ],
)
def test_filters_go_together(
    installation: Installation, invoke: Invoke, options: tuple[str, ...], found: list[str]
) -> None:
    installation.configure(
        {"id": "desk"}, {"id": "lab", "mode": "bare"}, {"id": "no", "mode": "down"}
    )
    result = invoke("models", *options)
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == found
    words = [f"'{o}'" if o in ("slow", "lab") else o for o in options]
    if not found and "slow" in options:
        assert f"no model matches {' '.join(words)}: modelbay models" in result.stderr


def test_strict_looks_at_every_provider_whatever_the_filter(
    installation: Installation, invoke: Invoke
) -> None:
    installation.configure({"id": "desk"}, {"id": "gone", "mode": "down"})
    assert invoke("models", "echo", "--strict").exit_code == 7
    assert invoke("models", "desk", "--strict").exit_code == 0


def test_the_capabilities_one_can_ask_for_are_the_words_of_the_column() -> None:
    everything = {name: True for name in Facts.model_fields if name not in ("prices",)}
    numbers = ("context_window", "trained_context", "configured_context", "max_output_tokens")
    numbered = {**everything, **dict.fromkeys(numbers, 1)}
    assert tuple(facts.can(Capabilities(**numbered))) == CAPABILITIES  # type: ignore[arg-type]
