"""Chat completions: the JSON of a request to a `ChatRequest`. Pure."""

from dataclasses import replace
from typing import Literal, cast

from modelbay.models.chat import (
    AudioPart,
    ChatRequest,
    ContentPart,
    FilePart,
    ImagePart,
    JsonMode,
    JsonSchema,
    Message,
    NamedTool,
    Role,
    TextPart,
    Tool,
)
from modelbay.models.events import Notice, ToolCall
from modelbay.models.frozen import JsonObject
from modelbay_gateway.fields import Fields, made, parse, unsupported, wrong
from modelbay_gateway.openai.chat_call import ChatCall
from modelbay_gateway.openai.functions import Calls, decode_functions
from modelbay_gateway.openai.plain import decode_plain, said
from modelbay_gateway.refusal import Refused

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",  # its older form
}
_ANYTHING: JsonObject = {"type": "object", "properties": {}}

# What most requests do without.
_SELDOM = frozenset(
    (
        "audio",
        "function_call",
        "functions",
        "logprobs",
        "modalities",
        "n",
        "tool_choice",
        "tools",
        "top_logprobs",
    )
)

Choice = Literal["auto", "none", "required"] | NamedTool | None


def decode_chat(body: bytes, *, routing: frozenset[str] = frozenset()) -> ChatCall:
    """The request in a body of ``POST /v1/chat/completions``.

    Fields that are not known here go to `ChatRequest.extra` unchanged.

    Args:
        routing: Flags that a provider may route by (S0-03).

    Raises:
        Refused: It is no such request; the field is named.
    """
    return decode_plain(body, routing) or _decode_any(body, routing)


def _decode_any(body: bytes, routing: frozenset[str]) -> ChatCall:
    fields = parse(body)
    ignored: list[str] = []
    model = fields.text("model") or None
    calls = Calls()
    messages = [
        _plain_message(each) or _message(Fields(each, f"messages[{index}]"), calls, ignored)
        for index, each in enumerate(fields.items("messages") or ())
    ]
    if not messages:
        raise fields.missing("messages")
    stream = fields.flag("stream") or False
    include_usage = asks_for_usage(fields, ignored)
    functions: tuple[list[Tool], Choice] | None = None
    tools: list[Tool] = []
    choice: Choice = None
    if fields.has_any(_SELDOM):
        _refuse_what_answers_cannot_hold(fields)
        functions = decode_functions(fields, ignored)
        tools, choice = _tools(fields, ignored) if functions is None else functions
    limit = fields.whole("max_completion_tokens")
    older_limit = fields.whole("max_tokens")
    max_tokens = older_limit if limit is None else limit
    effort = fields.text("reasoning_effort")
    reasoning = fields.object("reasoning")
    if reasoning is not None:
        effort = effort or reasoning.text("effort")
        ignored += reasoning.unread()
    conversation_id, persist = own_fields(fields)
    request = _request(
        {
            "model": model,
            "messages": messages,
            "tools": tools,
            "tool_choice": choice,
            "temperature": fields.number("temperature"),
            "top_p": fields.number("top_p"),
            "top_k": fields.whole("top_k"),
            # -1: as much as the server gives
            "max_tokens": None if max_tokens == -1 else max_tokens,
            "stop": fields.texts("stop") or [],
            "seed": fields.whole("seed"),
            "response_format": _response_format(fields, ignored),
            "reasoning_effort": effort,
            "routing": routing,
            "stream": stream,
            "extra": fields.rest(),
        }
    )
    return ChatCall(
        request=request,
        model=model,
        include_usage=include_usage,
        conversation_id=conversation_id,
        persist=persist,
        has_functions=functions is not None,
        notices=tuple(dropped(path) for path in ignored),
    )


def _request(values: dict[str, object]) -> ChatRequest:
    """The request of these fields; nearly all of it was checked as it was read.

    What is left is one bound, and how deep fields nobody knows are nested.
    """
    limit, extra = values["max_tokens"], cast("JsonObject", values["extra"])
    is_low = isinstance(limit, int) and limit <= 0
    if is_low or any(isinstance(value, dict | list) for value in extra.values()):
        return made(ChatRequest, **values)
    return ChatRequest.assembled(values)


def asks_for_usage(fields: Fields, ignored: list[str]) -> bool:
    """Whether a stream is to end with a chunk of token counts."""
    options = fields.object("stream_options")
    if options is None:
        return False
    include_usage = options.flag("include_usage") or False
    if options.flag("include_obfuscation"):  # padding there is none of here
        ignored.append(options.where("include_obfuscation"))
    ignored += options.unread()
    return include_usage


def own_fields(fields: Fields) -> tuple[str | None, bool]:
    """The conversation, and whether the turn's model is remembered for it; no provider sees them.

    Taken out of every request, also of those that belong to no conversation.
    """
    conversation_id, persist = fields.text("conversation_id"), fields.flag("persist")
    return conversation_id, persist is not False


def dropped(path: str) -> Notice:
    """A field nobody will see."""
    return Notice("dropped_field", f"{path} was left out: the gateway does not know it")


def _refuse_what_answers_cannot_hold(fields: Fields) -> None:
    refuse_several(fields, "n")
    if fields.flag("logprobs") or fields.whole("top_logprobs"):
        raise unsupported("logprobs", "log probabilities are not passed on", "leave logprobs out")
    modalities = fields.texts("modalities")
    if modalities not in (None, [], ["text"]):
        raise unsupported("modalities", "answers are text alone here", 'send ["text"]')
    if fields.any("audio"):
        raise unsupported("audio", "answers are text alone here", "leave audio out")


def refuse_several(fields: Fields, name: str) -> None:
    """One request gives one answer."""
    wanted = fields.whole(name)
    if wanted is not None and wanted != 1:
        raise unsupported(
            name, f"one request gives one answer; {name} must be 1", "send the request again"
        )


# --- messages -------------------------------------------------------------------------------------


def _plain_message(value: object) -> Message | None:
    """A message of nothing but text, as nearly all are; there is nothing in it to check."""
    if type(value) is not dict or len(value) != 2:
        return None
    role, content = value.get("role"), value.get("content")
    if role not in ("system", "user", "assistant") or type(content) is not str:
        return None
    return said(role, content)


def _message(fields: Fields, functions: Calls, ignored: list[str]) -> Message:
    role = fields.needed_text("role")
    if role not in _ROLES:
        raise Refused(
            "invalid_field",
            f"'{fields.where('role')}' is none of the roles",
            field=fields.where("role"),
            hint=f"one of {', '.join(each for each in _ROLES if each != 'function')}",
        )
    calls: list[ToolCall] = []
    reasoning = None
    if role == "assistant":
        calls = [
            _call(each, index, ignored) for index, each in enumerate(fields.objects("tool_calls"))
        ]
        function = fields.object("function_call")
        if function is not None:
            calls.append(replace(functions.called(function, ignored), index=len(calls)))
        for name in ("reasoning_content", "reasoning"):
            said = fields.any(name)
            if isinstance(said, str):
                reasoning = said if reasoning is None else reasoning
            elif said is not None:
                ignored.append(fields.where(name))
    content = _content(fields, ignored)
    if role == "assistant" and (refusal := fields.text("refusal")):
        if isinstance(content, str):
            content = [TextPart(text=content)] if content else []
        content = [*content, TextPart(text=refusal, refusal=True)]
    call_id = fields.text("tool_call_id")
    if role == "function":
        call_id = call_id or functions.claimed(fields.needed_text("name"))
    message = made(
        Message,
        role=_ROLES[role],
        content=content,
        tool_calls=calls,
        tool_call_id=call_id,
        name=fields.text("name"),
        reasoning=reasoning,
    )
    if role == "tool" and message.tool_call_id is None:
        raise fields.missing("tool_call_id")
    ignored += fields.unread()
    return message


def _content(fields: Fields, ignored: list[str]) -> str | list[ContentPart]:
    raw = fields.any("content")
    if raw is None:
        return ""
    if isinstance(raw, str):
        return raw
    where = fields.where("content")
    if not isinstance(raw, list):
        raise wrong(where, "a string or a list of parts", raw)
    return [_part(Fields(part, f"{where}[{i}]"), ignored) for i, part in enumerate(raw)]


def _part(part: Fields, ignored: list[str]) -> ContentPart:
    kind = part.needed_text("type")
    found: ContentPart
    match kind:
        case "text" | "input_text":
            found = TextPart(text=part.needed_text("text"))
        case "refusal":
            found = TextPart(text=part.needed_text("refusal"), refusal=True)
        case "image_url":
            found = _image(part, ignored)
        case "input_audio":
            audio = part.object("input_audio")
            if audio is None:
                raise part.missing("input_audio")
            found = AudioPart(data=audio.needed_text("data"), format=audio.text("format") or "wav")
            ignored += audio.unread()
        case "file":
            file = part.object("file")
            if file is None:
                raise part.missing("file")
            found = _file(file)
            ignored += file.unread()
        case _:
            where = part.where("type")
            raise Refused(
                "invalid_field",
                f"'{where}' is no known kind of part",
                field=where,
                hint="text, image_url, input_audio or file",
            )
    ignored += part.unread()
    return found


def _image(part: Fields, ignored: list[str]) -> ImagePart:
    raw = part.any("image_url")
    if isinstance(raw, str):  # several programs leave the object out
        return _image_of(raw)
    image = Fields(raw, part.where("image_url")) if raw is not None else None
    if image is None:
        raise part.missing("image_url")
    url, detail = image.needed_text("url"), image.text("detail")
    ignored += image.unread()
    return _image_of(url, detail)


def _image_of(url: str, detail: str | None = None) -> ImagePart:
    split = _data_url(url)
    if split is None:
        return ImagePart(url=url, detail=detail)
    media_type, data = split
    return ImagePart(data=data, media_type=media_type or "image/png", detail=detail)


def _file(file: Fields) -> FilePart:
    if file.has("file_id"):
        raise unsupported(file.where("file_id"), "files are not kept here", "send file_data inline")
    data = file.needed_text("file_data")
    media_type, content = _data_url(data) or ("application/octet-stream", data)
    return FilePart(data=content, media_type=media_type, name=file.text("filename"))


def _data_url(url: str) -> tuple[str, str] | None:
    """Media type and base64 text of a ``data:`` address that holds nothing else."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return None
    media_type = head[len("data:") : -len(";base64")]
    return None if ";" in media_type else (media_type, data)


def _call(fields: Fields, index: int, ignored: list[str]) -> ToolCall:
    kind = fields.text("type") or "function"
    if kind != "function":
        raise unsupported(fields.where("type"), "only calls of functions are known")
    function = fields.object("function")
    if function is None:
        raise fields.missing("function")
    fields.any("index")  # of a chunk that was put back together; the order says the same
    call = ToolCall(
        id=fields.text("id") or "",
        name=function.needed_text("name"),
        arguments=function.text("arguments") or "",
        index=index,
    )
    ignored += fields.unread() + function.unread()
    return call


# --- tools and formats ----------------------------------------------------------------------------


def _tools(fields: Fields, ignored: list[str]) -> tuple[list[Tool], Choice]:
    tools = [_tool(each, ignored) for each in fields.objects("tools")]
    raw = fields.any("tool_choice")
    if not tools:
        if raw not in (None, "auto", "none"):
            ignored.append("tool_choice")
        return [], None  # a choice between no tools is an error at some servers
    if raw is None:
        return tools, None
    if isinstance(raw, str):
        if raw in ("auto", "none", "required"):
            return tools, raw  # type: ignore[return-value] # just looked at
        raise Refused(
            "invalid_field",
            "'tool_choice' is none of auto, none and required",
            field="tool_choice",
            hint='or {"type": "function", "function": {"name": NAME}}',
        )
    choice = Fields(raw, "tool_choice")
    match choice.needed_text("type"):
        case "function":
            function = choice.object("function")
            name = choice.text("name") if function is None else function.needed_text("name")
            if name is None:
                raise choice.missing("function")
            ignored += choice.unread() + ([] if function is None else function.unread())
            return tools, NamedTool(name=name)
        case "allowed_tools":
            return _allowed(tools, choice, ignored)
        case _:
            raise unsupported("tool_choice.type", "only functions can be chosen")


def _allowed(tools: list[Tool], choice: Fields, ignored: list[str]) -> tuple[list[Tool], Choice]:
    """Only some of the tools may be called: only those are offered."""
    inner = choice.object("allowed_tools") or choice
    mode = inner.text("mode") or "auto"
    names = set()
    for each in inner.objects("tools"):
        each.text("type")
        function = each.object("function")
        names.add((function or each).needed_text("name"))
        ignored += each.unread() + ([] if function is None else function.unread())
    ignored += inner.unread() + (choice.unread() if inner is not choice else [])
    return [tool for tool in tools if tool.name in names], (
        "required" if mode == "required" else "auto"
    )


def _tool(fields: Fields, ignored: list[str]) -> Tool:
    kind = fields.text("type") or "function"
    if kind != "function":
        raise unsupported(
            fields.where("type"), f"tools of type '{kind[:40]}' are not known", "offer functions"
        )
    function = fields.object("function")
    if function is None:
        raise fields.missing("function")
    tool = made(
        Tool,
        name=function.needed_text("name"),
        description=function.text("description") or "",
        parameters=function.json("parameters") or {},
        strict=function.flag("strict"),
    )
    ignored += fields.unread() + function.unread()
    return tool


def _response_format(fields: Fields, ignored: list[str]) -> JsonMode | JsonSchema | None:
    found = fields.object("response_format")
    if found is None:
        return None
    match found.needed_text("type"):
        case "text":
            ignored += found.unread()
            return None
        case "json_object":
            schema = found.json("schema")
            ignored += found.unread()
            return JsonMode() if schema is None else _schema({"schema": schema})
        case "json_schema":
            inner = found.object("json_schema")
            if inner is None:
                raise found.missing("json_schema")
            schema = inner.json("schema")
            values: JsonObject = {
                "schema": _ANYTHING if schema is None else schema,
                "name": inner.text("name") or "answer",
                "description": inner.text("description"),
                "strict": inner.flag("strict"),
            }
            ignored += inner.unread() + found.unread()
            return _schema(values)
        case _:
            raise Refused(
                "invalid_field",
                "'response_format.type' is none of text, json_object and json_schema",
                field="response_format.type",
            )


def _schema(values: JsonObject) -> JsonSchema:
    return made(JsonSchema, **values)
