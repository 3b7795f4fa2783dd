"""JSON Schemas: what of a tool's survives the server, and whether an answer holds to one. Pure.

The server passes tools through fixed structures and drops every keyword they have no field for
(trap 17). So references are put in place, alternatives merged, and limits
that would be lost are told to the model in words.
"""

import json
from collections.abc import Mapping
from typing import cast

from pydantic import JsonValue

from modelbay.models.chat import Tool
from modelbay.models.frozen import JsonObject

_DEEPEST = 12  # of references and objects; a schema that refers to itself must end

_KEPT = ("type", "description", "enum")
_TOLD = (
    *("format", "pattern", "default", "const", "examples", "multipleOf"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("minLength", "maxLength", "minItems", "maxItems", "uniqueItems"),
)


def encode_tool(tool: Tool) -> JsonObject:
    """A tool with a schema of which the server drops nothing."""
    root = tool.parameters
    flat = _flatten(root, root, 0)
    parameters: JsonObject = {
        "type": flat.get("type", "object"),
        "properties": _object(flat.get("properties")),
    }
    if required := flat.get("required"):
        parameters["required"] = required
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": parameters,
        },
    }


def _flatten(schema: JsonObject, root: JsonObject, depth: int) -> JsonObject:
    """One schema without ``$ref``, ``allOf`` and ``oneOf``, and with its limits in words."""
    if depth > _DEEPEST:
        return {"type": "object"}
    schema = _resolved(schema, root)
    for part in _list(schema.get("allOf")):
        schema = _merged(schema, _flatten(_object(part), root, depth + 1))
    flat: JsonObject = {name: schema[name] for name in _KEPT if name in schema}
    if "const" in schema and "enum" not in flat:
        flat["enum"] = [schema["const"]]
    choices = [*_list(schema.get("anyOf")), *_list(schema.get("oneOf"))]
    if choices:
        flat["anyOf"] = [_flatten(_object(each), root, depth + 1) for each in choices]
    if isinstance(schema.get("items"), dict):
        flat["items"] = _flatten(_object(schema["items"]), root, depth + 1)
    if isinstance(schema.get("properties"), dict):
        flat["properties"] = {
            name: _flatten(_object(each), root, depth + 1)
            for name, each in _object(schema["properties"]).items()
        }
    if isinstance(schema.get("required"), list):
        flat["required"] = schema["required"]
    if told := _in_words(schema):
        before = flat.get("description")
        flat["description"] = f"{before} ({told})" if before else told
    return flat


def _resolved(schema: JsonObject, root: JsonObject) -> JsonObject:
    """With what its ``$ref`` points to in its place; what stands beside it wins."""
    for _ in range(_DEEPEST):
        ref = schema.get("$ref")
        if not isinstance(ref, str):
            return schema
        found: JsonValue = root
        for step in ref.removeprefix("#").strip("/").split("/"):
            key = step.replace("~1", "/").replace("~0", "~")
            found = found.get(key) if key and isinstance(found, dict) else found
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**_object(found), **beside}
    return {name: value for name, value in schema.items() if name != "$ref"}


def _merged(one: JsonObject, other: JsonObject) -> JsonObject:
    both = {**other, **one}
    properties = {**_object(other.get("properties")), **_object(one.get("properties"))}
    if properties:
        both["properties"] = properties
    required = [*_list(one.get("required")), *_list(other.get("required"))]
    if required:
        both["required"] = list(dict.fromkeys(cast("list[str]", required)))
    return both


def _in_words(schema: JsonObject) -> str:
    told = [f"{name}: {json.dumps(schema[name])}" for name in _TOLD if name in schema]
    return ", ".join(told)


def _object(value: object) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[JsonValue]:
    return value if isinstance(value, list) else []


# --- does an answer hold -------------------------------------------------------------------------

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def breach(text: str, schema: JsonObject | None) -> str | None:
    """Why an answer does not hold to its format; ``None`` if it does, as far as is looked.

    Looked at are types, required fields, enumerations and what is nested in objects and lists;
    enough to see that a server passed over the format, which it does without a word.

    Args:
        schema: ``None`` wants any JSON.
    """
    try:
        value = json.loads(text)
    except ValueError:
        return "it is no JSON"
    return None if schema is None else _breach(value, schema, schema, "the answer", 0)


def _breach(
    value: object, schema: JsonObject, root: JsonObject, where: str, depth: int
) -> str | None:
    if depth > _DEEPEST:
        return None
    schema = _resolved(schema, root)
    wanted = schema.get("type")
    if isinstance(wanted, str) and not _is(value, wanted):
        return f"{where} is no {wanted}"
    enum = schema.get("enum")
    if isinstance(enum, list) and value not in enum:
        return f"{where} is none of the values allowed"
    if isinstance(value, dict):
        for name in _list(schema.get("required")):
            if name not in value:
                return f"{where} lacks '{name}'"
        for name, inner in _object(schema.get("properties")).items():
            if name in value and isinstance(inner, dict):
                found = _breach(value[name], inner, root, f"'{name}'", depth + 1)
                if found:
                    return found
    items = schema.get("items")
    if isinstance(value, list) and isinstance(items, dict):
        for each in value:
            if found := _breach(each, items, root, f"an item of {where}", depth + 1):
                return found
    return None


def _is(value: object, wanted: str) -> bool:
    if wanted in ("integer", "number") and isinstance(value, bool):
        return False
    if wanted == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(wanted, (object,)))
