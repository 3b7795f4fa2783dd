"""``GET /openapi.json``: what the gateway answers, made from its routes and their types."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias

from pydantic import JsonValue, TypeAdapter
from starlette.routing import BaseRoute, Route

from modelbay.models.frozen import JsonObject
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call, Endpoint
from modelbay_gateway.front import OPEN, VERSION
from modelbay_gateway.json_line import to_json
from modelbay_gateway.own import protocols
from modelbay_gateway.own.envelope import ErrorResponse
from modelbay_gateway.own.operation import Operation
from modelbay_gateway.page.surface import PREFIX as PAGE

Schema: TypeAlias = dict[str, Any]  # JSON, as pydantic writes it
Mode: TypeAlias = Literal["validation", "serialization"]
Schemas: TypeAlias = Mapping[tuple[str, Mode], Schema]

_REF = "#/components/schemas/{model}"


class Described(Endpoint):
    """The endpoint of an operation, which tells what it is."""

    __slots__ = ("operation",)

    def __init__(self, bay: Bay, operation: Operation) -> None:
        super().__init__(partial(operation.answer, bay))
        self.operation = operation


async def document(bay: Bay, call: Call) -> None:
    """The document; its paths are the routes of this very gateway."""
    await call.reply(to_json(described(call.scope["router"].routes)))


DESCRIPTION = Operation(
    "GET", "/openapi.json", document, "any", "This document.", dict[str, JsonValue]
)


def described(routes: Sequence[BaseRoute]) -> JsonObject:
    """An OpenAPI 3.2 document about these routes."""
    served = list(_served(routes))
    own = [route.endpoint.operation for route, _ in served if isinstance(route.endpoint, Described)]
    schemas, components = _schemas(own)
    paths: dict[str, Schema] = {}
    for route, method in served:
        path = route.path_format
        if isinstance(route.endpoint, Described):
            about = _about(route.endpoint.operation, schemas)
        else:
            about = protocols.about(method, path)
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            for name in route.param_convertors
        ]
        about["parameters"] = parameters + about.get("parameters", [])
        if path in OPEN or path.startswith(PAGE):
            about["security"] = []
        # Two protocols may share a path, told apart by a header; the first one is described.
        paths.setdefault(path, {}).setdefault(method.lower(), about)
    return {
        "openapi": "3.2.0",
        "info": {"title": "modelbay", "version": VERSION},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components,
            "responses": {str(status): _refusal(status) for status in protocols.REFUSALS},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        # Without any key on this machine alone.
        "security": [{"key": []}, {}],
    }


def _served(routes: Sequence[BaseRoute]) -> Iterator[tuple[Route, str]]:
    for route in routes:
        if isinstance(route, Route):
            methods = sorted(route.methods or ())
            # HEAD comes with every GET.
            yield from ((route, each) for each in methods if each != "HEAD" or len(methods) == 1)


def _schemas(own: Sequence[Operation]) -> tuple[Schemas, Schema]:
    """The schemas of what operations take and give, and the components these refer to."""
    wanted: list[tuple[str, Mode, TypeAdapter[Any]]] = [
        ("refusal", "serialization", TypeAdapter(ErrorResponse))
    ]
    for each in own:
        wanted.append((_name(each), "serialization", TypeAdapter(each.gives)))
        if each.takes is not None:
            wanted.append((_name(each), "validation", TypeAdapter(each.takes)))
    schemas, definitions = TypeAdapter.json_schemas(wanted, by_alias=False, ref_template=_REF)
    components: Schema = definitions["$defs"]
    for each in own:
        for name, schema in each.also.items():
            for part in schemas[_name(each), "validation"]["oneOf"]:
                components[part["$ref"].rpartition("/")[2]]["properties"][name] = schema
    return schemas, components


def _name(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


def _about(operation: Operation, schemas: Schemas) -> Schema:
    gives = schemas[_name(operation), "serialization"]
    about: Schema = {
        "summary": operation.summary,
        "tags": ["modelbay"],
        "x-scope": operation.scope,
        "parameters": [
            {
                "name": each.name,
                "in": "query",
                "required": each.required,
                "schema": each.schema,
                "description": each.description,
            }
            for each in operation.query
        ],
        "responses": {
            "200": {
                "description": protocols.ANSWERS[operation.form],
                "content": {protocols.TYPES[operation.form]: _media(operation, gives)},
            }
        },
    }
    if operation.takes is not None:
        takes = schemas[_name(operation), "validation"]
        about["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": takes}},
        }
    for status in sorted({*protocols.ALWAYS, *operation.statuses}):
        about["responses"][str(status)] = {"$ref": f"#/components/responses/{status}"}
    return about


def _media(operation: Operation, gives: Schema) -> Schema:
    if operation.form == "events":
        return protocols.events(gives)
    return {"schema": gives}


def _refusal(status: int) -> Schema:
    return {
        "description": protocols.REFUSALS[status],
        "content": {"application/json": {"schema": {"$ref": _REF.format(model="ErrorResponse")}}},
    }
