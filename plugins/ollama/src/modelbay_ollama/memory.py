"""What is remembered of one server between two calls. Lives in the provider's memo."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from modelbay.context import ProviderContext
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.frozen import JsonObject
from modelbay.resolve import Resolver
from modelbay_ollama.answers import Loaded, Shown, find_loaded
from modelbay_ollama.names import identity
from modelbay_ollama.options import KeepAlive, keep_alive_s
from modelbay_ollama.truncation import Ledger
from modelbay_ollama.versions import Version

_KEY = "ollama"
# Others may push a model out before its time; after so long we look again.
LONGEST_TRUST_S = 60.0
MOST_SHOWN = 2048


@dataclass(slots=True)
class Memory:
    """Facts that hold until the server is another one.

    Attributes:
        version: Of the server; ``None`` until it was asked, or for a local build.
        base: The address that answered, where it is not the configured one.
        shown: ``/api/show`` by digest, for the version above.
        listed: The last list, by identity of the name.
        active: Our requests in progress, by identity.
        resident: Until when a model we used stays loaded, and with which ``num_ctx``.
        windows: Effective windows as last seen, by identity.
        held: Load-time options of explicit loads, by identity, until the model is unloaded.
        refuses: It has refused a prompt rather than cut it, when asked to: so it keeps to that.
        turns: What earlier prompts had in tokens.
        resolver: Resolves what is said of this provider's models.
    """

    version: Version | None = None
    base: str = ""
    shown: dict[str, Shown] = field(default_factory=dict)
    listed: dict[str, DiscoveredModel] = field(default_factory=dict)
    active: Counter[str] = field(default_factory=Counter)
    resident: dict[str, tuple[float, int | None]] = field(default_factory=dict)
    windows: dict[str, int] = field(default_factory=dict)
    held: dict[str, JsonObject] = field(default_factory=dict)
    refuses: bool = False
    turns: Ledger = field(default_factory=Ledger)
    resolver: Resolver | None = None

    def saw(self, version: Version | None) -> None:
        """A newer server may report more of the same models (trap 38)."""
        if version != self.version:
            self.version = version
            self.shown.clear()
            self.refuses = False

    def keep_shown(self, digest: str, shown: Shown) -> None:
        while len(self.shown) >= MOST_SHOWN:
            del self.shown[next(iter(self.shown))]
        self.shown[digest] = shown

    def runner(
        self, entries: Sequence[Loaded], name: str, digest: str | None = None
    ) -> Loaded | None:
        """The runner of a model: by name, by digest, else by its weights, which it may share with
        the model that was loaded (trap 24).
        """
        found = find_loaded(entries, name, digest)
        weights = self._weights(digest)
        if found is not None or weights is None:
            return found
        return next((each for each in entries if self._weights(each.digest) == weights), None)

    def _weights(self, digest: str | None) -> str | None:
        shown = self.shown.get(digest or "")
        return None if shown is None else shown.weights

    @contextmanager
    def using(self, wire_id: str) -> Iterator[None]:
        """Count a request as running on a model."""
        key = identity(wire_id)
        self.active[key] += 1
        try:
            yield
        finally:
            self.active[key] -= 1
            if not self.active[key]:
                del self.active[key]

    def used(
        self, wire_id: str, now: float, keep_alive: KeepAlive | None, num_ctx: int | None
    ) -> None:
        """A request on a model was answered: it is loaded, and stays so for a while."""
        stays_s = math.inf if keep_alive is None else keep_alive_s(keep_alive) or 0.0
        self.resident[identity(wire_id)] = (now + min(stays_s, LONGEST_TRUST_S), num_ctx)

    def last_asked(self, wire_id: str) -> int | None:
        """The ``num_ctx`` of our last request on a model."""
        return self.resident.get(identity(wire_id), (0.0, None))[1]

    def is_resident(self, wire_id: str, now: float, num_ctx: int | None) -> bool:
        """Whether a model is loaded for sure, with this ``num_ctx``."""
        until, loaded_with = self.resident.get(identity(wire_id), (-math.inf, None))
        return now < until and loaded_with == num_ctx

    def gone(self, wire_id: str) -> None:
        """A model was unloaded or deleted."""
        key = identity(wire_id)
        self.resident.pop(key, None)
        self.windows.pop(key, None)
        self.held.pop(key, None)


def memory(provider: ProviderContext) -> Memory:
    """The memory of this provider's server, made at the first call."""
    known = provider.memo.get(_KEY)
    if not isinstance(known, Memory):
        known = provider.memo[_KEY] = Memory()
    return known
