"""A host and the event loop it lives in, for as long as one command runs."""

import asyncio
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import click

from modelbay import Host, ProviderConfig
from modelbay.dsn import parse_dsn
from modelbay.errors import BackendTimeoutError
from modelbay_cli.failure import Invocation

T = TypeVar("T")


def _named() -> list[ProviderConfig]:
    """The providers of ``--provider``.

    Raises:
        ConfigError: One of them cannot be read.
    """
    context = click.get_current_context(silent=True)
    invocation = None if context is None else context.find_object(Invocation)
    texts = () if invocation is None else invocation.providers
    return [parse_dsn(text, where="--provider") for text in texts]


class Session:
    """``with Session() as session: session.run(...)``.

    Between two `run` the loop stands still, so that a command may ask the user something and
    Ctrl-C means what it always means. Within one, Ctrl-C cancels the work, which closes its
    requests towards the servers, and then raises ``KeyboardInterrupt``.

    Args:
        deadline_s: Seconds each `run` may take.
        providers: Instead of the configuration file's, which is then not read.
        cache: Begin with the lists that an earlier command left, and leave this one's. Not with
            ``--provider``: what renews lists knows of no such provider.
    """

    def __init__(
        self,
        *,
        deadline_s: float | None = None,
        providers: Sequence[ProviderConfig] | None = None,
        cache: bool = False,
    ) -> None:
        named = _named()
        self.host = Host.open(providers=providers, also=named, cache=cache and not named)
        self._deadline_s = deadline_s
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._runner:
            self._runner.run(self.host.aclose())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to the end and give its result.

        Raises:
            BackendTimeoutError: The deadline passed.
        """
        return self._runner.run(self._bounded(work))

    async def _bounded(self, work: Coroutine[Any, Any, T]) -> T:
        limit = asyncio.timeout(self._deadline_s)
        try:
            async with limit:
                return await work
        except TimeoutError as exc:
            if not limit.expired():
                raise
            raise BackendTimeoutError(
                f"not finished within {self._deadline_s:g} s",
                hint="give it more time with --deadline SECONDS",
            ) from exc
