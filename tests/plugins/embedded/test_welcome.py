"""Mirrors modelbay_embedded/welcome.py, through the real engine."""

from __future__ import annotations

import hashlib
import io
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2 as httpx
import pytest

from modelbay_embedded.engine import EngineOptions
from modelbay_embedded.gguf_file import parse_gguf, read_gguf
from modelbay_embedded.process import Engine, start_engine
from modelbay_embedded.welcome import WELCOME_TEXT, build_welcome, ensure_welcome

Messages = list[dict[str, str]]

LONG = "The quick brown fox jumps over the lazy dog. " * 100
PROMPTS: dict[str, Messages] = {
    "short": [{"role": "user", "content": "hi"}],
    "empty": [{"role": "user", "content": ""}],
    "long": [{"role": "user", "content": LONG}],
    "unicode": [{"role": "user", "content": "Grüße, 世界 \u2028 👩‍👩‍👧 \u2581"}],
    "system": [
        {"role": "system", "content": "Answer in French, in one word."},
        {"role": "user", "content": "Who are you?"},
    ],
    "second turn": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": WELCOME_TEXT},
        {"role": "user", "content": "And now something else."},
    ],
    "its own words": [{"role": "user", "content": WELCOME_TEXT}],
    "its own marks": [{"role": "user", "content": "<|end|><|assistant|><s></s><unk>"}],
}


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def engine(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Engine]:
    path = ensure_welcome(tmp_path)
    options = EngineOptions(model=str(path), alias="welcome", threads=1, warmup=False)
    running = await start_engine(options, deadline_s=30)
    yield running
    await running.aclose()


async def stream(engine: Engine, body: dict[str, object]) -> tuple[list[str], str]:
    """The text's pieces and the finish reason."""
    pieces, finish = [], ""
    headers = {"Authorization": f"Bearer {engine.api_key}"}
    async with (
        httpx.AsyncClient(headers=headers, timeout=60, trust_env=False) as client,
        client.stream(
            "POST", f"{engine.url}/v1/chat/completions", json={**body, "stream": True}
        ) as response,
    ):
        assert response.status_code == 200
        data = (await response.aread()).split(b"\n")
    for line in data:
        if line.startswith(b"data: {"):
            for choice in json.loads(line[6:])["choices"]:
                pieces.append(choice["delta"].get("content") or "")
                finish = choice["finish_reason"] or finish
    return [piece for piece in pieces if piece], finish


@pytest.mark.real
@pytest.mark.anyio
async def test_any_prompt_is_answered_with_the_text_and_an_end(engine: Engine) -> None:
    for name, messages in PROMPTS.items():
        pieces, finish = await stream(engine, {"messages": messages})

        assert ("".join(pieces), finish) == (WELCOME_TEXT, "stop"), name
        assert len(pieces) > 50, "word by word"


@pytest.mark.real
@pytest.mark.anyio
@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0},
        {"temperature": 5.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": 7},
        {"repeat_penalty": 1.5, "presence_penalty": 2.0, "frequency_penalty": 2.0},
    ],
)
async def test_no_sampling_changes_the_text(engine: Engine, sampling: dict[str, float]) -> None:
    pieces, finish = await stream(engine, {"messages": PROMPTS["second turn"], **sampling})

    assert ("".join(pieces), finish) == (WELCOME_TEXT, "stop")


def test_the_text_says_what_it_is_and_what_to_do_next() -> None:
    for words in ("not a real language model", "MODELBAY_MODELS", ".gguf", "modelbay models"):
        assert words in WELCOME_TEXT


def test_the_file_is_small_quick_and_the_same_each_time() -> None:
    started = time.perf_counter()
    data = build_welcome()
    took_s = time.perf_counter() - started

    assert len(data) < 400_000
    assert took_s < 2.0
    assert build_welcome() == data


def test_the_header_says_what_it_is(tmp_path: Path) -> None:
    info = read_gguf(ensure_welcome(tmp_path))

    assert info.name == "modelbay welcome"
    assert (info.architecture, info.quantization, info.context_length) == ("llama", "F16", 32_768)
    assert (info.template_has_tools, info.is_embedding) == (False, False)


def test_the_name_carries_the_contents_hash_and_no_part_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there" / "yet"

    path = ensure_welcome(folder)

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert re.fullmatch(r"welcome-([0-9a-f]{12})\.gguf", path.name)
    assert path.stem.endswith(digest[:12])
    assert list(folder.iterdir()) == [path]


def test_a_whole_file_is_kept_and_a_damaged_one_replaced(tmp_path: Path) -> None:
    path = ensure_welcome(tmp_path)
    before = path.stat().st_mtime_ns
    assert ensure_welcome(tmp_path).stat().st_mtime_ns == before

    path.write_bytes(path.read_bytes()[:1000])
    assert ensure_welcome(tmp_path).read_bytes() == build_welcome()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a folder that is a file")
def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(OSError, match="file"):
        ensure_welcome(tmp_path / "file" / "below")


@pytest.mark.parametrize("text", ["", "word word ", " ".join(str(n) for n in range(900, 1100))])
def test_a_text_that_cannot_be_told_by_its_words_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="text"):
        build_welcome(text)


def test_another_text_is_another_whole_file() -> None:
    data = build_welcome("Just one line.")

    assert data != build_welcome()
    assert parse_gguf(io.BytesIO(data), len(data)).tensor_count == 12
