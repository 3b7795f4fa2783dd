"""Mirrors modelbay_cli/commands/chat.py and answer.py: what goes where, and how it ends."""

import asyncio
import json
import signal
import subprocess
from io import StringIO
from pathlib import Path

import pytest

from cli.conftest import Installation, Invoke
from modelbay.errors import CODES
from modelbay.models.events import Finish, Notice, ReasoningDelta, TextDelta
from modelbay_cli.answer import Reading
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
