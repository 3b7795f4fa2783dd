"""Patience with a server that is loading: the same request again, with growing pauses."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from modelbay.context import ProviderContext
from modelbay.errors import BackendBusyError
from modelbay.models.events import StatusState
from modelbay_llamacpp import config
from modelbay_llamacpp.failures import LIMIT_REACHED

T = TypeVar("T")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0


class Pauses:
    """0.1 s, growing to 1 s: short for a model that takes a moment, cheap for a slow one."""

    def __init__(self) -> None:
        self._next_s = FIRST_PAUSE_S

    def next_s(self) -> float:
        pause_s = self._next_s
        self._next_s = min(LONGEST_PAUSE_S, pause_s * 1.5)
        return pause_s


class Waiting:
    """How long one request that came too early may be repeated.

    The limit is `busy_wait_s`, or a shorter one the provider has for whole requests or first bytes.
    """

    def __init__(self, provider: ProviderContext) -> None:
        limits = (
            config.options(provider).busy_wait_s,
            provider.config.request_timeout_s,
            provider.config.first_byte_timeout_s,
        )
        self._clock = provider.resources.monotonic
        self._limit_s = min(limit for limit in limits if limit is not None)
        self._until = self._clock() + self._limit_s
        self._pauses = Pauses()

    async def pause(self, exc: BackendBusyError) -> None:
        """Sleep a little before the next try.

        Raises:
            BackendBusyError: The one given: its time is up.
        """
        left_s = self._until - self._clock()
        if left_s <= 0:
            exc.hint = exc.hint or (
                f"it was tried for {self._limit_s:g} s; raise busyWaitS, or ask for it again later"
            )
            raise exc
        await anyio.sleep(min(exc.retry_after_s or self._pauses.next_s(), left_s))


def waiting_for(exc: BackendBusyError) -> StatusState:
    """What the server is doing meanwhile, in the words of a chat's `Status`."""
    return "queued" if LIMIT_REACHED in exc.message else "loading"


async def patiently(provider: ProviderContext, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again as long as the server is loading.

    Raises:
        BackendBusyError: It still was when the time was up.
    """
    waiting = Waiting(provider)
    while True:
        try:
            return await ask()
        except BackendBusyError as exc:
            busy = exc
        await waiting.pause(busy)
