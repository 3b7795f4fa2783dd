"""Fixtures: providers that are opened and closed."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from modelbay.host.resources import HostResources
from plugins.openai.bay import Bay, OpenBay


@pytest.fixture
async def bay() -> AsyncIterator[OpenBay]:
    """Opens providers: ``bay(base_url, apiKey=..., server=...)``."""
    async with AsyncExitStack() as stack:

        def open_bay(base_url: str, **config: object) -> Bay:
            resources = HostResources({})
            stack.push_async_callback(resources.aclose)
            return Bay(base_url, resources, **config)

        yield open_bay
