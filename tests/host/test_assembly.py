"""Mirrors modelbay/host/assembly.py: what is put together once is what each alone would be."""

import contextlib
import gc
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay.host.assembly import Assembly, assemble, assemble_all
from modelbay.host.backend import Backend
from modelbay.host.handles import ProviderHandle
from modelbay.host.ledger import Ledger
from modelbay.models.capabilities import CapabilityTable, Facts, Measurement, TableRow
from modelbay.models.catalog import DiscoveredModel, DiscoveredModels, ModelInfo
from modelbay.refs import ModelRef
from modelbay.resolve import Resolver
from pretend import Records, context, manager, plugin

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


# --- put together when they are wanted ------------------------------------------------------------


@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(SAID)))
def test_what_is_put_together_later_is_what_it_would_have_been_at_once(
    listed: dict[str, DiscoveredModel],
) -> None:
    held, found = handle(a=Facts(tools=True)), DiscoveredModels(listed, listed.values())

    assembly = Assembly(held, found, None)

    assert assembly.is_waiting is bool(listed)
    assert assembly.models() == assemble(held, found, None)
    assert not assembly.is_waiting
    assert assembly.models() is assembly.models()


def test_in_one_go_only_those_are_put_together_that_wait() -> None:
    seen, new = (Assembly(handle(), DiscoveredModels.of(SAID[:1]), None) for _ in range(2))
    before = seen.models()

    assemble_all([seen, new])

    assert seen.models() is before
    assert new.models() == before
    assert not new.is_waiting


class Watched(Ledger):
    """Notes whether the collector is at work while models are put together."""

    def __init__(self, folder: Path, *, raises: BaseException | None = None) -> None:
        super().__init__(folder)
        self.collects: list[bool] = []
        self.raises = raises

    @property
    def is_empty(self) -> bool:
        self.collects.append(gc.isenabled())
        if self.raises is not None:
            raise self.raises
        return True


@pytest.fixture(params=[True, False])
def collects(request: pytest.FixtureRequest) -> Iterator[bool]:
    was = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if was else gc.disable)()


@pytest.mark.parametrize("raises", [None, KeyboardInterrupt(), ValueError()])
def test_the_collector_rests_meanwhile_and_is_left_as_it_was(
    tmp_path: Path, collects: bool, raises: BaseException | None
) -> None:
    ledger = Watched(tmp_path, raises=raises)

    with contextlib.suppress(KeyboardInterrupt):
        assemble_all([Assembly(handle(), DiscoveredModels.of(SAID[:1]), ledger)])

    assert ledger.collects == [False]
    assert gc.isenabled() is collects


def test_one_list_that_cannot_be_put_together_costs_nobody_elses() -> None:
    records = Records()
    log = logging.getLogger("modelbay")
    log.addHandler(records)
    odd = DiscoveredModel.model_construct(wire_id="x", facts=None)
    broken, good = (
        Assembly(handle(), DiscoveredModels.of([model]), None) for model in (odd, SAID[0])
    )

    assemble_all([broken, good])

    log.removeHandler(records)
    assert [[info.wire_id for info in one.models()] for one in (broken, good)] == [[], ["x"]]
    assert records.lines == ["WARNING the models of provider 'desk' cannot be put together"]
