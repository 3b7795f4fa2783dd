"""What the model says to a chat: its tokens, and what is shown of each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from modelbay_llamaswap.simulator.model import SimulatedModel, ToolCall
from modelbay_llamaswap.simulator.upstream.request import items_of, object_of
from modelbay_llamaswap.simulator.upstream.tokens import pieces

Part = Literal["reasoning", "content", "call"]


@dataclass(frozen=True, slots=True)
class Delta:
    """A visible bit. Of a call: its place, its name (first delta only), arguments."""

    part: Part
    text: str
    call: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Script:
    """All tokens up to the end token.

    Attributes:
        ends: False: it starts over instead of ending.
    """

    deltas: Sequence[Delta]
    finish: Literal["stop", "tool_calls"] = "stop"
    ends: bool = True


def plain_script(model: SimulatedModel) -> Script:
    """Text alone."""
    return Script(_shown(model, "content", model.answer), ends=not model.endless)


def chat_script(model: SimulatedModel, body: Mapping[str, object]) -> Script:
    """The answer to a chat."""
    deltas = _shown(model, "reasoning", model.reasoning) if _thinks(body) else []
    calls = _calls(model, body)
    if calls:
        for at, call in enumerate(calls):
            deltas += _called(model, call, at)
        return Script(deltas, "tool_calls")
    wanted = object_of(body, "response_format").get("type", "text")
    text = _words(model, body) if wanted == "text" else model.json_answer or "{}"
    deltas += _shown(model, "content", text)
    return Script(deltas, ends=not model.endless)


def _words(model: SimulatedModel, body: Mapping[str, object]) -> str:
    if model.says is None:
        return model.answer
    return model.says([m for m in items_of(body, "messages") if isinstance(m, dict)])


def _thinks(body: Mapping[str, object]) -> bool:
    return object_of(body, "chat_template_kwargs").get("enable_thinking") is not False


def _calls(model: SimulatedModel, body: Mapping[str, object]) -> list[ToolCall]:
    messages = items_of(body, "messages")
    last = messages[-1] if messages else None
    answered = isinstance(last, dict) and last.get("role") == "tool"
    offered = items_of(body, "tools") and body.get("tool_choice") != "none"
    calls = list(model.tool_calls) if offered and not answered else []
    return calls[:1] if body.get("parallel_tool_calls") is False else calls


def _shown(model: SimulatedModel, part: Part, text: str) -> list[Delta]:
    return [Delta(part, piece) for piece in pieces(text, model.piece_chars)]


def _called(model: SimulatedModel, call: ToolCall, at: int) -> list[Delta]:
    """The name comes with the first character of the arguments."""
    first, rest = call.arguments[:1], call.arguments[1:]
    return [
        Delta("call", first, at, call.name),
        *(Delta("call", piece, at) for piece in pieces(rest, model.piece_chars)),
    ]


def message_of(deltas: Sequence[Delta], new_id: str) -> dict[str, object]:
    """The message that deltas add up to."""

    def joined(part: Part) -> str:
        return "".join(delta.text for delta in deltas if delta.part == part)

    message: dict[str, object] = {"role": "assistant", "content": joined("content")}
    if reasoning := joined("reasoning"):
        message["reasoning_content"] = reasoning
    calls: dict[int, dict[str, str]] = {}
    for delta in deltas:
        if delta.part == "call":
            known = calls.setdefault(delta.call, {"name": delta.name, "arguments": ""})
            known["arguments"] += delta.text
    if calls:
        message["tool_calls"] = [
            {"type": "function", "function": function, "id": f"{new_id}{at}"}
            for at, function in calls.items()
        ]
    return message


def delta_fields(delta: Delta, new_id: str) -> dict[str, object]:
    """The delta as a chunk carries it."""
    if delta.part != "call":
        return {"content" if delta.part == "content" else "reasoning_content": delta.text}
    call: dict[str, object] = {"index": delta.call}
    function = {"arguments": delta.text}
    if delta.name:
        call |= {"id": f"{new_id}{delta.call}", "type": "function"}
        function = {"name": delta.name, "arguments": delta.text}
    return {"tool_calls": [{**call, "function": function}]}


def spoken(value: object) -> str:
    """JSON with the spaces of a small server written in Python."""
    return json.dumps(value, ensure_ascii=False)
