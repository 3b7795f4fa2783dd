"""JSON Schemas: what of a tool's survives the server, and whether an answer holds to one. Pure.

The server passes tools through fixed structures and drops every keyword they have no field for
(trap 17). So references are put in place, alternatives merged, and limits
that would be lost are told to the model in words.
"""

import json
from collections.abc import Mapping, Sequence
from typing import cast

from pydantic import JsonValue

from modelbay.models.chat import Tool
from modelbay.models.frozen import JsonObject

_DEEPEST = 12  # of objects, lists and alternatives in each other
_MOST_SCHEMAS = 2000  # in one tool, once all references are put in place
_MOST_LOOKS = 200_000  # at values of one answer

_KEPT = ("type", "description", "enum")
_TOLD = (
    *("format", "pattern", "default", "const", "examples", "multipleOf"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("minLength", "maxLength", "minItems", "maxItems", "uniqueItems"),
)


def encode_tool(tool: Tool) -> JsonObject:
    """A tool with a schema of which the server drops nothing."""
    flat = _Flattening(tool.parameters).flat(tool.parameters)
    told = [tool.description] if tool.description else []
    if isinstance(flat.get("description"), str):
        told.append(f"Parameters: {flat['description']}")  # which has no place of its own there
    choices = [_object(each) for each in _list(flat.get("anyOf"))]
    if any(choice.get("properties") for choice in choices):
        flat = _joined(flat, choices)
        sets = (", ".join(_object(choice.get("properties"))) or "none" for choice in choices)
        told.append(f"Give the parameters of one of these sets: {' | '.join(sets)}.")
    kind = flat.get("type")
    parameters: JsonObject = {
        "type": kind if isinstance(kind, str) else "object",
        "properties": _object(flat.get("properties")),
    }
    if required := flat.get("required"):
        parameters["required"] = required
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": "\n".join(told),
            "parameters": parameters,
        },
    }


def _joined(flat: JsonObject, choices: Sequence[JsonObject]) -> JsonObject:
    """Alternatives at the root, for which the server has no place, as one object.

    It has the parameters of all, and requires what all of them do.
    """
    properties = dict(_object(flat.get("properties")))
    for choice in choices:
        for name, each in _object(choice.get("properties")).items():
            known = properties.setdefault(name, each)
            if known != each:
                before = _list(_object(known).get("anyOf")) or [known]
                properties[name] = {"anyOf": before if each in before else [*before, each]}
    everywhere = [
        name
        for name in _list(choices[0].get("required"))
        if all(name in _list(choice.get("required")) for choice in choices)
    ]
    required = [*_list(flat.get("required")), *everywhere]
    joined: JsonObject = {"properties": properties}
    if required:
        joined["required"] = list(dict.fromkeys(cast("list[str]", required)))
    return joined


class _Flattening:
    """Schemas of one tool without ``$ref``, ``allOf`` and ``oneOf``, and with limits in words.

    A schema that refers to itself ends where it would begin anew, and one that grows too large by
    what it refers to is cut.
    """

    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._left = _MOST_SCHEMAS

    def flat(
        self, schema: JsonObject, depth: int = 0, inside: frozenset[str] = frozenset()
    ) -> JsonObject:
        """``inside``: the references on the way here."""
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            return {"type": "object"}
        refs = _references(schema, self._root)
        if inside & refs:
            again = sorted(refs)[0].rpartition("/")[2]
            return {"type": "object", "description": f"again as above: {again or 'all of it'}"}
        inside |= refs
        schema = _resolved(schema, self._root)
        for part in _list(schema.get("allOf")):
            schema = _merged(schema, self.flat(_object(part), depth + 1, inside))
        flat: JsonObject = {name: schema[name] for name in _KEPT if name in schema}
        if "const" in schema and "enum" not in flat:
            flat["enum"] = [schema["const"]]
        choices = [*_list(schema.get("anyOf")), *_list(schema.get("oneOf"))]
        if choices:
            flat["anyOf"] = [self.flat(_object(each), depth + 1, inside) for each in choices]
        if isinstance(schema.get("items"), dict):
            flat["items"] = self.flat(_object(schema["items"]), depth + 1, inside)
        if isinstance(schema.get("properties"), dict):
            flat["properties"] = {
                name: self.flat(_object(each), depth + 1, inside)
                for name, each in _object(schema["properties"]).items()
            }
        if isinstance(schema.get("required"), list):
            flat["required"] = schema["required"]
        if told := _in_words(schema):
            before = flat.get("description")
            flat["description"] = f"{before} ({told})" if before else told
        return flat


def _references(schema: JsonObject, root: JsonObject) -> frozenset[str]:
    """What a schema refers to, from one reference to the next."""
    found: list[str] = []
    while isinstance(ref := schema.get("$ref"), str) and ref not in found:
        found.append(ref)
        schema = _pointed_at(ref, root)
    return frozenset(found)


def _pointed_at(ref: str, root: JsonObject) -> JsonObject:
    found: JsonValue = root
    for step in ref.removeprefix("#").strip("/").split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        found = found.get(key) if key and isinstance(found, dict) else found
    return _object(found)


def _resolved(schema: JsonObject, root: JsonObject) -> JsonObject:
    """With what its ``$ref`` points to in its place; what stands beside it wins."""
    for _ in range(_DEEPEST):
        ref = schema.get("$ref")
        if not isinstance(ref, str):
            return schema
        beside = {name: value for name, value in schema.items() if name != "$ref"}
        schema = {**_pointed_at(ref, root), **beside}
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

    Looked at are types, required fields, fixed values, alternatives and what is nested in objects
    and lists; enough to see that a server passed over the format, which it does without a word.

    Args:
        schema: ``None`` wants any JSON.
    """
    try:
        value = json.loads(text)
    except ValueError:
        return "it is no JSON"
    except RecursionError:
        return "it is nested too deeply to be read"
    return None if schema is None else _Check(schema).breach(value, schema, "the answer", 0)


class _Check:
    """One answer beside its schema."""

    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._left = _MOST_LOOKS

    def breach(self, value: object, schema: JsonObject, where: str, depth: int) -> str | None:
        self._left -= 1
        if depth > _DEEPEST or self._left < 0:
            return None
        schema = _resolved(schema, self._root)
        wanted = schema.get("type")
        kinds = [kind for kind in _list(wanted) or [wanted] if isinstance(kind, str)]
        if kinds and not any(_is(value, kind) for kind in kinds):
            return f"{where} is no {' or '.join(kinds)}"
        enum = schema.get("enum")
        allowed = [schema["const"]] if "const" in schema else enum
        if isinstance(allowed, list) and not any(_same(value, each) for each in allowed):
            return f"{where} is none of the values allowed"
        return self._of_parts(value, schema, where, depth) or self._nested(
            value, schema, where, depth
        )

    def _of_parts(self, value: object, schema: JsonObject, where: str, depth: int) -> str | None:
        """Schemas about the same value."""
        for part in _list(schema.get("allOf")):
            if found := self.breach(value, _object(part), where, depth + 1):
                return found
        # What is not looked at could tell two of `oneOf` apart, so one that holds is enough.
        for name in ("anyOf", "oneOf"):
            choices = _list(schema.get(name))
            if choices and all(
                self.breach(value, _object(each), where, depth + 1) for each in choices
            ):
                return f"{where} is none of the alternatives"
        return None

    def _nested(self, value: object, schema: JsonObject, where: str, depth: int) -> str | None:
        if isinstance(value, dict):
            for name in _list(schema.get("required")):
                if name not in value:
                    return f"{where} lacks '{name}'"
            for name, inner in _object(schema.get("properties")).items():
                if name in value and isinstance(inner, dict):
                    found = self.breach(value[name], inner, f"'{name}'", depth + 1)
                    if found:
                        return found
        items = schema.get("items")
        if isinstance(value, list) and isinstance(items, dict):
            for each in value:
                if found := self.breach(each, items, f"an item of {where}", depth + 1):
                    return found
        return None


def _same(value: object, other: object) -> bool:
    return isinstance(value, bool) == isinstance(other, bool) and value == other


def _is(value: object, wanted: str) -> bool:
    if wanted in ("integer", "number") and isinstance(value, bool):
        return False
    if wanted == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(wanted, (object,)))
