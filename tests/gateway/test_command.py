"""Mirrors modelbay_gateway/command.py: the program itself, and its keys."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
import httpx2 as httpx
import pytest
from click.testing import CliRunner

from modelbay_cli.plugins import find_command
from modelbay_gateway.command import PORT, command
from modelbay_ollama.simulator import OllamaSimulator
from modelbay_ollama.simulator import SimulatedModel as OllamaModel
from modelbay_openai.simulator import OpenAISimulator, SimulatedModel

WAIT_S = 30.0
UNSET = ("DEFAULT_MODEL", "LLAMA_PROVIDERS_PATH")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Configuration, data and cache of this test, with no provider of this machine."""
    (tmp_path / "providers.json").write_text('{"providers": []}')
    return tmp_path


def environment(home: Path) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in UNSET}
    return {**env, "MODELBAY_HOME": str(home), "PYTHONUNBUFFERED": "1"}


@contextmanager
def running(home: Path, *arguments: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The program, and the address it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "modelbay_cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(home),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"modelbay serves at (http://\S+)", line)
        if found is None:
            process.kill()
            pytest.fail(f"{line!r} {process.communicate()[1]}")
        yield found[1], process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def keys(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "modelbay_cli", "serve", "keys", *arguments],
        capture_output=True,
        text=True,
        env=environment(home),
        timeout=WAIT_S,
        check=False,
    )


def test_the_command_is_there_by_being_installed() -> None:
    assert find_command("serve") is command
    assert isinstance(command, click.Group)


def test_help_says_where_it_listens() -> None:
    text = CliRunner().invoke(command, ["--help"]).output

    assert "127.0.0.1" in text
    assert str(PORT) in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_and_stops_when_it_is_told_to(home: Path, number: signal.Signals) -> None:
    with OpenAISimulator([SimulatedModel("tiny", answer="Hi.")]) as server:
        document = {"providers": [{"id": "desk", "kind": "openai", "baseUrl": server.address}]}
        (home / "providers.json").write_text(json.dumps(document))
        with running(home, "serve", "--port", "0") as (base, process):
            models = httpx.get(f"{base}/v1/models", timeout=WAIT_S).json()
            answer = httpx.post(
                f"{base}/v1/chat/completions",
                json={"model": "tiny", "messages": [{"role": "user", "content": "hi"}]},
                timeout=WAIT_S,
            ).json()
            with socket.create_connection(("127.0.0.1", int(base.rpartition(":")[2]))) as other:
                other.sendall(b"no HTTP at all\r\n\r\n")
                assert other.recv(100).startswith(b"HTTP/1.1 400 ")
            process.send_signal(number)
            _, errors = process.communicate(timeout=WAIT_S)

    assert "desk/tiny" in [model["id"] for model in models["data"]]
    assert answer["choices"][0]["message"]["content"] == "Hi."
    assert (process.returncode, errors) == (0, "Ctrl-C stops it\n")


def test_providers_of_the_command_line_are_served_too(home: Path) -> None:
    with OllamaSimulator([OllamaModel("tiny:1b")]) as server:
        dsn = server.base_url.replace("http://", "ollama://")
        with running(home, "-p", dsn, "serve", "--port", "0") as (base, _):
            models = httpx.get(f"{base}/v1/models", timeout=WAIT_S).json()

    assert [model["id"] for model in models["data"] if model["id"].endswith("/tiny:1b")]


def test_the_model_of_a_conversation_is_remembered(home: Path) -> None:
    with OpenAISimulator([SimulatedModel("one"), SimulatedModel("two")]) as server:
        document = {"providers": [{"id": "desk", "kind": "openai", "baseUrl": server.address}]}
        (home / "providers.json").write_text(json.dumps(document))
        with running(home, "serve", "--port", "0") as (base, _):

            def answered(headers: Mapping[str, str] = {}, **fields: object) -> object:
                body = {"messages": [{"role": "user", "content": "hi"}], **fields}
                answer = httpx.post(
                    f"{base}/v1/chat/completions", json=body, headers=headers, timeout=WAIT_S
                )
                return answer.headers["x-modelbay-model"]

            seen = [
                answered(model="desk/two", conversation_id="c1"),
                answered({"x-conversation-id": "c1"}),
                answered(conversation_id="c1", model="desk/one", persist=False),
                answered(conversation_id="c1"),
            ]

    assert seen == ["desk/two", "desk/two", "desk/one", "desk/two"]


def test_it_does_not_open_itself_to_others_without_a_key(home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "modelbay_cli", "serve", "--host", "0.0.0.0", "--port", "0"],
        capture_output=True,
        text=True,
        env=environment(home),
        timeout=WAIT_S,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert "can be reached from other machines" in done.stderr
    assert "modelbay serve keys add NAME" in done.stderr


def test_keys_are_made_listed_and_forgotten(home: Path) -> None:
    made = keys(home, "add", "laptop", "--scope", "chat", "--scope", "manage")
    secret = made.stdout.strip()
    [listed] = json.loads(keys(home, "list", "--json").stdout)

    assert (listed["name"], listed["scopes"]) == ("laptop", ["chat", "manage"])
    assert keys(home, "list").stdout == "laptop  chat, manage\n"
    file = home / "data" / "gateway-keys.json"
    assert secret not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with running(home, "serve", "--port", "0", "--host", "0.0.0.0") as (base, _):
        url = f"{base.replace('0.0.0.0', '127.0.0.1')}/v1/models"
        assert httpx.get(url, timeout=WAIT_S).status_code == 401
        headers = {"authorization": f"Bearer {secret}"}
        assert httpx.get(url, headers=headers, timeout=WAIT_S).status_code == 200
    keys(home, "add", "phone")
    assert keys(home, "rm", "phone").stderr == ""
    removed = keys(home, "rm", "laptop")
    assert (removed.returncode, removed.stdout) == (0, "the key 'laptop' is forgotten\n")
    assert "refuses every request until there is a new key" in removed.stderr
    assert keys(home, "rm", "laptop").returncode == 1
    assert keys(home, "list").stderr == "there are no client keys\n"
