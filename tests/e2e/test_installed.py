"""What a user sees: the two commands of the README, and the program they install."""

import json
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
import xllamacpp

from e2e.conftest import COMMANDS, Program
from modelbay.testing.simulator import Fault, Simulator
from modelbay_embedded.welcome import WELCOME_TEXT
from modelbay_llamacpp.simulator import LlamaCppSimulator, SimulatedModel
from tiny_gguf import write_tiny_gguf

pytestmark = pytest.mark.e2e

ANSWER = "The answer is 42, my friend."


def providers(path: Path, *entries: Mapping[str, object], **top: object) -> str:
    path.write_text(json.dumps({"providers": list(entries), **top}))
    return str(path)


@pytest.fixture
def real_server(tmp_path: Path) -> str:
    """A real llama.cpp server in this process; it ends when the test drops it."""
    params = xllamacpp.CommonParams()
    params.model.path = str(write_tiny_gguf(tmp_path / "real.gguf", say=ANSWER))
    params.model_alias = {"real"}
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_ctx, params.n_parallel = 2048, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup, params.verbosity = False, 0
    server = xllamacpp.Server(params)
    real_servers.append(server)
    return str(server.listening_address)


real_servers: list[object] = []


@pytest.fixture(autouse=True)
def _drop_real_servers() -> object:
    yield
    real_servers.clear()


def test_the_readme_has_two_one_line_commands() -> None:
    assert len(COMMANDS) == 2
    assert COMMANDS[0].endswith('modelbay chat "Hello"')
    assert COMMANDS[1].endswith("tox")


def test_the_first_command_ends_with_an_answer_of_the_real_engine(
    first_command: subprocess.CompletedProcess[str],
) -> None:
    assert first_command.returncode == 0, first_command.stderr
    assert first_command.stdout == WELCOME_TEXT + "\n"
    assert "embedded/welcome" in first_command.stderr


def test_the_meta_package_and_each_part_can_be_installed_alone(
    clone: Path, bare_env: dict[str, str], tmp_path: Path
) -> None:
    subprocess.run(["python3", "-m", "venv", tmp_path / "venv"], env=bare_env, check=True)
    pip = [str(tmp_path / "venv" / "bin" / "pip"), "install", "-q", "--no-cache-dir"]
    subprocess.run([*pip, "./core"], cwd=clone, env=bare_env, check=True)
    subprocess.run([*pip, "./plugins/llamacpp"], cwd=clone, env=bare_env, check=True)
    code = "from modelbay import Host; print([p.kind for p in Host.open(env={}).plugins])"
    done = subprocess.run(
        [tmp_path / "venv" / "bin" / "python", "-c", code],
        env=bare_env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "['llamacpp']\n"


def test_welcome_is_plainly_no_language_model_in_the_list(program: Program) -> None:
    done = program.run("models")

    assert done.returncode == 0, done.stderr
    assert "embedded/welcome" in done.stdout
    assert "not a language model" in done.stdout


def test_healthy_providers_are_listed_whole_beside_broken_ones(
    program: Program, real_server: str, tmp_path: Path
) -> None:
    """Within the probe limit; what each look took is on the host's own clock."""
    router = [SimulatedModel(f"model-{n:02}") for n in range(50)]
    faults = {
        "hung": Fault(hang=True),
        "drip": Fault(drip_bytes_per_s=1),
        "huge": Fault(huge_mb=200),
        "page": Fault.html(200),
        "broken": Fault.html(502),
    }
    with ExitStack() as servers:
        sim = servers.enter_context(LlamaCppSimulator(router, mode="router", models_max=1))
        entries = [
            {"id": "router", "kind": "llama.cpp", "baseUrl": sim.base_url},
            {"id": "real", "kind": "llamacpp", "baseUrl": real_server},
        ]
        for name, fault in faults.items():
            bad = servers.enter_context(Simulator())
            bad.inject(fault)
            entries.append({"id": name, "kind": "llamacpp", "baseUrl": bad.base_url})
        file = providers(tmp_path / "providers.json", *entries)

        done = program.run("models", "--json", LLAMA_PROVIDERS_PATH=file)

        assert done.returncode == 0, done.stderr
        found = {entry["id"]: entry for entry in json.loads(done.stdout)["providers"]}
        assert [model["id"] for model in found["router"]["models"]] == [
            f"router/model-{n:02}" for n in range(50)
        ]
        assert [model["id"] for model in found["real"]["models"]] == ["real/real"]
        assert sim.loads == {}, "listing must not load anything"
        assert {name: found[name]["problem"]["code"] for name in faults} == {
            "hung": "backend_timeout",
            "drip": "backend_timeout",
            "huge": "protocol_error",
            "page": "wrong_server",
            "broken": "backend_error",
        }
        assert max(entry["took_s"] for entry in found.values()) < 1.5 + 0.3


def test_chat_streams_from_a_real_server_and_writes_nothing_else_to_stdout(
    program: Program, real_server: str
) -> None:
    done = program.run("chat", "-m", "llamacpp/real", "hi", LLAMA_CPP_URL=real_server)

    assert (done.returncode, done.stdout) == (0, ANSWER + "\n"), done.stderr


def test_events_come_as_json_lines(program: Program, real_server: str) -> None:
    done = program.run("chat", "--json", "-m", "llamacpp/real", "hi", LLAMA_CPP_URL=real_server)

    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert "".join(event["text"] for event in events if event["type"] == "text") == ANSWER
    assert events[-1]["type"] == "finish"


def test_a_malformed_file_names_file_pointer_and_expectation(
    program: Program, tmp_path: Path
) -> None:
    file = providers(tmp_path / "providers.json", {"id": "a", "kind": "llamacpp", "baseUrl": 7})
    done = program.run("models", LLAMA_PROVIDERS_PATH=file)

    assert done.returncode == 2
    assert f"{file}#/providers/0/baseUrl: Input should be a valid string" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_model_names_what_was_asked_and_what_is_near(
    program: Program, real_server: str
) -> None:
    done = program.run("chat", "-m", "llamacpp/rael", "hi", LLAMA_CPP_URL=real_server)

    assert done.returncode == 4
    assert "unknown model 'llamacpp/rael'; asked llamacpp (1 model)" in done.stderr
    assert "did you mean llamacpp/real?" in done.stderr


def test_a_server_that_dies_in_mid_answer_leaves_the_partial_text_and_an_exit_code(
    program: Program, tmp_path: Path
) -> None:
    model = SimulatedModel("dies", answer="one two three four", die_after=2)
    with LlamaCppSimulator([model]) as sim:
        done = program.run("chat", "-m", "llamacpp/dies", "hi", LLAMA_CPP_URL=sim.base_url)

    assert done.returncode == 1
    assert done.stdout.strip()
    assert "one two three four".startswith(done.stdout.strip())
    assert "error: " in done.stderr


def test_ctrl_c_closes_the_request_upstream(program: Program) -> None:
    model = SimulatedModel("held", answer="word " * 40, hold_after=3)
    with LlamaCppSimulator([model]) as sim:
        child = program.start("chat", "-m", "llamacpp/held", "hi", LLAMA_CPP_URL=sim.base_url)
        try:
            sim.wait_until(lambda: sim.open_streams == 1, 30)
            child.send_signal(signal.SIGINT)
            child.communicate(timeout=30)
        finally:
            child.kill()
            child.wait()
        assert child.returncode == 130
        sim.wait_until(lambda: sim.streams_closed_by_client == 1)


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("cut", lambda path: path.write_bytes(path.read_bytes()[:-4096]), "truncated: "),
        ("other", lambda path: path.write_bytes(b"not a model at all" * 99), "not b'GGUF'"),
    ],
)
def test_a_bad_model_file_is_named_with_the_reason(
    program: Program, tmp_path: Path, name: str, damage: Callable[[Path], object], reason: str
) -> None:
    path = write_tiny_gguf(tmp_path / f"{name}.gguf", say=ANSWER)
    damage(path)
    done = program.run("chat", "-m", f"embedded/{name}", "hi", MODELBAY_MODELS=str(tmp_path))

    assert done.returncode != 0
    assert str(path) in done.stderr
    assert reason in done.stderr


def test_a_file_of_ones_own_answers_without_any_server(program: Program, tmp_path: Path) -> None:
    write_tiny_gguf(tmp_path / "mine.gguf", say=ANSWER)
    done = program.run("chat", "hi", MODELBAY_MODELS=str(tmp_path))

    assert (done.returncode, done.stdout) == (0, ANSWER + "\n"), done.stderr
    assert "embedded/mine" in done.stderr


BROKEN = {
    "import": "import nothing_of_that_name",
    "exit": "import sys; sys.exit(3)",
    "signature": (
        "from modelbay.hookspecs import hookimpl\n@hookimpl\ndef stream_chat(nobody): ..."
    ),
    "syntax": "def (:",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_a_row_in_doctor_and_nothing_else_breaks(
    program: Program, tmp_path: Path, kind: str
) -> None:
    info = tmp_path / f"modelbay_bad_{kind}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: modelbay-bad-{kind}\nVersion: 1.0\n"
    )
    (info / "entry_points.txt").write_text(f"[modelbay]\nbad-{kind} = bad_{kind}_plugin\n")
    (tmp_path / f"bad_{kind}_plugin.py").write_text(BROKEN[kind])

    doctor = program.run("doctor", "--json", PYTHONPATH=str(tmp_path))
    models = program.run("models", PYTHONPATH=str(tmp_path))

    report = json.loads(doctor.stdout)
    [row] = [plugin for plugin in report["plugins"] if plugin["kind"] == f"bad-{kind}"]
    assert row["state"] == "broken"
    assert "plugin_load_error" in {
        finding["error"]
        for finding in report["findings"]
        if finding["subject"] == f"plugin bad-{kind}"
    }
    assert doctor.returncode == 1
    assert models.returncode == 0
    assert "embedded/welcome" in models.stdout
