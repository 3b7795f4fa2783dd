"""Mirrors modelbay/models/catalog.py."""

import json

import pytest
from pydantic import ValidationError

from modelbay.models.catalog import Catalog, DiscoveredModel, DiscoveredModels, ProviderEntry
from pretend import model


def entry(id: str, *wire_ids: str, **fields: object) -> ProviderEntry:
    models = tuple(model(name, id) for name in wire_ids)
    return ProviderEntry.model_validate(
        {"id": id, "label": id, "kind": "acme", "status": "ok", "models": models, **fields}
    )


def test_a_catalog_in_json_is_grouped_and_every_model_id_is_a_ref() -> None:
    catalog = Catalog(
        providers=(
            entry("desk", "a/b:c", base_url="http://user:pw@host", hidden=True),
            entry("cloud"),
        ),
        default_provider="desk",
        generation=3,
    )

    body = json.loads(catalog.model_dump_json())

    assert body["default_provider"] == "desk"
    assert [(p["id"], p["label"], [m["id"] for m in p["models"]]) for p in body["providers"]] == [
        ("desk", "desk", ["desk/a/b:c"]),
        ("cloud", "cloud", []),
    ]
    assert {"base_url", "hidden"} & set(body["providers"][0]) == set()
    assert "pw" not in catalog.model_dump_json()


def test_a_catalog_finds_providers_and_lists_models_in_order() -> None:
    catalog = Catalog(providers=(entry("desk", "b", "a"), entry("cloud", "c")))

    assert [m.id for m in catalog.models] == ["desk/b", "desk/a", "cloud/c"]
    assert catalog.provider("cloud") == catalog.providers[1]
    assert catalog.provider("nobody") is None


def test_a_catalog_never_changes() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Catalog().generation = 1


def test_a_model_has_a_name_on_the_wire() -> None:
    with pytest.raises(ValidationError):
        DiscoveredModel(wire_id="")


def test_a_model_says_its_ref_and_its_wire_id() -> None:
    info = model("a/b", "desk")

    assert (info.id, info.wire_id) == ("desk/a/b", "a/b")


def test_a_model_of_which_the_same_is_said_differs_in_its_name_alone() -> None:
    said = {"facts": {"tools": True}, "evidence": {"tools": "a list"}, "state": "loaded"}
    one = DiscoveredModel.model_validate({"wire_id": "a", **said})

    other = one.called("b")

    assert other == DiscoveredModel.model_validate({"wire_id": "b", **said})
    assert other.model_dump_json() == one.model_dump_json().replace('"a"', '"b"')
    assert one.wire_id == "a"
    with pytest.raises(ValidationError):
        other.wire_id = "c"
    with pytest.raises(ValueError, match="empty"):
        one.called("")


def test_a_list_in_which_the_same_is_said_of_many_is_like_one_that_was_made_whole() -> None:
    said = DiscoveredModel(wire_id="a", state="loaded", details={"n": 1})
    other = DiscoveredModel(wire_id="x", state="failed")

    found = DiscoveredModels(["a", "b", "c"], [said, said, other])

    whole = [said, said.called("b"), other.called("c")]
    assert (list(found), len(found), found[1], found[-1]) == (whole, 3, whole[1], whole[2])
    assert (list(found[1:]), list(reversed(found))) == (whole[1:], whole[::-1])
    assert found == whole == found == tuple(whole) == DiscoveredModels.of(whole)
    assert found != whole[:2]
    assert found != [*whole[:2], other]
    assert found != "abc"
    assert whole[1] in found
    assert said.called("d") not in found
    assert repr(found) == repr(whole)
    assert [id(one) for one in found.distinct()] == [id(said), id(other)]
    assert found[0] is said


def test_a_list_of_models_never_changes_with_what_it_was_made_of() -> None:
    names, said = ["a"], [DiscoveredModel(wire_id="a")]
    found = DiscoveredModels(names, said)

    names.append("b")
    said.clear()

    assert found == [DiscoveredModel(wire_id="a")]


@pytest.mark.parametrize("names", [["a"], ["a", ""], ["a", "b", "c"], ["a", 7]])
def test_a_list_of_models_has_one_name_for_each(names: list[str]) -> None:
    said = DiscoveredModel(wire_id="a")

    with pytest.raises(ValueError, match=r"names|empty"):
        DiscoveredModels(names, [said, said])
