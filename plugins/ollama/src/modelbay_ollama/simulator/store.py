"""The models a simulated server has, and the blobs it knows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from modelbay_ollama.simulator.answer import ApiError
from modelbay_ollama.simulator.model import SimulatedModel
from modelbay_ollama.simulator.names import Name, Source, known_name, split_source
from modelbay_ollama.simulator.versions import Release


@dataclass(frozen=True, slots=True)
class Installed:
    """A model under its name. `modified_at`: Unix seconds."""

    name: Name
    model: SimulatedModel
    modified_at: float

    @property
    def display(self) -> str:
        return self.name.display


class Store:
    """Installed models by key; the spelling of the first install is kept."""

    def __init__(self, models: Sequence[SimulatedModel], now: float) -> None:
        self._models: dict[str, Installed] = {}
        self.blobs: set[str] = set()
        for at, model in enumerate(models):
            given = model.modified_at
            self.add(model, now - 60 * at if given is None else given.timestamp())

    def add(self, model: SimulatedModel, modified_at: float, name: Name | None = None) -> Installed:
        """Install under `name`, or under the model's own; silently instead of what was there."""
        name = name or known_name(model.name)
        known = self._models.get(name.key)
        entry = Installed(known.name if known else name, model, modified_at)
        self._models[name.key] = entry
        return entry

    def copy(self, source: Installed, name: Name, now: float) -> None:
        model = replace(
            source.model,
            name=name.display,
            digest=source.model.manifest_digest,
            weights=source.model.weights_id,
        )
        self.add(model, now, name)

    def remove(self, entry: Installed) -> None:
        del self._models[entry.name.key]

    def find(self, name: Name) -> Installed | None:
        """By any spelling."""
        return self._models.get(name.key)

    def newest_first(self) -> list[Installed]:
        return sorted(tuple(self._models.values()), key=lambda entry: -entry.modified_at)

    def wanted(
        self, sent: str, release: Release, missing: str = "model '{sent}' not found"
    ) -> tuple[Installed | None, str, Source]:
        """The model a request names, its name without the source, and the source.

        A cloud name gives None: it need not be installed.

        Raises:
            ApiError: 400 for a bad name, 404 with `missing` for one that is not here. A name with
                ``:local`` does not find a stub.
        """
        base, source = split_source(sent, release)
        name = known_name(base)
        if source == "cloud":
            return None, base, source
        entry = self.find(name)
        if entry is None or (source == "local" and entry.model.remote is not None):
            raise ApiError(404, missing.format(sent=sent, display=name.display))
        return entry, base, source
