"""Everything the routes of one simulated server share."""

import random
import string
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from modelbay_ollama.simulator.gates import Gates
from modelbay_ollama.simulator.knobs import Knobs
from modelbay_ollama.simulator.lifetimes import Clock, stamp_utc
from modelbay_ollama.simulator.model import Pullable, SimulatedModel
from modelbay_ollama.simulator.names import parse_name
from modelbay_ollama.simulator.runners import Runners
from modelbay_ollama.simulator.script import Script
from modelbay_ollama.simulator.store import Installed, Store
from modelbay_ollama.simulator.tally import Tally
from modelbay_ollama.simulator.versions import Release

_LETTERS = string.ascii_lowercase + string.digits


@dataclass
class State:
    """One server.

    Attributes:
        cloud: Models of the cloud, under the names it knows them by: without any suffix.
        registry: What can be pulled.
        next_answers: Scripts for the next answers; the key is a display name, or "" for any model.
        chance: For ids and for orders that are random on a real server.
    """

    release: Release
    knobs: Knobs
    clock: Clock
    tally: Tally
    gates: Gates
    store: Store
    runners: Runners
    registry: Sequence[Pullable]
    cloud: Sequence[SimulatedModel]
    seed: int
    next_answers: dict[str, deque[Script]] = field(default_factory=dict)
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311 - repeatable is what it must be

    def created_at(self) -> str:
        return stamp_utc(self.clock.now)

    def script_for(self, entry: Installed) -> Script | None:
        """What a test wants this model to say now; taken once."""
        for key in (entry.display, ""):
            waiting = self.next_answers.get(key)
            if waiting:
                return waiting.popleft()
        return None

    def word(self, length: int) -> str:
        """Lower-case letters and digits, as ids are made of."""
        return "".join(self.chance.choices(_LETTERS, k=length))

    def in_cloud(self, base: str) -> Installed | None:
        """The cloud's model of this name."""
        wanted = parse_name(base)
        for model in self.cloud:
            name = parse_name(model.name)
            if name is not None and wanted is not None and name.key == wanted.key:
                return Installed(name, model, self.clock.now)
        return None
