"""Tool definitions and calls as they cross the server: what survives, and what is refused."""

from collections.abc import Mapping

from modelbay_ollama.simulator.answer import ApiError, Json

_PARAMETERS = ("type", "properties", "required", "items", "$defs")
_PROPERTY = ("type", "description", "enum", "anyOf", "items", "properties", "required")


def read_tools(given: list[object]) -> list[Json]:
    """The tools as the model gets to see them: everything else is dropped on the way.

    Raises:
        ApiError: 400 for another shape.
    """
    return [_tool(tool) for tool in given]


def _tool(tool: object) -> Json:
    known = _object(tool, "tools")
    function = _object(known.get("function", {}), "tools.function")
    seen: Json = {name: function[name] for name in ("name", "description") if name in function}
    parameters = _object(function.get("parameters", {}), "tools.function.parameters")
    kept = _keep(parameters, _PARAMETERS)
    if "properties" in kept:
        kept["properties"] = _properties(kept["properties"])
    return {"type": known.get("type", "function"), "function": {**seen, "parameters": kept}}


def _properties(given: object) -> Json:
    found: Json = {}
    for name, value in _object(given, "tools.function.parameters.properties").items():
        kept = _keep(_object(value, "tools.function.parameters.properties"), _PROPERTY)
        if "properties" in kept:
            kept["properties"] = _properties(kept["properties"])
        found[name] = kept
    return found


def _keep(given: Mapping[str, object], names: tuple[str, ...]) -> Json:
    return {name: given[name] for name in names if name in given}


def check_calls(given: object) -> None:
    """Tool calls of a message in the history.

    Raises:
        ApiError: 400, above all for arguments that are a string.
    """
    if not isinstance(given, list):
        raise _unfit(given, "messages.tool_calls", "[]api.ToolCall")
    for call in given:
        function = _object(_object(call, "messages.tool_calls").get("function", {}), "function")
        arguments = function.get("arguments")
        if arguments is not None and not isinstance(arguments, dict):
            where = "messages.tool_calls.function.arguments"
            raise _unfit(arguments, where, "api.ToolCallFunctionArguments")


def _object(value: object, where: str) -> Json:
    if isinstance(value, dict):
        return value
    raise _unfit(value, where, "map[string]interface {}")


def _unfit(value: object, where: str, wanted: str) -> ApiError:
    kinds = {str: "string", bool: "bool", int: "number", float: "number", list: "array"}
    got = kinds.get(type(value), "object")
    return ApiError(
        400, f"json: cannot unmarshal {got} into Go struct field .{where} of type {wanted}"
    )
