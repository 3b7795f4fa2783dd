"""What is remembered of one llama-swap between two calls. Lives in the provider's memo."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from modelbay.context import ProviderContext
from modelbay.refs import ModelRef
from modelbay_llamaswap.wire import Props, RunningEntry

_KEY = "llama-swap"


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
        active: Our requests in progress, by real id.
        lacking: Routes that were found missing.
    """

    measured: dict[ModelRef, Measured] = field(default_factory=dict)
    real_ids: dict[str, str] = field(default_factory=dict)
    active: Counter[str] = field(default_factory=Counter)
    lacking: set[str] = field(default_factory=set)

    def saw_names(self, real_ids: Mapping[str, str]) -> None:
        """A fresh list: names of it, and the id each stands for."""
        self.real_ids = dict(real_ids)

    def saw_running(self, running: Iterable[RunningEntry]) -> None:
        """A fresh look: forget what was measured of processes that are no longer these."""
        ready = {entry.model: _process(entry) for entry in running if entry.is_ready}
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
        """Count a request as running on a model."""
        wire_id = self.real_id(name)
        self.active[wire_id] += 1
        try:
            yield
        finally:
            self.active[wire_id] -= 1
            if not self.active[wire_id]:
                del self.active[wire_id]


def _process(entry: RunningEntry) -> tuple[str | None, str | None]:
    return entry.cmd, entry.proxy


def memory(provider: ProviderContext) -> Memory:
    """The memory of this provider's server, made at the first call."""
    known = provider.memo.get(_KEY)
    if not isinstance(known, Memory):
        known = provider.memo[_KEY] = Memory()
    return known
