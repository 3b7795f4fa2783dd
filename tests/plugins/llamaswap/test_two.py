"""Two llama-swap at once in one host, with a model of the same name on both."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest

from modelbay.config import parse_providers_file
from modelbay.errors import ModelbayError
from modelbay.host.host import Host
from modelbay.host.loader import Plugin
from modelbay.models.chat import ChatRequest, ChatResult, user
from modelbay.models.manage import Done, Load, ModelDetails, Running, RunningModels, Show, Unload
from modelbay.models.provider import ProviderConfig
from modelbay_llamaswap import plugin
from modelbay_llamaswap.memory import memory
from modelbay_llamaswap.simulator import LlamaSwapSimulator, SimulatedModel
from pretend import config, installed, manager

pytestmark = pytest.mark.anyio

# The two providers of row S0-23; each test puts the ports of its own servers in.
PROVIDERS = """
{
  "defaultProvider": "sam-desktop",
  "providers": [
    {
      "id": "sam-desktop",
      "label": "Sam Desktop",
      "baseUrl": "http://127.0.0.1:8401",
      "sidecarUrl": "http://127.0.0.1:8402",
      "kind": "llama-swap"
    },
    {
      "id": "embedding",
      "label": "Embedding",
      "baseUrl": "http://127.0.0.1:8411",
      "kind": "llama-swap"
    }
  ]
}
"""
SHARED = "org/shared:7b"


@pytest.fixture
def desktop() -> Iterator[LlamaSwapSimulator]:
    models = [
        SimulatedModel(SHARED, answer="from the desktop", n_ctx=512),
        SimulatedModel("coder", answer="code"),
    ]
    with LlamaSwapSimulator(models) as sim:
        yield sim


@pytest.fixture
def sidecar() -> Iterator[LlamaSwapSimulator]:
    with LlamaSwapSimulator([SimulatedModel(SHARED, answer="from the sidecar")]) as sim:
        yield sim


@pytest.fixture
def embedding() -> Iterator[LlamaSwapSimulator]:
    models = [
        SimulatedModel(SHARED, answer="from the other", n_ctx=8192),
        SimulatedModel("embed", role="embedding"),
    ]
    with LlamaSwapSimulator(models) as sim:
        yield sim


def hosting(providers: Sequence[ProviderConfig]) -> Host:
    found = installed(Plugin("llama-swap", "modelbay-llamaswap", "1", "", manager=manager(plugin)))
    return Host.open(providers=providers, env={"MODELBAY_HOME": "/nonexistent"}, installed=found)


@asynccontextmanager
async def opened(*sims: LlamaSwapSimulator) -> AsyncIterator[Host]:
    text = PROVIDERS
    for port, sim in zip((8401, 8402, 8411), sims, strict=True):
        text = text.replace(f":{port}", f":{sim.port}")
    file = parse_providers_file(text, "providers.json")
    async with hosting(file.providers) as host:
        yield host


async def chat(host: Host, model: str, *flags: str) -> ChatResult:
    request = ChatRequest(model=model, messages=[user("hi")], routing=frozenset(flags))
    return await host.chat(request)


async def context(host: Host, provider: str) -> tuple[int | None, int | None]:
    """What the catalogue says of the shared model, after a fresh look."""
    catalog = await host.refresh(force=True)
    entry = catalog.provider(provider)
    assert entry is not None
    (model,) = (model for model in entry.models if model.wire_id == SHARED)
    return model.loaded_context, model.capabilities.context_window


async def manage(host: Host, provider: str, action: Load | Unload | Running | Show) -> object:
    async with host.manage(provider, action) as events:
        return [event async for event in events][-1]


async def test_the_catalogue_is_grouped_and_its_ids_are_composite(
    desktop: LlamaSwapSimulator, sidecar: LlamaSwapSimulator, embedding: LlamaSwapSimulator
) -> None:
    """S0-23, S0-65: nothing is started by looking."""
    async with opened(desktop, sidecar, embedding) as host:
        catalog = await host.refresh(force=True)

        grouped = {p.label: [model.id for model in p.models] for p in catalog.providers}
    assert grouped == {
        "Sam Desktop": ["sam-desktop/coder", f"sam-desktop/{SHARED}"],
        "Embedding": ["embedding/embed", f"embedding/{SHARED}"],
    }
    assert (desktop.starts, sidecar.starts, embedding.starts) == ({}, {}, {})
    assert sidecar.requests == []


async def test_each_of_two_models_of_one_name_is_asked_where_it_lives(
    desktop: LlamaSwapSimulator, sidecar: LlamaSwapSimulator, embedding: LlamaSwapSimulator
) -> None:
    """S0-32, S0-40, S0-41: the provider's prefix ends at the wire.

    Whoever asks several models side by side reaches each of them (S0-10, S0-52, S0-67).
    """
    async with opened(desktop, sidecar, embedding) as host:
        await host.refresh(force=True)
        told = [
            await chat(host, f"sam-desktop/{SHARED}"),
            await chat(host, f"embedding/{SHARED}"),
            await chat(host, f"sam-desktop/{SHARED}", "agent"),
            await chat(host, f"embedding/{SHARED}", "agent"),  # it has no sidecar
            await chat(host, SHARED),  # a bare id is the default provider's
        ]

    assert [(str(result.ref), result.text) for result in told] == [
        (f"sam-desktop/{SHARED}", "from the desktop"),
        (f"embedding/{SHARED}", "from the other"),
        (f"sam-desktop/{SHARED}", "from the sidecar"),
        (f"embedding/{SHARED}", "from the other"),
        (f"sam-desktop/{SHARED}", "from the desktop"),
    ]
    assert [result.endpoint for result in told] == [
        desktop.base_url,
        None,
        sidecar.base_url,
        None,
        desktop.base_url,
    ]
    sent = [r.json() for r in sidecar.requests if r.method == "POST"]
    assert [body["model"] for body in sent if isinstance(body, dict)] == [SHARED]


async def test_load_lookup_and_unload_reach_the_right_one(
    desktop: LlamaSwapSimulator, sidecar: LlamaSwapSimulator, embedding: LlamaSwapSimulator
) -> None:
    """S0-09, S0-44 to S0-46: what is known of one is never believed of the other."""
    async with opened(desktop, sidecar, embedding) as host:
        await host.refresh(force=True)
        await manage(host, "embedding", Load(model=SHARED))
        assert (desktop.starts, embedding.starts) == ({}, {SHARED: 1})
        assert await context(host, "embedding") == (8192, 8192)
        assert await context(host, "sam-desktop") == (None, None)

        await manage(host, "sam-desktop", Load(model=SHARED))
        assert await context(host, "sam-desktop") == (512, 512)
        assert await context(host, "embedding") == (8192, 8192)
        for provider in ("sam-desktop", "embedding"):
            handle = host.registry.handle(provider).require()
            assert [str(ref) for ref in memory(handle.context).measured] == [f"{provider}/{SHARED}"]

        done = await manage(host, "embedding", Unload(model=SHARED))
        assert done == Done(message=f"{SHARED} unloaded")
        assert (desktop.states[SHARED], embedding.states[SHARED]) == ("ready", "stopped")
        assert await context(host, "embedding") == (None, None)
        assert await context(host, "sam-desktop") == (512, 512)
        running = await manage(host, "sam-desktop", Running())

    assert isinstance(running, RunningModels)
    assert [(model.wire_id, model.context) for model in running.models] == [(SHARED, 512)]
    assert sidecar.requests == []


async def test_one_that_is_down_leaves_the_other_alone(
    desktop: LlamaSwapSimulator, sidecar: LlamaSwapSimulator, embedding: LlamaSwapSimulator
) -> None:
    async with opened(desktop, sidecar, embedding) as host:
        await host.refresh(force=True)
        desktop.stop()
        with pytest.raises(ModelbayError):
            await chat(host, f"sam-desktop/{SHARED}")
        answer = await chat(host, f"embedding/{SHARED}")

    assert answer.text == "from the other"


async def test_a_look_at_a_hundred_models_starts_none() -> None:
    models = [SimulatedModel(f"m{n}", aliases=[f"alias-{n}"]) for n in range(100)]
    with LlamaSwapSimulator(models, list_aliases=True) as sim:
        box = config("box", "llama-swap", base_url=sim.base_url)
        async with hosting([box]) as host:
            for _ in range(3):
                catalog = await host.refresh(force=True)
            shown = await manage(host, "box", Show(model="m7"))

        assert len(catalog.models) == 100
        assert isinstance(shown, ModelDetails)
        assert (sim.starts, shown.wire_id) == ({}, "m7")
        assert {r.path for r in sim.requests if "upstream" in r.path or "props" in r.path} == set()
