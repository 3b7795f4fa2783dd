"""Fixtures: servers, the gateway before them, and clients in environments of their own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.clients import environments
from gateway.clients.upstreams import Upstreams, upstreams


@pytest.fixture(scope="module")
def up() -> Iterator[Upstreams]:
    """Everything on ephemeral ports, anew for each client."""
    with upstreams() as up:
        yield up


@pytest.fixture(scope="session")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with LangChain and `llm`; 20 to 45 seconds."""
    return environments.virtual_environment(
        tmp_path_factory.mktemp("newest") / "venv",
        "langchain_and_llm.txt",
        "langchain-openai",
        "llm",
    )


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with LiteLLM; 40 to 90 seconds.

    LiteLLM 1.106 imports `mcp` as soon as a chat has tools, and names it as an extra only.
    """
    return environments.virtual_environment(
        tmp_path_factory.mktemp("older") / "venv", "litellm.txt", "litellm[mcp]"
    )


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs for Node and what they import; 10 seconds."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: the clients that run in Node are NOT tested")
    return environments.node_folder(tmp_path_factory.mktemp("node"))
