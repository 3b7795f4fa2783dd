"""Fixtures: a server, providers that are opened and closed, and no pause between two tries."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
import stamina

from modelbay.host.resources import HostResources
from modelbay_deepseek.simulator import DeepSeekSimulator
from plugins.deepseek.bay import Bay, Clock, OpenBay


@pytest.fixture(autouse=True)
def _one_try() -> Iterator[None]:
    """Nothing is asked twice unless a test says so."""
    stamina.set_active(False)
    yield
    stamina.set_active(True)


@pytest.fixture
def retries(_one_try: None) -> Iterator[None]:
    """Retries as users have them, without their pauses."""
    stamina.set_active(True)
    with stamina.set_testing(True, attempts=100, cap=True):
        yield


@pytest.fixture
def server() -> Iterator[DeepSeekSimulator]:
    with DeepSeekSimulator() as simulator:
        yield simulator


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def bay(clock: Clock) -> AsyncIterator[OpenBay]:
    """Opens providers: ``bay(base_url, apiKey=..., retries=...)``."""
    async with AsyncExitStack() as stack:

        def open_bay(base_url: str, **config: object) -> Bay:
            resources = HostResources({}, clock=clock)
            stack.push_async_callback(resources.aclose)
            return Bay(base_url, resources, **config)

        yield open_bay
