"""Mirrors commands/explain.py and commands/verify.py."""

import json
from dataclasses import replace
from typing import Any

import pytest

from cli.conftest import Installation, Invoke
from modelbay_llamacpp.simulator import LlamaCppSimulator, SimulatedModel


def explained(invoke: Invoke, *arguments: str) -> list[tuple[str, Any, str, bool]]:
    result = invoke("explain", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads(result.stdout)
    return [(row["field"], row["value"], row["source"], row["wins"]) for row in rows]


@pytest.fixture(autouse=True)
def opinion(installation: Installation) -> None:
    models = {"ec*": {"tools": False, "contextWindow": 4096}}
    installation.configure({"id": "desk", "models": models})


def test_every_layers_word_on_every_field(invoke: Invoke) -> None:
    rows = explained(invoke, "desk/echo")

    assert [row for row in rows if row[0] == "tools"] == [
        ("tools", False, "user", True),
        ("tools", True, "live", False),
    ]
    assert ("audio", None, "default", True) in rows


def test_one_field_alone(invoke: Invoke) -> None:
    assert explained(invoke, "desk/echo", "context_window")[0] == (
        "context_window",
        4096,
        "user",
        True,
    )
    shown = invoke("explain", "desk/echo", "tools").stdout
    assert "hidden" in shown
    assert "models['ec*']" in shown


def test_what_the_server_said_has_an_age_and_what_the_user_says_has_none(invoke: Invoke) -> None:
    [user, live] = json.loads(invoke("explain", "desk/echo", "tools", "--json").stdout)

    assert user["age_s"] is None
    assert 0 <= live["age_s"] < 60


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("desk/nosuch",), 4, "unknown model"),
        (("desk/echo", "tool"), 2, "did you mean tools?"),
        (("desk/echo", "zzz"), 2, "known: context_window"),
    ],
)
def test_what_is_not_there(
    invoke: Invoke, arguments: tuple[str, ...], code: int, told: str
) -> None:
    result = invoke("explain", *arguments)

    assert (result.exit_code, told in result.stderr) == (code, True)


def test_what_is_measured_counts_in_the_next_run_and_is_explained(invoke: Invoke) -> None:
    """`echo` gives back its prompt: no JSON, no tool call, no thought."""
    asked = ("verify", "desk/echo", "--only", "json_mode", "--only", "reasoning")
    found = [json.loads(line) for line in invoke(*asked, "--json").stdout.splitlines()]
    assert [(f["field"], f["value"]) for f in found] == [("json_mode", False), ("reasoning", False)]

    [first, *_] = json.loads(invoke("explain", "desk/echo", "json_mode", "--json").stdout)
    assert (first["value"], first["source"], first["where"]) == (
        False,
        "measured",
        "the answer in JSON mode is no JSON",
    )
    assert first["age_s"] < 60


def test_verify_for_people(invoke: Invoke) -> None:
    result = invoke("verify", "desk/echo", "--only", "json_mode")

    assert " ".join(result.stdout.split()) == "json_mode no the answer in JSON mode is no JSON"
    assert "modelbay explain desk/echo" in result.stderr


def test_a_server_that_lies_is_found_out_and_the_lie_is_shown_below_the_truth(
    installation: Installation, invoke: Invoke
) -> None:
    """Over a real socket; `--only` leaves the rest as the server says it."""
    real = SimulatedModel("m", tools=False, n_ctx=4096)
    liar = replace(real, listed_as=replace(real, tools=True, vision=True, n_ctx=16384))
    off = [d for d in installation.env["MODELBAY_DISABLE"].split(",") if "cpp" not in d]
    installation.setenv("MODELBAY_DISABLE", ",".join(off))
    with LlamaCppSimulator([liar]) as sim:
        installation.configure({"id": "lab", "kind": "llamacpp", "baseUrl": sim.base_url})
        fields = ("tools", "vision", "context_window")
        only = [word for name in fields for word in ("--only", name)]
        shown = invoke("verify", "lab/m", *only)
        assert shown.exit_code == 0, shown.stderr
        rows = {name: explained(invoke, "lab/m", name) for name in fields}

    assert [line.split()[:2] for line in shown.stdout.splitlines()] == [
        ["tools", "no"],
        ["vision", "no"],
        ["context_window", "4096"],
    ]
    assert rows == {
        name: [(name, true, "measured", True), (name, lie, "live", False)]
        for name, true, lie in (
            ("tools", False, True),
            ("vision", False, True),
            ("context_window", 4096, 16384),
        )
    }
