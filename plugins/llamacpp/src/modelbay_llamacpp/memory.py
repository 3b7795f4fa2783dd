"""What is remembered of one server between two calls. Lives in the provider's memo."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from modelbay.context import ProviderContext
from modelbay.models.catalog import DiscoveredModel
from modelbay_llamacpp.wire import TemplateCaps

_KEY = "llamacpp"


@dataclass(slots=True)
class Memory:
    """Facts that hold until the server is another one.

    Attributes:
        build: ``build_info`` of the server these facts are about.
        lacking: Routes that were found missing.
        templates: What the chat templates of running models can do, by wire id.
        stopped: Models we unloaded ourselves: their ``failed`` says nothing (trap 5).
        unloads: How often we have unloaded each model; a load that sees it grow was called off.
        leaving: Models whose unload we are waiting for: the list still says loaded (trap 6).
        active: Our requests in progress, by wire id (trap 7).
        single: The model of a single-model server when it was last seen ready.
    """

    build: str = ""
    lacking: set[str] = field(default_factory=set)
    templates: dict[str, TemplateCaps] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)
    unloads: Counter[str] = field(default_factory=Counter)
    leaving: set[str] = field(default_factory=set)
    active: Counter[str] = field(default_factory=Counter)
    single: tuple[DiscoveredModel, ...] = ()

    def saw(self, build: str | None) -> None:
        """Forget what an older or newer build could or could not do."""
        if build and build != self.build:
            self.build = build
            self.lacking.clear()
            self.templates.clear()

    @contextmanager
    def using(self, wire_id: str) -> Iterator[None]:
        """Count a request as running on a model. Should it fail to load now, that is a failure."""
        self.stopped.discard(wire_id)
        self.active[wire_id] += 1
        try:
            yield
        finally:
            self.active[wire_id] -= 1
            if not self.active[wire_id]:
                del self.active[wire_id]


def memory(provider: ProviderContext) -> Memory:
    """The memory of this provider's server, made at the first call."""
    known = provider.memo.get(_KEY)
    if not isinstance(known, Memory):
        known = provider.memo[_KEY] = Memory()
    return known
