"""Mirrors modelbay/testing/recording/writing.py: recorded, replayed, made a test that passes."""

import ast
import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay import ChatRequest, Host, ImagePart, Message, ProviderConfig, Tool, user
from modelbay.errors import ConfigError
from modelbay.models.events import (
    ErrorEvent,
    Finish,
    StreamEvent,
    TextDelta,
    ToolCall,
    Usage,
)
from modelbay.models.frozen import JsonObject
from modelbay.testing import Fault, Recorder, Replay, Simulator
from modelbay.testing.recording import RecordedExchange, read_folder, write_test
from modelbay.testing.recording.literal import literal, names_in
from modelbay.testing.recording.turn import UntellableError, asked
from modelbay_ollama.simulator import OllamaSimulator
from modelbay_ollama.simulator import SimulatedModel as OllamaModel
from modelbay_openai.simulator import OpenAISimulator
from modelbay_openai.simulator import SimulatedModel as OpenAIModel

ROOT = Path(__file__).parents[2]
KINDS = ("openai", "ollama")
ANSWER = "An answer, with „quotes“ and 😀."


@contextmanager
def serving(kind: str) -> Iterator[tuple[Simulator, str]]:
    """A simulator, and the path of its chats."""
    if kind == "openai":
        with OpenAISimulator([OpenAIModel("tiny", answer=ANSWER)], personality="vllm") as server:
            yield server, "/v1/chat/completions"
    else:
        with OllamaSimulator([OllamaModel("tiny", answer=ANSWER)]) as native:
            yield native, "/api/chat"


def desk(kind: str, url: str) -> ProviderConfig:
    return ProviderConfig(id="desk", kind=kind, base_url=url)


def ask(config: ProviderConfig, *requests: ChatRequest) -> list[list[StreamEvent]]:
    """What a host answers to each, one after the other."""

    async def answers() -> list[list[StreamEvent]]:
        found = []
        env = {"MODELBAY_HOME": "/nonexistent"}
        async with Host.open(providers=[config], env=env, state=":memory:") as host:
            for request in requests:
                async with host.stream(request, errors="event") as events:
                    found.append([event async for event in events])
        return found

    return asyncio.run(answers())


def record(
    kind: str, folder: Path, *requests: ChatRequest, fault: Fault | None = None
) -> list[list[StreamEvent]]:
    """What the host answered while it was recorded."""
    with serving(kind) as (server, path):
        if fault is not None:
            server.inject(fault, path=path)
        with Recorder(folder) as recorder:
            answers = ask(desk(kind, recorder.relay(desk(kind, server.base_url))), *requests)
        assert recorder.problems == []
    return answers


def model(kind: str) -> str:
    return "desk/tiny" if kind == "openai" else "desk/tiny:latest"


def run_written(path: Path, count: int) -> None:
    """Run a written module as its author would, with all that is said of its form."""
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(
        [*line, "--rootdir", str(path.parent), "-c", "/dev/null", str(path)],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )
    assert f"{count} passed" in done.stdout, done.stdout + done.stderr
    for width in ("88", "100", "120"):
        subprocess.run(
            ["ruff", "format", "--isolated", "--check", "--line-length", width, str(path)],
            check=True,
        )
    subprocess.run(["ruff", "check", "--isolated", "--select", "E4,E7,E9,F", path], check=True)


# the round trip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "fault",
    [
        None,
        Fault(status=429, body=b'{"error":{"message":"slow down"}}', content_type="text/plain"),
        Fault.html(502),
        Fault(cut_after_bytes=150),
        Fault(cut_after_bytes=0),
        Fault(rechunk_bytes=7),
    ],
    ids=["whole", "status", "proxy page", "cut", "cut at once", "rechunked"],
)
def test_what_is_replayed_makes_the_same_events(
    kind: str, fault: Fault | None, tmp_path: Path
) -> None:
    request = ChatRequest(model=model(kind), messages=[user("hello")], temperature=0.5)
    [before] = record(kind, tmp_path, request, fault=fault)

    with Replay(tmp_path) as replay:
        [entry] = replay.entries
        [after] = ask(ProviderConfig.model_validate(entry), request)

    assert after == before
    assert isinstance(after[-1], Finish if fault is None or fault.rechunk_bytes else ErrorEvent)


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_becomes_a_test_that_passes(kind: str, tmp_path: Path) -> None:
    requests = [
        ChatRequest(model=model(kind), messages=[user("hello")], temperature=0.5, seed=7),
        ChatRequest(
            model=model(kind),
            messages=[Message(role="system", content="Be 'short'."), user('Say "hi".')],
            stream=False,
        ),
    ]
    record(kind, tmp_path / "recorded" / "here", *requests)
    path = tmp_path / "tests" / "test_desk.py"
    path.parent.mkdir()

    written = write_test(tmp_path / "recorded" / "here", path)

    assert written.left_out == ()
    assert len(written.tests) == 3
    assert written.tests[0] == "test_desk_lists_its_models_as_recorded"
    run_written(path, 3)
    if kind == KINDS[0]:  # they differ in nothing that mypy sees, and it takes long
        subprocess.run(
            [
                *(sys.executable, "-m", "mypy", "--strict", "--python-version", "3.11"),
                *("--cache-dir", str(tmp_path / "cache"), str(path)),
            ],
            check=True,
            cwd=ROOT,
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_written_test_holds_the_events_of_the_recording(kind: str, tmp_path: Path) -> None:
    request = ChatRequest(model=model(kind), messages=[user("hello")])
    [events] = record(kind, tmp_path / "r", request, fault=Fault(cut_after_bytes=150))

    write_test(tmp_path / "r", tmp_path / "test_cut.py")

    code = (tmp_path / "test_cut.py").read_text()
    assert all(literal(event, 8) in code for event in events)
    run_written(tmp_path / "test_cut.py", 2)


def test_a_written_test_fails_when_the_answer_is_another(tmp_path: Path) -> None:
    record("openai", tmp_path / "r", ChatRequest(model="desk/tiny", messages=[user("hello")]))
    write_test(tmp_path / "r", tmp_path / "test_it.py")
    for path in (tmp_path / "r").iterdir():
        path.write_text(path.read_text().replace("An a", "No a"))

    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-c", "/dev/null", str(tmp_path / "test_it.py")),
        ],
        capture_output=True,
        text=True,
    )

    assert "1 failed, 1 passed" in done.stdout


# what cannot become one


def test_what_asks_the_same_again_is_left_out_and_said(tmp_path: Path) -> None:
    request = ChatRequest(model="desk/tiny", messages=[user("hello")])
    record("openai", tmp_path / "r", request, request)

    written = write_test(tmp_path / "r", tmp_path / "test_it.py")

    [first, second] = [
        each.number for each in read_folder(tmp_path / "r") if each.request.method == "POST"
    ]
    assert written.left_out == (f"exchange {second}: it asks the same as exchange {first}",)


def test_a_chat_without_the_models_is_left_out_and_said(tmp_path: Path) -> None:
    record("openai", tmp_path, ChatRequest(model="desk/tiny", messages=[user("hello")]))
    for path in tmp_path.glob("*models*"):
        path.unlink()

    with pytest.raises(ConfigError, match="nothing of this recording can be asked") as caught:
        write_test(tmp_path, tmp_path / "test_it.py")

    assert caught.value.hint is not None
    assert "GET /v1/models was not recorded" in caught.value.hint
    assert not (tmp_path / "test_it.py").exists()


def test_only_what_was_written_here_is_written_anew(tmp_path: Path) -> None:
    record("openai", tmp_path / "r", ChatRequest(model="desk/tiny", messages=[user("hello")]))
    ours, theirs = tmp_path / "test_ours.py", tmp_path / "test_theirs.py"
    theirs.write_text("def test_it() -> None: ...\n")

    write_test(tmp_path / "r", ours)
    first = ours.read_text()
    write_test(tmp_path / "r", ours)
    with pytest.raises(ConfigError, match="another file already"):
        write_test(tmp_path / "r", theirs)

    assert ours.read_text() == first
    assert theirs.read_text() == "def test_it() -> None: ...\n"


# what was asked, told from the wire


def told(body: JsonObject) -> ChatRequest:
    exchange = RecordedExchange.model_validate(
        {
            "number": 1,
            "provider": {"id": "desk", "kind": "any"},
            "request": {"method": "POST", "target": "/", "body": {"is_json": True, "value": body}},
        }
    )
    return asked(exchange, {"top": 1})


def test_messages_and_tools_are_told_from_the_wire() -> None:
    call: JsonObject = {"id": "c1", "function": {"name": "now", "arguments": '{"in":"Oslo"}'}}
    native: JsonObject = {"function": {"name": "now", "arguments": {"in": "Oslo"}}}
    data = "data:image/jpeg;base64,AAAA"

    request = told(
        {
            "model": "a/b:c",
            "stream": False,
            "messages": [
                {"role": "system", "content": "short"},
                {"role": "user", "content": [{"type": "text", "text": "what?"}]},
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": data}}]},
                {"role": "user", "content": "this", "images": ["BBBB"]},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "content": "12:00", "tool_call_id": "c1"},
                {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [native]},
            ],
            "tools": [{"type": "function", "function": {"name": "now", "parameters": {}}}],
        }
    )

    assert request == ChatRequest(
        model="desk/a/b:c",
        messages=[
            Message(role="system", content="short"),
            Message(role="user", content="what?"),
            Message(role="user", content=[ImagePart(data="AAAA", media_type="image/jpeg")]),
            user("this", ImagePart(data="BBBB")),
            Message(role="assistant", tool_calls=[ToolCall("c1", "now", '{"in":"Oslo"}')]),
            Message(role="tool", content="12:00", tool_call_id="c1"),
            Message(
                role="assistant",
                reasoning="hm",
                tool_calls=[ToolCall("call_0", "now", '{"in": "Oslo"}')],
            ),
        ],
        tools=[Tool(name="now")],
        stream=False,
        extra={"top": 1},
    )


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "no chat"},
        {"model": "m", "messages": [{"role": "bard", "content": ""}]},
        {"model": "m", "messages": ["text"]},
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "smell"}]}]},
        {"model": "m", "messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]},
        {"model": "m", "messages": [], "tools": [{"type": "search"}]},
        {"model": "m", "messages": [], "tools": [{"function": {"called": "x"}}]},
    ],
)
def test_what_is_written_in_no_known_way_is_refused(body: JsonObject) -> None:
    with pytest.raises(UntellableError):
        told(body)


# code

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


@given(value=VALUES)
def test_the_code_of_a_value_is_that_value(value: object) -> None:
    assert ast.literal_eval(literal(value)) == value


@given(text=st.text(), tokens=st.integers(0, 9))
def test_the_code_of_an_event_is_that_event(text: str, tokens: int) -> None:
    events = [TextDelta(text=text), Usage(input_tokens=tokens, output_tokens=1)]
    names = {name: globals()[name] for name in names_in(events)}

    assert eval(literal(events), names) == events


def test_code_that_fits_is_one_line_and_other_code_one_item_a_line() -> None:
    short, long = {"a": [1, "x"]}, {"key": ["a" * 40, "b" * 40], "none": {}, "one": ("c",)}

    assert literal(short) == '{"a": [1, "x"]}'
    assert literal(long, 4) == (
        "{\n"
        '        "key": [\n'
        f'            "{"a" * 40}",\n'
        f'            "{"b" * 40}",\n'
        "        ],\n"
        '        "none": {},\n'
        '        "one": ("c",),\n'
        "    }"
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("it's", '"it\'s"'),
        ('say "hi"', "'say \"hi\"'"),
        ("both \" and '", '"both \\" and \'"'),
        ("line\nbreak\\", '"line\\nbreak\\\\"'),
        ("\u2028 \x00 ü", '"\\u2028 \\x00 ü"'),
    ],
)
def test_texts_are_quoted_as_formatters_do(text: str, code: str) -> None:
    assert literal(text) == code


def test_there_is_no_code_for_what_nobody_knows() -> None:
    with pytest.raises(TypeError, match="no code for a object"):
        literal([object()])
