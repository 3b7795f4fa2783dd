"""Requests of texts and numbers alone, as most are: read and checked in one go. Pure."""

from typing import Annotated, Literal

import msgspec

from modelbay.models.chat import ChatRequest, Message
from modelbay_gateway.openai.chat_call import ChatCall


class _PlainMessage(msgspec.Struct, forbid_unknown_fields=True):
    role: Literal["system", "user", "assistant"]
    content: str


class _StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    include_usage: bool | None = None


_Whole = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_Positive = Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]


class _Plain(msgspec.Struct, forbid_unknown_fields=True):
    """A request of texts and numbers alone, as most are: all of it is checked as it is read."""

    messages: Annotated[list[_PlainMessage], msgspec.Meta(min_length=1)]
    model: str | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: _Whole | None = None
    max_tokens: _Positive | None = None
    max_completion_tokens: _Positive | None = None
    seed: _Whole | None = None
    stop: str | list[str] | None = None


_plain = msgspec.json.Decoder(_Plain)


def decode_plain(body: bytes, routing: frozenset[str]) -> ChatCall | None:
    """The request, if it is a plain one. What is wrong with another, `decode_chat` says."""
    if b'"tools"' in body:
        return None  # most that are not plain; they are long, and need not be read twice
    try:
        found = _plain.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        return None
    model, stop, options = found.model or None, found.stop, found.stream_options
    request = ChatRequest.assembled(
        {
            "model": model,
            "messages": [said(each.role, each.content) for each in found.messages],
            "tools": [],
            "tool_choice": None,
            "temperature": found.temperature,
            "top_p": found.top_p,
            "top_k": found.top_k,
            "max_tokens": found.max_completion_tokens or found.max_tokens,
            "stop": [stop] if isinstance(stop, str) else stop or [],
            "seed": found.seed,
            "response_format": None,
            "reasoning_effort": None,
            "routing": routing,
            "stream": found.stream is True,
            "extra": {},
        }
    )
    asks = options is not None and options.include_usage is True
    return ChatCall(request=request, model=model, include_usage=asks)


def said(role: str, content: str) -> Message:
    """A message of nothing but text."""
    return Message.assembled(
        {
            "role": role,
            "content": content,
            "tool_calls": [],
            "tool_call_id": None,
            "name": None,
            "reasoning": None,
            "opaque": {},
        }
    )
