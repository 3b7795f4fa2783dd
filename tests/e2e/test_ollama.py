"""Ollama as a user without any configuration meets it: the server on its usual port, the program.

The port is Ollama's own, so a real server on this machine is in the way. That fails the tests with
a word on what to do, and skips nothing.
"""

import json
import math
import os
import pty
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from e2e.conftest import Program
from modelbay_ollama.simulator import (
    Knobs,
    Layer,
    OllamaSimulator,
    Pullable,
    Remote,
    SimulatedModel,
)

pytestmark = pytest.mark.e2e

PORT = 11434
PATIENCE_S = 60.0
GIB = 2**30

LLAMA = SimulatedModel(
    "llama3.1:8b", answer="Blue light scatters.", capabilities=("completion", "tools")
)
EMBEDDER = SimulatedModel(
    "nomic-embed-text",
    capabilities=("embedding",),
    family="nomic-bert",
    parameter_size="137M",
    size_bytes=274_302_450,
    trained_ctx=2048,
    embed_len=8,
)
CLOUD = SimulatedModel("gpt-oss:120b-cloud", family="gptoss", remote=Remote("gpt-oss:120b"))
CODESTRAL = Pullable(
    SimulatedModel("codestral:22b", size_bytes=4 * GIB), (Layer(4 * GIB, steps=4), Layer(11_000))
)


@contextmanager
def ollama(*models: SimulatedModel, **knobs: float) -> Iterator[OllamaSimulator]:
    """The simulator on Ollama's own port."""
    require_nobody()
    sim = OllamaSimulator(
        models or (LLAMA, EMBEDDER),
        registry=[CODESTRAL],
        knobs=Knobs(default_ctx=8192, **knobs),  # type: ignore[arg-type] # all of them numbers
        port=PORT,
    )
    with sim:
        yield sim


def require_nobody() -> None:
    """Fail if something else listens where these tests need the port."""
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as probe:
            probe.settimeout(1)
            if probe.connect_ex((host, PORT)) == 0:
                pytest.fail(
                    f"something listens on {host}:{PORT}, the port these tests need: end that"
                    " server (a real Ollama: systemctl stop ollama) and run them again"
                )


def until(stream: IO[str] | int, text: str, seen: str = "") -> str:
    """Read what comes, until this text has come or the patience is at its end."""
    number = stream if isinstance(stream, int) else stream.fileno()
    limit = time.monotonic() + PATIENCE_S
    while text not in seen:
        ready, _, _ = select.select([number], [], [], max(0.0, limit - time.monotonic()))
        assert ready, f"waited for {text!r}, saw {seen[-500:]!r}"
        try:
            data = os.read(number, 65536)
        except OSError:  # Linux says so when the other side of a terminal is closed
            data = b""
        assert data, f"waited for {text!r}, saw {seen[-500:]!r} and the end"
        seen += plain(data)
    return seen


def plain(data: bytes) -> str:
    text = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", data.decode())
    return text.replace("\r\n", "\n")


@contextmanager
def at_a_terminal(
    program: Program, *arguments: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The program with a terminal for all its streams, and our end of it."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [program.bin / "modelbay", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**program.env, "TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"},
    )
    os.close(theirs)
    try:
        yield child, ours
    finally:
        child.kill()
        child.wait()
        os.close(ours)


@pytest.fixture
def program(program: Program, tmp_path: Path) -> Program:
    """At home in a folder of the test's own: what one run remembers is for its next one alone."""
    return replace(program, env={**program.env, "HOME": str(tmp_path)})


# --- a server is there ------------------------------------------------------------------------


def test_its_models_are_listed_with_capabilities_context_and_provenance(program: Program) -> None:
    """S4-24, S4-25: nothing is configured."""
    with ollama(LLAMA, EMBEDDER, CLOUD):
        shown = program.run("models", "ollama")
        told = program.run("models", "ollama", "--json")
        explained = program.run("explain", "ollama/llama3.1:8b")

    assert (shown.returncode, shown.stderr) == (0, "")
    rows = [line.split() for line in shown.stdout.splitlines()]
    assert rows == [
        ["MODEL", "STATE", "CONTEXT", "CAN", "SIZE", "NOTE"],
        ["ollama/llama3.1:8b", "unloaded", "<=128k", "tools", "json", "4.9", "GB", "-"],
        ["ollama/nomic-embed-text:latest", "unloaded", "<=2k", "embeddings", "274", "MB", "-"],
        ["ollama/gpt-oss:120b-cloud", "unknown", "128k", "-", "-", "runs", "elsewhere"],
    ]
    [provider] = json.loads(told.stdout)["providers"]
    models = {model["id"]: model for model in provider["models"]}
    facts = models["ollama/llama3.1:8b"]["capabilities"]
    assert (facts["tools"], facts["trained_context"], facts["context_window"]) == (
        True,
        131_072,
        None,
    )
    origins = {
        name: (origin["layer"], origin["evidence"])
        for name, origin in facts["provenance"].items()
        if name in ("tools", "trained_context")
    }
    assert origins == {
        "tools": ("live", "/api/tags capabilities"),
        "trained_context": ("live", "/api/tags details.context_length"),
    }
    assert models["ollama/gpt-oss:120b-cloud"]["origin"] == "remote"
    assert "/api/tags capabilities" in explained.stdout


def test_an_answer_is_on_stdout_before_it_ends(program: Program) -> None:
    held = SimulatedModel("llama3.1:8b", answer="Blue light scatters.", hold_after=1)
    with ollama(held) as sim:
        child = program.start("chat", "-m", "ollama/llama3.1:8b", "hi")
        try:
            assert child.stdout is not None
            first = until(child.stdout, "Blue")
            sim.wait_until(lambda: sim.holding == 1)
            assert child.poll() is None
            sim.release("llama3.1:8b")
            rest, err = child.communicate(timeout=PATIENCE_S)
        finally:
            child.kill()
            child.wait()

    assert (child.returncode, first + rest) == (0, "Blue light scatters.\n"), err


def test_ctrl_c_in_mid_answer_stops_the_server_s_work(program: Program) -> None:
    held = SimulatedModel("llama3.1:8b", endless=True, hold_after=1)
    with ollama(held) as sim:
        child = program.start("chat", "-m", "ollama/llama3.1:8b", "hi")
        try:
            sim.wait_until(lambda: sim.holding == 1, PATIENCE_S)
            child.send_signal(signal.SIGINT)
            child.communicate(timeout=PATIENCE_S)
        finally:
            child.kill()
            child.wait()
        sim.wait_until(lambda: sim.cancelled_answers == {"llama3.1:8b": 1})

    assert child.returncode == 130


def test_a_pull_draws_a_bar_and_the_model_is_listed_then(program: Program) -> None:
    """S4-85, S4-92: bytes of the whole while it runs, a tick at the end."""
    with ollama(pull_tick_s=math.inf) as sim:
        with at_a_terminal(program, "pull", "ollama/codestral:22b") as (child, terminal):
            for _ in range(3):  # the first tick brings nothing
                sim.wait_until(lambda: sim.holding == 1, PATIENCE_S)
                sim.release_pull("codestral:22b")
            seen = until(terminal, "2.1/4.3 GB")
            sim.knobs.pull_tick_s = 0.0
            sim.wait_until(lambda: sim.holding == 1, PATIENCE_S)
            sim.release_pull("codestral:22b")
            until(terminal, "✓ ollama/codestral:22b ready\n")
            assert child.wait(PATIENCE_S) == 0
        listed = program.run("models", "ollama")

    assert "━" in seen
    assert "ollama/codestral:22b " in listed.stdout


def test_a_pull_into_a_pipe_is_told_in_lines(program: Program) -> None:
    with ollama():
        done = program.run("pull", "ollama/codestral:22b")

    assert (done.returncode, done.stdout) == (0, "✓ ollama/codestral:22b ready\n")
    assert re.search(r"50 % \(2\.1 GB of 4\.3 GB\)", done.stderr)


def test_ctrl_c_stops_a_pull_and_the_next_one_goes_on(program: Program) -> None:
    with ollama(pull_tick_s=math.inf) as sim:
        child = program.start("pull", "ollama/codestral:22b")
        try:
            for _ in range(3):
                sim.wait_until(lambda: sim.holding == 1, PATIENCE_S)
                sim.release_pull("codestral:22b")
            sim.wait_until(lambda: sim.holding == 1, PATIENCE_S)
            child.send_signal(signal.SIGINT)
            child.communicate(timeout=PATIENCE_S)
        finally:
            child.kill()
            child.wait()
        sim.wait_until(lambda: sim.pulls_cancelled == {"codestral:22b": 1})
        kept = sum(sim.partial_layers.values())
        sim.knobs.pull_tick_s = 0.0
        again = program.run("pull", "ollama/codestral:22b", "--json")

    progress = [json.loads(line) for line in again.stdout.splitlines()]
    begun = next(event["done_bytes"] for event in progress if event.get("done_bytes"))
    assert (child.returncode, again.returncode, kept) == (130, 0, 2 * GIB)
    assert begun >= kept


def test_a_model_is_loaded_shown_as_running_and_unloaded(program: Program) -> None:
    """S4-32, S4-88."""
    with ollama() as sim:
        load = program.run("load", "ollama/llama3.1:8b")
        running = program.run("ps", "ollama", "--json")
        unload = program.run("unload", "ollama/llama3.1:8b")
        after = program.run("ps", "ollama")

        assert (sim.loads, sim.unloads) == ({"llama3.1:8b": 1}, {"llama3.1:8b": 1})
    assert load.stdout == "ollama/llama3.1:8b is loaded\n"
    assert "with a window of 8192 tokens" in load.stderr
    [provider] = json.loads(running.stdout)["providers"]
    [model] = provider["models"]
    assert (model["id"], model["state"], model["context"]) == ("ollama/llama3.1:8b", "loaded", 8192)
    assert model["vram_bytes"] > 0
    assert 0 < model["expires_in_s"] <= 300
    assert unload.stdout == "ollama/llama3.1:8b is unloaded\n"
    assert after.stderr == "no model is in memory: modelbay load REF\n"


def test_a_model_gets_a_second_name_and_loses_the_first(program: Program) -> None:
    """S4-87: nothing is deleted without a word from the user."""
    with ollama() as sim:
        copied = program.run("cp", "ollama/llama3.1:8b", "mine")
        unasked = program.run("rm", "ollama/llama3.1:8b", stdin="y\n")
        kept = sim.installed
        deleted = program.run("rm", "-y", "ollama/llama3.1:8b")
        left = sim.installed

    assert copied.stdout == "ollama/llama3.1:8b is copied to ollama/mine\n", copied.stderr
    assert (unasked.returncode, unasked.stdout) == (2, "")
    assert "llama3.1:8b" in kept
    assert deleted.stdout == "ollama/llama3.1:8b is deleted\n", deleted.stderr
    assert set(left) == {"mine:latest", "nomic-embed-text:latest"}


def test_texts_become_vectors(program: Program) -> None:
    """Also without a name: there is one model for it. Each line of a pipe is a text."""
    with ollama():
        named = program.run("embed", "-m", "ollama/nomic-embed-text", "a cat", "a dog")
        chosen = program.run("embed", stdin="a cat\na dog\n")
        told = program.run("embed", "--json", "-m", "ollama/nomic-embed-text", "a cat")
        refused = program.run("embed", "-m", "ollama/llama3.1:8b", "a cat")

    vectors = [json.loads(line) for line in named.stdout.splitlines()]
    assert [len(vector) for vector in vectors] == [8, 8]
    assert [math.hypot(*vector) for vector in vectors] == pytest.approx([1, 1])
    assert chosen.stdout == named.stdout
    assert json.loads(told.stdout)["vectors"] == vectors[:1]
    assert refused.returncode == 6
    assert "hint: " in refused.stderr


def test_a_conversation_opens_with_the_server_and_can_manage_it(program: Program) -> None:
    """S4-27, S4-83 to S4-88, S4-93, S4-111: one session, every command."""
    with (
        ollama() as sim,
        at_a_terminal(program, "chat", "-m", "ollama/llama3.1:8b") as (child, terminal),
    ):

        def answers(command: str) -> str:
            os.write(terminal, command.encode() + b"\n")
            seen = until(terminal, "\n> ")
            return seen.partition("\n")[2].removesuffix("> ")

        opened = until(terminal, "> ")
        answers("hi")
        status = answers("/ollama")
        pulled = answers("/ollama pull codestral:22b")
        listed = answers("/ollama list")
        running = answers("/ollama ps")
        shown = answers("/ollama show codestral:22b")
        switched = answers("/model ollama/codestral:22b")
        os.write(terminal, b"/ollama remove llama3.1:8b\n")
        until(terminal, "Delete ollama/llama3.1:8b? [y/N]: ")
        kept = answers("n")
        removed = answers("/ollama remove llama3.1:8b -y")
        installed = sim.installed
        os.write(terminal, b"/exit\n")
        assert child.wait(PATIENCE_S) == 0

    assert f"Ollama at http://127.0.0.1:{PORT}: 2 models\n" in opened
    lines = status.splitlines()
    assert lines[0] == f"ollama: Ollama 0.33.0 running at http://127.0.0.1:{PORT}"
    assert [lines[1], lines[3]] == ["Loaded", "Available"]
    assert re.fullmatch(
        r"  llama3\.1:8b  loaded  [\d.]+ GB  [\d.]+ GB VRAM  8k context  unloads in \S+ \S+",
        lines[2],
    )
    assert lines[4].split() == ["llama3.1:8b", "loaded", "4.9", "GB", "llama", "Q4_K_M"]
    assert pulled.endswith("✓ codestral:22b ready\n")
    assert "  codestral:22b " in listed
    assert "VRAM" in running
    assert "context_trained" in shown
    assert switched == "Switched to codestral:22b (local, Ollama)\n"
    assert kept == ""
    assert removed.endswith("ollama/llama3.1:8b is deleted\n")
    assert set(installed) == {"codestral:22b", "nomic-embed-text:latest"}


def test_the_demo_server_is_found_where_ollama_would_be(program: Program) -> None:
    require_nobody()
    child = program.start("fake", "ollama")
    try:
        assert child.stdout is not None
        until(child.stdout, f"http://127.0.0.1:{PORT}\n")
        listed = program.run("models", "ollama")
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=PATIENCE_S)
    finally:
        child.kill()
        child.wait()

    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == [
        "ollama/llama3.1:8b",
        "ollama/qwen3:8b",
        "ollama/nomic-embed-text:latest",
    ]


# --- no server --------------------------------------------------------------------------------


def test_without_a_server_there_is_no_line_no_error_and_little_time_lost(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    """S4-64, S4-96; what the look took is on the host's own clock, the rest is for the reader."""
    require_nobody()
    began = time.monotonic()
    listed = program.run("models")
    took_s = time.monotonic() - began
    checked = json.loads(program.run("doctor", "--json").stdout)
    with capsys.disabled():
        print(f"\nmodelbay models, without a server: {took_s:.2f} s for the whole process")

    assert (listed.returncode, listed.stderr) == (0, "")
    assert "ollama" not in listed.stdout.lower()
    [row] = [provider for provider in checked["providers"] if provider["id"] == "ollama"]
    assert (row["status"], row["models"], row["hidden"]) == ("down", 0, True)
    assert row["took_s"] <= 1.5


def test_with_no_server_the_conversation_says_how_to_start_one_and_starts_none(
    program: Program,
) -> None:
    """S4-109."""
    require_nobody()
    with at_a_terminal(program, "chat") as (_, terminal):
        opened = until(terminal, "> ")
        os.write(terminal, b"/ollama\n")
        seen = until(terminal, "\n> ")

    assert "Ollama" not in opened
    assert "ollama: down: cannot reach http://127.0.0.1:11434" in seen
    assert "hint: ollama serve\n" in seen
    require_nobody()


def test_a_request_to_nobody_is_an_error_with_a_next_step(program: Program) -> None:
    require_nobody()
    done = program.run("chat", "-m", "ollama/llama3.1:8b", "hi")

    assert (done.returncode, done.stdout) == (3, "")
    assert "error: cannot reach http://127.0.0.1:11434" in done.stderr
    assert "hint: " in done.stderr
