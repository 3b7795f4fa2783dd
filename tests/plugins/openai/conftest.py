"""Fixtures: providers that are opened and closed."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from modelbay.host.resources import HostResources
from plugins.openai.bay import Bay, OpenBay


@pytest.fixture
async def bay() -> AsyncIterator[OpenBay]:
    """Opens providers: ``bay(base_url, apiKey=..., clock=...)``."""
    async with AsyncExitStack() as stack:

        def open_bay(
            base_url: str, *, clock: Callable[[], float] = time.monotonic, **config: object
        ) -> Bay:
            resources = HostResources({}, clock=clock)
            stack.push_async_callback(resources.aclose)
            return Bay(base_url, resources, **config)

        yield open_bay
