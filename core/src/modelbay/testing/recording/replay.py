"""A whole recording served again: a server for each provider, and a host that asks them."""

import asyncio
import dataclasses
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from modelbay.errors import ConfigError
from modelbay.models.chat import ChatRequest
from modelbay.models.events import ErrorEvent, StreamEvent
from modelbay.models.frozen import JsonObject
from modelbay.models.provider import ProviderConfig
from modelbay.testing.recording.entry import moved, origin_of
from modelbay.testing.recording.folder import read_folder
from modelbay.testing.recording.form import RecordedExchange, providers_of
from modelbay.testing.recording.replayer import Miss, Replayer

if TYPE_CHECKING:
    from modelbay import Host


class Replay:
    """Serves a recording: ``with Replay(Path("recording")) as replay``.

    Every provider that was recorded has a server of its own, on the paths it had.

    Args:
        recording: A folder of exchanges, one file of it, or the exchanges themselves.
        provider_ids: Only these providers; all by default.
        port: Of the first server; the others take the next ones. 0 for any free ones.
        paced: Answer as slowly as the server did, where times were recorded.

    Raises:
        ConfigError: There is nothing recorded, or not of one of these providers.
    """

    def __init__(
        self,
        recording: Path | Sequence[RecordedExchange],
        *,
        provider_ids: Sequence[str] = (),
        port: int = 0,
        paced: bool = False,
    ) -> None:
        exchanges = read_folder(recording) if isinstance(recording, Path) else list(recording)
        self._recorded = providers_of(exchanges)
        for name in provider_ids:
            if name not in self._recorded:
                raise ConfigError(
                    f"nothing of provider '{name}' is recorded",
                    hint=f"recorded: {', '.join(self._recorded)}",
                )
        chosen = [name for name in self._recorded if not provider_ids or name in provider_ids]
        self._servers = {
            name: Replayer(
                [exchange for exchange in exchanges if exchange.provider_id == name],
                port=port + at if port else 0,
                paced=paced,
            )
            for at, name in enumerate(chosen)
        }
        self._home: Path | None = None

    def start(self) -> Self:
        """Open the ports.

        Raises:
            OSError: One is taken.
        """
        try:
            for server in self._servers.values():
                server.start()
        except OSError:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Close them. A second call does nothing."""
        for server in self._servers.values():
            server.stop()
        if self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
            self._home = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def entries(self) -> list[JsonObject]:
        """The providers as entries of ``providers.json``, at the addresses they have here.

        Where there was a key stands a blot, which is as good as a key here.
        """
        return [self._entry(name, server) for name, server in self._servers.items()]

    @property
    def misses(self) -> list[Miss]:
        """Requests that nothing was recorded for."""
        return [miss for server in self._servers.values() for miss in server.misses]

    def served(self, provider_id: str) -> list[int]:
        """The numbers of the exchanges that a provider was asked for."""
        return self._servers[provider_id].served

    def _entry(self, name: str, server: Replayer) -> JsonObject:
        recorded = self._recorded[name]
        return {**recorded, "baseUrl": moved(str(recorded.get("baseUrl", "")), server.base_url)}

    # a host that asks

    def host(self) -> "Host":
        """A host with these providers, which reads and keeps nothing of this machine's."""
        from modelbay import Host

        if self._home is None:
            self._home = Path(tempfile.mkdtemp(prefix="modelbay-replay-"))
        return Host.open(
            providers=[ProviderConfig.model_validate(entry) for entry in self.entries],
            env={"MODELBAY_HOME": str(self._home)},
            state=":memory:",
        )

    def models(self, provider_id: str) -> list[JsonObject]:
        """What the host discovers: `DiscoveredModel` as JSON, without what is not known.

        Not from a coroutine: it runs a loop of its own.

        Raises:
            ModelbayError: What discovery fails with.
        """
        return asyncio.run(self._models(provider_id))

    def events(self, request: ChatRequest) -> list[StreamEvent]:
        """What the host answers; the last is a `Finish` or an `ErrorEvent`.

        In an error's text stands the address that was recorded. Not from a coroutine.
        """
        return asyncio.run(self._events(request))

    async def _models(self, provider_id: str) -> list[JsonObject]:
        async with self.host() as host:
            await host.refresh(provider_id, force=True)
            problem = host.registry.problem_of(provider_id)
            if problem is not None:
                raise problem
            return [
                host.registry.discovered(model).model_dump(mode="json", exclude_defaults=True)
                for model in host.registry.models_of(provider_id)
            ]

    async def _events(self, request: ChatRequest) -> list[StreamEvent]:
        async with self.host() as host, host.stream(request, errors="event") as events:
            return [self._as_recorded(event) async for event in events]

    def _as_recorded(self, event: StreamEvent) -> StreamEvent:
        if not isinstance(event, ErrorEvent):
            return event
        message, hint = event.message, event.hint
        for name, server in self._servers.items():
            there = origin_of(str(self._recorded[name].get("baseUrl", "")))
            for here, instead in (
                (server.base_url, there),
                (server.base_url.partition("://")[2], there.partition("://")[2]),
            ):
                message = message.replace(here, instead)
                hint = hint and hint.replace(here, instead)
        return dataclasses.replace(event, message=message, hint=hint)
