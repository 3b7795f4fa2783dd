"""From a model and a request to a script: what is said, and on which lines of the answer."""

import json
import re
from dataclasses import dataclass

from modelbay_ollama.simulator.model import SimulatedModel
from modelbay_ollama.simulator.options import number_option, read_format, smallest
from modelbay_ollama.simulator.script import Done, Line, Script, named, with_tags
from modelbay_ollama.simulator.turn import Turn
from modelbay_ollama.simulator.versions import Release

_PIECE = re.compile(r"\s*\S{1,12}|\s+$")


@dataclass(frozen=True, slots=True)
class Saying:
    """A script and how far it goes.

    Attributes:
        limit: Most tokens; one for each line that says something.
        endless: It starts over at its end.
    """

    script: Script
    limit: int
    endless: bool = False


def effective_path(model: SimulatedModel, release: Release) -> str:
    """Which path a chat takes: engines bring templates since 0.30.0, harmony came with 0.11.0."""
    if model.path == "native" and not release.since("0.30.0"):
        return "rendered"
    if model.path == "harmony" and not release.since("0.11.0"):
        return "rendered"
    return model.path


def thinks(turn: Turn, model: SimulatedModel) -> bool | str:
    """What `think` comes to: on by default, off only where the template can leave it out."""
    if not model.can("thinking"):
        return False
    if turn.think is False:
        return model.always_thinks
    return True if turn.think is None else turn.think


def compose(
    model: SimulatedModel, turn: Turn, release: Release, window: int, given: Script | None
) -> Saying:
    """What the model says to this request; `given`: what a test wants it to say.

    Raises:
        ApiError: 500 for a bad format.
    """
    ready = given if given is not None or model.script is None else named(model.script)
    script = ready if ready is not None else _answer(model, turn, release)
    if not _splits(model, turn, release):
        script = with_tags(script)
    limit = number_option(turn.options, "num_predict")
    if limit is None or limit < 0 or (limit == 0 and effective_path(model, release) != "native"):
        limit = 10 * window
    return Saying(script, limit, model.endless and ready is None)


def _splits(model: SimulatedModel, turn: Turn, release: Release) -> bool:
    """Whether the server tells thinking from content. Told to think it does since 0.9.0."""
    if not release.since("0.9.0"):
        return False
    return turn.think is not None or release.since("0.12.4") or model.path == "harmony"


def _answer(model: SimulatedModel, turn: Turn, release: Release) -> Script:
    form = read_format(turn.format)
    if form is not None and _ignores_format(model, turn, release):
        form = None
    asked = turn.messages[-1].get("role") if turn.messages else ""
    # A grammar and tools at once: the grammar wins and nothing is called.
    calls = model.tool_calls if turn.tools and asked != "tool" and form is None else ()
    said = model.answer if model.says is None else model.says(turn.messages)
    text = "" if calls else said
    if form is not None:
        text = model.json_answer or json.dumps({} if form == "json" else smallest(form))
    thought = model.thinking if thinks(turn, model) else ""
    lines = [Line(thinking=piece) for piece in pieces(thought)]
    text = _until_stop(text, turn)
    if turn.tools and not release.since("0.8.0"):
        lines += [Line(text)] if text else []  # tools made the server wait for the whole answer
    else:
        lines += [Line(piece) for piece in pieces(text)]
    match effective_path(model, release):
        case "native":
            return Script(lines, Done(calls=calls))
        case "harmony":
            return Script(lines, Done(calls=calls[:1]))
        case _:
            return Script([*lines, *(Line(calls=[call]) for call in calls)])


def _ignores_format(model: SimulatedModel, turn: Turn, release: Release) -> bool:
    if model.format == "safetensors":
        return True
    parsed = turn.think is False and model.can("thinking")
    return parsed and effective_path(model, release) == "rendered" and not release.since("0.31.2")


def _until_stop(text: str, turn: Turn) -> str:
    stops = turn.options.get("stop")
    ends = [text.find(s) for s in stops if s] if isinstance(stops, list) else []
    return text[: min((at for at in ends if at >= 0), default=len(text))]


def pieces(text: str) -> list[str]:
    """Text as tokens: words with the space before them, cut at a dozen characters."""
    return _PIECE.findall(text)


def cut(script: Script, limit: int) -> Script:
    """The script up to so many tokens; what is cut ends with "length"."""
    seen = 0
    for at, line in enumerate(script.lines):
        seen += tokens_of(line)
        if seen > limit:
            return Script(script.lines[:at], Done("length"))
    return script


def tokens_of(line: Line | Done) -> int:
    return bool(line.content) + bool(line.thinking) + len(line.calls)
