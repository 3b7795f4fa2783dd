"""What the registry knows: discovered models, resolved models, and the immutable catalogue."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, Self, TypeAlias, overload

from pydantic import Field, computed_field

from modelbay.models.capabilities import Capabilities, Facts
from modelbay.models.frozen import Frozen, JsonObject
from modelbay.refs import ModelRef

ModelState: TypeAlias = Literal[
    "unknown", "unloaded", "downloading", "loading", "loaded", "unloading", "failed"
]
# local: runs on the user's own hardware. remote: runs elsewhere. stand_in: listed only while no
# provider at all has a model.
Origin: TypeAlias = Literal["local", "remote", "stand_in"]
ProviderStatus: TypeAlias = Literal["ok", "stale", "down", "loading", "misconfigured", "unknown"]


class DiscoveredModel(Frozen):
    """One model as `discover_models` reports it.

    Attributes:
        wire_id: What the server calls it, byte for byte.
        name: What people read; empty for the wire id.
        facts: What the server said about it just now; the ``live`` layer.
        evidence: Where each fact stood in the answer, by field name; ``""`` for all others.
        loaded_context: Tokens of context it is loaded with at this moment.
        problem: Why its state is ``failed``.
        details: Anything else worth showing; never secrets, paths of others, command lines.
    """

    wire_id: str = Field(min_length=1)
    name: str = ""
    aliases: tuple[str, ...] = ()
    facts: Facts = Facts()
    evidence: dict[str, str] = {}
    origin: Origin = "local"
    state: ModelState = "unknown"
    loaded_context: int | None = None
    size_bytes: int | None = None
    digest: str | None = None
    family: str | None = None
    quantization: str | None = None
    problem: str | None = None
    details: JsonObject = {}

    def called(self, wire_id: str) -> "DiscoveredModel":
        """The model of this name of which the same is said.

        Raises:
            ValueError: The name is empty.
        """
        if wire_id == self.wire_id:
            return self
        if not wire_id:
            raise ValueError("a model's wire id is empty")
        return DiscoveredModel.assembled({**self.__dict__, "wire_id": wire_id})


class DiscoveredModels(Sequence[DiscoveredModel]):
    """A list of models, each made only when it is looked at. Never changes.

    Servers say the same of thousands, but for the name: such a list holds the names and what is
    said of all of them once.

    Attributes:
        wire_ids: The names, in the list's order.
        said: What is said of the model of each name, whichever wire id stands in it. One object
            for many of them says that they differ in nothing else.

    Raises:
        ValueError: A name is empty or no text, or the two are not of one length.
    """

    __slots__ = ("_distinct", "said", "wire_ids")
    __hash__ = None  # type: ignore[assignment]  # as a list has none

    def __init__(self, wire_ids: Iterable[str], said: Iterable[DiscoveredModel]) -> None:
        self.wire_ids = tuple(wire_ids)
        self.said = tuple(said)
        self._distinct: tuple[DiscoveredModel, ...] | None = None
        if len(self.wire_ids) != len(self.said):
            raise ValueError("there are more names than models, or fewer")
        if not all(self.wire_ids) or not set(map(type, self.wire_ids)) <= {str}:
            raise ValueError("a model's wire id is empty, or is no text")

    @classmethod
    def of(cls, models: Sequence[DiscoveredModel]) -> Self:
        """A list of models that were made already."""
        made = cls.__new__(cls)
        made.said = tuple(models)
        made._distinct = None
        made.wire_ids = tuple([model.wire_id for model in made.said])
        return made

    def distinct(self) -> tuple[DiscoveredModel, ...]:
        """Each of `said` once."""
        if self._distinct is None:
            self._distinct = tuple({id(one): one for one in self.said}.values())
        return self._distinct

    def __len__(self) -> int:
        return len(self.wire_ids)

    @overload
    def __getitem__(self, index: int) -> DiscoveredModel: ...

    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> DiscoveredModel | Self:
        if isinstance(index, slice):
            return type(self)(self.wire_ids[index], self.said[index])
        return self.said[index].called(self.wire_ids[index])

    def __iter__(self) -> Iterator[DiscoveredModel]:
        return map(DiscoveredModel.called, self.said, self.wire_ids)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (DiscoveredModels, list, tuple)):
            return NotImplemented
        return len(self) == len(other) and all(map(DiscoveredModel.__eq__, self, other))

    def __repr__(self) -> str:
        return repr(list(self))


class ModelInfo(Frozen):
    """One model as callers and plugins see it: discovered, and its capabilities resolved."""

    ref: ModelRef = Field(exclude=True)
    name: str
    kind: str
    capabilities: Capabilities
    state: ModelState = "unknown"
    origin: Origin = "local"
    aliases: tuple[str, ...] = ()
    loaded_context: int | None = None
    size_bytes: int | None = None
    digest: str | None = None
    family: str | None = None
    quantization: str | None = None
    problem: str | None = None
    details: JsonObject = {}

    @computed_field  # type: ignore[prop-decorator]
    @property
    def id(self) -> str:
        """The ref as text (S0-37)."""
        return str(self.ref)

    @property
    def wire_id(self) -> str:
        return self.ref.wire_id


class Problem(Frozen):
    """Why a provider is not ``ok``: an error of the tree as data."""

    code: str
    message: str
    hint: str | None = None


class ProviderEntry(Frozen):
    """One provider in the catalogue.

    Attributes:
        models: The last ones known to be good; kept when a later look fails.
        age_s: Seconds since the models were read; ``None`` if never.
        took_s: Seconds the last look took.
        next_look_s: Seconds until a refresh looks anew; ``None`` if it would now, or never can.
        hidden: A proposal that never answered: not listed, but shown by ``doctor``.
    """

    id: str
    label: str
    kind: str
    status: ProviderStatus
    problem: Problem | None = None
    models: tuple[ModelInfo, ...] = ()
    age_s: float | None = None
    took_s: float | None = None
    next_look_s: float | None = None
    implicit: bool = False
    hidden: bool = Field(default=False, exclude=True)
    base_url: str = Field(default="", exclude=True)


class Catalog(Frozen):
    """All providers at one moment. Never changes; a refresh makes another one."""

    providers: tuple[ProviderEntry, ...] = ()
    default_provider: str | None = None
    generation: int = 0

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        return tuple(model for provider in self.providers for model in provider.models)

    def provider(self, provider_id: str) -> ProviderEntry | None:
        return next((p for p in self.providers if p.id == provider_id), None)


class CatalogChange(Frozen):
    """One thing that is different now.

    Attributes:
        type: ``added``, ``removed`` and ``changed`` are of a model (state, context, abilities);
            ``provider`` is of a provider's status; ``lost`` says that a slow watcher has missed
            changes and should read the whole catalogue.
        id: The model's ref.
        state: The model's, now.
        status: The provider's, now.
    """

    type: Literal["added", "removed", "changed", "provider", "lost"]
    provider_id: str = ""
    id: str | None = None
    state: ModelState | None = None
    status: ProviderStatus | None = None
