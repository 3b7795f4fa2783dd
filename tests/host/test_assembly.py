"""Mirrors modelbay/host/assembly.py: what is put together once is what each alone would be."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay.host.assembly import assemble
from modelbay.host.backend import Backend
from modelbay.host.handles import ProviderHandle
from modelbay.host.ledger import Ledger
from modelbay.models.capabilities import CapabilityTable, Facts, Measurement, TableRow
from modelbay.models.catalog import DiscoveredModel, DiscoveredModels, ModelInfo
from modelbay.refs import ModelRef
from modelbay.resolve import Resolver
from pretend import context, manager, plugin

TABLE = CapabilityTable(
    rows=(
        TableRow(pattern="v*", facts=Facts(vision=True), evidence="card"),
        TableRow(pattern="*1", facts=Facts(audio=True, tools=False), evidence="card"),
    ),
    every_model=Facts(json_mode=True),
)
SAID = (
    DiscoveredModel(wire_id="x"),
    DiscoveredModel(
        wire_id="x", facts=Facts(tools=True), evidence={"tools": "list"}, state="loaded"
    ),
    DiscoveredModel(
        wire_id="x",
        name="X",
        aliases=("y",),
        origin="remote",
        digest="d",
        loaded_context=1,
        details={"n": 1},
    ),
)
NAMES = ("a", "a1", "v", "v1", "b/c", "x", "r")


def handle(**models: Facts) -> ProviderHandle:
    held = context(
        id="desk", models={"*" if name == "all" else name: models[name] for name in models}
    )
    backend = Backend("acme", manager(plugin(capabilities=lambda: TABLE)), held)
    return ProviderHandle(held.config, backend, Resolver(held.config, TABLE))


def each_alone(held: ProviderHandle, found: DiscoveredModels) -> tuple[ModelInfo, ...]:
    return tuple(
        info for model in found for info in assemble(held, DiscoveredModels.of([model]), None)
    )


@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(SAID)))
@pytest.mark.parametrize(
    "models", [{}, {"a": Facts(tools=True)}, {"all": Facts(rerank=True), "v": Facts(vision=False)}]
)
def test_in_a_list_each_is_what_it_is_alone(
    models: dict[str, Facts], listed: dict[str, DiscoveredModel]
) -> None:
    held, found = handle(**models), DiscoveredModels(listed, listed.values())

    together = assemble(held, found, None)

    assert together == each_alone(held, found)
    assert [info.ref for info in together] == [ModelRef("desk", name) for name in listed]
    assert not any(info.ref.is_legacy_bare for info in together)
    assert len({hash(info.ref) for info in together}) == len(listed)


def test_of_whom_the_same_is_said_share_what_they_can_do_and_nothing_that_tells_them_apart() -> (
    None
):
    found = DiscoveredModels(["a", "v", "b", "v2"], [SAID[1]] * 4)

    first, seeing, other, also = assemble(handle(), found, None)

    assert first.capabilities is other.capabilities
    assert seeing.capabilities is also.capabilities
    assert (first.capabilities.vision, seeing.capabilities.vision) == (None, True)
    assert [info.name for info in (first, seeing, other, also)] == ["a", "v", "b", "v2"]
    assert first.model_copy(update={"state": "failed"}) != first
    assert (first.state, other.state) == ("loaded", "loaded")


def test_a_measurement_counts_for_its_own_model_alone(tmp_path: Path) -> None:
    found = DiscoveredModels(["a", "b", "c"], [SAID[1]] * 3)
    measurement = Measurement(field="tools", value=False, evidence="asked", at=1.0)
    ledger = Ledger(tmp_path)
    ledger.write(ModelRef("desk", "a"), found[0], [measurement])
    ledger.write(ModelRef("desk", "c"), SAID[2].called("c"), [measurement])  # which is gone

    infos = assemble(handle(), found, ledger)

    assert [info.capabilities.tools for info in infos] == [False, True, True]
    assert [info.capabilities.provenance["tools"].layer for info in infos] == [
        "measured",
        "live",
        "live",
    ]
    assert infos[1:] == each_alone(handle(), found)[1:]
