"""What the model will say, token by token, and what a client gets to see of each token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from modelbay_llamacpp.simulator.model import SimulatedModel, ToolCall, call_text, pieces

Part = Literal["reasoning", "content", "call"]


@dataclass(frozen=True, slots=True)
class Delta:
    """A visible bit of output. For a call: its place, its name (first delta only), arguments."""

    part: Part
    text: str
    call: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """One token: its raw text, what is shown of it, and whether it belongs to the thought."""

    raw: str
    deltas: Sequence[Delta] = ()
    thought: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """All tokens up to the end token.

    Attributes:
        finish: The finish reason if the end is reached.
        ends: False: it starts over instead of ending.
        prefill: Given text that the answer repeats; `prefill_streamed` says whether deltas do too.
    """

    steps: Sequence[Step]
    finish: Literal["stop", "tool_calls"] = "stop"
    ends: bool = True
    prefill: str = ""
    prefill_streamed: bool = True


def text_script(text: str, *, ends: bool = True) -> Script:
    """Plain text, nothing parsed."""
    return Script([_shown(piece, "content") for piece in pieces(text)] or [Step("")], ends=ends)


def thought_only(text: str) -> Script:
    """Text that a confused parser takes for reasoning, without an end."""
    return Script([_shown(p, "reasoning") for p in pieces(text)], ends=False)


def chat_script(
    model: SimulatedModel,
    *,
    content: str,
    calls: Sequence[ToolCall],
    parse_calls: bool,
    think: bool,
    budget: int,
    split: bool,
    ends: bool,
) -> Script:
    """The answer to a chat.

    Args:
        content: What it says, unless it makes `calls`.
        parse_calls: Calls become tool call deltas; otherwise they stay text.
        think: Whether the thought comes first.
        budget: Most tokens of thought, -1 without limit.
        split: Thought and answer are told apart; otherwise all is raw content.
    """
    steps: list[Step] = []
    thinks = bool(model.reasoning) and think
    if thinks:
        steps += _thought(model.reasoning, budget, split=split)
    answer = "\n".join(map(call_text, calls)) if calls else content
    if calls and parse_calls:
        for at, call in enumerate(calls):
            steps += _call_steps(call, at)
        return Script(steps, "tool_calls", ends)
    said = pieces(f"\n\n{answer}" if thinks else answer)
    trim = thinks and split
    for piece in said:
        shown = piece.lstrip("\n") if trim else piece
        trim = trim and not shown
        steps.append(Step(piece, [Delta("content", shown)] if shown else []))
    return Script(steps or [Step("")], ends=ends)


def _thought(text: str, budget: int, *, split: bool) -> list[Step]:
    inner = pieces(f"\n{text}\n")
    if budget >= 0:
        inner = inner[:budget]
    if not split:
        return [_shown(piece, "content") for piece in ("<think>", *inner, "</think>")]
    steps = [Step("<think>", thought=True)]
    for at, piece in enumerate(inner):
        shown = piece if at else piece.lstrip("\n")
        steps.append(Step(piece, [Delta("reasoning", shown)] if shown else [], thought=True))
    return [*steps, Step("</think>")]


def _call_steps(call: ToolCall, at: int) -> list[Step]:
    """The name is held back until the arguments begin, and comes with their first character."""
    body = f'\n{{"name": "{call.name}", "arguments": {call.arguments}}}\n'
    begin = body.index('"arguments"')
    first = body.index(call.arguments, begin)
    last = first + len(call.arguments)
    steps, seen, open_ = [Step("<tool_call>")], 0, False
    for piece in pieces(body):
        end = seen + len(piece)
        deltas: list[Delta] = []
        if not open_ and end > begin:
            open_ = True
            deltas.append(Delta("call", call.arguments[:1], at, call.name))
        text = body[max(seen, first + 1) : min(end, last)]
        if open_ and text:
            deltas.append(Delta("call", text, at))
        steps.append(Step(piece, deltas))
        seen = end
    return [*steps, Step("</tool_call>")]


def _shown(piece: str, part: Part) -> Step:
    return Step(piece, [Delta(part, piece)])
