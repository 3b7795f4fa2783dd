"""One set of capabilities out of many layers: user, measured, live, table, default. Pure."""

from collections.abc import Iterator, Sequence
from fnmatch import translate
from re import Pattern
from re import compile as compile_pattern

from modelbay.models.capabilities import (
    FACT_NAMES,
    Capabilities,
    CapabilityTable,
    Facts,
    Layer,
    Measurement,
    Prices,
    Provenance,
)
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.provider import ProviderConfig

_FREE = Prices(input_per_mtok=0, output_per_mtok=0, cached_input_per_mtok=0)
_UNKNOWN = Provenance(layer="default", evidence="nobody knows")
_DEFAULTS: dict[str, Provenance] = {
    "max_output_tokens": Provenance(layer="default", evidence="conservative default")
}


class Resolver:
    """Resolves the models of one provider. Made once; patterns are compiled once."""

    __slots__ = ("_rows", "_table", "_user")

    def __init__(self, config: ProviderConfig, table: CapabilityTable) -> None:
        self._table = table
        self._user: list[tuple[Pattern[str], Facts, Provenance]] = [
            (_glob(pattern), facts, Provenance(layer="user", evidence=f"models['{pattern}']"))
            for pattern, facts in config.models.items()
        ]
        self._rows: list[tuple[Pattern[str], Facts, Provenance]] = [
            (_glob(row.pattern), row.facts, Provenance(layer="table", evidence=row.evidence))
            for row in table.rows
        ]

    def capabilities(
        self, model: DiscoveredModel, measured: Sequence[Measurement] = ()
    ) -> Capabilities:
        """Every field from the first layer that knows it, and which one that was."""
        values: dict[str, object] = {}
        provenance: dict[str, Provenance] = {}
        for name, value, origin in self.voices(model, measured):
            if name not in values:
                values[name] = value
                provenance[name] = origin
        for name in FACT_NAMES:
            if name not in provenance:
                provenance[name] = _DEFAULTS.get(name, _UNKNOWN)
        return Capabilities(**values, provenance=provenance)  # type: ignore[arg-type]

    def voices(
        self, model: DiscoveredModel, measured: Sequence[Measurement] = ()
    ) -> Iterator[tuple[str, object, Provenance]]:
        """All that any layer says of this model, the strongest first: name, value, origin."""
        for pattern, facts, origin in self._user:
            if pattern.match(model.wire_id):
                yield from _said(facts, origin)
        for found in measured:
            if found.value is not None:
                origin = Provenance(layer="measured", evidence=found.evidence, at=found.at)
                yield found.field, found.value, origin
        yield from self._live(model)
        for pattern, facts, origin in self._rows:
            if pattern.match(model.wire_id):
                yield from _said(facts, origin)
        every = Provenance(layer="table", evidence=self._table.every_model_evidence)
        yield from _said(self._table.every_model, every)
        if model.origin != "remote" and self._table.local:
            layer: Layer = "default"
            yield "prices", _FREE, Provenance(layer=layer, evidence="runs on your own hardware")

    def _live(self, model: DiscoveredModel) -> Iterator[tuple[str, object, Provenance]]:
        for name, value, _ in _said(model.facts, _UNKNOWN):
            evidence = model.evidence.get(name) or model.evidence.get("") or "the model list"
            yield name, value, Provenance(layer="live", evidence=evidence)


def _said(facts: Facts, origin: Provenance) -> Iterator[tuple[str, object, Provenance]]:
    for name in FACT_NAMES:
        value = getattr(facts, name)
        if value is not None:
            yield name, value, origin


def _glob(pattern: str) -> Pattern[str]:
    return compile_pattern(translate(pattern))
