"""Mirrors modelbay_cli/commands/chat.py and answer.py: what goes where, and how it ends."""

import asyncio
import json
import re
import signal
import subprocess
from io import StringIO
from pathlib import Path

import pytest

from cli.conftest import Installation, Invoke
from modelbay import Message
from modelbay.errors import CODES
from modelbay.models.events import Finish, Notice, ReasoningDelta, RefusalDelta, TextDelta
from modelbay.state import NewMessage, open_store
from modelbay_cli.answer import Reading
from modelbay_cli.conversation import new_id
from modelbay_cli.output import Screen


def test_stdout_gets_the_answer_and_a_final_newline(invoke: Invoke) -> None:
    result = invoke("chat", "-m", "desk/thinks", "what", "is", "it?")
    assert (result.exit_code, result.stdout) == (0, "42\n")
    assert result.stderr == "let me see\n"


def test_words_are_joined_and_options_become_messages(invoke: Invoke) -> None:
    result = invoke("chat", "-m", "desk/echo", "--system", "be brief", "two", "words")
    assert result.stdout == "[system] be brief\n[user] two words\n"
    assert result.stderr == ""


def test_what_is_piped_in_follows_after_a_blank_line(invoke: Invoke) -> None:
    result = invoke("chat", "-m", "desk/echo", "explain", stdin="line one\nline two\n")
    assert result.stdout == "[user] explain\n\nline one\nline two\n\n"


def test_what_is_piped_in_may_be_the_whole_question(invoke: Invoke) -> None:
    assert invoke("chat", "-m", "desk/echo", stdin=b"caf\xc3\xa9 \xff").stdout == (
        "[user] café \ufffd\n"
    )


def test_nothing_to_ask_is_a_usage_error(invoke: Invoke) -> None:
    result = invoke("chat", "-m", "desk/echo", stdin=" \n")
    assert result.exit_code == 2
    assert "nothing to ask" in result.stderr


def test_run_takes_the_model_first(invoke: Invoke) -> None:
    assert invoke("run", "desk/echo", "hello", "you").stdout == "[user] hello you\n"
    assert invoke("run", "-m", "desk/echo", "hello", "you").stdout == "[user] hello you\n"


def test_the_chosen_model_is_said_when_nobody_named_one(invoke: Invoke) -> None:
    result = invoke("chat", "hi")
    assert (result.stdout, result.stderr) == ("[user] hi\n", "model: desk/echo\n")


def test_the_stand_in_is_no_model_in_disguise(installation: Installation, invoke: Invoke) -> None:
    installation.configure({"id": "here", "mode": "stand-in"})
    assert invoke("chat", "hi").stderr == (
        "model: here/welcome (built-in welcome text, not a language model)\n"
    )


def test_a_picture_goes_along(invoke: Invoke, tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"123456")
    result = invoke("chat", "-m", "desk/echo", "--image", str(picture), "look")
    assert result.stdout == "[user] look <image/png 8>\n"


def test_what_is_no_picture_is_a_usage_error(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    result = invoke("chat", "-m", "desk/echo", "--image", str(tmp_path / "a.txt"), "look")
    assert (result.exit_code, result.stdout) == (2, "")


def test_each_change_of_state_is_a_line_when_nobody_watches(invoke: Invoke) -> None:
    result = invoke("chat", "-m", "desk/busy", "hi")
    assert result.stdout == "ready\n"
    assert result.stderr.splitlines() == [
        "status: loading",
        "status: processing",
        "notice: top_k is not sent",
    ]


def test_an_answer_that_was_cut_off_says_so(invoke: Invoke) -> None:
    result = invoke("chat", "-m", "desk/cut", "hi")
    assert (result.exit_code, result.stdout) == (0, "as far as\n")
    assert result.stderr == (
        "notice: the answer was cut off at the token limit; --max-tokens raises it\n"
    )


@pytest.mark.parametrize("how", [(), ("--no-stream",)])
def test_an_answer_that_breaks_off_is_shown_as_far_as_it_came(
    invoke: Invoke, how: tuple[str, ...]
) -> None:
    result = invoke("chat", "-m", "desk/breaks", *how, "hi")
    assert result.exit_code == CODES["stream_interrupted"][1]
    assert result.stdout == "half an ans\n"
    assert result.stderr == "error: the server closed the connection\n"


def test_json_is_every_event_on_a_line(invoke: Invoke) -> None:
    result = invoke("chat", "-m", "desk/thinks", "--json", "hi")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"type": "reasoning", "text": "let me see"},
        {"type": "text", "text": "42"},
        {
            "type": "finish",
            "reason": "stop",
            "raw_reason": None,
            "model": None,
            "response_id": None,
            "endpoint": None,
        },
    ]
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("ref", "code", "lines"),
    [
        ("desk/breaks", "stream_interrupted", 2),
        ("desk/refuses", "authentication_failed", 1),
        ("desk/nosuch", "unknown_model", 1),
    ],
)
def test_json_ends_a_failure_with_an_error_event(
    invoke: Invoke, ref: str, code: str, lines: int
) -> None:
    result = invoke("chat", "-m", ref, "--json", "hi")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == CODES[code][1]
    assert len(events) == lines
    assert (events[-1]["type"], events[-1]["code"]) == ("error", code)
    assert result.stderr.startswith("error: ")


def test_json_tells_of_a_broken_configuration_too(
    installation: Installation, invoke: Invoke
) -> None:
    installation.file.write_text("{")
    result = invoke("chat", "--json", "hi")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["code"] == "config_error"


def test_a_deadline_ends_an_answer_and_keeps_what_came(installation: Installation) -> None:
    done = installation.run("chat", "-m", "desk/slow", "--deadline", "0.5", "hi")
    assert done.returncode == 124
    assert done.stdout.startswith(b"0 1 2 ")
    assert b"error: not finished within 0.5 s" in done.stderr
    assert installation.notes == ["closed slow"]


def test_a_pipe_gets_the_text_as_it_is(invoke: Invoke) -> None:
    assert invoke("chat", "-m", "desk/escapes", "hi").stdout == (
        "a\x1b]0;owned\x07b\tc\n\x9b31md\n"
    )


def test_a_terminal_is_not_driven_by_a_model(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert invoke("chat", "-m", "desk/escapes", "hi").stdout == "a]0;ownedb\tc\n31md\n"


def test_text_is_there_as_soon_as_the_model_has_said_it(installation: Installation) -> None:
    process = installation.process("chat", "-m", "desk/slow", "hi", stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        assert process.stdout.read(2) == b"0 "
        assert process.poll() is None  # fifty seconds of it are still to come
    finally:
        process.kill()
        process.communicate()


def test_ctrl_c_closes_the_request_and_is_130(installation: Installation) -> None:
    process = installation.process("chat", "-m", "desk/slow", "hi", stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.read(2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"")
    assert installation.notes == ["closed slow"]


def test_a_reader_that_leaves_closes_the_request_and_is_141(installation: Installation) -> None:
    process = installation.process("chat", "-m", "desk/slow", "hi", stdin=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.read(2)
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (141, b"")
    assert installation.notes == ["closed slow"]


def test_words_that_are_no_utf8_are_made_readable(installation: Installation) -> None:
    done = installation.run("chat", "-m", "desk/echo", "caf\udce9")
    assert done.stdout.decode() == "[user] caf\ufffd\n"


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_a_refusal_is_shown_as_the_answer() -> None:
    both = Terminal()
    screen = Screen.of(both, {"NO_COLOR": "1"})

    async def read() -> None:
        with Reading(screen, screen) as reading:
            reading.show(RefusalDelta("I "))
            reading.show(RefusalDelta("won't"))
            reading.show(Finish("stop"))

    asyncio.run(read())
    assert both.getvalue() == "I won't\n"


def test_on_a_terminal_notices_wait_for_the_end_of_the_line() -> None:
    both = Terminal()
    screen = Screen.of(both, {"NO_COLOR": "1"})

    async def read() -> None:
        with Reading(screen, screen) as reading:
            reading.show(ReasoningDelta("hm"))
            reading.show(TextDelta("one"))
            reading.show(Notice("x", "by the way"))
            reading.show(TextDelta(" two"))
            reading.show(Finish("length"))

    asyncio.run(read())
    assert both.getvalue() == (
        "hm\n"
        "one two\n"
        "notice: by the way\n"
        "notice: the answer was cut off at the token limit; --max-tokens raises it\n"
    )  # fmt: skip


# --- conversations --------------------------------------------------------------------------------


def said(invoke: Invoke, conversation_id: str) -> list[tuple[str, str]]:
    """Who said what, as it was kept."""
    result = invoke("history", "show", conversation_id, "--json")
    messages = json.loads(result.stdout)["messages"] if result.exit_code == 0 else []
    return [
        (each["message"]["role"] + " (partial)" * each["partial"], str(each["message"]["content"]))
        for each in messages
    ]


def remembered(invoke: Invoke, conversation_id: str) -> str:
    return invoke("conversations", "model", conversation_id).stdout.strip()


def test_a_single_question_is_kept_nowhere(installation: Installation, invoke: Invoke) -> None:
    invoke("chat", "-m", "desk/echo", "hi")
    invoke("chat", "hi")
    assert not (installation.home / "data").exists()


def test_a_conversation_is_kept_and_goes_on(invoke: Invoke) -> None:
    """S2-01: with all that was said before."""
    first = invoke("chat", "--conversation", "trip", "-m", "desk/echo", "one")
    assert first.stdout == "[user] one\n"
    second = invoke("chat", "--conversation", "trip", "two")
    assert second.stdout == "[user] one\n[assistant] [user] one\n\n[user] two\n"
    assert said(invoke, "trip") == [
        ("user", "one"),
        ("assistant", "[user] one\n"),
        ("user", "two"),
        ("assistant", "[user] one\n[assistant] [user] one\n\n[user] two\n"),
    ]


def test_continue_goes_on_with_the_last_one(invoke: Invoke) -> None:
    invoke("chat", "--conversation", "one", "-m", "desk/thinks", "a")
    invoke("chat", "--conversation", "two", "-m", "desk/thinks", "b")
    invoke("chat", "--conversation", "one", "c")
    assert invoke("chat", "-c", "d").stdout == "42\n"
    assert [text for role, text in said(invoke, "one") if role == "user"] == ["a", "c", "d"]
    assert [text for role, text in said(invoke, "two") if role == "user"] == ["b"]


def test_there_may_be_none_to_continue(installation: Installation, invoke: Invoke) -> None:
    result = invoke("chat", "-c", "hi")
    assert result.exit_code == 2
    assert "there is no conversation to continue" in result.stderr
    assert not (installation.home / "data").exists()
    assert invoke("chat", "-c", "--conversation", "x", "hi").exit_code == 2


def test_the_model_of_a_turn_is_remembered_for_the_next(invoke: Invoke) -> None:
    """S2-02, S2-14, S2-15, S2-16, S0-72: with its provider."""
    invoke("chat", "--conversation", "trip", "-m", "thinks", "a")
    assert remembered(invoke, "trip") == "desk/thinks"
    result = invoke("chat", "--conversation", "trip", "b")
    assert (result.stdout, result.stderr) == ("42\n", "model: desk/thinks\nlet me see\n")
    invoke("chat", "--conversation", "trip", "-m", "desk/busy", "c")
    assert remembered(invoke, "trip") == "desk/busy"


def test_a_turn_need_not_be_remembered(invoke: Invoke) -> None:
    """U12: one turn with another model; what is said is kept all the same."""
    invoke("chat", "--conversation", "trip", "-m", "desk/thinks", "a")
    invoke("chat", "--conversation", "trip", "-m", "desk/busy", "--no-persist", "b")
    assert remembered(invoke, "trip") == "desk/thinks"
    assert said(invoke, "trip")[2:] == [("user", "b"), ("assistant", "ready")]


def test_without_a_model_it_is_the_default_and_stays_unset(invoke: Invoke) -> None:
    """S2-08, S2-16."""
    assert invoke("chat", "--conversation", "trip", "a").stderr == "model: desk/echo\n"
    assert remembered(invoke, "trip") == ""


def test_a_bare_name_of_old_goes_on_working(installation: Installation, invoke: Invoke) -> None:
    """S0-14, S0-31, S0-47, S0-71: and stays as it is."""

    async def write() -> None:
        async with open_store(installation.home / "data" / "state.db") as store:
            await store.set_conversation_model("trip", "thinks")

    asyncio.run(write())
    result = invoke("chat", "--conversation", "trip", "b")
    assert (result.stdout, result.stderr) == ("42\n", "model: desk/thinks\nlet me see\n")
    assert remembered(invoke, "trip") == "thinks"


def test_a_model_that_is_gone_fails_the_turn_and_another_is_offered(
    installation: Installation, invoke: Invoke
) -> None:
    """S2-21, U12: the conversation is still there."""
    installation.configure({"id": "desk"}, {"id": "twin"})
    invoke("chat", "--conversation", "my trip", "-m", "twin/thinks", "a")
    installation.configure({"id": "desk"})

    result = invoke("chat", "--conversation", "my trip", "b")

    assert (result.exit_code, result.stdout) == (CODES["unknown_model"][1], "")
    assert result.stderr == (
        "error: 'twin/thinks', the model of conversation 'my trip', is not there any more\n"
        "hint: modelbay chat --conversation 'my trip' -m desk/thinks\n"
    )
    assert len(said(invoke, "my trip")) == 2
    assert invoke("chat", "--conversation", "my trip", "-m", "desk/thinks", "b").stdout == "42\n"
    assert remembered(invoke, "my trip") == "desk/thinks"


def test_a_model_that_never_was_is_not_remembered(invoke: Invoke) -> None:
    """S2-21: the turn fails, and so nothing of it is kept."""
    invoke("chat", "--conversation", "trip", "-m", "desk/thinks", "a")
    assert invoke("chat", "--conversation", "trip", "-m", "desk/nosuch", "b").exit_code == 4
    assert remembered(invoke, "trip") == "desk/thinks"
    assert len(said(invoke, "trip")) == 2


def test_what_the_model_should_be_stays_with_the_conversation(invoke: Invoke) -> None:
    invoke("chat", "--conversation", "trip", "-m", "desk/echo", "--system", "be brief", "one")
    assert invoke("chat", "-c", "two").stdout.startswith("[system] be brief\n[user] one\n")
    assert invoke("chat", "-c", "--system", "be long", "three").stdout.startswith(
        "[system] be long\n[user] one\n"
    )
    assert invoke("chat", "-c", "four").stdout.startswith("[system] be long\n")
    assert ("system", "be brief") not in said(invoke, "trip")


def test_an_answer_that_breaks_off_is_kept_as_far_as_it_came(invoke: Invoke) -> None:
    assert invoke("chat", "--conversation", "trip", "-m", "desk/breaks", "one").exit_code == 1
    assert said(invoke, "trip") == [("user", "one"), ("assistant (partial)", "half an ans")]
    assert "assistant" in invoke("history", "show", "trip").stdout
    assert "(partial)\nhalf an ans\n" in invoke("history", "show", "trip").stdout
    going_on = invoke("chat", "-c", "-m", "desk/echo", "two").stdout
    assert going_on == "[user] one\n[assistant] half an ans\n[user] two\n"


def test_a_question_without_an_answer_is_kept_and_not_sent_again(invoke: Invoke) -> None:
    """Many models accept no two questions in a row."""
    assert invoke("chat", "--conversation", "trip", "-m", "desk/refuses", "one").exit_code == 5
    assert said(invoke, "trip") == [("user", "one")]
    assert remembered(invoke, "trip") == "desk/refuses"
    assert invoke("chat", "-c", "-m", "desk/echo", "two").stdout == "[user] two\n"
    assert [role for role, _ in said(invoke, "trip")] == ["user", "user", "assistant"]


def test_the_question_is_kept_before_the_answer_and_ctrl_c_keeps_what_came(
    installation: Installation, invoke: Invoke
) -> None:
    process = installation.process(
        "chat", "--conversation", "trip", "-m", "desk/slow", "hi", stdin=subprocess.DEVNULL
    )
    assert process.stdout is not None
    process.stdout.read(4)
    assert said(invoke, "trip") == [("user", "hi")]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    question, (role, text) = said(invoke, "trip")
    assert (question, role) == (("user", "hi"), "assistant (partial)")
    assert text.startswith("0 1 ")


def test_a_deadline_keeps_what_came(invoke: Invoke) -> None:
    invoke("chat", "--conversation", "t", "-m", "desk/slow", "--deadline", "1", "hi")
    assert [role for role, _ in said(invoke, "t")] == ["user", "assistant (partial)"]


def test_a_killed_program_has_kept_the_question(installation: Installation, invoke: Invoke) -> None:
    process = installation.process(
        "chat", "--conversation", "trip", "-m", "desk/slow", "hi", stdin=subprocess.DEVNULL
    )
    assert process.stdout is not None
    process.stdout.read(2)
    process.kill()
    process.communicate(timeout=30)
    assert said(invoke, "trip") == [("user", "hi")]


def test_without_history_a_conversation_is_read_and_not_written(invoke: Invoke) -> None:
    invoke("chat", "--conversation", "trip", "-m", "desk/echo", "one")
    result = invoke("chat", "-c", "--no-history", "-m", "desk/cut", "two")
    assert result.stdout == "as far as\n"
    assert len(said(invoke, "trip")) == 2
    assert remembered(invoke, "trip") == "desk/echo"


def test_json_and_a_pipe_are_kept_too(invoke: Invoke) -> None:
    result = invoke("chat", "--conversation", "trip", "-m", "desk/thinks", "--json", stdin="piped")
    assert json.loads(result.stdout.splitlines()[0]) == {"type": "reasoning", "text": "let me see"}
    assert said(invoke, "trip") == [("user", "piped"), ("assistant", "42")]


def test_what_cannot_be_kept_is_an_error_where_it_was_asked_for(
    installation: Installation, invoke: Invoke
) -> None:
    data = installation.home / "data"
    data.mkdir()
    (data / "state.db").write_bytes(b"no database" * 1000)
    result = invoke("chat", "--conversation", "trip", "-m", "desk/echo", "hi")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the state file is damaged" in result.stderr


def test_a_long_history_comes_back_whole_and_in_order(
    installation: Installation, invoke: Invoke
) -> None:
    """Longer than a page of the store."""

    async def write() -> None:
        async with open_store(installation.home / "data" / "state.db") as store:
            for number in range(130):
                pair = [
                    NewMessage(message=Message(role="user", content=f"q{number}")),
                    NewMessage(message=Message(role="assistant", content=f"a{number}")),
                ]
                await store.append_messages("long", pair)

    asyncio.run(write())
    lines = invoke("chat", "--conversation", "long", "-m", "desk/echo", "end").stdout.splitlines()
    pairs = [f"[{who}] {sign}{n}" for n in range(130)
             for who, sign in (("user", "q"), ("assistant", "a"))]  # fmt: skip
    assert lines == [*pairs, "[user] end"]


def test_a_question_of_any_characters_is_kept(invoke: Invoke) -> None:
    question = "tab\there\nand\x00there " + "x" * 100
    result = invoke("chat", "--conversation", "odd", "-m", "desk/thinks", stdin=question)
    assert result.exit_code == 0
    assert said(invoke, "odd") == [("user", question), ("assistant", "42")]
    [found] = json.loads(invoke("history", "list", "--json").stdout)["conversations"]
    assert found["title"] == f"tab here and there {'x' * 40}…"


def test_a_new_id_is_short_and_the_newest_sorts_last(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [new_id() for _ in range(50)]
    assert len(set(found)) == 50
    assert all(re.fullmatch(r"\d{8}-\d{4}-[0-9a-f]{6}", each) for each in found)
