"""Mirrors modelbay_cli/commands/conversations.py: models of conversations, and names of old."""

import json
import sqlite3

import pytest
from rich.cells import cell_len

from cli.conftest import Installation, Invoke


def model(invoke: Invoke, conversation_id: str) -> object:
    return json.loads(invoke("conversations", "model", conversation_id, "--json").stdout)


def test_one_that_was_never_set_is_null(installation: Installation, invoke: Invoke) -> None:
    """S2-05, S2-07, S2-08: and asking makes no file."""
    assert model(invoke, "trip") == {
        "conversationId": "trip",
        "model": None,
        "resolvable": True,
        "fallback": None,
    }
    result = invoke("conversations", "model", "trip")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no model is remembered: turns go to the default\n"
    assert not (installation.home / "data").exists()


def test_setting_one_answers_what_it_is_now(installation: Installation, invoke: Invoke) -> None:
    """S2-09, S2-10, S2-12, S2-20, S0-72: one string, written with its provider."""
    assert invoke("conversations", "model", "trip", "slow").stdout == "desk/slow\n"
    assert model(invoke, "trip") == {
        "conversationId": "trip",
        "model": "desk/slow",
        "resolvable": True,
        "fallback": None,
    }


@pytest.mark.parametrize("clearing", ["--clear", ""])
def test_it_is_cleared(installation: Installation, invoke: Invoke, clearing: str) -> None:
    """S2-06, S2-13, S2-22: null and an empty string."""
    invoke("conversations", "model", "trip", "desk/slow")
    assert invoke("conversations", "model", "trip", clearing).stdout == ""
    assert invoke("conversations", "model", "trip").stdout == ""


def test_it_is_not_validated_and_what_is_gone_is_said(
    installation: Installation, invoke: Invoke
) -> None:
    """S2-21, U12: with another one to go on with."""
    installation.configure({"id": "desk"}, {"id": "twin"})
    result = invoke("conversations", "model", "trip", "gone/busy")
    assert (result.exit_code, result.stdout) == (0, "gone/busy\n")
    assert result.stderr == (
        "warning: 'gone/busy' is not there any more\n"
        "hint: modelbay conversations model trip desk/busy\n"
    )
    assert model(invoke, "trip") == {
        "conversationId": "trip",
        "model": "gone/busy",
        "resolvable": False,
        "fallback": "desk/busy",
    }


def test_of_a_provider_that_is_down_nobody_knows(
    installation: Installation, invoke: Invoke
) -> None:
    """S2-21."""
    installation.configure({"id": "desk"}, {"id": "lab", "mode": "down"})
    result = invoke("conversations", "model", "trip", "lab/x")
    assert result.stderr.startswith("warning: 'lab/x' is not listed at present\n")


def test_two_wishes_are_a_usage_error(invoke: Invoke) -> None:
    assert invoke("conversations", "model", "trip", "desk/slow", "--clear").exit_code == 2


# --- the list -------------------------------------------------------------------------------------


@pytest.fixture
def talks(installation: Installation, invoke: Invoke) -> Installation:
    """Two conversations with a model, and one whose model has gone."""
    for name, question in (("one", "first things"), ("two", "night train"), ("three", "and now?")):
        asked = invoke("chat", "--conversation", name, "-m", "desk/echo", question)
        assert asked.exit_code == 0, asked.stderr
    invoke("conversations", "model", "two", "desk/gone")
    invoke("conversations", "model", "three", "--clear")
    return installation


def test_they_are_listed_with_the_models_they_remember(talks: Installation, invoke: Invoke) -> None:
    """S2-01, S2-02."""
    result = invoke("conversations", "list")

    rows = [line.split(None, 2) for line in result.stdout.splitlines()]
    assert (result.exit_code, result.stderr) == (0, "")
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["CONVERSATION", "MODEL", "NOTE                TITLE"],
        ["three", "-", "-                   and now?"],
        ["two", "desk/gone", "not there any more  night train"],
        ["one", "desk/echo", "-                   first things"],
    ]
    assert invoke("conversations").stdout == result.stdout


def test_the_list_as_json_is_what_is_said_of_each(talks: Installation, invoke: Invoke) -> None:
    """S2-05: the same fields, and the title."""
    document = json.loads(invoke("conversations", "list", "--json").stdout)

    assert document == {
        "conversations": [
            {**json.loads(invoke("conversations", "model", name, "--json").stdout), "title": title}
            for name, title in (
                ("three", "and now?"),
                ("two", "night train"),
                ("one", "first things"),
            )
        ],
        "next": None,
    }
    assert json.loads(invoke("conversations", "--json").stdout) == document
    assert invoke("conversations", "--json", "list").exit_code == 2


def test_an_empty_list_says_so_and_makes_no_file(
    installation: Installation, invoke: Invoke
) -> None:
    result = invoke("conversations", "list")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no conversation is kept: modelbay chat begins one\n"
    assert json.loads(invoke("conversations", "list", "--json").stdout) == {
        "conversations": [],
        "next": None,
    }
    assert not (installation.home / "data").exists()


def test_a_long_list_comes_in_pages(talks: Installation, invoke: Invoke) -> None:
    first = invoke("conversations", "list", "-n", "2")
    assert [line.split()[0] for line in first.stdout.splitlines()[1:]] == ["three", "two"]
    call = first.stderr.strip().removeprefix("more: modelbay ").split()
    rest = invoke(*call)
    assert [line.split()[0] for line in rest.stdout.splitlines()[1:]] == ["one"]


@pytest.mark.parametrize("title", ["words " * 40, "夜行列車" * 30])
def test_a_narrow_terminal_shortens_titles_and_never_a_ref(
    installation: Installation, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, title: str
) -> None:
    """A Chinese character takes two columns."""
    invoke("chat", "--conversation", "trip", "-m", "desk/echo", title)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    for width in ("60", "30"):
        monkeypatch.setenv("COLUMNS", width)
        head, line = invoke("conversations").stdout.splitlines()
        assert head.split() == ["CONVERSATION", "MODEL", "TITLE"]
        assert line.startswith("trip          desk/echo  ")
        assert line.endswith("…")
        taken = cell_len(line)
        assert int(width) - 1 <= taken <= max(int(width), 25 + 20)


# --- names of old ---------------------------------------------------------------------------------


@pytest.fixture
def old(installation: Installation, invoke: Invoke) -> Installation:
    """Names without a provider, as an old version kept them."""
    invoke("fav", "add", "desk/busy")
    file = sqlite3.connect(installation.home / "data" / "state.db")
    with file:
        for number, name in enumerate(("echo", "echo", "desk/slow", "nosuch", "cut")):
            file.execute("INSERT INTO conversation_models VALUES (?, ?, 0)", (f"c{number}", name))
        file.execute(
            "UPDATE settings SET value = ?", (json.dumps(["echo", "desk/busy", "desk/echo"]),)
        )
    file.close()
    return installation


def kept(installation: Installation) -> tuple[list[str], list[str]]:
    file = sqlite3.connect(installation.home / "data" / "state.db")
    models = file.execute("SELECT model FROM conversation_models ORDER BY conversation_id")
    names = [row[0] for row in models.fetchall()]
    [favorites] = file.execute("SELECT value FROM settings").fetchone()
    file.close()
    return names, json.loads(favorites)


BEFORE = (["echo", "echo", "desk/slow", "nosuch", "cut"], ["echo", "desk/busy", "desk/echo"])
AFTER = (
    ["desk/echo", "desk/echo", "desk/slow", "nosuch", "desk/cut"],
    ["desk/echo", "desk/busy"],
)


def test_names_of_old_are_rewritten_when_somebody_says_so(
    old: Installation, invoke: Invoke
) -> None:
    """S0-51, S0-76: where there is no doubt."""
    result = invoke("conversations", "normalise", "-y")
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["FROM", "TO", "CONVERSATIONS", "FAVOURITE"],
        ["cut", "desk/cut", "1", "-"],
        ["echo", "desk/echo", "2", "yes"],
    ]
    assert result.stderr == (
        "'nosuch' stays as it is: the default provider 'desk' does not list it\n"
        "3 conversations rewritten\n"
    )
    assert kept(old) == AFTER
    again = invoke("conversations", "normalise", "-y")
    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr.endswith("there is nothing to rewrite\n")


def test_nothing_else_ever_rewrites_them(old: Installation, invoke: Invoke) -> None:
    """S0-14, S0-47, S0-69, S0-71, S0-76: they stay routable as they are."""
    assert invoke("chat", "--conversation", "c0", "hi").stdout == "[user] hi\n"
    invoke("models")
    invoke("fav", "list")
    invoke("conversations", "model", "c0")
    dry = invoke("conversations", "normalise", "--dry-run")
    assert (dry.exit_code, len(dry.stdout.splitlines())) == (0, 3)
    assert kept(old) == BEFORE


def test_without_a_person_nothing_is_rewritten(old: Installation, invoke: Invoke) -> None:
    """S0-76."""
    result = invoke("conversations", "normalise")
    assert result.exit_code == 2
    assert "give -y, or --dry-run to look" in result.stderr
    assert kept(old) == BEFORE


def test_in_doubt_they_stay(old: Installation, invoke: Invoke) -> None:
    """S0-51: another lists the name too, or has not been heard."""
    old.configure({"id": "desk"}, {"id": "gone", "mode": "down"})
    result = invoke("conversations", "normalise", "-y", "--json")
    document = json.loads(result.stdout)
    assert (document["rewrites"], document["changed"]) == ([], 0)
    assert document["kept"][0] == {"id": "cut", "reason": "'gone' has not listed its models"}
    old.configure({"id": "desk"}, {"id": "twin"})
    reasons = json.loads(invoke("conversations", "normalise", "-y", "--json").stdout)["kept"]
    assert reasons[0] == {"id": "cut", "reason": "'twin' lists it too"}
    assert kept(old) == BEFORE


def test_json_says_what_was_done(old: Installation, invoke: Invoke) -> None:
    dry = json.loads(invoke("conversations", "normalise", "--dry-run", "--json").stdout)
    done = json.loads(invoke("conversations", "normalise", "-y", "--json").stdout)
    assert (dry.pop("changed"), done.pop("changed")) == (0, 3)
    assert dry == done
    assert done == {
        "rewrites": [
            {"from": "cut", "to": "desk/cut", "conversations": 1, "favorite": False},
            {"from": "echo", "to": "desk/echo", "conversations": 2, "favorite": True},
        ],
        "kept": [
            {"id": "nosuch", "reason": "the default provider 'desk' does not list it"},
        ],
    }


def test_with_nothing_kept_nobody_is_asked(installation: Installation, invoke: Invoke) -> None:
    result = invoke("conversations", "normalise", "-y")
    assert (result.exit_code, result.stdout, result.stderr) == (
        0,
        "",
        "there is nothing to rewrite\n",
    )
    assert installation.notes == []
    assert not (installation.home / "data").exists()


def test_one_that_only_remembers_a_model_is_listed_too(talks: Installation, invoke: Invoke) -> None:
    """Set before anything was said, or left by an old version."""
    invoke("conversations", "model", "later", "desk/slow")

    first = invoke("conversations", "list", "-n", "1", "--json")
    document = json.loads(invoke("conversations", "--json").stdout)

    assert [each["conversationId"] for each in document["conversations"]] == [
        "later",
        "three",
        "two",
        "one",
    ]
    assert document["conversations"][0] == {
        "conversationId": "later",
        "model": "desk/slow",
        "resolvable": True,
        "fallback": None,
        "title": "",
    }
    assert json.loads(first.stdout)["conversations"] == document["conversations"][:1]
    assert invoke("history", "rm", "-y", "later").exit_code == 0
    assert "later" not in invoke("conversations").stdout


def test_alone_it_is_no_empty_list(installation: Installation, invoke: Invoke) -> None:
    invoke("conversations", "model", "later", "desk/slow")

    result = invoke("conversations")
    assert ("desk/slow" in result.stdout, result.stderr) == (True, "")


def test_a_turn_and_the_listings_offer_the_same_instead_of_a_model_that_is_gone(
    installation: Installation, invoke: Invoke
) -> None:
    """S2-21: also where a kept list is not what the server says now."""
    installation.put("first")
    assert invoke("chat", "--conversation", "trip", "-m", "desk/first", "hi").exit_code == 0
    installation.put("second")
    assert "desk/second" in invoke("models").stdout  # and so they are kept
    installation.put("third")

    remembered = json.loads(invoke("conversations", "model", "trip", "--json").stdout)
    [listed] = json.loads(invoke("conversations", "--json").stdout)["conversations"]
    turn = invoke("chat", "-c", "go on")

    assert remembered["fallback"] == listed["fallback"] == "desk/third"
    assert "hint: modelbay chat --conversation trip -m desk/third" in turn.stderr


def test_an_empty_name_is_a_usage_error(invoke: Invoke) -> None:
    for arguments in (
        ("chat", "--conversation", "", "hi"),
        ("conversations", "model", ""),
        ("conversations", "model", "", "desk/echo"),
    ):
        result = invoke(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "it is empty" in result.stderr
