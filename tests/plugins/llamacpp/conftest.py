"""Fixtures: providers that are opened and closed, and real llama.cpp servers."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from modelbay.host.resources import HostResources
from plugins.llamacpp.bay import Bay, OpenBay, StartLlama
from tiny_gguf import write_tiny_gguf


@pytest.fixture
async def bay() -> AsyncIterator[OpenBay]:
    """Opens providers: ``bay(base_url, apiKey=..., loadDeadlineS=...)``."""
    async with AsyncExitStack() as stack:

        def open_bay(base_url: str, **config: object) -> Bay:
            resources = HostResources({})
            stack.push_async_callback(resources.aclose)
            return Bay(base_url, resources, **config)

        yield open_bay


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartLlama]:
    """Starts real llama.cpp servers: ``llama("tiny", {"say": "Hi."}, n_ctx=4096)`` -> address.

    Not installed is a failure, not a skip: a green run must mean that the real thing was asked.
    """
    import xllamacpp

    folder: Path = tmp_path_factory.mktemp("gguf")
    running: list[object] = []

    def start(name: str, made: dict[str, Any] | None = None, **options: object) -> str:
        path = folder / f"{name}.gguf"
        if not path.exists():
            write_tiny_gguf(path, **(made or {}))
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

    yield start
    running.clear()
