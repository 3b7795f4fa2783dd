"""`options` and `format`: names, types, and which of them a runner is loaded with."""

from collections.abc import Mapping
from typing import Literal

from modelbay_ollama.simulator.answer import ApiError, Json

Kind = Literal["integer", "float32", "boolean", "array"]

OPTIONS: Mapping[str, Kind] = {
    "num_ctx": "integer",
    "num_batch": "integer",
    "num_gpu": "integer",
    "main_gpu": "integer",
    "use_mmap": "boolean",
    "num_thread": "integer",
    "draft_num_predict": "integer",
    "num_keep": "integer",
    "seed": "integer",
    "num_predict": "integer",
    "temperature": "float32",
    "top_k": "integer",
    "top_p": "float32",
    "min_p": "float32",
    "typical_p": "float32",
    "repeat_last_n": "integer",
    "repeat_penalty": "float32",
    "presence_penalty": "float32",
    "frequency_penalty": "float32",
    "stop": "array",
}
LOAD_OPTIONS = ("num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict")
"""Options a runner is loaded with, beside the window: another value means another load."""


def read_options(given: Mapping[str, object]) -> Json:
    """The options that count: known ones that are not null; integers cut.

    Raises:
        ApiError: 500 for a wrong type, which is how the server reports it.
    """
    options: Json = {}
    for name, value in given.items():
        kind = OPTIONS.get(name)
        if kind is None or value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        right = {
            "integer": number,
            "float32": number,
            "boolean": isinstance(value, bool),
            "array": isinstance(value, list),
        }[kind]
        if not right:
            raise ApiError(500, f'option "{name}" must be of type {kind}')
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise ApiError(500, f'option "{name}" must be of an array of strings')
        if kind == "integer" and isinstance(value, float):
            value = int(value)
        options[name] = value
    return options


def number_option(options: Mapping[str, object], name: str) -> int | None:
    value = options.get(name)
    return int(value) if isinstance(value, int | float) else None


def read_format(value: object) -> Json | Literal["json"] | None:
    """The constraint; None: none.

    Raises:
        ApiError: 500 for what is neither "json" nor a schema.
    """
    if value is None or value == "":
        return None
    if value == "json":
        return "json"
    if isinstance(value, dict):
        return value
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    raise ApiError(500, f'invalid format: {shown}; expected "json" or a valid JSON Schema object')


def smallest(schema: Mapping[str, object]) -> object:
    """The smallest value that a schema allows; of an object, the required properties."""
    choices = schema.get("enum")
    if isinstance(choices, list) and choices:
        return choices[0]
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type", "object" if "properties" in schema else None)
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "object":
            properties = schema.get("properties")
            known = properties if isinstance(properties, dict) else {}
            required = schema.get("required")
            names = required if isinstance(required, list) else []
            return {n: smallest(known[n]) if n in known else "" for n in names}
        case "array":
            return []
        case "string":
            return ""
        case "boolean":
            return False
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "null":
            return None
        case _:
            return {}
