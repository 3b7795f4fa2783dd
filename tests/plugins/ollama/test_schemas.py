"""Mirrors modelbay_ollama/schemas.py, and what encoding.py says of a format."""

import json
from typing import Any

import pytest

from modelbay.errors import UnsupportedFeatureError
from modelbay.models.chat import ChatRequest, JsonMode, JsonSchema, Message, Tool, user
from modelbay.models.frozen import JsonObject
from modelbay_ollama.schemas import breach, encode_tool
from plugins.ollama.bay import WITH_TOOLS, ask
from plugins.ollama.test_wire import encoded

# --- schemas of tools ----------------------------------------------------------------------------


def function(parameters: JsonObject, description: str = "d") -> dict[str, Any]:
    found = encode_tool(Tool(name="f", description=description, parameters=parameters))["function"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("count", [1, 2, 3, 12])
def test_a_schema_that_refers_to_itself_ends_where_it_would_begin_anew(count: int) -> None:
    """Two references once made 278 kB, and three 25 MB."""
    node: JsonObject = {
        "type": "object",
        "properties": {f"p{at}": {"$ref": "#/$defs/N"} for at in range(count)},
    }
    found = function(
        {"$defs": {"N": node}, "type": "object", "properties": {"root": {"$ref": "#/$defs/N"}}}
    )

    again = {"type": "object", "description": "again as above: N"}
    assert found["parameters"]["properties"]["root"] == {
        "type": "object",
        "properties": {f"p{at}": again for at in range(count)},
    }


def test_schemas_that_refer_to_each_other_stay_small() -> None:
    names = [f"D{at}" for at in range(10)]
    one: JsonObject = {"type": "object", "properties": {n: {"$ref": f"#/$defs/{n}"} for n in names}}
    found = function({"$defs": dict.fromkeys(names, one), **one})

    assert len(json.dumps(found)) < 400_000


def test_a_reference_that_is_used_twice_side_by_side_is_put_in_place_twice() -> None:
    found = function(
        {
            "$defs": {"C": {"type": "string"}},
            "properties": {"a": {"$ref": "#/$defs/C"}, "b": {"$ref": "#/$defs/C"}},
        }
    )

    assert found["parameters"]["properties"] == {"a": {"type": "string"}, "b": {"type": "string"}}


@pytest.mark.parametrize("word", ["anyOf", "oneOf"])
def test_alternatives_at_the_root_become_one_set_of_parameters_and_are_told(word: str) -> None:
    """The server has no place for them there, and would drop them with all parameters."""
    found = function(
        {
            word: [
                {
                    "type": "object",
                    "properties": {"a": {"type": "string"}, "n": {"type": "integer"}},
                    "required": ["a", "n"],
                },
                {
                    "type": "object",
                    "properties": {"b": {"type": "string"}, "n": {"type": "string"}},
                    "required": ["n"],
                },
            ]
        }
    )

    assert found["parameters"] == {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "n": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "b": {"type": "string"},
        },
        "required": ["n"],
    }
    assert found["description"] == ("d\nGive the parameters of one of these sets: a, n | b, n.")


def test_alternatives_that_only_require_leave_the_parameters_alone() -> None:
    found = function(
        {"type": "object", "properties": {"k": {"type": "string"}}, "oneOf": [{"required": ["k"]}]}
    )

    assert found["parameters"] == {"type": "object", "properties": {"k": {"type": "string"}}}


def test_words_about_all_parameters_are_told_with_the_tool() -> None:
    """The server drops a description there."""
    found = function({"type": "object", "description": "All in metres.", "properties": {}})

    assert found["description"] == "d\nParameters: All in metres."


def test_what_the_server_would_drop_from_a_schema_is_put_in_place_or_into_words() -> None:
    """Trap 17."""
    schema: JsonObject = {
        "$defs": {"Unit": {"type": "string", "enum": ["C", "F"], "description": "a unit"}},
        "type": "object",
        "additionalProperties": False,
        "required": ["unit"],
        "properties": {
            "unit": {"$ref": "#/$defs/Unit"},
            "days": {"type": "integer", "minimum": 1, "maximum": 9, "description": "how many"},
            "kind": {"const": "short"},
            "place": {"oneOf": [{"type": "string"}, {"$ref": "#/$defs/Unit"}]},
            "both": {
                "allOf": [
                    {"properties": {"a": {"type": "string"}}, "required": ["a"]},
                    {"properties": {"b": {"type": "string"}}},
                ]
            },
        },
    }

    assert encode_tool(Tool(name="f", parameters=schema))["function"] == {
        "name": "f",
        "description": "",
        "parameters": {
            "type": "object",
            "required": ["unit"],
            "properties": {
                "unit": {"type": "string", "enum": ["C", "F"], "description": "a unit"},
                "days": {"type": "integer", "description": "how many (minimum: 1, maximum: 9)"},
                "kind": {"enum": ["short"], "description": 'const: "short"'},
                "place": {
                    "anyOf": [
                        {"type": "string"},
                        {"type": "string", "enum": ["C", "F"], "description": "a unit"},
                    ]
                },
                "both": {
                    "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                    "required": ["a"],
                },
            },
        },
    }


def test_a_schema_that_refers_to_itself_comes_to_an_end() -> None:
    schema: JsonObject = {"type": "object", "properties": {"next": {"$ref": "#"}}}

    assert len(json.dumps(encode_tool(Tool(name="f", parameters=schema)))) < 2000


# --- format --------------------------------------------------------------------------------------

CITY: JsonObject = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Oslo"]}, "size": {"type": "integer"}},
    "required": ["city"],
}


def test_a_format_is_sent_as_json_or_as_the_schema_itself() -> None:
    plain = encoded(ask(response_format=JsonMode()))
    schema = encoded(ask(response_format=JsonSchema(schema=CITY)))

    assert (plain.body["format"], plain.schema) == ("json", {})
    assert (schema.body["format"], schema.schema) == (CITY, CITY)


def test_a_schema_for_a_server_that_knows_none_is_refused() -> None:
    with pytest.raises(UnsupportedFeatureError):
        encoded(ask(response_format=JsonSchema(schema=CITY)), version=(0, 4, 9))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"city": "Oslo", "size": 7}', None),
        ('{"city": "Oslo"}', None),
        ("Oslo", "it is no JSON"),
        ("[]", "the answer is no object"),
        ("{}", "the answer lacks 'city'"),
        ('{"city": "Rome"}', "'city' is none of the values allowed"),
        ('{"city": "Oslo", "size": "7"}', "'size' is no integer"),
        ('{"city": "Oslo", "size": true}', "'size' is no integer"),
        ("[" * 200_000, "it is nested too deeply to be read"),
    ],
    ids=lambda given: f"{given}"[:40],
)
def test_an_answer_is_held_against_its_schema(text: str, why: str | None) -> None:
    """Trap 20: some paths ignore the format."""
    assert breach(text, CITY) == why


INTEGER: JsonObject = {"type": "integer"}
NULL: JsonObject = {"type": "null"}


@pytest.mark.parametrize(
    ("text", "schema", "why"),
    [
        ("5", {"type": ["object", "null"]}, "the answer is no object or null"),
        ("null", {"type": ["object", "null"]}, None),
        ('"b"', {"const": "a"}, "the answer is none of the values allowed"),
        ("true", {"const": 1}, "the answer is none of the values allowed"),
        ("1", {"enum": [True]}, "the answer is none of the values allowed"),
        ("1.0", {"const": 1}, None),
        ("{}", {"allOf": [{}, {"required": ["a"]}]}, "the answer lacks 'a'"),
        ('"x"', {"anyOf": [INTEGER, NULL]}, "the answer is none of the alternatives"),
        ('"x"', {"oneOf": [INTEGER, NULL]}, "the answer is none of the alternatives"),
        ("7", {"anyOf": [INTEGER, NULL]}, None),
        ("null", {"oneOf": [INTEGER, NULL]}, None),
        (
            '{"a": ["x"]}',
            {"properties": {"a": {"items": {"anyOf": [INTEGER, NULL]}}}},
            "an item of 'a' is none of the alternatives",
        ),
        (
            "{}",
            {"allOf": [{"$ref": "#"}, {"$ref": "#"}], "required": ["a"]},
            "the answer lacks 'a'",
        ),
        ("{}", {"allOf": [{"$ref": "#"}] * 30}, None),
    ],
)
def test_an_answer_is_held_against_alternatives_and_fixed_values(
    text: str, schema: JsonObject, why: str | None
) -> None:
    assert breach(text, schema) == why


def test_a_schema_is_told_to_the_model_in_the_last_message_of_the_user() -> None:
    """Section 5.6: the server never shows it; a system message would hide the Modelfile's own."""
    found = encoded(
        ChatRequest(
            messages=[
                user("one"),
                Message(role="assistant", content="two"),
                user("three"),
                Message(role="tool", content="four", name="f"),
            ],
            response_format=JsonSchema(schema={"type": "object"}),
        )
    )

    told = 'Answer with JSON alone, which holds to this JSON Schema: {"type": "object"}'
    sent = found.body["messages"]
    assert isinstance(sent, list)
    assert [m["content"] for m in sent if isinstance(m, dict)] == [
        "one",
        "two",
        f"three\n\n{told}",
        "four",
    ]
    assert found.body["format"] == {"type": "object"}


@pytest.mark.parametrize("wanted", [JsonMode(), JsonSchema(schema={"type": "object"})])
def test_tools_beside_a_format_are_told_to_be_called_hardly_ever(
    wanted: JsonMode | JsonSchema,
) -> None:
    """Section 5.6: the grammar suppresses calls (ollama#11037)."""
    found = encoded(WITH_TOOLS.model_copy(update={"response_format": wanted}))

    assert [notice.code for notice in found.notices] == ["tools_suppressed"]
