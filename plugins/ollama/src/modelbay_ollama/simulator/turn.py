"""What a chat or generate request asks for, read and checked in the order the server does it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from modelbay_ollama.simulator.answer import ApiError, Body, Json
from modelbay_ollama.simulator.lifetimes import keep_alive_s
from modelbay_ollama.simulator.model import SimulatedModel
from modelbay_ollama.simulator.names import known_name
from modelbay_ollama.simulator.tools import check_calls, read_tools
from modelbay_ollama.simulator.versions import Release

Think = bool | str | None
Kind = Literal["chat", "generate"]

_LEVELS = ("low", "medium", "high", "max")
_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]*")
_TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True)
class Turn:
    """A request.

    Attributes:
        sent_model: The name as sent, which answers repeat.
        tools: As the model will see them.
        format, options: Untyped still: the server looks at them after the model.
        logprobs: None: none; otherwise how many alternatives.
        empty: Nothing to say: it only loads or unloads.
    """

    kind: Kind
    sent_model: str
    messages: Sequence[Json]
    stream: bool
    think: Think
    keep_alive_s: float | None
    tools: Sequence[Json] = ()
    format: object = None
    options: Json = field(default_factory=dict)
    truncate: bool = True
    shift: bool | None = None
    logprobs: int | None = None
    render_only: bool = False
    suffix: bool = False
    raw: bool = False
    empty: bool = False

    @property
    def unloads(self) -> bool:
        return self.empty and self.keep_alive_s == 0


def read_chat(body: Body, release: Release) -> Turn:
    """A chat request.

    Raises:
        ApiError: 400, as soon as a field is of the wrong type.
    """
    messages = [_message(item, body) for item in body.items("messages")]
    turn = Turn(
        "chat",
        body.model,
        messages,
        body.flag("stream", True),
        read_think(body.values.get("think"), release),
        keep_alive_s(body.values.get("keep_alive")),
        read_tools(body.items("tools")),
        body.values.get("format"),
        body.record("options"),
        body.flag("truncate", True) or not release.since("0.12.6"),
        _shift(body, release),
        _logprobs(body, release),
        body.flag("_debug_render_only"),
        empty=not messages,
    )
    if not turn.sent_model:
        raise ApiError(400, "model is required")
    return turn


def read_generate(body: Body, release: Release) -> Turn:
    """A generate request, as a chat of one message.

    Raises:
        ApiError: 400, or 404 for a missing model, which only this endpoint does.
    """
    prompt, system = body.text("prompt"), body.text("system")
    messages: list[Json] = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": prompt, "images": _images(body.items("images"))})
    turn = Turn(
        "generate",
        body.model,
        messages,
        body.flag("stream", True),
        read_think(body.values.get("think"), release),
        keep_alive_s(body.values.get("keep_alive")),
        format=body.values.get("format"),
        options=body.record("options"),
        truncate=body.flag("truncate", True) or not release.since("0.12.6"),
        shift=_shift(body, release),
        logprobs=_logprobs(body, release),
        render_only=body.flag("_debug_render_only"),
        suffix=bool(body.text("suffix")),
        raw=body.flag("raw"),
        empty=not prompt,
    )
    if not turn.sent_model:
        raise ApiError(404, "model '' not found")
    overridden = body.text("template") or system or body.values.get("context")
    if turn.raw and overridden:
        raise ApiError(400, "raw mode does not support template, system, or context")
    return turn


def read_think(value: object, release: Release) -> Think:
    """`think`; None: nothing was said, or the server is too old to know the field.

    Raises:
        ApiError: 400 for another type or word.
    """
    if value is None or not release.since("0.9.0"):
        return None
    if isinstance(value, bool):
        return value
    if not release.since("0.11.0"):
        got = "string" if isinstance(value, str) else "number"
        raise ApiError(400, f"json: cannot unmarshal {got} into Go value of type bool")
    allowed = '"high", "medium", "low", true, or false'
    if not isinstance(value, str):
        raise ApiError(400, f"think must be a boolean or string ({allowed})")
    if value not in _LEVELS or (value == "max" and not release.since("0.22.0")):
        raise ApiError(400, f'invalid think value: "{value}" (must be {allowed})')
    return value


def check_abilities(turn: Turn, model: SimulatedModel, base: str, release: Release) -> None:
    """Whether the model can do what is asked.

    Args:
        base: The name without its source, from which the text makes a full one.

    Raises:
        ApiError: 400; decided by the model's own list also on servers that do not show it.
    """
    if not model.can("completion"):
        raise ApiError(400, f'"{turn.sent_model}" does not support {turn.kind}')
    missing = [
        name for name, wanted in (("tools", turn.tools), ("insert", turn.suffix))
        if wanted and not model.can(name)
    ]  # fmt: skip
    if missing:
        full = known_name(base).full
        raise ApiError(400, f"{full} does not support " + "\n".join(missing))
    if turn.think and not model.can("thinking"):
        raise ApiError(400, f'"{turn.sent_model}" does not support thinking')
    levels = release.since("0.17.7") or model.path == "harmony"
    if isinstance(turn.think, str) and not levels:
        raise ApiError(400, f'think value "{turn.think}" is not supported for this model')


def _message(item: object, body: Body) -> Json:
    if not isinstance(item, dict):
        raise body.mismatch("messages", item, "api.Message")
    read = Body(item, "ChatRequest.messages")
    message: Json = {"role": read.text("role").lower(), "content": read.text("content")}
    for name in ("thinking", "tool_name", "tool_call_id"):
        if read.text(name):
            message[name] = read.text(name)
    images = _images(read.items("images"))
    if images:
        message["images"] = images
    calls = item.get("tool_calls")
    if calls is not None:
        check_calls(calls)
        message["tool_calls"] = calls
    return message


def _images(given: list[object]) -> list[object]:
    for image in given:
        if not isinstance(image, str):
            raise ApiError(400, "json: cannot unmarshal number into Go value of type []uint8")
        right = _BASE64.match(image)
        end = right.end() if right else 0
        rest = image[end:].strip("\r\n")
        if rest not in ("", "=", "==") or len(image.replace("\r", "").replace("\n", "")) % 4:
            raise ApiError(400, f"illegal base64 data at input byte {end}")
    return given


def _shift(body: Body, release: Release) -> bool | None:
    known = release.since("0.12.6") and body.values.get("shift") is not None
    return body.flag("shift") if known else None


def _logprobs(body: Body, release: Release) -> int | None:
    if not release.since("0.12.11"):
        return None
    top = body.whole("top_logprobs")
    if not 0 <= top <= _TOP_LOGPROBS:
        raise ApiError(400, "top_logprobs must be between 0 and 20")
    return top if body.flag("logprobs") else None
