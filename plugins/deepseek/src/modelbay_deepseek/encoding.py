"""A chat request as DeepSeek takes it. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from modelbay.errors import UnsupportedFeatureError
from modelbay.models.chat import ChatRequest, JsonMode, Message, TextPart
from modelbay.models.events import Notice
from modelbay.models.frozen import JsonObject
from modelbay.wire.openai_chat import Dialect, encode_chat
from modelbay_deepseek.kept_reasoning import Asked
from modelbay_deepseek.thinking import FIELDS, Thinking

REASONING = "reasoning_content"
JSON_INSTRUCTION = "Answer with a JSON object."
NO_OUTPUT = "(no output)"

_UNKNOWN = "DeepSeek does not know it"
LEFT_OUT = {
    "frequency_penalty": "it has no effect any more",
    "presence_penalty": "it has no effect any more",
    "logit_bias": _UNKNOWN,
    "messages": "the request's own messages decide",
    "metadata": _UNKNOWN,
    "min_p": _UNKNOWN,
    "model": "the request's own model decides",
    "parallel_tool_calls": "several calls at once cannot be switched off",
    "prediction": _UNKNOWN,
    "repetition_penalty": _UNKNOWN,
    "seed": _UNKNOWN,
    "service_tier": _UNKNOWN,
    "store": _UNKNOWN,
    "stream": "the request's own stream decides",
    "stream_options": "usage is asked for in any case",
    "top_k": _UNKNOWN,
    "user": "DeepSeek's field is user_id, which also parts the prefix cache",
}
# Elsewhere the limit would fall back to the server's default without a word.
RENAMED = {"max_completion_tokens": "max_tokens"}
DIALECT = Dialect(top_k=False, reasoning_history=REASONING)

# Looks up what led to tool calls, by their names in `kept_reasoning`.
Recall = Callable[[Sequence[str]], str | None]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A body and where it has to go.

    Attributes:
        beta: Prefix completion or strict tools are in it, and the normal address has neither.
    """

    body: JsonObject
    beta: bool
    notices: tuple[Notice, ...]


def encode(
    request: ChatRequest,
    wire_id: str,
    thinking: Thinking,
    recall: Recall,
    max_tokens: int | None = None,
) -> Encoded:
    """The body of a chat turn.

    Args:
        max_tokens: Sent when the request sets no limit of its own. The limit covers thinking and
            answer together; without one the server has a limit of its own.

    Raises:
        UnsupportedFeatureError: Something that would change the answer's meaning cannot be sent.
    """
    _refuse_foreign(request)
    notices = [*thinking.notices]
    if request.seed is not None:
        notices.append(Notice("dropped_field", f"seed was left out: {_UNKNOWN}"))
    for name in ("temperature", "top_p"):
        if thinking.on and getattr(request, name) is not None:
            notices.append(Notice("no_effect", f"{name} has no effect while the model thinks"))
    asked = {name: value for name, value in request.extra.items() if name not in FIELDS}
    extra, left_out = passed_on(asked, LEFT_OUT, request.model_dump(include=_OWN))
    notices += left_out
    plain = request.model_copy(
        update={
            "messages": [_only_text(message) for message in request.messages],
            "seed": None,
            "reasoning_effort": None,
            "extra": extra,
        }
    )
    encoded = encode_chat(plain, wire_id, DIALECT, max_tokens=max_tokens)
    body = {**encoded.body, **thinking.fields}
    notices += encoded.notices
    messages = cast(list[JsonObject], body["messages"])  # encode_chat makes them
    prefix = _continues(request.messages)
    _finish_messages(request.messages, messages, thinking, recall, prefix=prefix)
    if isinstance(request.response_format, JsonMode) and not _mentions_json(request.messages):
        messages.insert(0, {"role": "system", "content": JSON_INSTRUCTION})
        notices.append(
            Notice(
                "json_instruction",
                "DeepSeek wants the word 'json' in a conversation that asks for JSON; a system"
                " message with it was put first",
            )
        )
    strict = _strictness(request)
    if request.tools and not strict:
        _forget_strict(body["tools"])
    return Encoded(body, prefix or strict, tuple(notices))


def passed_on(
    extra: JsonObject, left_out: Mapping[str, str], own: Mapping[str, object]
) -> tuple[JsonObject, list[Notice]]:
    """What of a request's `extra` is sent, under DeepSeek's names, and what is said of the rest.

    Args:
        left_out: Fields that are not sent, with the reason.
        own: Fields the request itself has; one that it sets wins over the same in `extra`.

    Raises:
        UnsupportedFeatureError: More than one answer is asked for.
    """
    sent: JsonObject = {}
    notices: list[Notice] = []
    for name, value in extra.items():
        if value is None or (name, value) in _HARMLESS:
            continue
        theirs = RENAMED.get(name, name)
        if name == "n":
            raise UnsupportedFeatureError(
                "one request gives one answer; n cannot be set",
                hint="send the request n times",
                stage="encode",
            )
        if name in left_out:
            why = left_out[name]
        elif own.get(theirs) in (None, [], value):
            sent[theirs] = value
            continue
        else:
            why = f"the request's own {theirs} decides"
        notices.append(Notice("dropped_field", f"{name} was left out: {why}"))
    return sent, notices


_OWN = {
    "max_tokens",
    "response_format",
    "stop",
    "temperature",
    "tool_choice",
    "tools",
    "top_p",
}
_HARMLESS: tuple[tuple[str, object], ...] = (
    ("n", None),
    ("n", 1),
    ("parallel_tool_calls", True),
    ("functions", []),
    ("modalities", ["text"]),
)


def _refuse_foreign(request: ChatRequest) -> None:
    """What is not in DeepSeek's schema is passed over there; some of it must not be."""
    for name, instead in (
        ("functions", "send tools"),
        ("function_call", "send tool_choice"),
        ("modalities", "leave modalities out; the answer is text"),
    ):
        if request.extra.get(name) and (name, request.extra[name]) not in _HARMLESS:
            raise UnsupportedFeatureError(
                f"DeepSeek does not know {name}", hint=instead, stage="encode"
            )


def _only_text(message: Message) -> Message:
    """Only a user's message may be made of parts; in all others they are one text.

    Raises:
        UnsupportedFeatureError: One of them is no text.
    """
    if isinstance(message.content, str) or message.role == "user":
        return message
    if not all(isinstance(part, TextPart) for part in message.content):
        raise UnsupportedFeatureError(
            f"DeepSeek takes images in a user's message only, not in one of role {message.role}",
            hint="put the image into a message of role user",
            stage="encode",
        )
    return message.model_copy(update={"content": message.text})


def _continues(messages: Sequence[Message]) -> bool:
    """Whether the last message is the beginning of the answer that is wanted."""
    return bool(messages) and messages[-1].role == "assistant" and not messages[-1].tool_calls


def _finish_messages(
    given: Sequence[Message],
    messages: list[JsonObject],
    thinking: Thinking,
    recall: Recall,
    *,
    prefix: bool,
) -> None:
    """Put in what DeepSeek wants in an earlier message, and take out what it does not know."""
    asked = Asked()
    for number, (message, encoded) in enumerate(zip(given, messages, strict=True)):
        asked.add(message)
        if message.role == "tool":
            encoded.pop("name", None)
            encoded["content"] = encoded["content"] or NO_OUTPUT
        if message.role != "assistant":
            continue
        if prefix and number == len(given) - 1:
            # Here the field is not history but the thought the answer starts from.
            encoded["prefix"] = True
            continue
        if not thinking.on:
            encoded.pop(REASONING, None)
            continue
        if REASONING not in encoded:
            # Absent and null are refused after a tool's result; an empty text is not.
            known = recall(asked.names(message.tool_calls))
            encoded[REASONING] = known or ""


def _mentions_json(messages: Sequence[Message]) -> bool:
    return any("json" in message.text.lower() for message in messages)


def _strictness(request: ChatRequest) -> bool:
    """Whether the tools are strict ones.

    Raises:
        UnsupportedFeatureError: Some are and some are not.
    """
    strict = {tool.strict is True for tool in request.tools}
    if len(strict) > 1:
        raise UnsupportedFeatureError(
            "DeepSeek takes strict tools only if all of a request's tools are strict",
            hint="set strict on every tool, or on none",
            stage="encode",
        )
    return strict == {True}


def _forget_strict(tools: object) -> None:
    for tool in tools if isinstance(tools, list) else ():
        tool["function"].pop("strict", None)
