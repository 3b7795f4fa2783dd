"""Mirrors modelbay/config_check.py and modelbay/config_schema.py."""

import json
from pathlib import Path
from typing import Any

import pytest

from modelbay.config_check import examine, problems
from modelbay.config_schema import schema
from modelbay.models.provider import ProviderConfig

WHERE = "W"
DOCS = Path(__file__).parents[1] / "docs"


def told(text: str) -> list[str]:
    return [problem.message for problem in problems(text, WHERE)]


def test_every_problem_is_told_in_the_order_of_the_file() -> None:
    text = json.dumps(
        {
            "theme": 1,
            "providers": [
                {"id": "a/b", "kind": "", "base_url": 1, "probeTimeoutS": 0},
                {"id": "a", "kind": "k", "baseUrl": "x:1", "models": {"*": {"foo": 1}}},
                {"id": "a", "kind": "k"},
                7,
                {"id": "a", "kind": "k"},
            ],
            "wrappers": "one",
        }
    )

    assert told(text) == [
        "W#/theme: unknown key 'theme'",
        "W#/wrappers: expected a list of names, got a string",
        "W#/providers/0/base_url: unknown key 'base_url'",
        "W#/providers/0/id: a provider id is letters, digits, '.', '_' and '-', and holds no slash",
        "W#/providers/0/kind: String should have at least 1 character",
        "W#/providers/0/probeTimeoutS: Input should be greater than 0",
        "W#/providers/1/baseUrl: expected an address that starts with http:// or https://",
        "W#/providers/1/models/*/foo: this key is not known here",
        "W#/providers/3: expected an object with id, kind and baseUrl, got a number",
        "W#/providers/4/id: the id 'a' is taken by /providers/2",
    ]


def test_the_good_providers_of_a_bad_file_are_kept() -> None:
    text = '{"providers": [{"id": "a", "kind": "k"}, {"id": "b"}, "k://h:1#c"]}'

    kept, wrong = examine(text, WHERE)

    assert [config.id for config in kept] == ["a", "c"]
    assert [problem.pointer for problem in wrong] == ["/providers/1/kind"]


def test_a_good_file_has_no_problems() -> None:
    """S0-20: the tracked example is one."""
    example = (DOCS / "providers.example.json").read_text()

    assert told(example) == told("{}") == []


def test_the_example_of_the_page_is_good() -> None:
    """S0-21 to S0-23: two instances of one kind, one of them with a sidecar."""
    page = (DOCS / "providers-json.md").read_text()
    example = page.split("```json\n")[1].split("```")[0]

    kept, wrong = examine(example, WHERE)

    assert wrong == []
    assert [(config.id, config.kind, config.base_url) for config in kept] == [
        ("sam-desktop", "llama-swap", "http://127.0.0.1:8401"),
        ("embedding", "llama-swap", "http://127.0.0.1:8411"),
    ]


@pytest.mark.parametrize("text", ["", "[", "[]", "null", "[" * 100_000, '{"a": 1, "a": 2}'])
def test_what_is_no_document_is_one_problem(text: str) -> None:
    assert len(told(text)) == 1


def test_a_provider_of_which_everything_is_wrong_comes_to_an_end() -> None:
    keys = {f"a_{n}": n for n in range(1000)}

    assert len(told(json.dumps({"providers": [keys]}))) == 20


# --- the schema -----------------------------------------------------------------------------------


def test_the_shipped_schema_is_the_one_the_code_generates() -> None:
    shipped = json.loads((DOCS / "providers.schema.json").read_text())

    assert shipped == schema(), "modelbay config schema > docs/providers.schema.json"


def test_the_schema_knows_every_key_a_provider_may_have() -> None:
    provider = schema()["$defs"]["Provider"]
    aliases = {info.alias for info in ProviderConfig.model_fields.values()}

    assert set(provider["properties"]) == aliases - {"source"}
    assert provider["additionalProperties"] is True  # a plugin's own keys


def test_every_reference_of_the_schema_leads_somewhere() -> None:
    made = schema()

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [found for held in node.values() for found in references(held)]
        if isinstance(node, list):
            return [found for held in node for found in references(held)]
        return []

    assert {name.removeprefix("#/$defs/") for name in references(made)} <= set(made["$defs"])


def test_the_schema_shows_no_key_and_no_default_that_is_one() -> None:
    key = schema()["$defs"]["Provider"]["properties"]["apiKey"]

    assert key["default"] is None
