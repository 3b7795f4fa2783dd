"""What a model says, line by line, as data; and the ready scripts, which show every known shape."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model makes. `id` is given by the server unless it is set here."""

    name: str
    arguments: Mapping[str, object] = field(default_factory=dict)
    id: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One ``done:false`` line.

    Attributes:
        more: Further keys of the line, beside ``message``.
        logprobs: Log probabilities come with it although nobody asked; their text is this.
    """

    content: str = ""
    thinking: str = ""
    calls: Sequence[ToolCall] = ()
    logprobs: str = ""
    more: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """The ``done:true`` line. `metrics`: with durations and counts."""

    reason: str = "stop"
    content: str = ""
    thinking: str = ""
    calls: Sequence[ToolCall] = ()
    metrics: bool = True
    more: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Broken:
    """An error: a line in a stream that has begun, an answer of this status otherwise."""

    error: str
    status: int = 500


@dataclass(frozen=True, slots=True)
class SilentEnd:
    """The stream just stops, without ``done`` and without an error."""


Ending: TypeAlias = Done | Broken | SilentEnd


@dataclass(frozen=True, slots=True)
class Script:
    """A whole answer. What is asked has no influence on it."""

    lines: Sequence[Line] = ()
    end: Ending = field(default_factory=Done)


def plain(*pieces: str, reason: str = "stop") -> Script:
    """Text, a line for each piece."""
    return Script([Line(piece) for piece in pieces], Done(reason))


CALL_A = ToolCall("get_weather", {"city": "Rome"})
CALL_B = ToolCall("get_weather", {"city": "Oslo"})

SCRIPTS: Mapping[str, Script] = {
    "plain": plain("Hel", "lo"),
    "thinking": Script([Line(thinking="hm"), Line(thinking=" ok"), Line("42")]),
    "boundary": Script([Line(thinking="hm"), Line("4", " ok"), Line("2")]),
    "tools_mid": Script([Line(thinking="need"), Line(calls=[CALL_A]), Line(calls=[CALL_B])]),
    "tools_last": Script([Line(thinking="need")], Done(calls=[CALL_A, CALL_B])),
    "tools_text": Script([Line("I will look."), Line(calls=[CALL_A])]),
    "length": plain("abc", reason="length"),
    "think_only": Script([Line(thinking="…")], Done("length")),
    "late_error": Script([Line("par")], Broken("boom")),
    "early_error": Script([], Broken("load failed")),
    "silent_end": Script([Line("par")], SilentEnd()),
    "empty_first": plain("", "hi"),
    "final_text": Script([Line("a")], Done(content="b")),
    "logprob_only": Script([Line(logprobs="x"), Line("x")]),
    "no_metrics": Script([Line("x")], Done(metrics=False)),
    "unknown_keys": Script([Line("x", more={"future": 1})], Done("something_new")),
    # Beyond the list of the notes: what readers of lines are known to break on.
    "separators": plain("one\u2028two", "three\u0085four", " <b> & \u2029"),
    "long_line": plain("x" * 2_000_000),
    "nested_error": Script(
        [Line("par")],
        Broken(
            '{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context '
            'size (4096 tokens), try increasing it","type":"exceed_context_size_error"}}'
        ),
    ),
    "bad_tool_call": Script(
        [Line(thinking="need")],
        Broken('error parsing tool call: raw=\'{"city": "Ro\', err=unexpected end of JSON input'),
    ),
}


def named(script: Script | str) -> Script:
    """The script itself, or the ready one of this name.

    Raises:
        KeyError: There is none.
    """
    return SCRIPTS[script] if isinstance(script, str) else script


def with_tags(script: Script) -> Script:
    """The same answer from a server that does not tell thought and answer apart.

    The thought stands in the content, between ``<think>`` tags that are tokens of their own.
    """
    lines: list[Line] = []
    open_ = False
    for line in script.lines:
        if line.thinking:
            if not open_:
                lines.append(Line("<think>\n"))
                open_ = True
            lines.append(Line(line.thinking))
        if open_ and (line.content or line.calls):
            lines.append(Line("\n</think>\n\n"))
            open_ = False
        if line.content or line.calls or not line.thinking:
            lines.append(replace(line, thinking=""))
    end = script.end
    if isinstance(end, Done):
        if end.thinking:
            lines.append(Line(end.thinking if open_ else f"<think>\n{end.thinking}"))
            open_ = True
        if open_ and (end.content or end.calls):
            lines.append(Line("\n</think>\n\n"))
        end = replace(end, thinking="")
    return Script(lines, end)
