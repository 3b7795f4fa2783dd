"""What is remembered of one llama-swap between two calls. Lives in the provider's memo."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType

from modelbay.context import ProviderContext
from modelbay.refs import ModelRef
from modelbay_llamaswap.wire import Props, RunningEntry

_KEY = "llama-swap"
_NO_PINS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Measured:
    """What a running model's own server said, and the process that said it."""

    props: Props
    process: tuple[str | None, str | None]


@dataclass(slots=True)
class Memory:
    """Facts that hold until the server is another one.

    Attributes:
        measured: What running models said of themselves, by full ref (S0-44, S0-46). Dropped when
            the model is seen to be gone, or to run under another command.
        real_ids: The ids behind aliases, from the last look at the list.
        targets: What the listed names without a process of their own may stand for: selectors'
            targets, nothing for peers' models, ``None`` for any model.
        active: Our requests in progress, by the name that was asked for.
        processes: The ids of the last look at what is running; among them unlisted ones.
        lacking: Routes that were found missing.
    """

    measured: dict[ModelRef, Measured] = field(default_factory=dict)
    real_ids: dict[str, str] = field(default_factory=dict)
    targets: dict[str, tuple[str, ...] | None] = field(default_factory=dict)
    active: Counter[str] = field(default_factory=Counter)
    processes: frozenset[str] = frozenset()
    lacking: set[str] = field(default_factory=set)

    def saw_names(
        self, real_ids: Mapping[str, str], targets: Mapping[str, tuple[str, ...] | None]
    ) -> None:
        """A fresh list: names of it, and what each stands for."""
        self.real_ids = dict(real_ids)
        self.targets = dict(targets)

    def saw_running(self, running: Iterable[RunningEntry]) -> None:
        """A fresh look: forget what was measured of processes that are no longer these."""
        entries = list(running)
        self.processes = frozenset(entry.model for entry in entries)
        ready = {entry.model: _process(entry) for entry in entries if entry.is_ready}
        for ref, known in list(self.measured.items()):
            if ready.get(ref.wire_id) != known.process:
                del self.measured[ref]

    def measured_of(self, ref: ModelRef) -> Props | None:
        known = self.measured.get(ref)
        return None if known is None else known.props

    def remember(self, ref: ModelRef, entry: RunningEntry, props: Props) -> None:
        self.measured[ref] = Measured(props, _process(entry))

    def forget(self, wire_id: str | None = None) -> None:
        """One model was unloaded, or all were."""
        for ref in [ref for ref in self.measured if wire_id in (None, ref.wire_id)]:
            del self.measured[ref]

    def real_id(self, name: str) -> str:
        """The id behind an alias; any other name as it is."""
        return self.real_ids.get(name, name)

    @contextmanager
    def using(self, name: str) -> Iterator[None]:
        """Count a request as running.

        By its name: which model that is may be learnt later, from a list.
        """
        self.active[name] += 1
        try:
            yield
        finally:
            self.active[name] -= 1
            if not self.active[name]:
                del self.active[name]

    def ours(self, wire_id: str | None, pins: Mapping[str, str] = _NO_PINS) -> tuple[int, int]:
        """How many of our requests run on a model, and how many more may.

        Args:
            wire_id: The real id; ``None`` is any model here.
            pins: What the active profile makes of names. It may have become active after a
                request was sent.
        """
        certain = possible = 0
        for name, count in self.active.items():
            found = self._models_of(name)
            if name in pins:
                pinned = self._models_of(pins[name])
                found = pinned if found is None or pinned is None else found | pinned
            if wire_id is None:
                certain += 0 if found == frozenset() else count
            elif found is None or wire_id in found:
                if found is not None and len(found) == 1:
                    certain += count
                else:
                    possible += count
        return certain, possible

    def _models_of(self, name: str) -> frozenset[str] | None:
        """The real ids a request for this name may run on; ``None`` if that can be any."""
        if name in self.targets:
            targets = self.targets[name]
            return None if targets is None else frozenset(map(self.real_id, targets))
        if name in self.real_ids or name in self.processes:
            return frozenset({self.real_id(name)})
        return None


def _process(entry: RunningEntry) -> tuple[str | None, str | None]:
    return entry.cmd, entry.proxy


def memory(provider: ProviderContext) -> Memory:
    """The memory of this provider's server, made at the first call."""
    known = provider.memo.get(_KEY)
    if not isinstance(known, Memory):
        known = provider.memo[_KEY] = Memory()
    return known
