"""The wrapper ``concurrency``: no provider answers more than so many requests at once.

The others wait in the order in which they came. Settings: ``concurrency:4`` for every provider,
``concurrency:4,desk=1`` with another number for one, ``concurrency:desk=1`` for that one alone.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Generator, Mapping
from typing import TypeVar

from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.hookspecs import hookimpl
from modelbay.host.wrappers.switching import numbers
from modelbay.models.events import Status, StreamEvent

T = TypeVar("T")

_MEMO = "modelbay.wrappers.concurrency"


def configure(settings: str) -> "Concurrency":
    """Read the settings.

    Raises:
        ValueError: They name no number.
    """
    every, named = numbers(settings)
    if every is None and not named:
        raise ValueError('it needs a number, as in "concurrency:4" or "concurrency:4,desk=1"')
    return Concurrency(every, named)


class Concurrency:
    """Chats, completions, embeddings, images and rerankings share a provider's places.

    A place is given back when an answer has ended, failed, or been closed by whoever read it, and
    once the plugin's own stream is closed. Discovery and management need none.
    """

    def __init__(self, every: int | None, named: Mapping[str, int]) -> None:
        self._every = every
        self._named = dict(named)

    @hookimpl(wrapper=True)
    def stream_chat(
        self, provider: ProviderContext
    ) -> Generator[None, AsyncIterator[StreamEvent], AsyncIterator[StreamEvent]]:
        return self._held(provider, (yield))

    @hookimpl(wrapper=True)
    def complete(
        self, provider: ProviderContext
    ) -> Generator[None, AsyncIterator[StreamEvent], AsyncIterator[StreamEvent]]:
        return self._held(provider, (yield))

    @hookimpl(wrapper=True)
    def embed(self, provider: ProviderContext) -> Generator[None, Awaitable[T], Awaitable[T]]:
        return self._waited(provider, (yield))

    @hookimpl(wrapper=True)
    def generate_image(
        self, provider: ProviderContext
    ) -> Generator[None, Awaitable[T], Awaitable[T]]:
        return self._waited(provider, (yield))

    @hookimpl(wrapper=True)
    def rerank(self, provider: ProviderContext) -> Generator[None, Awaitable[T], Awaitable[T]]:
        return self._waited(provider, (yield))

    def _held(
        self, provider: ProviderContext, stream: AsyncIterator[StreamEvent]
    ) -> AsyncIterator[StreamEvent]:
        places = self._places(provider)
        if places is None or not hasattr(stream, "__aiter__"):
            return stream  # the host tells the plugin what it should have given
        return _streamed(places, stream)

    def _waited(self, provider: ProviderContext, answer: Awaitable[T]) -> Awaitable[T]:
        places = self._places(provider)
        if places is None or not inspect.isawaitable(answer):
            return answer
        return _awaited(places, answer)

    def _places(self, provider: ProviderContext) -> asyncio.Semaphore | None:
        """This provider's, for as long as its host lives."""
        places = provider.memo.get(_MEMO)
        if not isinstance(places, asyncio.Semaphore):
            number = self._named.get(provider.id, self._every)
            if number is None:
                return None
            places = provider.memo[_MEMO] = asyncio.Semaphore(number)
        return places


async def _streamed(
    places: asyncio.Semaphore, stream: AsyncIterator[StreamEvent]
) -> AsyncIterator[StreamEvent]:
    async with closing(stream):  # also when whoever waits goes away
        if places.locked():
            yield Status("queued", message="waiting for a free place at this provider")
        async with places, closing(stream) as events:  # the place goes back last
            async for event in events:
                yield event


async def _awaited(places: asyncio.Semaphore, answer: Awaitable[T]) -> T:
    begun = False
    try:
        async with places:
            begun = True
            return await answer
    finally:
        close = getattr(answer, "close", None)
        if not begun and close is not None:
            close()  # a coroutine that nobody will await
