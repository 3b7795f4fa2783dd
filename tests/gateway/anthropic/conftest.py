"""Fixtures: the official client of a gateway."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeAlias

import anthropic
import pytest

from gateway import serving
from gateway.serving import Served
from modelbay_gateway.anthropic.surface import SURFACE
from modelbay_gateway.app import SURFACES, Gateway

Client: TypeAlias = Callable[..., anthropic.Anthropic]


@pytest.fixture(autouse=True)
def _surfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gateways of these tests have this surface, and look at its routes first."""
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    others = [each for each in SURFACES if each.name != SURFACE.name]
    monkeypatch.setattr(serving, "Gateway", partial(Gateway, surfaces=(SURFACE, *others)))


@pytest.fixture
def client() -> Iterator[Client]:
    """The official client, unmodified: ``client(served, max_retries=2)``."""
    with ExitStack() as stack:

        def client(served: Served, **options: Any) -> anthropic.Anthropic:
            return stack.enter_context(
                anthropic.Anthropic(
                    base_url=served.base_url,
                    api_key=options.pop("api_key", "dummy"),
                    max_retries=options.pop("max_retries", 0),
                    http_client=anthropic.DefaultHttpxClient(trust_env=False),
                    **options,
                )
            )

        yield client
