"""What the server refuses, in the order it looks, in its own words. Pure.

The words were read from published probes of the real API; see the tests of the simulator.
"""

import re
from dataclasses import dataclass

from modelbay_deepseek.simulator.knobs import Knobs

LISTED = ("deepseek-flash", "deepseek-v4-pro")
CALLABLE = (*LISTED, "deepseek-v4-flash", "deepseek-v4-flash-vision-exp")
CONTEXT = 1_048_576
MOST_OUTPUT = 393_216

_DESERIALIZE = "Failed to deserialize the JSON body into the target type: "
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
ROLES = ("system", "user", "assistant", "tool", "latest_reminder")
PASSBACK = "The `reasoning_content` in the thinking mode must be passed back to the API."
ORPHAN = "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
UNANSWERED = (
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
    " 'tool_call_id'"
)

Body = dict[str, object]
Messages = list[Body]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error answer of the server."""

    message: str
    status: int = 400
    type: str = "invalid_request_error"


def is_thinking(body: Body) -> bool:
    switch = body.get("thinking")
    if isinstance(switch, dict) and switch.get("type") == "disabled":
        return False
    return body.get("reasoning_effort") != "none"


def check_chat(body: Body, knobs: Knobs, prompt_tokens: int) -> str | None:
    """Why a chat is refused; ``None`` if it is not."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return f"{_DESERIALIZE}missing field `messages`"
    for check in (_types, _model, _stream, _json_word, _ranges, _logprobs):
        why = check(body, messages)
        if why is not None:
            return why
    asked = body.get("max_tokens")
    if isinstance(asked, int) and prompt_tokens + asked > CONTEXT:
        return (
            f"This model's maximum context length is {CONTEXT} tokens. However, you requested"
            f" {prompt_tokens + asked} tokens ({prompt_tokens} in the messages, {asked} in the"
            " completion). Please reduce the length of the messages or completion."
        )
    return _tool_chain(messages) or _thinking_rules(body, messages, knobs)


def _types(body: Body, messages: Messages) -> str | None:
    effort = body.get("reasoning_effort")
    if effort is not None and effort not in EFFORTS:
        return f"{_DESERIALIZE}{_variant('reasoning_effort: ', effort, EFFORTS)} at line 1 column 1"
    for number, message in enumerate(messages):
        where = f"messages[{number}]: "
        role = message.get("role")
        if role not in ROLES:
            return f"{_DESERIALIZE}{_variant(f'{where}role: ', role, ROLES)}"
        if role == "tool" and not isinstance(message.get("tool_call_id"), str):
            return f"{_DESERIALIZE}{where}missing field `tool_call_id`"
        if role != "user" and not isinstance(message.get("content"), str | None):
            return f"{_DESERIALIZE}{where}invalid type: sequence, expected a string"
        if role == "assistant" and message.get("content") is None and not message.get("tool_calls"):
            return "Invalid assistant message: content or tool_calls must be set"
    top = body.get("top_logprobs")
    if isinstance(top, int) and top < 0:
        return f"{_DESERIALIZE}top_logprobs: invalid value: integer `{top}`, expected u8"
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if not isinstance(tool, dict) or tool.get("type") != "function":
            kind = tool.get("type") if isinstance(tool, dict) else tool
            return f"{_DESERIALIZE}{_variant('tools[0].type: ', kind, ('function',))}"
    shape = body.get("response_format")
    if isinstance(shape, dict) and shape.get("type") not in ("text", "json_object"):
        wanted = ("text", "json_object")
        return f"{_DESERIALIZE}{_variant('response_format.type: ', shape.get('type'), wanted)}"
    return None


def _variant(where: str, value: object, known: tuple[str, ...]) -> str:
    expected = ", ".join(f"`{name}`" for name in known)
    return f"{where}unknown variant `{value}`, expected one of {expected}"


def _model(body: Body, _: Messages) -> str | None:
    model = body.get("model")
    if model in CALLABLE:
        return None
    return f"The supported API model names are {', '.join(LISTED)}, but you passed {model}."


def _stream(body: Body, _: Messages) -> str | None:
    if body.get("stream_options") is not None and not body.get("stream"):
        return "stream_options should be set along with stream = true"
    return None


def _json_word(body: Body, messages: Messages) -> str | None:
    shape = body.get("response_format")
    if not isinstance(shape, dict) or shape.get("type") != "json_object":
        return None
    if any("json" in str(message.get("content")).lower() for message in messages):
        return None
    return (
        "Prompt must contain the word 'json' in some form to use 'response_format' of type"
        " 'json_object'."
    )


def _ranges(body: Body, _: Messages) -> str | None:
    temperature, top_p = body.get("temperature"), body.get("top_p")
    if isinstance(temperature, (int, float)) and not 0 <= temperature <= 2:
        return "Invalid temperature value, the valid range of temperature is [0, 2]"
    if isinstance(top_p, (int, float)) and not 0 < top_p <= 1:
        return "Invalid top_p value, the valid range of top_p is (0, 1.0]"
    stop = body.get("stop")
    if isinstance(stop, list) and len(stop) > 16:
        return f"Stop string array too long: {len(stop)}"
    asked = body.get("max_tokens")
    if isinstance(asked, int) and not 1 <= asked <= MOST_OUTPUT:
        return f"Invalid max_tokens value, the valid range of max_tokens is [1, {MOST_OUTPUT}]"
    return None


def _logprobs(body: Body, _: Messages) -> str | None:
    top = body.get("top_logprobs")
    if not isinstance(top, int):
        return None
    if top > 20:
        return "Invalid top_logprobs value, the valid range of top_logprobs is [0, 20]."
    if body.get("logprobs") is not True:
        return (
            "Invalid top_logprobs and logprobs value, logprobs must be set to true if"
            " top_logprobs is used."
        )
    return None


def _tool_chain(messages: Messages) -> str | None:
    """Each call is answered once, directly after the message that made it."""
    open_ids: list[str] = []
    answered = False
    for message in messages:
        if message.get("role") == "tool":
            wanted = str(message["tool_call_id"])
            if wanted not in open_ids:
                return f"{UNANSWERED}, {_missing(open_ids)}" if open_ids else ORPHAN
            open_ids.remove(wanted)
            answered = True
            continue
        if open_ids:
            if answered:
                return f"{UNANSWERED}, {_missing(open_ids)}"
            return f"{UNANSWERED}. (insufficient tool messages following tool_calls message)"
        calls = message.get("tool_calls")
        open_ids = [str(call.get("id")) for call in calls] if isinstance(calls, list) else []
        answered = False
    if open_ids:
        return f"{UNANSWERED}. (insufficient tool messages following tool_calls message)"
    return None


def _missing(ids: list[str]) -> str:
    return f"The following tool_call_ids did not have response messages: {', '.join(ids)}"


def _thinking_rules(body: Body, messages: Messages, knobs: Knobs) -> str | None:
    if not is_thinking(body):
        return None
    if body.get("tool_choice") == "required" or isinstance(body.get("tool_choice"), dict):
        return "Thinking mode does not support this tool_choice"
    if body.get("model") == "deepseek-v4-flash-vision-exp" or knobs.passback == "off":
        return None
    answers = [m for m in messages if m.get("role") == "assistant" and m.get("prefix") is not True]
    if knobs.passback == "documented":
        checked = answers if body.get("tools") else []
    else:
        checked = answers[-1:] if messages[-1].get("role") == "tool" else []
    if any(not isinstance(answer.get("reasoning_content"), str) for answer in checked):
        return PASSBACK
    return None


_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_TYPES = ("object", "string", "number", "integer", "boolean", "array", "null")
_FORMATS = ("email", "hostname", "ipv4", "ipv6", "uuid")
_NOT_ALLOWED = ("minLength", "maxLength", "minItems", "maxItems")


def check_strict(body: Body) -> str | None:
    """Why strict tools are refused; checked at the beta address only."""
    tools = body.get("tools")
    functions = [tool["function"] for tool in tools] if isinstance(tools, list) else []
    strict = [function.get("strict") is True for function in functions]
    if not any(strict):
        return None
    if not all(strict):
        return "Invalid tools: all functions must have strict set to true"
    for function in functions:
        if not _NAME.fullmatch(str(function.get("name"))):
            return f"Invalid tools: function name {function.get('name')!r}"
        why = _schema(function.get("parameters") or {})
        if why is not None:
            return f"Invalid strict schema of function {function['name']}: {why}"
    return None


def _schema(schema: object) -> str | None:
    if not isinstance(schema, dict):
        return "a schema is an object"
    for name in _NOT_ALLOWED:
        if name in schema:
            return f"{name} is not supported"
    kind = schema.get("type")
    if kind is not None and kind not in _TYPES:
        return f"type {kind} is not supported"
    if "format" in schema and schema["format"] not in _FORMATS:
        return f"format {schema['format']} is not supported"
    inner = list(schema.get("anyOf", ()))
    if kind == "object":
        properties = schema.get("properties", {})
        if set(schema.get("required", ())) != set(properties):
            return "all properties must be required"
        if schema.get("additionalProperties") is not False:
            return "additionalProperties must be false"
        inner += properties.values()
    if kind == "array":
        inner.append(schema.get("items", {}))
    inner += (schema.get("$defs") or schema.get("$def") or {}).values()
    return next((why for one in inner if (why := _schema(one)) is not None), None)
