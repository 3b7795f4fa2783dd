"""Mirrors modelbay_cli/talk.py: a conversation, driven through a real terminal."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from cli.conftest import Installation, Invoke
from modelbay_cli.talk import readable

PATIENCE_S = 30.0
PROMPT = "> "


class Person:
    """Sits at a terminal in front of the program."""

    def __init__(self, installation: Installation, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self.process = installation.process(
            "chat",
            *arguments,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={"TERM": "xterm", "NO_COLOR": "1"},
        )
        os.close(theirs)
        self._unread = ""

    def types(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def sees(self, text: str) -> str:
        """Read until this text appears; the result is all up to its end."""
        limit = time.monotonic() + PATIENCE_S
        while text not in self._unread:
            ready, _, _ = select.select([self._ours], [], [], limit - time.monotonic())
            assert ready, f"waited for {text!r}, saw {self._unread!r}"
            try:
                data = os.read(self._ours, 4096)
            except OSError:  # Linux says so when the other side is closed
                data = b""
            assert data, f"waited for {text!r}, saw {self._unread!r} and the end"
            plain = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", data.decode())
            self._unread += plain.replace("\r\n", "\n")
        head, _, self._unread = self._unread.partition(text)
        return head + text

    def leaves(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)


@pytest.fixture
def person(installation: Installation) -> Iterator[Person]:
    found = Person(installation, "-m", "desk/echo", "--system", "be brief")
    found.sees(PROMPT)
    yield found
    found.leaves()


def test_the_history_goes_with_each_turn(person: Person) -> None:
    person.types("one\n")
    assert "[system] be brief\n[user] one\n" in person.sees(f"[user] one\n{PROMPT}")
    person.types("two\n")
    assert person.sees(f"[user] two\n{PROMPT}").count("[assistant] ") == 1


def test_ctrl_d_ends_it(person: Person) -> None:
    person.types("\x04")
    assert person.process.wait(PATIENCE_S) == 0


def test_ctrl_c_at_the_prompt_ends_it(person: Person) -> None:
    # A signal between the prompt and readline's select() is noticed with the next key only: a
    # gap in CPython's readline that a test, unlike a person, is fast enough to hit.
    for _ in range(int(PATIENCE_S)):
        person.process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            person.process.wait(1)
            break
    assert person.process.returncode == 0


def test_exit_ends_it(person: Person) -> None:
    person.types("/exit\n")
    assert person.process.wait(PATIENCE_S) == 0


def test_ctrl_c_stops_an_answer_and_the_conversation_goes_on(
    person: Person, installation: Installation
) -> None:
    person.types("/model desk/slow\n")
    person.sees("Switched to slow")
    person.types("count\n")
    person.sees("0 1 ")
    person.process.send_signal(signal.SIGINT)
    person.sees("(stopped)")
    person.sees(PROMPT)
    assert installation.notes == ["closed slow"]
    person.types("/model desk/echo\nand now\n")
    seen = person.sees("[user] and now\n")
    assert "[user] count\n[assistant] 0 1 " in seen


def test_an_error_is_told_and_the_question_can_be_asked_again(person: Person) -> None:
    person.types("/model desk/refuses\n")
    person.sees("Switched to refuses")
    person.types("hello\n")
    person.sees("error: the key is refused\nhint: set FAKE_API_KEY\n")
    person.types("/model desk/echo\nhello\n")
    assert "hello\n[user]" not in person.sees("[user] hello\n")


def test_an_unknown_model_leaves_the_old_one(person: Person) -> None:
    person.types("/model desk/nosuch\n")
    person.sees("error: unknown model 'desk/nosuch'")
    person.types("/model\n")
    person.sees("model: desk/echo")


def test_the_models_are_listed_with_the_present_one_marked(person: Person) -> None:
    person.types("/models\n")
    listed = person.sees("desk/crashes")
    assert "* desk/echo   8k tools vision json" in listed
    assert "  desk/slow   <=128k" in listed


def test_help_and_unknown_commands(person: Person) -> None:
    person.types("/help\n")
    person.sees("/model REF")
    person.types("/frob\n")
    person.sees("there is no /frob")


def test_a_conversation_needs_no_json(installation: Installation) -> None:
    person = Person(installation, "--json")
    person.sees("--json needs a question")
    assert person.process.wait(PATIENCE_S) == 2
    person.leaves()


def test_the_prompt_is_not_among_the_answers(installation: Installation) -> None:
    ours, theirs = pty.openpty()
    process = installation.process(
        "chat", "-m", "desk/echo", stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    os.write(ours, b"hello\n/exit\n")
    out, _ = process.communicate(timeout=PATIENCE_S)
    os.close(ours)
    assert out == b"[user] hello\n"


# --- what is kept ---------------------------------------------------------------------------------


def kept(invoke: Invoke) -> list[dict[str, Any]]:
    """The conversations there are, the last used first."""
    found: list[dict[str, Any]] = json.loads(invoke("history", "list", "--json").stdout)[
        "conversations"
    ]
    return found


def test_a_conversation_at_a_terminal_is_kept(person: Person, invoke: Invoke) -> None:
    """S2-01: once something has been said, and with the model that was asked for."""
    assert kept(invoke) == []
    person.types("one\n")
    person.sees(f"[user] one\n{PROMPT}")

    [found] = kept(invoke)

    assert (found["title"], found["messages"]) == ("one", 2)
    assert found["settings"] == {"system": "be brief"}
    assert invoke("conversations", "model", found["id"]).stdout == "desk/echo\n"
    person.types("/exit\n")
    person.sees(f"kept as {found['id']}; modelbay chat -c goes on with it\n")


def test_continue_goes_on_where_it_ended(
    person: Person, installation: Installation, invoke: Invoke
) -> None:
    """S2-02, S2-11: with its model, and what it should be."""
    person.types("/model desk/echo\n")
    person.types("one\n")
    person.sees(f"[user] one\n{PROMPT}")
    person.types("/exit\n")
    assert person.process.wait(PATIENCE_S) == 0
    [found] = kept(invoke)

    other = Person(installation, "-c")
    try:
        opened = other.sees(PROMPT)
        other.types("two\n")
        seen = other.sees(f"[user] two\n{PROMPT}")
    finally:
        other.leaves()

    assert f"conversation: {found['id']} (2 messages)\nmodel: desk/echo; /help" in opened
    assert "[system] be brief\n[user] one\n[assistant] [system] be brief\n" in seen
    assert [each["messages"] for each in kept(invoke)] == [4]


def test_a_model_that_is_switched_to_is_remembered(person: Person, invoke: Invoke) -> None:
    """S2-12: at once, and with the first question if nothing has been said yet."""
    person.types("/model desk/thinks\n")
    person.sees("Switched to thinks")
    person.types("one\n")
    person.sees(f"42\n{PROMPT}")
    [found] = kept(invoke)
    assert invoke("conversations", "model", found["id"]).stdout == "desk/thinks\n"
    person.types("/model desk/busy\n")
    person.sees("Switched to busy")
    person.sees(PROMPT)
    assert invoke("conversations", "model", found["id"]).stdout == "desk/busy\n"


def test_a_model_that_is_not_to_be_persisted_is_not(
    installation: Installation, invoke: Invoke
) -> None:
    """U12."""
    person = Person(installation, "-m", "desk/echo", "--no-persist")
    try:
        person.sees(PROMPT)
        person.types("/model desk/thinks\none\n")
        person.sees(f"42\n{PROMPT}")
    finally:
        person.leaves()
    [found] = kept(invoke)
    assert found["messages"] == 2
    assert invoke("conversations", "model", found["id"]).stdout == ""


def test_without_history_nothing_is_kept(installation: Installation) -> None:
    person = Person(installation, "-m", "desk/echo", "--no-history")
    try:
        person.sees(PROMPT)
        person.types("one\ntwo\n")
        assert "[user] one\n[assistant] " in person.sees(f"[user] two\n{PROMPT}")
    finally:
        person.leaves()
    assert not (installation.home / "data").exists()


def test_a_conversation_in_which_nothing_is_said_is_not_kept(
    person: Person, installation: Installation
) -> None:
    person.types("/models\n/model desk/slow\n/exit\n")
    assert person.process.wait(PATIENCE_S) == 0
    assert not (installation.home / "data").exists()


def test_a_stopped_answer_is_kept_as_far_as_it_came(person: Person, invoke: Invoke) -> None:
    person.types("/model desk/slow\n")
    person.sees("Switched to slow")
    person.types("count\n")
    person.sees("0 1 ")
    person.process.send_signal(signal.SIGINT)
    person.sees("(stopped)")
    person.sees(PROMPT)
    [found] = kept(invoke)
    document = json.loads(invoke("history", "show", found["id"], "--json").stdout)
    question, answer = document["messages"]
    assert (question["message"]["content"], question["partial"]) == ("count", False)
    assert answer["message"]["content"].startswith("0 1 ")
    assert (answer["partial"], answer["ref"]) == (True, "desk/slow")


def test_an_answer_that_breaks_off_stays_in_the_conversation(person: Person) -> None:
    person.types("/model desk/breaks\none\n")
    person.sees("error: the server closed the connection")
    person.types("/model desk/echo\ntwo\n")
    assert "[user] one\n[assistant] half an ans\n[user] two\n" in person.sees("[user] two\n")


def test_a_remembered_model_that_is_gone_can_be_replaced_by_another(
    installation: Installation, invoke: Invoke
) -> None:
    """S2-21, U12: the turn fails, the conversation does not."""
    installation.configure({"id": "desk"}, {"id": "twin"})
    invoke("chat", "--conversation", "trip", "-m", "twin/echo", "one")
    installation.configure({"id": "desk"})
    person = Person(installation, "--conversation", "trip")
    try:
        gone = "error: 'twin/echo', the model of conversation 'trip', is not there any more\n"
        assert f"{gone}hint: /model desk/echo\n" in person.sees(PROMPT)
        person.types("two\n")
        assert f"{gone}hint: /model desk/echo\n" in person.sees(PROMPT)
        person.types("/model\n")
        person.sees("model: (none)")
        person.types("/model desk/echo\ntwo\n")
        assert "[user] one\n[assistant] [user] one\n\n[user] two\n" in person.sees("[user] two\n")
    finally:
        person.leaves()
    assert invoke("conversations", "model", "trip").stdout == "desk/echo\n"


def test_a_conversation_goes_on_where_it_cannot_be_kept(installation: Installation) -> None:
    """Nobody asked for that, so it is a warning, said once."""
    (installation.home / "data").mkdir()
    (installation.home / "data" / "state.db").write_bytes(b"no database" * 1000)
    person = Person(installation, "-m", "desk/echo")
    try:
        person.sees(PROMPT)
        person.types("one\n")
        assert "warning: this is not kept: " in person.sees(f"[user] one\n{PROMPT}")
        person.types("two\n")
        seen = person.sees(f"[user] two\n{PROMPT}")
        assert "warning" not in seen
        assert "[user] one\n[assistant] " in seen
    finally:
        person.leaves()


def test_what_is_typed_may_be_no_utf8() -> None:
    assert readable("caf\udce9 \udcff") == "caf\ufffd \ufffd"
