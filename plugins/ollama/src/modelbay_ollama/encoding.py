"""A chat request to the body of ``POST /api/chat``. Pure.

What the server would pass over without a word is refused here if it changes the answer's meaning,
and told by a `Notice` if it only tunes it.
"""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

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
from modelbay_ollama.extras import dropped, take_extra
from modelbay_ollama.options import KeepAlive, options
from modelbay_ollama.schemas import encode_tool
from modelbay_ollama.table import parameters
from modelbay_ollama.thinking import encode_think
from modelbay_ollama.versions import Version, reaches

DEEPEST = 100  # levels of a call's arguments; writing a body of many more overflows the stack
SMALL = 7e9  # parameters; below it tools are called badly (S4-98)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a request gets beside what its caller says.

    Attributes:
        num_ctx: The same for every request to the model; ``None`` leaves it to the server.
        keep_alive: ``None`` leaves it to the server.
        held: Other load-time options it was loaded with by somebody's explicit word.
    """

    version: Version | None = None
    num_ctx: int | None = None
    keep_alive: KeepAlive | None = None
    held: JsonObject = field(default_factory=dict)

    @property
    def fixed(self) -> JsonObject:
        """The load-time options that go with every request."""
        window: JsonObject = {} if self.num_ctx is None else {"num_ctx": self.num_ctx}
        return {**self.held, **window}


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
    require_messages(request)
    notices: list[Notice] = []
    messages = encode_messages(request.messages, setup.version)
    body: JsonObject = {
        "model": model.ref.wire_id,
        "messages": list(messages),
        "stream": request.stream,
    }
    notices += [*of_names(request), *of_hints(request)]
    _tools(request, model, setup.version, body, notices)
    schema = _format(request, setup.version, body)
    if schema:
        _describe(schema, messages)
    if schema is not None and "tools" in body:
        notices.append(
            Notice(
                "tools_suppressed",
                "the server holds the answer to the format from its first token on, so the model"
                " will hardly call a tool; ask for the format once the tools have answered",
            )
        )
    think = encode_think(request.reasoning_effort, model, setup.version, notices)
    if think is not None:
        body["think"] = think
    if setup.keep_alive is not None:
        body["keep_alive"] = setup.keep_alive
    chosen = _options(request, model, setup)
    thinks = model.capabilities.reasoning is True
    take_extra(request.extra, chosen, body, notices, thinks=thinks, fixed=setup.fixed)
    body["options"] = chosen
    asked = "truncate" not in request.extra and reaches(setup.version, 0, 12, 6)
    if asked:
        body["truncate"] = False  # see truncation.py
    return EncodedChat(body, tuple(notices), asked, schema)


def require_messages(request: ChatRequest) -> None:
    """Raises InvalidRequestError: there are none, which the server takes for a load or unload."""
    if not request.messages:
        raise InvalidRequestError(
            "there is no message to answer",
            hint="send at least one; to load a model alone there is: modelbay load",
            stage="encode",
        )


def of_names(request: ChatRequest) -> list[Notice]:
    """What a caller is told who names the authors of messages."""
    if any(message.name for message in request.messages if message.role != "tool"):
        return [dropped("name", "Ollama's messages have no place for their author's name")]
    return []


def of_hints(request: ChatRequest) -> list[Notice]:
    """What a caller is told whose words about an image or a format reach no model here."""
    notices: list[Notice] = []
    parts = [
        part
        for message in request.messages
        if not isinstance(message.content, str)
        for part in message.content
    ]
    details = {part.detail for part in parts if isinstance(part, ImagePart)} - {None, "auto"}
    if details:
        notices.append(dropped("detail", "Ollama looks at every image the same way"))
    form = request.response_format
    if isinstance(form, JsonSchema) and form.description:
        notices.append(dropped("response_format.description", "Ollama is told the schema alone"))
    return notices


def users_limit(model: ModelInfo) -> int | None:
    """The limit of an answer that the user has set for this model; no other is sent.

    A limit in the request overrides the Modelfile's own ``num_predict``, and cuts answers off at a
    number that nobody has asked for.
    """
    origin = model.capabilities.provenance.get("max_output_tokens")
    if origin is None or origin.layer != "user":
        return None
    return model.capabilities.max_output_tokens


def _options(request: ChatRequest, model: ModelInfo, setup: Setup) -> JsonObject:
    return options(
        {
            **setup.fixed,
            "num_predict": request.max_tokens or users_limit(model),
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            "seed": request.seed,
            "stop": list(request.stop) or None,
        }
    )


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


def _describe(schema: JsonObject, messages: Sequence[JsonObject]) -> None:
    """Tell the model the schema: the server holds it to it blindly, if at all.

    Said in the last message of the user: a system message of ours would take the place of the
    Modelfile's own.
    """
    last = next((each for each in reversed(messages) if each["role"] == "user"), None)
    if last is not None:
        told = json.dumps(schema, ensure_ascii=False)
        words = f"Answer with JSON alone, which holds to this JSON Schema: {told}"
        last["content"] = f"{last['content']}\n\n{words}" if last["content"] else words


# --- messages ------------------------------------------------------------------------------------


def encode_messages(
    messages: Sequence[Message], version: Version | None = None
) -> list[JsonObject]:
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
        one = _message(message, names, version)
        last = encoded[-1] if encoded else None
        if last is not None and last["role"] == one["role"] != "tool":
            _join(last, one)
        else:
            encoded.append(one)
    return encoded


def _message(message: Message, names: Mapping[str, str], version: Version | None) -> JsonObject:
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
            if not reaches(version, 0, 9, 6):  # which do not know that field
                encoded["content"] = f"{name}: {message.text}"
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
        is_deep = _depth(value) > DEEPEST
    except RecursionError:
        is_deep = True
    except ValueError:
        value, is_deep = None, False
    if is_deep:
        raise InvalidRequestError(
            f"the arguments of an earlier call of '{name}' are nested too deep",
            hint=f"at most {DEEPEST} objects and lists inside each other",
            stage="encode",
        )
    if not isinstance(value, dict):
        raise InvalidRequestError(
            f"the arguments of an earlier call of '{name}' are no JSON object",
            hint="send back the arguments as the model wrote them, or leave the call out",
            stage="encode",
        )
    return value


def _depth(value: JsonValue) -> int:
    """How many objects and lists stand inside each other."""
    depth, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        level = [inner for each in level for inner in _inside(each)]
    return depth


def _inside(value: JsonValue) -> Iterable[JsonValue]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


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
