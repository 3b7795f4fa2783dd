"""Fixtures: gateways that are started and stopped."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeAlias

import httpx2 as httpx
import pytest

from gateway.serving import Served, serve
from modelbay.host.host import Host

Start: TypeAlias = Callable[..., Served]
Raw: TypeAlias = Callable[[Served], httpx.Client]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts gateways: ``start(desk(acme()), limits=...)``."""
    with ExitStack() as stack:

        def start(host: Host, **options: Any) -> Served:
            return stack.enter_context(serve(host, **options))

        yield start


@pytest.fixture
def raw() -> Iterator[Raw]:
    """Plain HTTP clients of a gateway."""
    with ExitStack() as stack:
        yield lambda served: stack.enter_context(httpx.Client(base_url=served.base_url, timeout=30))
