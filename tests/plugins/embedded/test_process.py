"""Mirrors modelbay_embedded/process.py and engine.py: real children, started, broken and ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import anyio
import httpx2 as httpx
import pytest

from modelbay_embedded.engine import EngineOptions
from modelbay_embedded.process import (
    Engine,
    EngineError,
    EngineMissingError,
    EngineTimeoutError,
    start_engine,
)
from modelbay_embedded.welcome import build_welcome
from tiny_gguf import write_tiny_gguf, write_tiny_projector

pytestmark = [pytest.mark.real, pytest.mark.anyio]

posix = pytest.mark.skipif(os.name != "posix", reason="signals and pipes of POSIX")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SAY = "The answer is 42."
LIMIT_S = 30.0


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def options(path: Path, **more: object) -> EngineOptions:
    known = {"alias": "tiny", "threads": 1, "warmup": False, "context_length": 2048}
    return EngineOptions(model=str(path), **{**known, **more})  # type: ignore[arg-type]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_gguf(tmp_path / "tiny.gguf", say=SAY)


@pytest.fixture
async def engine(anyio_backend: str, model: Path) -> AsyncIterator[Engine]:
    running = await start_engine(options(model), deadline_s=LIMIT_S)
    yield running
    await running.aclose()


async def ask(
    engine: Engine, path: str, body: Mapping[str, object], **headers: str
) -> httpx.Response:
    async with httpx.AsyncClient(timeout=LIMIT_S, trust_env=False) as client:
        return await client.post(engine.url + path, json=body, headers=headers)


async def answer(engine: Engine, path: str, body: Mapping[str, object]) -> dict[str, object]:
    response = await ask(engine, path, body, authorization=f"Bearer {engine.api_key}")
    assert response.status_code == 200, response.text
    fields: dict[str, object] = response.json()
    return fields


CHAT = {"messages": [{"role": "user", "content": "6 x 7?"}]}


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def children(of: int | None = None) -> set[int]:
    """The children of a process (this one) that are or were engines; a zombie is anybody's."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                command = (entry / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(parent) == (of or os.getpid()) and (b"_embedded" in command or not command):
                found.add(int(entry.name))
    return found


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def seen_from_outside(pid: int, what: str) -> bytes:
    return Path(f"/proc/{pid}/{what}").read_bytes()


def spawn(path: Path) -> subprocess.Popen[bytes]:
    """The engine without the parent's side of ours: with the options sent, and stdin left open."""
    child = subprocess.Popen(
        [sys.executable, "-m", "modelbay_embedded.engine"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None
    child.stdin.write(options(path).line("key"))
    child.stdin.flush()
    return child


async def until_gone(pid: int) -> None:
    with anyio.fail_after(LIMIT_S):
        while is_running(pid):  # noqa: ASYNC110 - nothing tells us of another's child
            await anyio.sleep(0.01)


async def test_a_model_is_loaded_and_answers(engine: Engine, model: Path) -> None:
    body = await answer(engine, "/v1/chat/completions", CHAT)

    choice = body["choices"][0]  # type: ignore[index]
    assert (choice["message"]["content"], choice["finish_reason"]) == (SAY, "stop")
    assert body["model"] == "tiny"
    assert engine.url.startswith("http://127.0.0.1:")
    assert (engine.exited(), engine.reason(), engine.path) == (False, None, model)


async def test_every_request_needs_the_key(engine: Engine) -> None:
    none = await ask(engine, "/v1/chat/completions", CHAT)
    wrong = await ask(engine, "/v1/chat/completions", CHAT, authorization="Bearer x")

    assert (none.status_code, wrong.status_code) == (401, 401)


@linux
async def test_the_key_is_not_to_be_seen_from_outside(engine: Engine) -> None:
    command = seen_from_outside(engine.pid, "cmdline")
    environment = seen_from_outside(engine.pid, "environ")

    assert engine.api_key.encode() not in command + environment
    assert b"GGML_NO_BACKTRACE=1" in environment


async def test_two_engines_run_side_by_side(engine: Engine, tmp_path: Path) -> None:
    other = await start_engine(
        options(write_tiny_gguf(tmp_path / "b.gguf", say="Something else.")), deadline_s=LIMIT_S
    )
    try:
        assert (other.url, other.api_key) != (engine.url, engine.api_key)
        body = await answer(other, "/v1/chat/completions", CHAT)
        assert body["choices"][0]["message"]["content"] == "Something else."  # type: ignore[index]
    finally:
        await other.aclose()


@linux
async def test_closing_ends_the_child_and_leaves_nothing(engine: Engine) -> None:
    await engine.aclose()
    await engine.aclose()
    await engine.wait_closed()

    assert (engine.exited(), engine.reason()) == (True, None)
    assert engine.pid not in children()


async def test_closing_ends_an_engine_in_the_middle_of_a_stream(
    anyio_backend: str, tmp_path: Path
) -> None:
    path = write_tiny_gguf(tmp_path / "endless.gguf", say="and so on, ", endless=True)
    engine = await start_engine(options(path), deadline_s=LIMIT_S)
    headers = {"authorization": f"Bearer {engine.api_key}"}
    started = anyio.current_time()
    broken = False
    try:
        async with (
            httpx.AsyncClient(timeout=LIMIT_S, trust_env=False, headers=headers) as client,
            client.stream(
                "POST", f"{engine.url}/v1/chat/completions", json={**CHAT, "stream": True}
            ) as response,
        ):
            async for _ in response.aiter_raw():
                await engine.aclose()
    except httpx.TransportError:
        broken = True

    assert (broken, engine.exited()) == (True, True)
    assert anyio.current_time() - started < 5


@posix
async def test_a_child_that_does_not_end_is_killed(anyio_backend: str, model: Path) -> None:
    engine = await start_engine(options(model), deadline_s=LIMIT_S, stop_s=0.2)
    os.kill(engine.pid, signal.SIGSTOP)

    with anyio.fail_after(LIMIT_S):
        await engine.aclose()

    assert engine.exited()


@posix
async def test_a_child_that_dies_later_is_noticed_with_its_reason(engine: Engine) -> None:
    os.kill(engine.pid, signal.SIGKILL)
    with anyio.fail_after(LIMIT_S):
        await engine.wait_closed()

    reason = "the engine was ended by SIGKILL (was there enough memory?)"
    assert (engine.exited(), engine.reason()) == (True, reason)
    await engine.aclose()
    assert engine.reason() == reason


@posix
async def test_the_terminals_interrupt_is_for_the_parent(engine: Engine) -> None:
    os.kill(engine.pid, signal.SIGINT)

    await answer(engine, "/v1/chat/completions", CHAT)
    assert os.getsid(engine.pid) != os.getsid(0)


@linux
@pytest.mark.parametrize(
    ("content", "reason", "code"),
    [
        (None, "No such file or directory", 1),
        (b"", "failed to read magic", 1),
        (bytes(range(256)) * 16, "invalid magic characters", 1),
        (build_welcome()[:-1000], "data is not within the file bounds", 1),
        (build_welcome()[:5000], "failed to read key-value pairs", 1),
        # Two tokens of one text: llama.cpp aborts the process it runs in.
        (build_welcome().replace(b"<0x41>", b"<0x42>"), "GGML_ASSERT", -signal.SIGABRT),
        (build_welcome().replace(b"endfor", b"endfix"), "chat template: ", 1),
    ],
)
async def test_a_bad_file_is_an_error_that_names_it_and_why(
    anyio_backend: str, tmp_path: Path, content: bytes | None, reason: str, code: int
) -> None:
    before = children()
    path = tmp_path / "bad.gguf"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(EngineError, match=reason) as caught:
        await start_engine(options(path), deadline_s=LIMIT_S)

    assert type(caught.value) is EngineError
    assert (caught.value.path, caught.value.exit_code) == (path, code)
    assert "\n" not in caught.value.reason
    assert files(tmp_path) == ([] if content is None else [path]), "no core, no left-over"
    assert children() == before


async def test_a_projector_of_another_model_is_refused_in_words(
    anyio_backend: str, model: Path, tmp_path: Path
) -> None:
    projector = write_tiny_projector(tmp_path / "mmproj.gguf", width=128)

    with pytest.raises(EngineError, match="mismatch between text model"):
        await start_engine(options(model, projector=str(projector)), deadline_s=LIMIT_S)


async def test_an_embedding_model_answers_with_vectors(anyio_backend: str, tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "e.gguf", pooling="mean", template=None)
    engine = await start_engine(options(path, mode="embedding"), deadline_s=LIMIT_S)
    try:
        # Longer than llama.cpp's default batch of 512: it has to fit in one.
        body = await answer(engine, "/v1/embeddings", {"input": ["a" * 1500, "b"]})
    finally:
        await engine.aclose()

    assert [len(item["embedding"]) for item in body["data"]] == [64, 64]  # type: ignore[attr-defined]


async def test_a_rerank_model_scores_documents(anyio_backend: str, tmp_path: Path) -> None:
    path = write_tiny_gguf(tmp_path / "r.gguf", pooling="rank", template=None)
    engine = await start_engine(options(path, mode="rerank"), deadline_s=LIMIT_S)
    try:
        body = await answer(engine, "/v1/rerank", {"query": "a", "documents": ["b", "c"]})
    finally:
        await engine.aclose()

    assert {item["index"] for item in body["results"]} == {0, 1}  # type: ignore[attr-defined]


async def test_an_image_reaches_a_model_with_a_projector(
    anyio_backend: str, tmp_path: Path
) -> None:
    path = write_tiny_gguf(tmp_path / "v.gguf", say="A red square.")
    projector = write_tiny_projector(tmp_path / "mmproj-v.gguf")
    engine = await start_engine(options(path, projector=str(projector)), deadline_s=LIMIT_S)
    try:
        content = [{"type": "image_url", "image_url": {"url": PIXEL}}]
        body = await answer(
            engine, "/v1/chat/completions", {"messages": [{"role": "user", "content": content}]}
        )
    finally:
        await engine.aclose()

    assert body["choices"][0]["message"]["content"] == "A red square."  # type: ignore[index]


PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"
    "AAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)


async def test_tools_and_reasoning_come_out_apart(anyio_backend: str, tmp_path: Path) -> None:
    say = (
        "<think>\nParis, then.\n</think>\n\n"
        '<tool_call>\n{"name": "weather", "arguments": {"city": "Paris"}}\n</tool_call>'
    )
    path = write_tiny_gguf(tmp_path / "t.gguf", say=say, template="tools", n_ctx_train=8192)
    tool = {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
    engine = await start_engine(options(path, context_length=8192), deadline_s=LIMIT_S)
    try:
        body = await answer(engine, "/v1/chat/completions", {**CHAT, "tools": [tool]})
    finally:
        await engine.aclose()

    choice = body["choices"][0]  # type: ignore[index]
    call = choice["message"]["tool_calls"][0]["function"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["reasoning_content"].strip() == "Paris, then."
    assert (call["name"], json.loads(call["arguments"])) == ("weather", {"city": "Paris"})


# --- a load that does not end: a named pipe nobody writes to -------------------------------------


@pytest.fixture
def stuck(tmp_path: Path) -> Path:
    path = tmp_path / "stuck.gguf"
    os.mkfifo(path)
    return path


async def until_it_loads(engine: int) -> None:
    """Wait for the guard: an engine has a child of its own while it loads, and only then."""
    with anyio.fail_after(LIMIT_S):
        while not children(engine):  # noqa: ASYNC110 - nothing tells us of another's child
            await anyio.sleep(0.01)


@linux
async def test_a_load_past_the_deadline_is_killed(anyio_backend: str, stuck: Path) -> None:
    before = children()

    with pytest.raises(EngineTimeoutError, match=r"not ready within 0\.3 s"):
        await start_engine(options(stuck), deadline_s=0.3)

    assert children() == before


@linux
async def test_a_cancelled_start_kills_the_child(anyio_backend: str, stuck: Path) -> None:
    before = children()

    async def start() -> None:
        await start_engine(options(stuck))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(start)
        with anyio.fail_after(LIMIT_S):
            while not children() - before:  # noqa: ASYNC110 - as above
                await anyio.sleep(0.01)
        await until_it_loads(*(children() - before))
        started = anyio.current_time()
        tasks.cancel_scope.cancel()

    assert anyio.current_time() - started < 2
    assert children() == before


@linux
async def test_the_end_of_stdin_ends_a_child_that_is_loading(
    anyio_backend: str, stuck: Path
) -> None:
    with spawn(stuck) as child:
        assert child.stdin is not None
        await until_it_loads(child.pid)
        child.stdin.close()
        assert child.wait(LIMIT_S) == -signal.SIGKILL


async def test_the_end_of_stdin_ends_a_child_that_serves(anyio_backend: str, model: Path) -> None:
    with spawn(model) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        ready = json.loads(child.stdout.readline())
        assert (ready.keys(), ready["pid"]) == ({"url", "pid"}, child.pid)
        child.stdin.close()
        assert (child.wait(LIMIT_S), child.stdout.read()) == (0, b"")


HOST = """
import sys, anyio
from modelbay_embedded.engine import EngineOptions
from modelbay_embedded.process import start_engine

async def main():
    engine = await start_engine(EngineOptions(model=sys.argv[1], threads=1))
    print(engine.pid, flush=True)
    await anyio.sleep_forever()

anyio.run(main)
"""


def start_host(model: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", HOST, str(model)], stdout=subprocess.PIPE)


@linux
async def test_no_child_outlives_a_host_that_was_killed(anyio_backend: str, model: Path) -> None:
    with start_host(model) as host:
        assert host.stdout is not None
        pid = int(host.stdout.readline())
        assert is_running(pid)
        host.kill()

    await until_gone(pid)


# --- engines that are not the real one -----------------------------------------------------------


def with_engine(folder: Path, code: str) -> dict[str, str]:
    """An environment in which ``xllamacpp`` is this code."""
    folder.mkdir()
    (folder / "xllamacpp.py").write_text(code)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path}


FAKE = """
import os
from types import SimpleNamespace
def CommonParams():
    params = SimpleNamespace()
    for name in ("model", "mmproj", "cpuparams", "cpuparams_batch"):
        setattr(params, name, SimpleNamespace())
    return params
class Server:
    listening_address = "http://127.0.0.1:1"
    def __init__(self, params):
        {body}
"""


async def test_a_missing_wheel_has_an_error_of_its_own(
    anyio_backend: str, model: Path, tmp_path: Path
) -> None:
    env = with_engine(tmp_path / "path", "raise ImportError('no wheel for this platform')")

    with pytest.raises(EngineMissingError, match="no wheel for this platform"):
        await start_engine(options(model), deadline_s=LIMIT_S, env=env)


async def test_noise_on_stdout_does_not_disturb_the_ready_line(
    anyio_backend: str, model: Path, tmp_path: Path
) -> None:
    noise = "os.write(1, b'noise ' * 100_000); print('more', flush=True)"
    env = with_engine(tmp_path / "path", FAKE.format(body=noise))

    engine = await start_engine(options(model), deadline_s=LIMIT_S, env=env)
    await engine.aclose()

    assert engine.url == "http://127.0.0.1:1"


async def test_a_talkative_child_does_not_block_and_its_last_words_count(
    anyio_backend: str, model: Path, tmp_path: Path
) -> None:
    talk = "os.write(2, b'blah\\n' * 1_000_000); raise RuntimeError('the cause')"
    env = with_engine(tmp_path / "path", FAKE.format(body=talk))

    with pytest.raises(EngineError) as caught:
        await start_engine(options(model), deadline_s=LIMIT_S, env=env)

    assert caught.value.reason == "the cause"


async def test_the_log_of_a_long_life_does_not_grow_without_end(tmp_path: Path) -> None:
    code = "from modelbay_embedded import engine as e; {}; e._shorten_log(); e.os.write(2, b'end')"
    sizes = {}
    for kilobytes in (1000, 1100):
        with (tmp_path / "log").open("w+b") as log:
            write = f"e.os.write(2, bytes({kilobytes}_000))"
            await anyio.run_process([sys.executable, "-c", code.format(write)], stderr=log)
            sizes[kilobytes] = log.seek(0, os.SEEK_END)

    assert sizes == {1000: 1_000_003, 1100: 3}


async def test_a_child_that_talks_nonsense_is_an_error(
    anyio_backend: str, model: Path, tmp_path: Path
) -> None:
    env = with_engine(tmp_path / "path", FAKE.format(body="self.listening_address = None"))
    (tmp_path / "path/sitecustomize.py").write_text("print('nonsense', flush=True)")

    with pytest.raises(EngineError, match="the engine answered b'nonsense"):
        await start_engine(options(model), deadline_s=LIMIT_S, env=env)


async def test_a_file_of_the_users_is_not_imported_for_the_libraries(
    anyio_backend: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('this is mine')")
    folders = [str(Path.cwd() / f) for f in os.environ.get("PYTHONPATH", "").split(os.pathsep) if f]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    monkeypatch.chdir(tmp_path)

    engine = await start_engine(options(model), deadline_s=LIMIT_S, env=env)

    await engine.aclose()


async def test_an_interpreter_that_is_not_there_is_an_error(
    anyio_backend: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))

    with pytest.raises(EngineError, match="cannot start"):
        await start_engine(options(model), deadline_s=LIMIT_S)
