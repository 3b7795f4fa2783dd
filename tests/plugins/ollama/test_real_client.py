"""The official Python client against the simulated server, so that the latter has a second judge.

It is a dependency of the tests: without it they fail, they are not skipped.
"""

import math
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ollama
import pytest

from modelbay_ollama.simulator import (
    Knobs,
    Layer,
    OllamaSimulator,
    Pullable,
    SimulatedModel,
    ToolCall,
)

pytestmark = pytest.mark.anyio

VERSIONS = ["0.5.0", "0.12.0", "0.30.0", "0.33.0"]
HI = [{"role": "user", "content": "hi"}]
MODELS = [
    SimulatedModel("llama3.1:8b", answer="Blue light scatters.", size_vram_bytes=10**9),
    SimulatedModel(
        "qwen3:8b",
        answer="It is sunny.",
        thinking="The user asks",
        tool_calls=[ToolCall("get_weather", {"city": "Rome"})],
        capabilities=("completion", "tools", "thinking"),
        family="qwen3",
        path="native",
    ),
    SimulatedModel("embeddinggemma", capabilities=("embedding",), family="gemma3", embed_len=8),
]
CODESTRAL = Pullable(SimulatedModel("codestral:22b"), [Layer(100, steps=4), Layer(7, steps=1)])


def get_weather(city: str) -> str:
    """Weather of a city.

    Args:
        city: Which one.
    """
    return f"sunny in {city}"


@pytest.fixture(params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[OllamaSimulator]:
    """Every version the simulator knows to be."""
    with OllamaSimulator(MODELS, request.param, registry=[CODESTRAL]) as sim:
        yield sim


@pytest.fixture
def latest() -> Iterator[OllamaSimulator]:
    with OllamaSimulator(MODELS, registry=[CODESTRAL]) as sim:
        yield sim


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OLLAMA_HOST", "OLLAMA_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def sync_client(sim: OllamaSimulator) -> ollama.Client:
    return ollama.Client(sim.base_url, timeout=10, trust_env=False)


@pytest.fixture
def client(server: OllamaSimulator) -> Iterator[ollama.Client]:
    with sync_client(server) as opened:
        yield opened


@pytest.fixture
async def async_client(server: OllamaSimulator) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(server.base_url, timeout=10, trust_env=False) as opened:
        yield opened


def content(parts: list[Any]) -> str:
    return "".join(part.message.content or "" for part in parts)


# --- lists ----------------------------------------------------------------------------------------


def test_list(client: ollama.Client) -> None:
    models = client.list().models

    assert [model.model for model in models] == ["llama3.1:8b", "qwen3:8b", "embeddinggemma:latest"]
    first = models[0]
    assert first.modified_at is not None
    assert abs((datetime.now(UTC) - first.modified_at).total_seconds()) < 60
    assert first.details is not None
    assert (first.size, first.details.family, first.details.quantization_level) == (
        4_920_753_328,
        "llama",
        "Q4_K_M",
    )
    assert first.digest is not None
    assert len(first.digest) == 64


def test_show(server: OllamaSimulator, client: ollama.Client) -> None:
    show = client.show("qwen3:8b")

    assert show.modelinfo is not None
    assert show.modelinfo["qwen3.context_length"] == 131_072
    known = None if server.version == "0.5.0" else ["completion", "tools", "thinking"]
    assert show.capabilities == known


def test_ps(server: OllamaSimulator, client: ollama.Client) -> None:
    assert list(client.ps().models) == []
    client.chat("llama3.1:8b", HI, keep_alive="1h")

    [running] = client.ps().models
    assert (running.name, running.size_vram) == ("llama3.1:8b", 10**9)
    assert running.expires_at is not None
    assert 3500 < (running.expires_at - datetime.now(UTC)).total_seconds() < 3610
    assert running.context_length == (None if server.version == "0.5.0" else 4096)


def test_a_model_kept_for_ever_expires_far_ahead(client: ollama.Client) -> None:
    client.chat("llama3.1:8b", HI, keep_alive=-1)

    [running] = client.ps().models
    assert running.expires_at is not None
    assert running.expires_at.year > 2300


# --- chat -----------------------------------------------------------------------------------------


def test_chat(client: ollama.Client) -> None:
    answer = client.chat("llama3.1:8b", HI)

    assert (answer.message.content, answer.done, answer.done_reason) == (
        "Blue light scatters.",
        True,
        "stop",
    )
    assert (answer.eval_count, answer.eval_duration) == (3, 900_000_000)
    assert answer.prompt_eval_count


def test_chat_streamed(client: ollama.Client) -> None:
    parts = list(client.chat("llama3.1:8b", HI, stream=True))

    assert content(parts) == "Blue light scatters."
    assert [part.done for part in parts] == [False, False, False, True]


@pytest.mark.parametrize("stream", [False, True])
def test_chat_with_tools_and_their_results(
    server: OllamaSimulator, client: ollama.Client, stream: bool
) -> None:
    messages: list[Any] = list(HI)
    if stream:
        parts = list(client.chat("qwen3:8b", messages, tools=[get_weather], stream=True))
    else:
        parts = [client.chat("qwen3:8b", messages, tools=[get_weather])]
    calls = [call for part in parts for call in part.message.tool_calls or ()]

    assert [(call.function.name, dict(call.function.arguments)) for call in calls] == [
        ("get_weather", {"city": "Rome"})
    ]
    assert parts[-1].done_reason == "stop"
    messages.append(next(part.message for part in parts if part.message.tool_calls))
    result = get_weather(**calls[0].function.arguments)
    messages.append({"role": "tool", "content": result, "tool_name": "get_weather"})
    after = client.chat("qwen3:8b", messages, tools=[get_weather])

    assert (after.message.content or "").endswith("It is sunny.")
    assert server.answers[0].seen_tools[0]["function"] == {
        "name": "get_weather",
        "description": "Weather of a city.",
        "parameters": {
            "type": "object",
            "required": ["city"],
            "properties": {"city": {"type": "string", "description": "Which one."}},
        },
    }


def test_chat_thinking(server: OllamaSimulator, client: ollama.Client) -> None:
    parts = list(client.chat("qwen3:8b", HI, think=True, stream=True))
    thought = "".join(part.message.thinking or "" for part in parts)

    if server.version == "0.5.0":
        assert (thought, content(parts)) == ("", "<think>\nThe user asks\n</think>\n\nIt is sunny.")
    else:
        assert (thought, content(parts)) == ("The user asks", "It is sunny.")


def test_chat_with_a_schema_and_options(server: OllamaSimulator, client: ollama.Client) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    options = ollama.Options(num_ctx=8192, temperature=0, stop=["x"])
    answer = client.chat("llama3.1:8b", HI, format=schema, options=options)

    assert answer.message.content == '{"n": 0}'
    assert server.running == {"llama3.1:8b": 8192}


def test_chat_with_images(server: OllamaSimulator, client: ollama.Client) -> None:
    message = ollama.Message(role="user", content="hi", images=[ollama.Image(value=b"\x89PNG")])
    server.add_model(SimulatedModel("llava", capabilities=("completion", "vision")))
    client.chat("llava", [message])

    assert server.answers[0].prompt_tokens > 768


def test_chat_with_logprobs(latest: OllamaSimulator) -> None:
    with sync_client(latest) as client:
        answer = client.chat("llama3.1:8b", HI, logprobs=True, top_logprobs=2)

    assert answer.logprobs is not None
    assert [one.token for one in answer.logprobs] == ["Blue", " light", " scatters."]
    assert len(answer.logprobs[0].top_logprobs or ()) == 2


def test_load_and_unload(server: OllamaSimulator, client: ollama.Client) -> None:
    reasons = [client.chat("llama3.1:8b", keep_alive=keep).done_reason for keep in ("5m", 0)]
    server.wait_until(lambda: server.unloads == {"llama3.1:8b": 1})

    assert reasons == ["load", "unload"]
    assert list(client.ps().models) == []


def test_leaving_a_stream_stops_the_answer(latest: OllamaSimulator) -> None:
    latest.add_model(SimulatedModel("talker", endless=True, hold_after=1))
    with sync_client(latest) as client:
        stream = client.chat("talker", HI, stream=True)
        assert next(stream).message.content
        stream.close()
        latest.wait_until(lambda: latest.cancelled_answers == {"talker:latest": 1})


# --- generate, embed ------------------------------------------------------------------------------


def test_generate(client: ollama.Client) -> None:
    answer = client.generate("llama3.1:8b", "why?")
    parts = list(client.generate("llama3.1:8b", "why?", stream=True))

    assert (
        answer.response == "".join(part.response or "" for part in parts) == "Blue light scatters."
    )
    assert answer.context
    assert parts[-1].done_reason == "stop"


def test_embed(client: ollama.Client) -> None:
    answer = client.embed("embeddinggemma", ["a cat", "a dog"])
    old = client.embeddings("embeddinggemma", "a cat")

    assert [math.hypot(*vector) for vector in answer.embeddings] == pytest.approx([1, 1])
    assert answer.prompt_eval_count
    assert len(old.embedding) == 8


# --- pull, create, copy, delete -------------------------------------------------------------------


def test_pull_with_progress(server: OllamaSimulator, client: ollama.Client) -> None:
    parts = list(client.pull("codestral:22b", stream=True))

    assert parts[0].status == "pulling manifest"
    assert [part.completed for part in parts if part.total == 100] == [None, 25, 50, 75, 100]
    assert [part.status for part in parts[-3:]] == [
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    assert client.list().models[0].model == "codestral:22b"
    assert client.pull("codestral:22b").status == "success"
    assert server.pulls_done == {"codestral:22b": 2}


def test_leaving_a_pull_stops_it() -> None:
    knobs = Knobs(pull_tick_s=math.inf)
    with OllamaSimulator([], registry=[CODESTRAL], knobs=knobs) as sim, sync_client(sim) as client:
        stream = client.pull("codestral:22b", stream=True)
        assert next(stream).status == "pulling manifest"
        sim.wait_until(lambda: sim.holding == 1)
        stream.close()
        sim.wait_until(lambda: sim.pulls_cancelled == {"codestral:22b": 1})


def test_create_copy_delete(server: OllamaSimulator, client: ollama.Client) -> None:
    made = client.create(
        "mario", from_="llama3.1:8b", system="Be Mario.", parameters={"num_ctx": 4096}
    )
    copied = client.copy("mario", "luigi")
    deleted = client.delete("mario")

    assert [made.status, copied.status, deleted.status] == ["success"] * 3
    assert set(server.installed) == {
        "luigi:latest",
        "llama3.1:8b",
        "qwen3:8b",
        "embeddinggemma:latest",
    }
    assert client.show("luigi").parameters == "num_ctx                        4096"


def test_create_from_a_file(client: ollama.Client, tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"GGUF and nothing else")
    digest = client.create_blob(path)
    parts = list(client.create("tiny", files={"tiny.gguf": digest}, stream=True))

    assert parts[-1].status == "success"
    assert client.list().models[0].model == "tiny:latest"


def test_push(client: ollama.Client) -> None:
    assert [part.status for part in client.push("llama3.1:8b", stream=True)][-1] == "success"


# --- errors ---------------------------------------------------------------------------------------


def failure(call: Any) -> tuple[str, int]:
    with pytest.raises(ollama.ResponseError) as raised:
        call()
    return raised.value.error, raised.value.status_code


def test_errors_have_a_text_and_a_status(client: ollama.Client) -> None:
    assert failure(lambda: client.chat("gone", HI)) == ("model 'gone' not found", 404)
    assert failure(lambda: list(client.chat("gone", HI, stream=True))) == (
        "model 'gone' not found",
        404,
    )
    assert failure(lambda: client.show("gone")) == ("model 'gone:latest' not found", 404)
    assert failure(lambda: client.delete("gone")) == ("model 'gone' not found", 404)
    assert failure(lambda: client.copy("gone", "x")) == ('model "gone" not found', 404)
    assert failure(lambda: client.embed("gone", "x")) == (
        'model "gone" not found, try pulling it first',
        404,
    )
    assert failure(lambda: client.chat("embeddinggemma", HI)) == (
        '"embeddinggemma" does not support chat',
        400,
    )
    assert failure(lambda: client.chat("llama3.1:8b", HI, tools=[get_weather])) == (
        "registry.ollama.ai/library/llama3.1:8b does not support tools",
        400,
    )
    assert failure(lambda: client.chat("llama3.1:8b", HI, keep_alive="-1")) == (
        'time: missing unit in duration "-1"',
        400,
    )
    assert failure(lambda: client.chat("llama3.1:8b", HI, options={"num_ctx": "8192"})) == (
        'option "num_ctx" must be of type integer',
        500,
    )


def test_errors_inside_a_stream_have_no_status(
    server: OllamaSimulator, client: ollama.Client
) -> None:
    server.next_answer("late_error")
    missing = "pull model manifest: file does not exist"

    assert failure(lambda: list(client.chat("llama3.1:8b", HI, stream=True))) == ("boom", -1)
    assert failure(lambda: list(client.pull("gone", stream=True))) == (missing, -1)
    assert failure(lambda: client.pull("gone")) == (missing, 500)


# --- the asynchronous twin ------------------------------------------------------------------------


async def test_async_lists(server: OllamaSimulator, async_client: ollama.AsyncClient) -> None:
    models = (await async_client.list()).models
    show = await async_client.show("LLAMA3.1:8B")
    await async_client.chat("llama3.1:8b", HI)
    running = (await async_client.ps()).models

    assert [model.model for model in models] == server.installed
    assert show.modelinfo is not None
    assert [model.name for model in running] == ["llama3.1:8b"]


async def test_async_chat(async_client: ollama.AsyncClient) -> None:
    whole = await async_client.chat("llama3.1:8b", HI)
    parts = [part async for part in await async_client.chat("llama3.1:8b", HI, stream=True)]

    assert whole.message.content == content(parts) == "Blue light scatters."


async def test_async_chat_with_tools_and_thinking(async_client: ollama.AsyncClient) -> None:
    stream = await async_client.chat("qwen3:8b", HI, tools=[get_weather], think=True, stream=True)
    parts = [part async for part in stream]
    calls = [call.function.name for part in parts for call in part.message.tool_calls or ()]

    assert calls == ["get_weather"]


async def test_async_generate_and_embed(async_client: ollama.AsyncClient) -> None:
    stream = await async_client.generate("llama3.1:8b", "why?", stream=True)
    said = "".join([part.response or "" async for part in stream])
    vectors = (await async_client.embed("embeddinggemma", "a cat")).embeddings

    assert (said, len(vectors[0])) == ("Blue light scatters.", 8)


async def test_async_management(server: OllamaSimulator, async_client: ollama.AsyncClient) -> None:
    stream = await async_client.pull("codestral:22b", stream=True)
    statuses = [part.status async for part in stream]
    await async_client.create("mine", from_="codestral:22b", system="Be brief.")
    await async_client.copy("mine", "yours")
    await async_client.delete("mine")

    assert statuses[-1] == "success"
    assert set(server.installed) >= {"yours:latest", "codestral:22b"}
    assert "mine:latest" not in server.installed


async def test_async_errors(async_client: ollama.AsyncClient) -> None:
    with pytest.raises(ollama.ResponseError, match="model 'gone' not found") as raised:
        await async_client.chat("gone", HI)

    assert raised.value.status_code == 404
