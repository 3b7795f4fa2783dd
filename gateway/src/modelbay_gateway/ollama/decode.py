"""Chat and generate requests of the native API: the JSON of a body to core requests. Pure."""

import re
from dataclasses import dataclass, replace

from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import (
    ChatRequest,
    JsonMode,
    JsonSchema,
    Message,
    Tool,
)
from modelbay.models.events import Notice
from modelbay.models.frozen import JsonObject
from modelbay.models.media import CompleteRequest
from modelbay_gateway.fields import Fields, made, parse, unsupported, wrong
from modelbay_gateway.ollama.messages import content_of, decode_messages
from modelbay_gateway.openai.decode import own_fields
from modelbay_gateway.refusal import Refused

KIND = "ollama"  # providers of this kind take what only their own server understands

# Options that other servers know by the same names; the rest is about how Ollama loads a model.
_SAMPLING = frozenset(
    {
        *("min_p", "typical_p", "repeat_last_n", "repeat_penalty"),
        *("presence_penalty", "frequency_penalty"),
    }
)
_OWN = ("keep_alive", "truncate", "shift")
_NO_TIME = re.compile(r"[+-]?(?:0|(?:0+\.?0*|\.0+)(?:h|m|s|ms|us|µs|μs|ns))+")
_LEVELS = frozenset({"low", "medium", "high", "max"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What every request of this protocol has.

    Attributes:
        model: The name as it was asked for; it stands in the answer too.
        own: What only an Ollama server understands, by its names there.
        notices: What the request holds and no provider will see.
        conversation_id: The conversation the turn belongs to.
        persist: The model is remembered for the conversation.
    """

    model: str
    own: JsonObject
    options: JsonObject
    notices: tuple[Notice, ...] = ()
    conversation_id: str | None = None
    persist: bool = True

    @property
    def unloads(self) -> bool:
        """It asks for the model to be freed at once; together with nothing to answer."""
        time = self.own.get("keep_alive")
        return _NO_TIME.fullmatch(time) is not None if isinstance(time, str) else time == 0


@dataclass(frozen=True, slots=True)
class ChatCall:
    """A chat request. Without messages it asks for the model to be loaded, or freed."""

    asked: Asked
    request: ChatRequest


@dataclass(frozen=True, slots=True)
class CompleteCall:
    """A request that goes round the chat template: a raw prompt, or a middle to be filled in."""

    asked: Asked
    request: CompleteRequest


def decode_chat(body: bytes, *, routing: frozenset[str] = frozenset()) -> ChatCall:
    """The request in a body of ``POST /api/chat``.

    Args:
        routing: Flags that a provider may route by (S0-03).

    Raises:
        Refused: It is no such request; the field is named.
    """
    fields = parse(body)
    model = model_of(fields)
    ignored: list[str] = []
    messages = decode_messages(fields, ignored)
    tools = [_tool(each, ignored) for each in fields.objects("tools")]
    return _chat_call(fields, model, messages, tools, routing, ignored)


def decode_generate(
    body: bytes, *, routing: frozenset[str] = frozenset()
) -> ChatCall | CompleteCall:
    """The request in a body of ``POST /api/generate``: one user message, or a raw prompt.

    Raises:
        Refused: It is no such request; the field is named.
    """
    fields = parse(body)
    model = model_of(fields)
    prompt, system = fields.text("prompt") or "", fields.text("system")
    if fields.items("context"):
        raise unsupported("context", "no conversation is kept here", "send messages to /api/chat")
    suffix, is_raw = fields.text("suffix"), fields.flag("raw") or False
    if suffix or is_raw:
        for name in ("system", "template", "images", "format", "think"):
            if fields.any(name):
                with_ = "raw" if is_raw else "suffix"
                raise unsupported(name, f"{name} cannot go with {with_}", f"leave {name} out")
        if system:
            raise unsupported("system", "a raw prompt has no system prompt", "leave system out")
        return _complete_call(fields, model, prompt, suffix)
    ignored = ["template"] if fields.text("template") else []
    parts = content_of(prompt, fields)
    messages = [Message(role="system", content=system)] if system and parts else []
    if parts:
        messages.append(Message(role="user", content=parts))
    return _chat_call(fields, model, messages, [], routing, ignored)


def model_of(fields: Fields) -> str:
    """``model``, or its older spelling ``name``."""
    model, name = fields.text("model"), fields.text("name")
    if not (model or name):
        raise Refused("missing_field", "model is required", field="model")
    return str(model or name)


def asked_of(fields: Fields, model: str, ignored: list[str]) -> tuple[Asked, Fields]:
    """What every request has, and its options to read on in."""
    own: JsonObject = {}
    for name in _OWN:
        value = fields.any(name)
        if value is None:
            continue
        is_time = name == "keep_alive"
        if isinstance(value, bool) == is_time or not isinstance(value, bool | int | float | str):
            raise wrong(name, "a number or a string" if is_time else "true or false", value)
        own[name] = value
    options = Fields(fields.json("options") or {}, "options")
    conversation_id, persist = own_fields(fields)
    notices = tuple(dropped(path) for path in ignored)
    return Asked(model, own, {}, notices, conversation_id, persist), options


def fitted(asked: Asked, model: ModelInfo) -> tuple[JsonObject, tuple[Notice, ...]]:
    """What goes into `ChatRequest.extra` for this model, and what is left out of it."""
    if model.kind == KIND:
        options: JsonObject = {"options": asked.options} if asked.options else {}
        return {**asked.own, **options}, asked.notices
    extra = {name: value for name, value in asked.options.items() if name in _SAMPLING}
    left = [*asked.own, *(f"options.{name}" for name in asked.options if name not in _SAMPLING)]
    why = f"it is an Ollama server's, and {model.ref.provider_id} is none"
    return extra, (
        *asked.notices,
        *(Notice("dropped_field", f"{name} was left out: {why}") for name in left),
    )


def dropped(path: str) -> Notice:
    return Notice("dropped_field", f"{path} was left out: no provider here knows it")


# --- the rest of a request ------------------------------------------------------------------------


def _chat_call(
    fields: Fields,
    model: str,
    messages: list[Message],
    tools: list[Tool],
    routing: frozenset[str],
    ignored: list[str],
) -> ChatCall:
    for name in ("logprobs", "top_logprobs", "_debug_render_only"):
        if fields.any(name):
            raise unsupported(name, f"{name} is not passed on", f"leave {name} out")
    form, effort, stream = _format(fields), _effort(fields), fields.flag("stream")
    asked, options = asked_of(fields, model, ignored)
    limit = options.whole("num_predict")
    request = made(
        ChatRequest,
        model=model,
        messages=messages,
        tools=tools,
        temperature=options.number("temperature"),
        top_p=options.number("top_p"),
        top_k=options.whole("top_k"),
        seed=options.whole("seed"),
        stop=options.texts("stop") or [],
        max_tokens=limit if limit is not None and limit > 0 else None,  # -1: without limit
        response_format=form,
        reasoning_effort=effort,
        routing=routing,
        stream=stream is not False,
    )
    notices = (*asked.notices, *(dropped(path) for path in fields.unread()))
    return ChatCall(replace(asked, options=options.rest(), notices=notices), request)


def _complete_call(fields: Fields, model: str, prompt: str, suffix: str | None) -> CompleteCall:
    stream = fields.flag("stream")
    asked, options = asked_of(fields, model, [])
    limit = options.whole("num_predict")
    request = made(
        CompleteRequest,
        model=model,
        prompt=prompt,
        suffix=suffix or None,
        max_tokens=limit if limit is not None and limit > 0 else None,
        temperature=options.number("temperature"),
        stop=options.texts("stop") or [],
        stream=stream is not False,
    )
    notices = tuple(dropped(path) for path in fields.unread())
    return CompleteCall(replace(asked, options=options.rest(), notices=notices), request)


def _tool(fields: Fields, ignored: list[str]) -> Tool:
    kind = fields.text("type") or "function"
    function = fields.object("function")
    if kind != "function" or function is None:
        raise unsupported(fields.where("type"), "only functions can be called")
    tool = made(
        Tool,
        name=function.needed_text("name"),
        description=function.text("description") or "",
        parameters=function.json("parameters") or {},
    )
    ignored += fields.unread() + function.unread()
    return tool


def _format(fields: Fields) -> JsonMode | JsonSchema | None:
    raw = fields.any("format")
    if raw is None or raw == "":
        return None
    if raw == "json":
        return JsonMode()
    if isinstance(raw, dict):
        return made(JsonSchema, schema=raw)
    raise wrong("format", '"json" or a JSON Schema object', raw)


def _effort(fields: Fields) -> str | None:
    raw = fields.any("think")
    match raw:
        case None:
            return None
        case bool():
            return "medium" if raw else "none"
        case str() if raw in _LEVELS:
            return raw
        case _:
            raise Refused(
                "invalid_field",
                "'think' must be true, false, or one of low, medium, high and max",
                field="think",
            )
