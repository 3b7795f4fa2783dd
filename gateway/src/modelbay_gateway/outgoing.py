"""What an answer is written to without waiting, and when it has to wait after all."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from starlette.types import Message, Send

from modelbay_gateway.call import Gone

WRITER = "modelbay.writer"  # where our own server puts it in the scope


class Writer(Protocol):
    """Takes ASGI's messages of one answer, in their order."""

    @property
    def is_free(self) -> bool:
        """The client keeps up: what is written goes out."""
        ...

    def write(self, message: Message) -> None:
        """Send this; call it while it is free, or the message waits in memory."""
        ...

    def when_free(self, call: Callable[[], None]) -> None:
        """Call this once, when it is free again or nobody is left to write to."""
        ...

    async def sent(self) -> None:
        """Until nothing waits in memory any more."""
        ...

    async def aclose(self) -> None:
        """Forget what still waits."""
        ...


class Courier:
    """The same behind a server whose ``send`` has to be waited for."""

    __slots__ = ("_failure", "_freed", "_send", "_task", "_waiting")

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: deque[Message] = deque()
        self._freed: list[Callable[[], None]] = []
        self._task: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    @property
    def is_free(self) -> bool:
        return self._task is None

    def write(self, message: Message) -> None:
        """Raises what an earlier message was answered with, `Gone` for an error of the socket."""
        if self._failure is not None:
            raise self._failure
        self._waiting.append(message)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._carry())

    def when_free(self, call: Callable[[], None]) -> None:
        self._freed.append(call)

    async def sent(self) -> None:
        """Raises as `write`."""
        if self._task is not None:
            await asyncio.wait((self._task,))
        if self._failure is not None:
            raise self._failure

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _carry(self) -> None:
        try:
            while self._waiting:
                await self._send(self._waiting.popleft())
        except OSError:
            self._failure = Gone()
        except Exception as exc:
            self._failure = exc
        finally:
            self._waiting.clear()
            self._task = None
            freed, self._freed = self._freed, []
            for call in freed:
                call()
