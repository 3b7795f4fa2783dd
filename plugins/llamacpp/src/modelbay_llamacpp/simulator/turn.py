"""What a chat request asks for: the server's checks in its words, and the script of the answer."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelbay_llamacpp.simulator.answer import ApiError, flag_of, items_of, object_of
from modelbay_llamacpp.simulator.model import (
    IMAGE_TOKENS,
    SimulatedModel,
    ToolCall,
    call_text,
    content_text,
    render,
    tokenize,
)
from modelbay_llamacpp.simulator.sampling import (
    Field,
    boolean,
    number,
    settings,
    stop_strings,
    token_limit,
)
from modelbay_llamacpp.simulator.script import Script, chat_script, text_script, thought_only

_IMAGE_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF")
_SCHEMA_TYPES = {"object", "array", "string", "number", "integer", "boolean", "null"}
_REASONING_FORMATS = ("auto", "none", "deepseek", "deepseek-legacy")


@dataclass(frozen=True, slots=True)
class Turn:
    """A chat request, understood.

    Attributes:
        prompt: The rendered text.
        tokens: Its token ids, images included.
        limit: Most tokens to make, -1 without limit.
    """

    prompt: str
    tokens: list[int]
    script: Script
    settings: dict[str, object]
    limit: int
    stop: list[str]
    n: int
    endless: bool
    logprobs: int
    stream: bool
    include_usage: bool
    timings_per_token: bool
    return_progress: bool
    ping_s: float | None
    reasoning_control: bool
    pin: int


def prompt_of(model: SimulatedModel, body: Mapping[str, object]) -> tuple[str, list[int]]:
    """The prompt of a chat request and its tokens, as ``/apply-template`` and the counters see it.

    Raises:
        ApiError: As a chat would.
    """
    messages = _messages(body)
    images = _check_content(model, messages)
    _check_tools(model, body)
    text = render(
        model,
        messages,
        items_of(body, "tools"),
        thinking=_thinking(body),
        prefill=_prefilled(body, messages) is not None,
    )
    return text, tokenize(text) + [0] * (images * IMAGE_TOKENS)


def read_turn(model: SimulatedModel, body: Mapping[str, object], slots: int) -> Turn:
    """Check a chat request.

    Raises:
        ApiError: In the order and the words of the server.
    """
    _check_jinja(model, body)
    form = _constraint(body)
    if body.get("reasoning_format") not in (None, *_REASONING_FORMATS):
        raise ApiError(500, f"Unknown reasoning format: {body['reasoning_format']}")
    prompt, tokens = prompt_of(model, body)
    tools = items_of(body, "tools")
    stream = boolean(body, "stream")
    logprobs = _logprobs(body, bool(tools) and stream)
    echo = settings(body, chat_format="peg-native" if model.tools else "Content-only", full=True)
    return Turn(
        prompt=prompt,
        tokens=tokens,
        script=_script(model, body, form),
        settings=echo,
        limit=token_limit(body),
        stop=stop_strings(body),
        n=int(number(body, "n", Field(1, 1, slots, hard=True), whole=True)),
        endless=model.endless or flag_of(body, "ignore_eos"),
        logprobs=logprobs,
        stream=stream,
        include_usage=flag_of(object_of(body, "stream_options"), "include_usage"),
        timings_per_token=boolean(body, "timings_per_token"),
        return_progress=boolean(body, "return_progress"),
        ping_s=(
            number(body, "sse_ping_interval", Field(0))
            if body.get("sse_ping_interval") is not None
            else None
        ),
        reasoning_control=flag_of(body, "reasoning_control"),
        pin=int(number(body, "id_slot", Field(-1), whole=True)),
    )


# messages


def _messages(body: Mapping[str, object]) -> list[Mapping[str, object]]:
    messages = body.get("messages")
    if messages is None:
        raise ApiError(400, "'messages' is required")
    if not isinstance(messages, list):
        raise ApiError(400, "Expected 'messages' to be an array")
    checked: list[Mapping[str, object]] = []
    for message in messages:
        if not isinstance(message, dict):
            raise ApiError(500, "Failed to parse messages: Expected 'message' to be an object")
        role = message.get("role")
        if role is None:
            shown = json.dumps(message, separators=(",", ":"), ensure_ascii=False)
            raise ApiError(500, f"Failed to parse messages: Missing 'role' in message: {shown}")
        if role != "assistant" and "content" not in message:
            raise ApiError(400, "All non-assistant messages must contain 'content'")
        checked.append(message)
    return checked


def _check_content(model: SimulatedModel, messages: Sequence[Mapping[str, object]]) -> int:
    """Raises for media the model cannot take. Returns the number of images."""
    images = 0
    for message in messages:
        for part in items_of(message, "content"):
            kind = part.get("type") if isinstance(part, dict) else None
            if kind == "text":
                continue
            if kind == "image_url" and isinstance(part, dict):
                _check_image(model, object_of(part, "image_url").get("url"))
                images += 1
            elif kind == "input_audio":
                if not model.audio:
                    raise _unsupported("audio")
            elif kind in ("input_video", "video_url"):
                if not model.vision:
                    raise _unsupported("video")
            else:
                raise ApiError(400, "unsupported content[].type")
    return images


def _unsupported(what: str) -> ApiError:
    hint = "hint: if this is unexpected, you may need to provide the mmproj"
    return ApiError(500, f"{what} input is not supported - {hint}")


def _check_image(model: SimulatedModel, url: object) -> None:
    if not model.vision:
        raise _unsupported("image")
    text = url if isinstance(url, str) else ""
    if text.startswith(("http://", "https://")):
        raise ApiError(500, "error: cannot make GET request")  # a simulator fetches nothing
    if text.startswith("file://"):
        raise ApiError(400, "file:// URLs are not allowed unless --media-path is specified")
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.startswith("data:image/") or not head.endswith("base64"):
            raise ApiError(400, f"Invalid uri format: {head}")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data.startswith(_IMAGE_MAGIC):
        raise ApiError(400, "Failed to load image or audio file")


def _prefilled(body: Mapping[str, object], messages: Sequence[Mapping[str, object]]) -> str | None:
    """The text of a last assistant message, which is continued; None without one."""
    if not messages or messages[-1].get("role") != "assistant":
        return None
    if len(messages) > 1 and messages[-2].get("role") == "assistant":
        raise ApiError(400, "Cannot have 2 or more assistant messages at the end of the list.")
    if items_of(messages[-1], "tool_calls"):
        raise ApiError(400, "Cannot continue an assistant message that has tool calls.")
    asked = body.get("continue_final_message")
    if asked not in (None, False) and body.get("add_generation_prompt") is not False:
        raise ApiError(
            400, "Cannot set both add_generation_prompt and continue_final_message to true."
        )
    return content_text(messages[-1])


def _thinking(body: Mapping[str, object]) -> bool:
    enabled = object_of(body, "chat_template_kwargs").get("enable_thinking")
    if enabled is not None and not isinstance(enabled, bool):
        kind = "string" if isinstance(enabled, str) else "number"
        raise ApiError(400, f'invalid type for "enable_thinking" (expected boolean, got {kind})')
    return enabled is not False and body.get("reasoning_effort") != "none"


# tools


def _check_jinja(model: SimulatedModel, body: Mapping[str, object]) -> None:
    if model.jinja:
        return
    if items_of(body, "tools"):
        raise ApiError(500, "tools param requires --jinja flag")
    if body.get("tool_choice") not in (None, "auto"):
        raise ApiError(500, "tool_choice param requires --jinja flag")


def _check_tools(model: SimulatedModel, body: Mapping[str, object]) -> None:
    tools = body.get("tools")
    if tools is None:
        return
    if not isinstance(tools, list):
        shown = json.dumps(tools)
        raise ApiError(
            500,
            f"Failed to parse tools: Expected 'tools' to be an array, got {shown}; tools = {shown}",
        )
    for tool in tools:
        if not isinstance(tool, dict) or "type" not in tool:
            shown = json.dumps(tool, separators=(",", ":"))
            listed = json.dumps(tools, indent=2)
            raise ApiError(
                500, f"Failed to parse tools: Missing tool type: {shown}; tools = {listed}"
            )
    choice = body.get("tool_choice")
    if isinstance(choice, str) and choice not in ("auto", "none", "required"):
        raise ApiError(400, f"Invalid tool_choice: {choice}")
    if tools and body.get("grammar"):
        raise ApiError(400, "Cannot use custom grammar constraints with tools.")


def _calls(model: SimulatedModel, body: Mapping[str, object]) -> list[ToolCall]:
    """The calls the model makes, whether or not anybody offered tools."""
    messages = items_of(body, "messages")
    last = messages[-1] if messages else None
    after_result = isinstance(last, dict) and last.get("role") == "tool"
    calls = [] if after_result and model.answer else list(model.tool_calls)
    if not calls and model.tools and body.get("tool_choice") == "required":
        calls = [_forced_call(items_of(body, "tools"))] if items_of(body, "tools") else []
    if body.get("parallel_tool_calls") is False:
        del calls[1:]
    return calls


def _forced_call(tools: Sequence[object]) -> ToolCall:
    """A grammar makes any model call something: the first tool, with the smallest arguments."""
    first = tools[0] if isinstance(tools[0], dict) else {}
    function = object_of(first, "function")
    arguments = _smallest(object_of(function, "parameters"))
    return ToolCall(str(function.get("name", "")), json.dumps(arguments))


# constraints


def _constraint(body: Mapping[str, object]) -> Mapping[str, object] | str | None:
    """A JSON schema, a grammar as text, or None.

    Raises:
        ApiError: For what cannot be converted.
    """
    grammar, schema = body.get("grammar"), body.get("json_schema")
    if grammar is not None and schema is not None:
        raise ApiError(500, "Cannot use both json_schema and grammar")
    form = object_of(body, "response_format")
    kind = form.get("type", "text")
    if kind == "json_object":
        schema = object_of(form, "schema")
    elif kind == "json_schema":
        # A schema one level too high is not seen: any object will do.
        schema = object_of(object_of(form, "json_schema"), "schema")
    elif kind != "text":
        raise ApiError(
            400,
            f'response_format type must be one of "text" or "json_object", but got: {kind}',
        )
    if isinstance(schema, dict):
        declared = schema.get("type")
        if isinstance(declared, str) and declared not in _SCHEMA_TYPES:
            raise ApiError(
                400,
                "Unable to generate parser for this template. Automatic parser generation failed: "
                f"JSON schema error at #: unrecognized type {declared}",
            )
        return schema
    if isinstance(grammar, str) and grammar:
        if grammar.count("(") != grammar.count(")"):
            raise ApiError(400, "Failed to initialize samplers: failed to parse grammar")
        return grammar
    return None


def _constrained_text(model: SimulatedModel, form: Mapping[str, object] | str) -> str:
    if isinstance(form, str):
        words = form.split('"')
        return words[1] if len(words) > 2 else model.answer
    return model.json_answer or json.dumps(_smallest(form))


def _smallest(schema: Mapping[str, object]) -> object:
    """The smallest value a schema allows; required properties only."""
    choices = items_of(schema, "enum")
    if choices:
        return choices[0]
    if "const" in schema:
        return schema["const"]
    match schema.get("type", "object"):
        case "object":
            properties = object_of(schema, "properties")
            names = [n for n in items_of(schema, "required") if isinstance(n, str)]
            return {name: _smallest(object_of(properties, name)) for name in names}
        case "array":
            return []
        case "string":
            return ""
        case "boolean":
            return False
        case "integer" | "number":
            return schema.get("minimum", 0)
        case _:
            return None


def _script(
    model: SimulatedModel, body: Mapping[str, object], form: Mapping[str, object] | str | None
) -> Script:
    tools, calls = items_of(body, "tools"), _calls(model, body)
    if tools and isinstance(form, Mapping):
        return _clash(model, body, calls)
    messages = [m for m in items_of(body, "messages") if isinstance(m, dict)]
    prefill = _prefilled(body, messages)
    budget = number(
        body,
        "reasoning_budget_tokens"
        if body.get("reasoning_budget_tokens") is not None
        else "thinking_budget_tokens",
        Field(-1),
        whole=True,
    )
    if form is not None:
        calls = []
    said = model.answer if model.says is None else model.says(messages)
    script = chat_script(
        model,
        content=said if form is None else _constrained_text(model, form),
        calls=calls,
        parse_calls=bool(tools) and model.tools and body.get("tool_choice") != "none",
        think=_thinking(body) and prefill is None,
        budget=int(budget),
        split=body.get("reasoning_format") != "none",
        ends=not model.endless,
    )
    if prefill is None:
        return script
    return Script(
        script.steps,
        script.finish,
        script.ends,
        prefill,
        prefill_streamed=not body.get("continue_final_message"),
    )


def _clash(model: SimulatedModel, body: Mapping[str, object], calls: list[ToolCall]) -> Script:
    """Tools and a response format at once: the parsing goes wrong (source: recorded)."""
    if not model.tools:
        if body.get("tool_choice") == "required":
            raise ApiError(
                500, "The model produced output that does not match the expected peg-native format"
            )
        return text_script(model.answer, ends=not model.endless)
    return thought_only("\n".join(map(call_text, calls)) or model.answer)


def _logprobs(body: Mapping[str, object], tools_and_stream: bool) -> int:
    """How many alternatives to show for each token; 0: no logprobs."""
    wanted = boolean(body, "logprobs")
    if body.get("top_logprobs") is not None and not wanted:
        raise ApiError(400, "top_logprobs requires logprobs to be set to true")
    if wanted and tools_and_stream:
        raise ApiError(400, "logprobs is not supported with tools + stream")
    top = number(body, "top_logprobs", Field(20), whole=True)
    return int(top) if wanted else 0
