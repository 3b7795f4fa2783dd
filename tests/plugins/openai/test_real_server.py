"""One entry in ``providers.json`` in front of a real llama.cpp server; no Python of the user's."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelbay.host.host import Host
from modelbay.models.chat import ChatRequest, JsonSchema, user
from modelbay.models.manage import Health, HealthReport
from modelbay.models.media import CompleteRequest, EmbedRequest
from plugins.openai.bay import only_ours
from tiny_gguf import write_tiny_gguf

pytestmark = [pytest.mark.real, pytest.mark.anyio]

Start = Callable[..., str]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts servers: ``start("tiny", {"say": "Hi."}, embedding=True)`` -> address.

    Not installed is a failure, not a skip: a green run must mean that the real thing was asked.
    """
    import xllamacpp

    folder: Path = tmp_path_factory.mktemp("gguf")
    running: list[object] = []

    def started(name: str, made: dict[str, Any], **options: object) -> str:
        path = write_tiny_gguf(folder / f"{name}.gguf", **made)
        params = xllamacpp.CommonParams()
        params.model.path, params.model_alias = str(path), {name}
        params.hostnames, params.port = ["127.0.0.1"], 0
        params.n_ctx, params.n_parallel = 4096, 1
        # Two threads on two busy cores spin: a token then takes 0.1 s instead of 1 ms.
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
        params.warmup, params.verbosity = False, 0
        for key, value in options.items():
            setattr(params, key, value)
        server = xllamacpp.Server(params)
        running.append(server)
        return str(server.listening_address)

    yield started
    running.clear()


@pytest.fixture(scope="module")
def talker(start: Start) -> str:
    return start("tiny", {"say": "Hello there."})


@pytest.fixture(scope="module")
def vectors(start: Start) -> str:
    return start("vectors", {"pooling": "mean", "template": None}, embedding=True)


@pytest.fixture
async def host(talker: str, vectors: str, tmp_path: Path) -> AsyncIterator[Host]:
    """A host that has read a file and has nothing but this plugin."""
    file = tmp_path / "providers.json"
    file.write_text(
        json.dumps(
            {
                "defaultProvider": "box",
                "providers": [
                    {"id": "box", "kind": "openai", "baseUrl": f"{talker}/v1", "label": "Box"},
                    {
                        "id": "vec",
                        "kind": "openai",
                        "baseUrl": vectors,
                        "apiKeyEnv": "VEC_KEY",
                        "models": {"vec*": {"embeddings": True}},
                    },
                ],
            }
        )
    )
    env = {"LLAMA_PROVIDERS_PATH": str(file), "MODELBAY_HOME": str(tmp_path), "VEC_KEY": "sk-v"}
    async with Host.open(env=env, installed=only_ours()) as opened:
        yield opened


async def test_models_are_found_with_their_context(host: Host) -> None:
    catalog = await host.refresh()

    assert {model.id for model in catalog.models} == {"box/tiny", "vec/vectors"}
    tiny = await host.resolve("box/tiny")
    window = tiny.capabilities.provenance["context_window"]
    assert (tiny.capabilities.context_window, window.layer) == (2048, "live")
    assert tiny.origin == "local"


@pytest.mark.parametrize("stream", [True, False])
async def test_it_chats(host: Host, stream: bool) -> None:
    answer = await host.chat(ChatRequest(model="box/tiny", messages=[user("hi")], stream=stream))

    assert answer.text == "Hello there."
    assert answer.usage is not None
    assert answer.usage.output_tokens > 0


async def test_it_holds_to_a_schema(host: Host) -> None:
    request = ChatRequest(
        model="box/tiny",
        messages=[user("hi")],
        response_format=JsonSchema(schema={"type": "string", "enum": ["yes"]}),
    )

    assert (await host.chat(request)).text == '"yes"'


async def test_it_continues_a_prompt(host: Host) -> None:
    request = CompleteRequest(model="box/tiny", prompt="Hel", max_tokens=2)
    async with host.complete(request) as events:
        sorts = [event.type async for event in events]

    assert sorts[-1] == "finish"
    assert "text" in sorts


async def test_it_makes_vectors(host: Host) -> None:
    result = await host.embed(EmbedRequest(model="vec/vectors", input=["a cat", "a dog"]))

    assert len(result.vectors) == 2
    assert len(result.vectors[0]) == len(result.vectors[1]) == 64


async def test_doctor_can_say_what_it_is(host: Host) -> None:
    async with host.manage("box", Health()) as events:
        (report,) = [event async for event in events]

    assert isinstance(report, HealthReport)
    assert (report.healthy, report.server) == (True, "llama.cpp")
