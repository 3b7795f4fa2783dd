"""A chat request to the body of ``POST /api/chat``. Pure.

What the server would pass over without a word is refused here if it changes the answer's meaning,
and told by a `Notice` if it only tunes it.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelbay.errors import InvalidRequestError, UnsupportedFeatureError
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import (
    AudioPart,
    ChatRequest,
    ContentPart,
    FilePart,
    ImagePart,
    JsonSchema,
    Message,
    NamedTool,
    TextPart,
)
from modelbay.models.events import Notice
from modelbay.models.frozen import JsonObject
from modelbay_ollama.options import (
    OPTIONS,
    REMOVED,
    RENAMED,
    KeepAlive,
    is_load_time,
    option,
    options,
    request_keep_alive,
)
from modelbay_ollama.schemas import encode_tool
from modelbay_ollama.table import parameters
from modelbay_ollama.thinking import encode_think
from modelbay_ollama.versions import Version, reaches

SMALL = 7e9  # parameters; below it tools are called badly (S4-98)

# Fields of the native API that a caller may set by their own names.
_FIELDS = frozenset({"truncate", "shift", "logprobs", "top_logprobs", "_debug_render_only"})
_TUNING = ("logit_bias", "parallel_tool_calls", "user", "metadata", "store", "service_tier")


@dataclass(frozen=True, slots=True)
class Setup:
    """What a request gets beside what its caller says.

    Attributes:
        num_ctx: The same for every request to the model; ``None`` leaves it to the server.
        keep_alive: ``None`` leaves it to the server.
    """

    version: Version | None = None
    num_ctx: int | None = None
    keep_alive: KeepAlive | None = None


@dataclass(frozen=True, slots=True)
class EncodedChat:
    """A body, and what its caller should know.

    Attributes:
        asked: It asks the server not to cut the conversation, and the server understands that.
        schema: What the answer has to hold to; ``None`` if it is free.
    """

    body: JsonObject
    notices: tuple[Notice, ...] = ()
    asked: bool = False
    schema: JsonObject | None = None


def encode_chat(request: ChatRequest, model: ModelInfo, setup: Setup) -> EncodedChat:
    """The body of ``POST /api/chat``.

    Raises:
        UnsupportedFeatureError: Something that would change the answer's meaning cannot be sent.
        InvalidRequestError: An option, an image or a call's arguments are malformed.
    """
    notices: list[Notice] = []
    body: JsonObject = {
        "model": model.ref.wire_id,
        "messages": list(encode_messages(request.messages)),
        "stream": request.stream,
    }
    if any(message.name for message in request.messages if message.role != "tool"):
        notices.append(_dropped("name", "Ollama's messages have no place for their author's name"))
    _tools(request, model, setup.version, body, notices)
    schema = _format(request, setup.version, body)
    think = encode_think(request.reasoning_effort, model, setup.version, notices)
    if think is not None:
        body["think"] = think
    if setup.keep_alive is not None:
        body["keep_alive"] = setup.keep_alive
    body["options"] = _options(request, model, setup)
    _extra(request.extra, setup, body, notices)
    asked = "truncate" not in request.extra and reaches(setup.version, 0, 12, 6)
    if asked:
        body["truncate"] = False  # see truncation.py
    return EncodedChat(body, tuple(notices), asked, schema)


def _options(request: ChatRequest, model: ModelInfo, setup: Setup) -> JsonObject:
    limit = request.max_tokens or model.capabilities.max_output_tokens
    return options(
        {
            "num_ctx": setup.num_ctx,
            "num_predict": limit,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            "seed": request.seed,
            "stop": list(request.stop) or None,
        }
    )


def _extra(
    extra: Mapping[str, object], setup: Setup, body: JsonObject, notices: list[Notice]
) -> None:
    """The caller's own fields: options among the options, the rest as it is."""
    chosen = body["options"]
    assert isinstance(chosen, dict)  # made by `encode_chat`
    given = dict(extra)
    inner = given.pop("options", None)
    if inner is not None and not isinstance(inner, dict):
        raise InvalidRequestError(
            f"options must be an object, not {type(inner).__name__}",
            hint='for example {"options": {"num_ctx": 8192}}',
            stage="encode",
        )
    for name, value in {**(inner or {}), **given}.items():
        name = RENAMED.get(name, name)
        if value is None:
            continue
        if name == "n":
            if value != 1:
                raise _unsupported("one request gives one answer; n", "send the request n times")
        elif name == "keep_alive":
            body["keep_alive"] = request_keep_alive(value)
        elif name in REMOVED:
            notices.append(_dropped(name, "Ollama no longer has this option"))
        elif name in _TUNING:
            notices.append(_dropped(name, "Ollama does not know it"))
        elif name in OPTIONS or (inner is not None and name in inner):
            chosen[name] = option(name, value)
            if is_load_time(name) and chosen[name] != (
                setup.num_ctx if name == "num_ctx" else None
            ):
                notices.append(_reloads(name))
        elif name == "top_logprobs" and not _is_count(value):
            raise InvalidRequestError(
                "top_logprobs must be a whole number from 0 to 20", stage="encode"
            )
        else:
            body[name] = option(name, value)
            if name == "shift":
                notices.append(_reloads(name))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 20


def _reloads(name: str) -> Notice:
    return Notice(
        "reload",
        f"{name} is fixed when a model is loaded; each time it changes the server loads the model"
        " anew",
    )


def _dropped(name: str, why: str) -> Notice:
    return Notice("dropped_field", f"{name} was left out: {why}")


def _unsupported(what: str, hint: str) -> UnsupportedFeatureError:
    return UnsupportedFeatureError(f"{what} cannot be set with Ollama", hint=hint, stage="encode")


# --- tools and formats ---------------------------------------------------------------------------


def _tools(
    request: ChatRequest,
    model: ModelInfo,
    version: Version | None,
    body: JsonObject,
    notices: list[Notice],
) -> None:
    """The tools, unless they are not to be called.

    The server ignores ``tool_choice`` (trap 19). ``none`` is kept by sending no tools. ``required``
    and a named tool are refused: a request for a call that comes back as prose is another request,
    and nothing a client could send makes the server hold to it.
    """
    choice = request.tool_choice
    if isinstance(choice, NamedTool) or (choice == "required" and request.tools):
        raise _unsupported(
            "a tool call cannot be forced; tool_choice",
            "leave tool_choice on auto, and say in the prompt that the tool is to be used",
        )
    if not request.tools or choice == "none":
        return
    if not reaches(version, 0, 2, 6):
        raise _unsupported("tools, on a server older than 0.3.0,", "upgrade the Ollama server")
    if not reaches(version, 0, 4, 6):
        body["stream"] = False  # such a server loses calls in a stream (ollama-python#279)
    body["tools"] = [encode_tool(tool) for tool in request.tools]
    size = _parameters(model)
    if size is not None and size < SMALL:
        notices.append(
            Notice(
                "weak_tools",
                f"models of less than 7 billion parameters often call tools badly;"
                f" {model.ref.wire_id} has {size / 1e9:.2g}",
            )
        )


def _parameters(model: ModelInfo) -> float | None:
    """As the server says, else as the tag says: ``llama3.2:3b``."""
    told = model.details.get("parameter_size")
    count = parameters(told if isinstance(told, str) else None)
    if count is not None:
        return count
    tag = model.ref.wire_id.rpartition(":")[2]
    return next((size for word in tag.split("-") if (size := parameters(word))), None)


def _format(request: ChatRequest, version: Version | None, body: JsonObject) -> JsonObject | None:
    match request.response_format:
        case None:
            return None
        case JsonSchema() as wanted:
            if not reaches(version, 0, 5, 0):
                raise _unsupported(
                    "a schema, on a server older than 0.5.0,", "ask for plain JSON, or upgrade"
                )
            body["format"] = wanted.schema_
            return wanted.schema_
        case _:
            body["format"] = "json"
            return {}


# --- messages ------------------------------------------------------------------------------------


def encode_messages(messages: Sequence[Message]) -> list[JsonObject]:
    """Messages as the server reads them.

    Neighbours of one role are made one: some templates keep the tool calls of the first alone
    (trap 41). Results of tools stay apart. Both ways to tie a result to its call are sent.

    Raises:
        UnsupportedFeatureError: A part the server has no place for.
        InvalidRequestError: A part or a call's arguments are malformed.
    """
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    encoded: list[JsonObject] = []
    for message in messages:
        one = _message(message, names)
        last = encoded[-1] if encoded else None
        if last is not None and last["role"] == one["role"] != "tool":
            _join(last, one)
        else:
            encoded.append(one)
    return encoded


def _message(message: Message, names: Mapping[str, str]) -> JsonObject:
    role = "system" if message.role == "developer" else message.role
    encoded: JsonObject = {"role": role, "content": message.text}
    if not isinstance(message.content, str):
        media = [each for part in message.content if (each := _media(part)) is not None]
        if media:
            encoded["images"] = list(media)
    if message.tool_calls:
        encoded["tool_calls"] = [
            {
                "id": call.id,
                "function": {
                    "index": index,
                    "name": call.name,
                    "arguments": _arguments(call.arguments, call.name),
                },
            }
            for index, call in enumerate(message.tool_calls)
        ]
        if message.reasoning:
            encoded["thinking"] = message.reasoning  # asked for by models that call while thinking
    if role == "tool":
        name = message.name or names.get(message.tool_call_id or "")
        if name:
            encoded["tool_name"] = name
        if message.tool_call_id is not None:
            encoded["tool_call_id"] = message.tool_call_id
    return encoded


def _join(last: JsonObject, one: JsonObject) -> None:
    for name in ("content", "thinking"):
        texts = [text for each in (last, one) if isinstance(text := each.get(name), str) and text]
        if texts or name == "content":
            last[name] = "\n\n".join(texts)
    for name in ("images", "tool_calls"):
        before, more = last.get(name), one.get(name)
        if isinstance(more, list):
            last[name] = [*(before if isinstance(before, list) else []), *more]


def _arguments(text: str, name: str) -> JsonObject:
    """The arguments as an object; as a text the server refuses them (trap 15)."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InvalidRequestError(
            f"the arguments of an earlier call of '{name}' are no JSON object",
            hint="send back the arguments as the model wrote them, or leave the call out",
            stage="encode",
        )
    return value


def _media(part: ContentPart) -> str | None:
    """Bare base64; sound travels in the same field (trap 21)."""
    match part:
        case TextPart():
            return None
        case ImagePart():
            data = part.data
            if data is None:
                data = _inline(part.url or "")
        case AudioPart():
            data = part.data
        case FilePart():
            raise UnsupportedFeatureError(
                "Ollama takes no files in messages",
                hint="put the file's text into the message",
                stage="encode",
            )
    head, comma, rest = data.partition(",")
    data = rest if comma and head.startswith("data:") else data
    try:
        base64.b64decode(data, validate=True)
    except ValueError as exc:
        raise InvalidRequestError(
            f"the {part.type} is not base64",
            hint="encode the file's bytes as base64",
            stage="encode",
        ) from exc
    return data


def _inline(url: str) -> str:
    if url.startswith("data:") and ";base64," in url:
        return url
    raise UnsupportedFeatureError(
        "Ollama fetches no images; an image must be sent inline",
        hint="read the image and pass ImagePart(data=<base64>, media_type=...)",
        stage="encode",
    )
