"""The JSON Schema of ``providers.json``, made from the models that read it. Pure."""

from typing import Any

from modelbay.config import EXAMPLE
from modelbay.models.provider import ProviderConfig

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFUSED = ("source", "implicit")  # a plugin's word on its own proposals
_ID = "^[A-Za-z0-9][A-Za-z0-9._-]*$"
_DSN = "^[A-Za-z][A-Za-z0-9.-]*://"
_ADDRESS = f"^$|{_DSN}"  # plain http and https, or a provider in one line
_DESCRIPTIONS = {
    "id": "The part of a model's id before the slash.",
    "kind": "The backend software: the name of an installed plugin.",
    "label": "What people read instead of the id.",
    "baseUrl": "Where the server answers; without a path such as /v1. Or KIND://TOKEN@HOST:PORT.",
    "apiKey": "The key itself; apiKeyEnv or `modelbay keys set` keep it out of this file.",
    "apiKeyEnv": "Name of the variable that holds the key.",
    "headers": "Sent with every request.",
    "probeTimeoutS": "Seconds one look at this provider may take.",
    "firstByteTimeoutS": "Seconds an answer's head may take.",
    "idleTimeoutS": "Seconds between two pieces of a running stream.",
    "requestTimeoutS": "Seconds a whole request may take.",
    "enabled": "false leaves the provider out.",
    "models": "What you know of the models whose name matches a glob pattern.",
}


def schema() -> dict[str, Any]:
    """The whole schema, as JSON values.

    A provider's further keys (``sidecarUrl``, ...) are its plugin's and are let through.
    """
    provider = _plain(ProviderConfig.model_json_schema(by_alias=True))
    definitions: dict[str, Any] = provider.pop("$defs", {})
    properties: dict[str, Any] = provider["properties"]
    for name in _REFUSED:
        properties.pop(name, None)
    for name, text in _DESCRIPTIONS.items():
        properties[name] = {**properties[name], "description": text}
    properties["id"]["pattern"] = _ID
    properties["baseUrl"]["pattern"] = _ADDRESS
    definitions["Provider"] = {
        "type": "object",
        "description": "One provider. Keys that are not listed here are read by its plugin.",
        "properties": properties,
        # With a DSN as its address an entry needs neither.
        "if": {"properties": {"baseUrl": {"pattern": "^https?://|^$"}}},
        "then": {"required": ["kind", "id"]},
        "propertyNames": {"allOf": [{"not": {"pattern": "_"}}, {"not": {"enum": [*_REFUSED]}}]},
        "additionalProperties": True,
    }
    return {
        "$schema": DIALECT,
        "title": "providers.json",
        "description": f"The configuration of modelbay, for example {EXAMPLE}",
        "type": "object",
        "properties": {
            "$schema": {"type": "string"},
            "defaultProvider": {
                "type": ["string", "null"],
                "description": "The id of the provider that models without a prefix belong to.",
            },
            "defaultModel": {
                "type": ["string", "null"],
                "description": "PROVIDER/MODEL: answers where no model is named.",
            },
            "providers": {
                "type": "array",
                "items": {
                    "anyOf": [
                        {"$ref": "#/$defs/Provider"},
                        {
                            "type": "string",
                            "pattern": _DSN,
                            "description": "KIND://TOKEN@HOST:PORT/PATH#ID",
                        },
                    ]
                },
            },
            "wrappers": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Installed wrappers that are switched on, each NAME or"
                " NAME:SETTINGS, the outermost first.",
            },
        },
        "additionalProperties": False,
        "$defs": definitions,
    }


def _plain(node: Any) -> Any:
    """The schema without titles made from names, and of docstrings their first line."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {}
    for name, value in node.items():
        if name == "title" and isinstance(value, str):
            continue
        if name == "description" and isinstance(value, str):
            kept[name] = value.splitlines()[0].replace("``", "")
        else:
            kept[name] = _plain(value)
    return kept
