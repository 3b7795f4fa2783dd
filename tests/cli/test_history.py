"""Mirrors modelbay_cli/commands/history.py: what was kept, and how it is read."""

import json
import re
import time

import pytest

from cli.conftest import Installation, Invoke

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d"


@pytest.fixture
def talks(installation: Installation, invoke: Invoke) -> Installation:
    """Three conversations; the second was used last."""
    for name, question in (("one", "first things"), ("two", "night TRAIN"), ("three", "und nun?")):
        assert invoke("chat", "--conversation", name, "-m", "desk/thinks", question).exit_code == 0
    assert invoke("chat", "--conversation", "two", "and back?").exit_code == 0
    return installation


def test_conversations_are_listed_the_last_used_first(talks: Installation, invoke: Invoke) -> None:
    """S2-23: without a word about models."""
    out = invoke("history", "list").stdout
    lines = [re.sub(rf"{TIME}", "THEN", line).split(None, 3) for line in out.splitlines()]
    assert lines == [
        ["CONVERSATION", "USED", "MESSAGES", "TITLE"],
        ["two", "THEN", "4", "night TRAIN"],
        ["three", "THEN", "2", "und nun?"],
        ["one", "THEN", "2", "first things"],
    ]
    assert invoke("history").stdout == out
    document = json.loads(invoke("history", "list", "--json").stdout)
    assert [each["id"] for each in document["conversations"]] == ["two", "three", "one"]
    assert "model" not in document["conversations"][0]


def test_a_page_ends_with_how_to_go_on(talks: Installation, invoke: Invoke) -> None:
    first = invoke("history", "list", "-n", "2")
    assert len(first.stdout.splitlines()) == 3
    more, words = first.stderr.strip().split(": ", 1)
    assert more == "more"
    assert words.startswith("modelbay history list -n 2 --cursor ")
    second = invoke(*words.split()[1:])
    assert [line.split()[0] for line in second.stdout.splitlines()] == ["CONVERSATION", "one"]
    assert second.stderr == ""


def test_a_cursor_that_is_none_is_refused(talks: Installation, invoke: Invoke) -> None:
    assert invoke("history", "list", "--cursor", "x").exit_code == 1


def test_a_conversation_is_shown_as_it_went(talks: Installation, invoke: Invoke) -> None:
    out = re.sub(TIME, "THEN", invoke("history", "show", "two").stdout)
    assert out == (
        "#1  user  THEN\nnight TRAIN\n\n"
        "#2  assistant  THEN  desk/thinks\n42\n\n"
        "#3  user  THEN\nand back?\n\n"
        "#4  assistant  THEN  desk/thinks\n42\n"
    )


def test_older_messages_are_a_page_of_their_own(talks: Installation, invoke: Invoke) -> None:
    last = invoke("history", "show", "two", "-n", "3")
    assert last.stdout.startswith("#2  assistant")
    more, words = last.stderr.strip().split(": ", 1)
    assert more == "older messages"
    first = invoke(*words.split()[1:])
    assert re.sub(TIME, "THEN", first.stdout) == "#1  user  THEN\nnight TRAIN\n"


def test_json_has_whole_messages(talks: Installation, invoke: Invoke) -> None:
    document = json.loads(invoke("history", "show", "one", "--json").stdout)
    question, answer = document.pop("messages")
    assert 0 <= time.time() - document["conversation"].pop("created_at") < 60
    assert 0 <= time.time() - document["conversation"].pop("updated_at") < 60
    assert document == {
        "conversation": {"id": "one", "title": "first things", "settings": {}, "messages": 2},
        "next": None,
    }
    assert (question["message"]["role"], question["message"]["content"]) == ("user", "first things")
    assert (answer["message"]["content"], answer["ref"]) == ("42", "desk/thinks")
    assert answer["message"]["reasoning"] == "let me see"
    assert (question["partial"], answer["partial"]) == (False, False)


@pytest.mark.parametrize("action", [("show",), ("rm", "-y")])
def test_a_conversation_that_is_not_there_is_an_error(
    installation: Installation, invoke: Invoke, action: tuple[str, ...]
) -> None:
    """And looking for it makes no file."""
    result = invoke("history", *action, "nosuch")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == ("error: there is no conversation 'nosuch'\nhint: modelbay history\n")
    assert not (installation.home / "data").exists()


def test_nothing_kept_is_said(installation: Installation, invoke: Invoke) -> None:
    result = invoke("history")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no conversation is kept: modelbay chat begins one\n"


def test_messages_are_found_capitals_or_not(talks: Installation, invoke: Invoke) -> None:
    [head, row] = invoke("history", "search", "Night train").stdout.splitlines()
    assert head.split() == ["CONVERSATION", "NUMBER", "WRITTEN", "ROLE", "TEXT"]
    assert re.fullmatch(rf"two +1 +{TIME} +user +night TRAIN", row)
    found = json.loads(invoke("history", "search", "42", "-n", "3", "--json").stdout)
    assert [each["conversation_id"] for each in found["messages"]] == ["two", "three", "two"]
    assert found["next"] is not None


def test_nothing_found_is_said(talks: Installation, invoke: Invoke) -> None:
    result = invoke("history", "search", "aeroplane")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "nothing that was kept holds 'aeroplane'\n"


def test_deleting_needs_a_yes(talks: Installation, invoke: Invoke) -> None:
    refused = invoke("history", "rm", "one")
    assert refused.exit_code == 2
    assert "give -y to delete without asking" in refused.stderr
    assert invoke("history", "rm", "-y", "one", "three").stdout == (
        "one is deleted\nthree is deleted\n"
    )
    assert [line.split()[0] for line in invoke("history").stdout.splitlines()[1:]] == ["two"]


def test_with_a_conversation_its_model_goes(talks: Installation, invoke: Invoke) -> None:
    invoke("history", "rm", "-y", "one")
    assert invoke("conversations", "model", "one").stdout == ""


def test_a_model_alone_can_be_deleted_too(installation: Installation, invoke: Invoke) -> None:
    invoke("conversations", "model", "bare", "desk/echo")
    assert invoke("history", "rm", "-y", "bare").stdout == "bare is deleted\n"
    assert invoke("history", "rm", "-y", "bare").exit_code == 1


def test_what_was_said_is_there_also_when_the_configuration_is_broken(
    talks: Installation, invoke: Invoke
) -> None:
    talks.file.write_text("{")
    assert invoke("history").exit_code == 0
    assert invoke("history", "show", "one").exit_code == 0
    assert invoke("history", "rm", "-y", "one").exit_code == 0


def test_a_narrow_terminal_shortens_titles_and_nothing_else(
    talks: Installation, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("chat", "--conversation", "one-with-a-long-name", "-m", "desk/thinks", "words " * 30)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "76")
    lines = invoke("history").stdout.splitlines()
    assert max(map(len, lines)) == 76
    assert lines[1].startswith("one-with-a-long-name  ")
    assert lines[1].endswith("…")


def test_a_terminal_is_not_driven_by_what_was_said(
    installation: Installation, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("chat", "--conversation", "wild", "-m", "desk/escapes", "\x1b[31mhi")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    for arguments in (("list",), ("show", "wild"), ("search", "owned"), ("search", "hi")):
        out = invoke("history", *arguments).stdout
        assert "\x1b" not in out
        assert "\x9b" not in out


def test_a_picture_is_a_word(installation: Installation, invoke: Invoke) -> None:
    picture = installation.home / "a.png"
    picture.write_bytes(b"\x89PNG")
    invoke("chat", "--conversation", "x", "-m", "desk/echo", "--image", str(picture), "what?")
    assert "\nwhat?\n[image]\n" in invoke("history", "show", "x").stdout


def test_without_a_command_json_is_that_of_the_list(
    installation: Installation, invoke: Invoke
) -> None:
    listed = invoke("history", "list", "--json")

    assert invoke("history", "--json").stdout == listed.stdout
    assert json.loads(listed.stdout)
    assert invoke("history", "--json", "list").exit_code == 2
