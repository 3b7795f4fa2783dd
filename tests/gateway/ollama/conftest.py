"""Fixtures: the official client of a gateway."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import TypeAlias

import ollama
import pytest

from gateway import serving
from gateway.serving import Served
from modelbay_gateway.app import SURFACES, Gateway
from modelbay_gateway.ollama.surface import SURFACE

Client: TypeAlias = Callable[[Served], ollama.Client]


@pytest.fixture(autouse=True)
def _surfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways of these tests have this surface."""
    for name in ("OLLAMA_HOST", "OLLAMA_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    others = [each for each in SURFACES if each.name != SURFACE.name]
    monkeypatch.setattr(serving, "Gateway", partial(Gateway, surfaces=(SURFACE, *others)))


@pytest.fixture
def client() -> Iterator[Client]:
    """The official client, unmodified."""
    with ExitStack() as stack:
        yield lambda served: stack.enter_context(
            ollama.Client(served.base_url, timeout=30, trust_env=False)
        )
