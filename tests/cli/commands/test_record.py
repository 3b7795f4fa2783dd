"""Mirrors modelbay_cli/commands/record.py and replay.py: the installed program, real servers."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import importlib_metadata
import pytest

from cli.conftest import Installation
from cli.test_examples import accept, calls, every, named
from modelbay import Host, ProviderConfig
from modelbay.config import parse_providers_file
from modelbay.testing import Fault, Recorder
from modelbay.testing.recording import read_folder
from modelbay_cli.recording.relaying import relay, secrets_of
from modelbay_openai.simulator import OpenAISimulator, SimulatedModel

ANSWER = "This was said once."
KEY = "sk-the-key-of-the-desk-0001"


@pytest.fixture
def desk(installation: Installation, tmp_path: Path) -> Iterator[OpenAISimulator]:
    """A server behind the provider `desk`; the program runs in a folder of its own."""
    others = {entry.name for entry in importlib_metadata.entry_points(group="modelbay")}
    installation.setenv("MODELBAY_DISABLE", ",".join(sorted(others - {"openai"})))
    for name in ("OPENAI_API_KEY", "LM_API_TOKEN"):
        installation.patch.delenv(name, raising=False)
    work = tmp_path / "work"
    work.mkdir()
    installation.patch.chdir(work)
    model = SimulatedModel("tiny", answer=ANSWER)
    with OpenAISimulator([model], personality="vllm") as server:
        installation.configure(
            {"id": "desk", "kind": "openai", "baseUrl": f"{server.base_url}/v1", "apiKey": KEY}
        )
        yield server


CHAT = ("modelbay", "chat", "-m", "desk/tiny", "hello")
PYTHON_ENV = "import json, os; print(json.dumps(dict(os.environ)))"


def test_a_command_is_recorded_and_replayed_with_the_same_output(
    desk: OpenAISimulator, installation: Installation
) -> None:
    recorded = installation.run("record", "-o", "there", "--", *CHAT)
    asked = len(desk.requests)
    replayed = installation.run("replay", "there", "--", *CHAT)

    found = read_folder(Path("there"))
    assert (recorded.returncode, recorded.stdout.decode()) == (0, f"{ANSWER}\n")
    assert (replayed.returncode, replayed.stdout) == (0, recorded.stdout)
    assert len(desk.requests) == asked == len(found)
    assert f"{asked} exchanges in there" in recorded.stderr.decode()
    assert found[-1].request.target == "/v1/chat/completions"


def test_the_key_reaches_the_server_and_no_file(
    desk: OpenAISimulator, installation: Installation
) -> None:
    installation.run("record", "--", *CHAT)

    written = "".join(path.read_text() for path in Path("recording").iterdir())
    assert {request.headers["authorization"] for request in desk.requests} == {f"Bearer {KEY}"}
    assert KEY not in written
    assert '"apiKey": "***"' in written


def test_the_exit_code_is_the_commands(desk: OpenAISimulator, installation: Installation) -> None:
    codes = [
        installation.run("record", "--", *command).returncode
        for command in (
            (sys.executable, "-c", "raise SystemExit(3)"),
            (sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"),
            ("no-such-program",),
            ("/",),
            ("modelbay", "chat", "-m", "desk/other", "hello"),
        )
    ]

    assert codes[:4] == [3, 137, 127, 126]
    assert codes[4] not in (0, 1)
    assert sorted(path.name for path in Path().iterdir()) == [
        "recording",
        *(f"recording-{number}" for number in range(2, 6)),
    ]


@pytest.mark.soak
def test_a_program_of_another_kind_finds_the_relay_in_a_variable(
    desk: OpenAISimulator, installation: Installation
) -> None:
    code = (
        "import os, urllib.request as r;"
        "answer = r.urlopen(os.environ['MODELBAY_RELAY_DESK'] + '/models');"
        "answer.read();"  # who leaves before the end is recorded as one who left
        "print(answer.status)"
    )
    done = installation.run("record", "-o", "there", "--", sys.executable, "-c", code)

    [found] = read_folder(Path("there"))
    assert (done.stdout, found.request.target, found.end) == (b"200\n", "/v1/models", "complete")


@pytest.mark.soak
def test_the_file_with_the_relays_is_gone_afterwards(
    desk: OpenAISimulator, installation: Installation
) -> None:
    done = installation.run("record", "--", sys.executable, "-c", PYTHON_ENV)

    variables = json.loads(done.stdout)
    place = Path(variables["LLAMA_PROVIDERS_PATH"])
    assert place.name == "providers.json"
    assert not place.parent.exists()
    assert installation.file.exists()


@pytest.mark.soak
def test_only_the_named_providers_are_recorded(
    desk: OpenAISimulator, installation: Installation
) -> None:
    url = f"{desk.base_url}/v1"
    installation.configure(
        {"id": "desk", "kind": "openai", "baseUrl": url},
        {"id": "lap", "kind": "openai", "baseUrl": url},
    )
    done = installation.run(
        "record", "-o", "there", "--provider", "lap", "--", "modelbay", "models"
    )

    assert {exchange.provider_id for exchange in read_folder(Path("there"))} == {"lap"}
    assert b"desk/tiny" in done.stdout
    assert b"lap/tiny" in done.stdout
    assert b"not recording desk: it was not asked for" in done.stderr


def test_an_unknown_provider_is_told_before_anything_is_made(
    desk: OpenAISimulator, installation: Installation
) -> None:
    done = installation.run("record", "--provider", "desc", "--", *CHAT)

    assert done.returncode != 0
    assert b"there is no provider 'desc' (known: desk" in done.stderr
    assert list(Path().iterdir()) == []


def test_a_cut_stream_is_recorded_and_fails_again(
    desk: OpenAISimulator, installation: Installation
) -> None:
    desk.inject(Fault(cut_after_bytes=600), path="/v1/chat/completions")
    recorded = installation.run("record", "-o", "there", "--", *CHAT)
    replayed = installation.run("replay", "there", "--", *CHAT)

    assert read_folder(Path("there"))[-1].end == "cut"
    assert recorded.returncode == replayed.returncode != 0
    assert replayed.stdout == recorded.stdout


def test_a_signal_ends_the_command_and_loses_nothing(
    desk: OpenAISimulator, installation: Installation
) -> None:
    desk.inject(Fault(hang=True), path="/v1/chat/completions")
    nothing = subprocess.DEVNULL  # a question may come from there too
    process = installation.process("record", "-o", "there", "--", *CHAT, stdin=nothing)
    try:
        desk.wait_until(lambda: any("completions" in r.path for r in desk.requests), 30)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()

    last = read_folder(Path("there"))[-1]
    assert process.returncode == 128 + signal.SIGTERM
    assert (last.request.target, last.answer, last.end) == ("/v1/chat/completions", None, "left")


@pytest.mark.soak
def test_one_command_records_and_writes_a_test_that_passes(
    desk: OpenAISimulator, installation: Installation, tmp_path: Path
) -> None:
    done = installation.run("record", "-o", "there", "--test", "test_desk.py", "--", *CHAT)

    environment = {name: value for name, value in os.environ.items() if name != "MODELBAY_DISABLE"}
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"),
            *("-c", "/dev/null", "--rootdir", ".", "test_desk.py"),
        ],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.decode().splitlines() == [
        ANSWER,
        "test_desk.py::test_desk_lists_its_models_as_recorded",
        "test_desk.py::test_exchange_3_is_answered_as_recorded",
    ]
    assert "2 passed" in run.stdout, run.stdout + run.stderr


@pytest.mark.soak
def test_replay_writes_a_test_and_serves_nothing(
    desk: OpenAISimulator, installation: Installation
) -> None:
    installation.run("record", "-o", "there", "--", *CHAT)
    done = installation.run("replay", "there", "--as-test", "test_desk.py")
    both = installation.run("replay", "there", "--as-test", "test_desk.py", "--port", "1")

    assert len(done.stdout.splitlines()) == 2
    assert Path("test_desk.py").exists()
    assert (both.returncode, b"--as-test goes with FOLDER alone" in both.stderr) == (2, True)


def test_replay_says_what_was_not_recorded(
    desk: OpenAISimulator, installation: Installation
) -> None:
    installation.run("record", "-o", "there", "--", *CHAT)
    done = installation.run("replay", "there", "--", *CHAT[:-1], "goodbye")

    assert done.returncode != 0
    assert b"these differ: body /messages/0/content" in done.stderr.splitlines()[-1]
    assert b"goodbye" not in done.stderr


def test_replay_serves_until_it_is_interrupted_and_prints_how_to_come_there(
    desk: OpenAISimulator, installation: Installation
) -> None:
    installation.run("record", "-o", "there", "--", *CHAT)
    process = installation.process("replay", "there")
    try:
        assert process.stdout is not None
        document: dict[str, Any] = json.loads(process.stdout.readline())
        [entry] = document["providers"]
        client = HTTPConnection("127.0.0.1", urlsplit(entry["baseUrl"]).port or 0, timeout=10)
        client.request("GET", "/v1/models")
        listed = json.loads(client.getresponse().read())
        client.close()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()

    assert [model["id"] for model in listed["data"]] == ["tiny"]
    assert parse_providers_file(json.dumps(document), "stdout").providers[0].id == "desk"
    assert process.returncode == 130


def test_replay_of_nothing_says_how_to_record(
    desk: OpenAISimulator, installation: Installation
) -> None:
    done = installation.run("replay", "nosuch")

    assert done.returncode == 2
    assert b"modelbay record -o nosuch -- modelbay chat hello" in done.stderr


# the configuration that is run


def opened(installation: Installation, tmp_path: Path, env: dict[str, str]) -> Host:
    installation.file.write_text(
        json.dumps(
            {
                "providers": [
                    {
                        "id": "desk",
                        "kind": "openai",
                        "label": "Sam's desk",
                        "baseUrl": "http://me:pass-word@127.0.0.1:9/v1",
                        "headers": {"X-Api-Key": "header-secret", "X-Title": "shown"},
                        "apiKeyEnv": "DESK_KEY",
                        "idleTimeoutS": 7,
                        "apiPrefix": "",
                        "models": {"tiny*": {"tools": True}},
                    },
                    {"id": "off", "kind": "openai", "baseUrl": "http://h:1", "enabled": False},
                    {"id": "bare", "kind": "openai"},
                ],
                "defaultModel": "desk/tiny",
                "wrappers": [],
            }
        )
    )
    return Host.open(
        env={
            "MODELBAY_HOME": str(installation.home),
            "MODELBAY_DISABLE": installation.env["MODELBAY_DISABLE"],
            "DESK_KEY": "key-of-the-desk",
            **env,
        }
    )


def test_everything_but_the_address_stays_as_it_was(
    desk: OpenAISimulator, installation: Installation, tmp_path: Path
) -> None:
    host = opened(installation, tmp_path, {"LLM_LAP": "openai://127.0.0.1:9/v1"})
    with Recorder(tmp_path / "there") as recorder:
        relayed = relay(host, ["desk"], recorder)

    text = json.dumps(relayed.document)
    file = parse_providers_file(text, "there")
    env = {**host.env, **relayed.variables}
    again = Host.open(providers=file.providers, env=env, installed=host.installed)
    before = {handle.id: handle.config for handle in host.providers}
    after = {handle.id: handle.config for handle in again.providers}
    moved = after["desk"].base_url
    assert moved == relayed.addresses["desk"] == relayed.variables["MODELBAY_RELAY_DESK"]
    assert moved.startswith("http://me:pass-word@127.0.0.1:")
    assert moved.endswith("/v1")
    variable = after["desk"].api_key_env
    same = {"base_url": before["desk"].base_url, "api_key_env": "DESK_KEY"}
    assert after["desk"].model_copy(update=same) == before["desk"]
    assert relayed.variables[str(variable)] == "key-of-the-desk"
    assert "key-of-the-desk" not in text
    assert after["lap"].base_url == before["lap"].base_url
    assert (file.default_model, file.default_provider) == ("desk/tiny", "desk")
    assert relayed.direct == {"bare": "it was not asked for", "lap": "it was not asked for"}


def test_every_secret_of_a_host_is_known(
    desk: OpenAISimulator, installation: Installation, tmp_path: Path
) -> None:
    env = {
        "SOME_TOKEN": "token-of-the-shell",
        "DATABASE": "db://u:secret-pw@host/x",
        "LLM_LAP": "openai://token-of-lap@127.0.0.1:9",
        "HOME": "/home/me",
    }
    found = set(secrets_of(opened(installation, tmp_path, env)))

    planted = {
        "header-secret",
        "key-of-the-desk",
        "pass-word",
        "token-of-the-shell",
        "secret-pw",
        "token-of-lap",
    }
    assert planted <= found
    assert not {"shown", "/home/me", "Sam's desk"} & found


def test_a_server_that_is_only_proposed_and_not_there_is_left_out(
    desk: OpenAISimulator, installation: Installation, tmp_path: Path
) -> None:
    proposed = ProviderConfig(
        id="near", kind="openai", base_url="http://127.0.0.1:9", source="loopback"
    )
    there = proposed.model_copy(update={"id": "there", "base_url": desk.base_url})
    host = Host.open(providers=[proposed, there], env={"MODELBAY_HOME": str(tmp_path)})
    with Recorder(tmp_path / "r") as recorder:
        relayed = relay(host, [], recorder)

    assert "there" in relayed.addresses
    assert "near" not in relayed.addresses
    assert "near" not in json.dumps(relayed.document)


# the help


@pytest.mark.parametrize("name", ["record", "replay"])
def test_its_examples_are_accepted(name: str) -> None:
    [(_, command)] = every(name, named(name))
    lines = (command.epilog or "").split("Examples:\n")[-1].splitlines()
    assert len(lines) >= 4
    for line in lines:
        for words in calls(line.strip()):
            accept(words)


PAGE = (Path(__file__).parents[3] / "docs" / "recording.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return [part.partition("```")[0] for part in PAGE.split(f"```{language}\n")[1:]]


@pytest.mark.soak
def test_the_page_shows_commands_that_work(
    desk: OpenAISimulator, installation: Installation
) -> None:
    installation.patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 6
    for line in lines:
        if "curl" in line:  # which not every machine has
            line = line.replace("curl", "printf %s\\\\n")
        done = subprocess.run(
            ["sh", "-c", line.replace("qwen3", "tiny")],
            env={**os.environ, **installation.env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout
    assert Path("test_desk.py").exists()


@pytest.mark.soak
def test_the_page_shows_python_that_works(
    desk: OpenAISimulator, installation: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    [code] = blocks("python")
    names: dict[str, Any] = {}
    exec(code, names)
    installation.configure()
    config = ProviderConfig(id="desk", kind="openai", base_url=desk.base_url)

    asyncio.run(names["record"](config))
    names["replay"]("desk/tiny")

    recorded, replayed = capsys.readouterr().out.splitlines()
    assert ANSWER in recorded
    assert "Finish(reason='stop'" in replayed


@pytest.mark.soak
def test_nothing_is_left_running(desk: OpenAISimulator, installation: Installation) -> None:
    before = threading.active_count()
    with Recorder(Path("there")) as recorder:
        recorder.relay(ProviderConfig(id="desk", kind="openai", base_url=desk.base_url))

    assert threading.active_count() == before
