"""One set of capabilities out of many layers: user, measured, live, table, default. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import translate
from functools import lru_cache
from re import Pattern
from re import compile as compile_pattern
from typing import TypeAlias

from modelbay.models.capabilities import (
    FACT_NAMES,
    Capabilities,
    CapabilityTable,
    Facts,
    Measurement,
    Prices,
    Provenance,
)
from modelbay.models.catalog import DiscoveredModel, Origin
from modelbay.models.provider import ProviderConfig

_FREE = Prices(input_per_mtok=0, output_per_mtok=0, cached_input_per_mtok=0)
_UNKNOWN = Provenance(layer="default", evidence="nobody knows")
_NOBODY: dict[str, Provenance] = dict.fromkeys(FACT_NAMES, _UNKNOWN) | {
    "max_output_tokens": Provenance(layer="default", evidence="conservative default")
}
_OWN = Provenance(layer="default", evidence="runs on your own hardware")
_EMPTY = Capabilities().__dict__
_SHARED = 1024  # sets of capabilities that a provider's models may share

Voice: TypeAlias = tuple[str, object, Provenance]
Voices: TypeAlias = list[Voice]


class _Table:
    """A table, ready to be asked; one for all providers that share it."""

    __slots__ = ("every", "free", "plain", "rows", "singles_out")

    def __init__(self, table: CapabilityTable) -> None:
        self.rows = [
            (
                _glob(row.pattern),
                _said(row.facts, Provenance(layer="table", evidence=row.evidence)),
            )
            for row in table.rows
        ]
        every = Provenance(layer="table", evidence=table.every_model_evidence)
        self.every = _said(table.every_model, every)
        self.free: Voices = [("prices", _FREE, _OWN)] if table.local else []
        self.singles_out = _matching([row.pattern for row in table.rows])
        # What all have of whom nobody else says anything, by their origin.
        self.plain: dict[Origin, Capabilities] = {}


class _Same:
    """A key that is equal to nothing but one of the same object, which it holds."""

    __slots__ = ("table",)

    def __init__(self, table: CapabilityTable) -> None:
        self.table = table

    def __hash__(self) -> int:
        return id(self.table)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.table is other.table


@lru_cache(maxsize=64)
def _ready(key: _Same) -> _Table:
    return _Table(key.table)


class Resolver:
    """Resolves the models of one provider. Made once; patterns are compiled once.

    Attributes:
        singles_out: Whether something is said of models by this name that is not said of all.
    """

    __slots__ = ("_same", "_table", "_user", "singles_out")

    def __init__(self, config: ProviderConfig, table: CapabilityTable) -> None:
        self._table = _ready(_Same(table))
        self._user = [
            (
                _glob(pattern),
                _said(facts, Provenance(layer="user", evidence=f"models['{pattern}']")),
            )
            for pattern, facts in config.models.items()
        ]
        self.singles_out: Callable[[str], bool] = (
            _matching([*config.models, *(row.pattern for row in table.rows)])
            if config.models
            else self._table.singles_out
        )
        self._same: dict[object, tuple[Facts, dict[str, str], Capabilities]] = {}

    def group(self, wire_id: str) -> tuple[int, ...]:
        """Equal for models of whom the user and the table say the same, by the same patterns."""
        rows = (*self._user, *self._table.rows)
        return tuple([at for at, (pattern, _) in enumerate(rows) if pattern.match(wire_id)])

    def capabilities(
        self, model: DiscoveredModel, measured: Sequence[Measurement] = ()
    ) -> Capabilities:
        """Every field from the first layer that knows it, and which one that was."""
        before, after = self._layers(model)
        live = _live(model)
        if measured:
            return _resolved((*before, _measured(measured), live, *after))
        if not live and not self.singles_out(model.wire_id):
            plain = self._table.plain.get(model.origin)
            if plain is None:
                plain = self._table.plain[model.origin] = _resolved(after)
            return plain
        # Lists of thousands say the same of most: these share the answer. What an id in the key
        # belongs to is kept beside it, so that nothing else can get that id.
        facts, evidence = model.facts, model.evidence
        told = id(evidence) if evidence else 0
        key = (model.origin, id(facts), told, *map(id, before), *map(id, after))
        known = self._same.get(key)
        if known is not None:
            return known[2]
        found = _resolved((*before, live, *after))
        if len(self._same) >= _SHARED:
            self._same.clear()
        self._same[key] = (facts, evidence, found)
        return found

    def voices(
        self, model: DiscoveredModel, measured: Sequence[Measurement] = ()
    ) -> Iterator[Voice]:
        """All that any layer says of this model, the strongest first: name, value, origin."""
        before, after = self._layers(model)
        for layer in (*before, _measured(measured), _live(model), *after):
            yield from layer

    def _layers(self, model: DiscoveredModel) -> "tuple[list[Voices], list[Voices]]":
        """Above the measurements, and below what the server says."""
        wire_id, table = model.wire_id, self._table
        is_single = self.singles_out(wire_id)
        before = _speaking(self._user, wire_id) if is_single else []
        after = _speaking(table.rows, wire_id) if is_single else []
        after.append(table.every)
        if model.origin != "remote":
            after.append(table.free)
        return before, after


def _speaking(rows: Iterable[tuple[Pattern[str], Voices]], wire_id: str) -> list[Voices]:
    """What is said under the patterns that match."""
    return [voices for pattern, voices in rows if pattern.match(wire_id)]


def _resolved(layers: Iterable[Voices]) -> Capabilities:
    values: dict[str, object] = {}
    provenance: dict[str, Provenance] = {}
    for layer in layers:
        for name, value, origin in layer:
            if name not in provenance:
                values[name] = value
                provenance[name] = origin
    for name, origin in _NOBODY.items():
        provenance.setdefault(name, origin)
    return Capabilities.assembled({**_EMPTY, **values, "provenance": provenance})


def _live(model: DiscoveredModel) -> "Voices":
    evidence = model.evidence
    usual = evidence.get("") or "the model list"
    return [
        (name, value, _read(evidence.get(name) or usual))
        for name, value in model.facts.__dict__.items()
        if value is not None
    ]


@lru_cache(maxsize=256)
def _read(evidence: str) -> Provenance:
    return Provenance(layer="live", evidence=evidence)


def _measured(measured: Sequence[Measurement]) -> "Voices":
    return [
        (m.field, m.value, Provenance(layer="measured", evidence=m.evidence, at=m.at))
        for m in measured
        if m.value is not None
    ]


def _said(facts: Facts, origin: Provenance) -> "Voices":
    return [
        (name, value, origin) for name in FACT_NAMES if (value := getattr(facts, name)) is not None
    ]


def _matching(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a name matches any of these patterns."""
    if not patterns:
        return lambda wire_id: False
    match = compile_pattern("|".join(map(translate, patterns))).match
    # Nearly no name begins like one of them, which is told sooner than that none matches.
    begins = tuple({pattern.translate(_TO_WILD).partition("*")[0] for pattern in patterns})
    return lambda wire_id: wire_id.startswith(begins) and match(wire_id) is not None


_TO_WILD = str.maketrans("?[", "**")


def _glob(pattern: str) -> Pattern[str]:
    return compile_pattern(translate(pattern))
