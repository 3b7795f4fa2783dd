"""Requests that are waiting or running, and how they are cancelled."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from modelbay.testing.simulator import Request
from modelbay_llamaswap.simulator.clock import Clock
from modelbay_llamaswap.simulator.dialect import Release
from modelbay_llamaswap.simulator.events import EventHub
from modelbay_llamaswap.simulator.gojson import canonical, rfc3339

_SECRET = ("authorization", "cookie", "set-cookie", "proxy-authorization", "x-api-key")
_UPDATE_S = 0.25
REDACTED = "[REDACTED]"


def shown_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Header fields as events and captures show them: sorted, secrets hidden."""
    return {
        canonical(name): REDACTED if name.lower() in _SECRET else value
        for name, value in sorted(headers, key=lambda field: canonical(field[0]))
    }


class InFlight:
    """One request.

    Attributes:
        cancel: Set when somebody cancels it.
    """

    def __init__(self, key: str, model: str, path: str, request: Request, began: float) -> None:
        self.key = key
        self.model = model
        self.cancel = asyncio.Event()
        self.began = began
        self.updated = began
        self.response_headers: Mapping[str, str] = {}
        self.response_bytes = 0
        self.metadata: Mapping[str, str] = {}
        self._path = path
        self._request = request
        self._moment = rfc3339(datetime.now(UTC))

    def entry(self, now: float) -> dict[str, object]:
        headers = [(n, v) for n, v in self._request.headers.items() if n != "host"]
        shown: dict[str, object] = {
            "id": self.key,
            "timestamp": self._moment,
            "model": self.model,
            "req_path": self._path,
            "method": self._request.method,
            "req_headers": shown_headers(headers),
            "remote_ip": "127.0.0.1",
            "resp_headers": dict(self.response_headers),
            "resp_bytes": self.response_bytes,
            "elapsed_ms": int((now - self.began) * 1000),
        }
        return {**shown, "metadata": dict(self.metadata)} if self.metadata else shown


class InFlightList:
    """All of them. Events about it: a total (v192-v234), the list (v235-v239), changes (v240+)."""

    def __init__(self, release: Release, hub: EventHub, clock: Clock) -> None:
        self._release = release
        self._hub = hub
        self._clock = clock
        self._entries: dict[str, InFlight] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def ids(self) -> list[str]:
        return list(self._entries)

    def add(self, model: str, path: str, request: Request) -> InFlight:
        entry = InFlight(str(self._next), model, path, request, self._clock.now())
        self._next += 1
        self._entries[entry.key] = entry
        self._tell(entry)
        return entry

    def answered(self, entry: InFlight, headers: Iterable[tuple[str, str]]) -> None:
        """The head of the answer is out."""
        entry.response_headers = shown_headers(headers)
        self._tell(entry)

    def grew(self, entry: InFlight, size: int) -> None:
        """More of the body is out; told each quarter of a second at most."""
        entry.response_bytes += size
        if self._clock.now() - entry.updated >= _UPDATE_S:
            self._tell(entry)

    def remove(self, entry: InFlight) -> None:
        del self._entries[entry.key]
        if self._release.has(240):
            self._hub.emit("inflight", {"operation": "remove", "id": entry.key})
        else:
            self._tell_all()

    def cancel(self, key: str) -> bool:
        entry = self._entries.get(key)
        if entry is None:
            return False
        entry.cancel.set()
        return True

    def opening(self) -> list[tuple[str, object]]:
        """What a new listener is told; without requests there is no key `requests`."""
        if self._release.has(240):
            listed = {"requests": self._listed()} if self._entries else {}
            return [("inflight", {"operation": "snapshot", **listed})]
        if self._release.has(235):
            return [("inflight", {"requests": self._listed()})]
        return [("inflight", {"total": len(self)})] if self._release.has(192) else []

    def _listed(self) -> list[dict[str, object]]:
        return [entry.entry(self._clock.now()) for entry in self._entries.values()]

    def _tell(self, entry: InFlight) -> None:
        entry.updated = self._clock.now()
        if self._release.has(240):
            shown = entry.entry(entry.updated)
            self._hub.emit("inflight", {"operation": "upsert", "request": shown})
        else:
            self._tell_all()

    def _tell_all(self) -> None:
        for kind, data in self.opening():
            self._hub.emit(kind, data)
