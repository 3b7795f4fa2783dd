"""One set of capabilities out of many layers: user, measured, live, table, default. Pure."""

from collections.abc import Iterator, Sequence
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
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.provider import ProviderConfig

_FREE = Prices(input_per_mtok=0, output_per_mtok=0, cached_input_per_mtok=0)
_UNKNOWN = Provenance(layer="default", evidence="nobody knows")
_NOBODY: dict[str, Provenance] = dict.fromkeys(FACT_NAMES, _UNKNOWN) | {
    "max_output_tokens": Provenance(layer="default", evidence="conservative default")
}
_EMPTY = Capabilities().__dict__
_SHARED = 1024  # sets of capabilities that a provider's models may share

Voice: TypeAlias = tuple[str, object, Provenance]
Voices: TypeAlias = list[Voice]


class Resolver:
    """Resolves the models of one provider. Made once; patterns are compiled once."""

    __slots__ = ("_any", "_every", "_free", "_rows", "_same", "_user")

    def __init__(self, config: ProviderConfig, table: CapabilityTable) -> None:
        self._user = [
            (
                _glob(pattern),
                _said(facts, Provenance(layer="user", evidence=f"models['{pattern}']")),
            )
            for pattern, facts in config.models.items()
        ]
        self._rows = [
            (
                _glob(row.pattern),
                _said(row.facts, Provenance(layer="table", evidence=row.evidence)),
            )
            for row in table.rows
        ]
        patterns = [pattern.pattern for pattern, _ in (*self._user, *self._rows)]
        self._any = compile_pattern("|".join(patterns)).match if patterns else None
        every = Provenance(layer="table", evidence=table.every_model_evidence)
        self._every = _said(table.every_model, every)
        own = Provenance(layer="default", evidence="runs on your own hardware")
        self._free: Voices = [("prices", _FREE, own)] if table.local else []
        self._same: dict[object, tuple[Facts, dict[str, str], Capabilities]] = {}

    def capabilities(
        self, model: DiscoveredModel, measured: Sequence[Measurement] = ()
    ) -> Capabilities:
        """Every field from the first layer that knows it, and which one that was."""
        before, after = self._layers(model)
        # Lists of thousands say the same of most: these share the answer. What an id in the key
        # belongs to is kept beside it, so that nothing else can get that id.
        facts, evidence = model.facts, model.evidence
        told = id(evidence) if evidence else 0
        key = (model.origin, id(facts), told, *map(id, before), *map(id, after))
        if not measured:
            known = self._same.get(key)
            if known is not None:
                return known[2]
        values: dict[str, object] = {}
        provenance: dict[str, Provenance] = {}
        for layer in (*before, _measured(measured), _live(model), *after):
            for name, value, origin in layer:
                if name not in provenance:
                    values[name] = value
                    provenance[name] = origin
        for name, origin in _NOBODY.items():
            provenance.setdefault(name, origin)
        found = Capabilities.assembled({**_EMPTY, **values, "provenance": provenance})
        if not measured:
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
        wire_id = model.wire_id
        if self._any is None or self._any(wire_id) is None:
            before, after = [], []
        else:
            before = [said for pattern, said in self._user if pattern.match(wire_id)]
            after = [said for pattern, said in self._rows if pattern.match(wire_id)]
        after.append(self._every)
        if model.origin != "remote":
            after.append(self._free)
        return before, after


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


def _glob(pattern: str) -> Pattern[str]:
    return compile_pattern(translate(pattern))
