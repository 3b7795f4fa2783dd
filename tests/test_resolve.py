"""Mirrors modelbay/resolve.py: one set of capabilities out of layers, and where each came from."""

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay.models.capabilities import (
    DEFAULT_MAX_OUTPUT_TOKENS,
    FACT_NAMES,
    Capabilities,
    CapabilityTable,
    Facts,
    Measurement,
    Prices,
    Provenance,
    TableRow,
)
from modelbay.models.catalog import DiscoveredModel
from modelbay.resolve import Resolver
from pretend import config

UNKNOWN = Provenance(layer="default", evidence="nobody knows")
CONSERVATIVE = Provenance(layer="default", evidence="conservative default")
FREE = Prices(input_per_mtok=0, output_per_mtok=0, cached_input_per_mtok=0)
OWN = Provenance(layer="default", evidence="runs on your own hardware")

# One true value for each field, and another that any other layer may say.
TRUE: dict[str, object] = {
    "context_window": 1000,
    "trained_context": 2000,
    "configured_context": 3000,
    "max_output_tokens": 400,
    "prices": Prices(input_per_mtok=1),
}
OTHER: dict[str, object] = {
    "context_window": 1,
    "trained_context": 2,
    "configured_context": 3,
    "max_output_tokens": 4,
    "prices": Prices(input_per_mtok=5),
}


def true(name: str) -> object:
    return TRUE.get(name, True)


def other(name: str) -> object:
    return OTHER.get(name, False)


def measured(name: str, value: object) -> Measurement:
    # A price is never measured; any value will do to see which layer wins.
    return Measurement.model_construct(field=name, value=value, evidence="asked", at=7.0)


def facts(name: str, value: object) -> Facts:
    return Facts.model_validate({name: value})


def layers(name: str) -> list[tuple[str, object, Provenance]]:
    """All layers speak of one field: the strongest the truth, all others something else."""
    resolver = Resolver(
        config(models={"m*": facts(name, true(name)), "*": facts(name, other(name))}),
        CapabilityTable(
            rows=(TableRow(pattern="m", facts=facts(name, other(name)), evidence="a card"),),
            every_model=facts(name, other(name)),
            every_model_evidence="a page",
        ),
    )
    found = DiscoveredModel(
        wire_id="m", facts=facts(name, other(name)), evidence={name: "n_ctx", "": "/models"}
    )
    return list(resolver.voices(found, [measured(name, other(name))]))


@pytest.mark.parametrize("name", FACT_NAMES)
def test_layers_speak_in_the_order_of_their_strength(name: str) -> None:
    free = [("prices", FREE, OWN)]
    assert layers(name) == [
        (name, true(name), Provenance(layer="user", evidence="models['m*']")),
        (name, other(name), Provenance(layer="user", evidence="models['*']")),
        (name, other(name), Provenance(layer="measured", evidence="asked", at=7.0)),
        (name, other(name), Provenance(layer="live", evidence="n_ctx")),
        (name, other(name), Provenance(layer="table", evidence="a card")),
        (name, other(name), Provenance(layer="table", evidence="a page")),
        *free,
    ]


@pytest.mark.parametrize("name", FACT_NAMES)
@pytest.mark.parametrize("strongest", range(6))
def test_each_field_comes_from_the_first_layer_that_knows_it(name: str, strongest: int) -> None:
    said = [other(name)] * 6
    said[strongest] = true(name)
    silent: list[object] = [None] * strongest
    user, user2, asked, live, row, every = [*silent, *said[strongest:]]
    resolver = Resolver(
        config(models={"m*": facts(name, user), "*": facts(name, user2)}),
        CapabilityTable(
            rows=(TableRow(pattern="m", facts=facts(name, row), evidence="a card"),),
            every_model=facts(name, every),
            every_model_evidence="a page",
        ),
    )
    found = DiscoveredModel(wire_id="m", facts=facts(name, live), evidence={"": "/models"})

    resolved = resolver.capabilities(found, [] if asked is None else [measured(name, asked)])

    layer = ["user", "user", "measured", "live", "table", "table"][strongest]
    assert (getattr(resolved, name), resolved.provenance[name].layer) == (true(name), layer)


def test_false_is_knowledge_and_hides_what_weaker_layers_say() -> None:
    resolver = Resolver(
        config(models={"*": Facts(tools=False)}), CapabilityTable(every_model=Facts(tools=True))
    )

    resolved = resolver.capabilities(DiscoveredModel(wire_id="m", facts=Facts(tools=True)))

    assert (resolved.tools, resolved.provenance["tools"].layer) == (False, "user")


def test_a_model_nobody_knows_has_the_defaults_and_says_so() -> None:
    resolved = Resolver(config(), CapabilityTable()).capabilities(DiscoveredModel(wire_id="m"))

    assert resolved == Capabilities(
        max_output_tokens=16384,
        prices=FREE,
        provenance={name: UNKNOWN for name in FACT_NAMES}
        | {"max_output_tokens": CONSERVATIVE, "prices": OWN},
    )
    assert DEFAULT_MAX_OUTPUT_TOKENS == 16384  # S4-57


@pytest.mark.parametrize("origin", ["local", "remote", "stand_in"])
@pytest.mark.parametrize("local", [True, False])
def test_only_what_runs_on_own_hardware_costs_nothing(origin: str, local: bool) -> None:
    resolver = Resolver(config(), CapabilityTable(local=local))
    found = DiscoveredModel.model_validate({"wire_id": "m", "origin": origin})

    resolved = resolver.capabilities(found)

    free = local and origin != "remote"
    assert (resolved.prices, resolved.provenance["prices"]) == (
        (FREE, OWN) if free else (None, UNKNOWN)
    )


def test_a_price_somebody_names_wins_over_local_being_free() -> None:
    price = Prices(input_per_mtok=0.3)
    resolver = Resolver(config(models={"*": Facts(prices=price)}), CapabilityTable())

    assert resolver.capabilities(DiscoveredModel(wire_id="m")).prices == price


@pytest.mark.parametrize(
    ("pattern", "wire_id", "matches"),
    [
        ("qwen*", "qwen3:8b", True),
        ("qwen*", "Qwen3:8b", False),
        ("*", "hf.co/u/m:q4", True),
        ("hf.co/*:q4", "hf.co/u/m:q4", True),
        ("m", "m2", False),
        ("m", "m\n", False),
        ("m?", "m2", True),
        ("m[12]", "m2", True),
    ],
)
def test_a_pattern_is_a_glob_over_the_whole_wire_id(
    pattern: str, wire_id: str, matches: bool
) -> None:
    resolver = Resolver(config(models={pattern: Facts(tools=True)}), CapabilityTable())

    resolved = resolver.capabilities(DiscoveredModel(wire_id=wire_id))

    assert resolved.tools is (True if matches else None)


def test_of_two_rows_the_first_that_knows_a_field_decides_it() -> None:
    table = CapabilityTable(
        rows=(
            TableRow(pattern="m1", facts=Facts(tools=True), evidence="one"),
            TableRow(pattern="m*", facts=Facts(tools=False, vision=True), evidence="all"),
        )
    )

    resolved = Resolver(config(), table).capabilities(DiscoveredModel(wire_id="m1"))

    assert (resolved.tools, resolved.provenance["tools"].evidence) == (True, "one")
    assert (resolved.vision, resolved.provenance["vision"].evidence) == (True, "all")


@pytest.mark.parametrize(
    ("evidence", "said"),
    [({}, "the model list"), ({"": "/props"}, "/props"), ({"tools": "caps"}, "caps")],
)
def test_a_live_fact_says_where_it_stood(evidence: dict[str, str], said: str) -> None:
    found = DiscoveredModel(wire_id="m", facts=Facts(tools=True), evidence=evidence)

    resolved = Resolver(config(), CapabilityTable()).capabilities(found)

    assert resolved.provenance["tools"] == Provenance(layer="live", evidence=said)


def test_one_layer_speaks_of_its_fields_in_one_order() -> None:
    everything = Facts.model_validate({name: true(name) for name in FACT_NAMES})
    resolver = Resolver(config(models={"*": everything}), CapabilityTable(local=False))

    voices = resolver.voices(DiscoveredModel(wire_id="m"))

    assert [name for name, _, _ in voices] == list(FACT_NAMES)


def test_a_measurement_that_found_nothing_out_says_nothing() -> None:
    resolver = Resolver(config(), CapabilityTable(every_model=Facts(tools=True)))

    resolved = resolver.capabilities(DiscoveredModel(wire_id="m"), [measured("tools", None)])

    assert resolved.tools is True


def test_models_of_which_the_same_is_said_share_their_capabilities_and_others_do_not() -> None:
    rows = (TableRow(pattern="b*", facts=Facts(vision=True), evidence="card"),)
    resolver = Resolver(config(), CapabilityTable(rows=rows))
    first = DiscoveredModel(wire_id="a", facts=Facts(tools=True), evidence={"tools": "list"})
    says_else = DiscoveredModel(wire_id="a3", facts=first.facts, evidence={"tools": "card"})

    assert resolver.capabilities(first.called("a2")) is resolver.capabilities(first)
    assert resolver.capabilities(first.called("b")).vision is True
    assert resolver.capabilities(says_else).provenance["tools"].evidence == "card"
    measurement = (measured("tools", False),)
    assert resolver.capabilities(first, measurement).tools is False
    assert resolver.capabilities(first).tools is True


def test_what_is_shared_is_never_mistaken_for_what_has_gone() -> None:
    """Objects get the ids of others that were freed."""
    resolver = Resolver(config(), CapabilityTable())
    for number in range(5000):
        model = DiscoveredModel(wire_id="m", facts=Facts(context_window=number + 1))
        assert resolver.capabilities(model).context_window == number + 1


def test_providers_that_share_a_table_share_nothing_of_their_users() -> None:
    table = CapabilityTable(every_model=Facts(tools=True))
    model = DiscoveredModel(wire_id="m")
    plain, set_up = (
        Resolver(config(), table),
        Resolver(config(models={"m": Facts(tools=False)}), table),
    )

    found = [resolver.capabilities(model).tools for resolver in (plain, set_up, plain)]

    assert found == [True, False, True]
    assert set_up.capabilities(model.called("n")) == plain.capabilities(model)


def test_tables_that_are_equal_or_take_the_place_of_one_another_are_each_read() -> None:
    """Objects get the ids of others that were freed."""
    for number in range(500):
        table = CapabilityTable(every_model=Facts(context_window=number + 1), local=number % 2 == 0)
        resolved = Resolver(config(), table).capabilities(DiscoveredModel(wire_id="m"))

        assert resolved.context_window == number + 1
        assert (resolved.prices is None) is (number % 2 == 1)


def test_a_remote_model_costs_what_nobody_knows_although_another_of_its_list_is_free() -> None:
    resolver = Resolver(config(), CapabilityTable())
    near, far = DiscoveredModel(wire_id="a"), DiscoveredModel(wire_id="b", origin="remote")

    for model, free in ((near, True), (far, False), (near, True)):
        assert (resolver.capabilities(model).prices is not None) is free


_LETTERS = st.text("ab*?[]!-.", max_size=5)


@given(
    st.lists(_LETTERS, max_size=3), st.lists(_LETTERS, max_size=3), st.text("ab[]!-.", max_size=5)
)
def test_a_name_is_singled_out_if_and_only_if_a_pattern_matches_it(
    users: list[str], rows: list[str], name: str
) -> None:
    table = CapabilityTable(
        rows=tuple(TableRow(pattern=row, facts=Facts(tools=True), evidence="card") for row in rows)
    )
    resolver = Resolver(config(models=dict.fromkeys(users, Facts(vision=True))), table)

    matching = [any(fnmatchcase(name, one) for one in patterns) for patterns in (users, rows)]

    assert resolver.singles_out(name) is any(matching)
    found = resolver.capabilities(DiscoveredModel(wire_id=name or "-"))
    if name:
        assert [found.vision is True, found.tools is True] == matching
