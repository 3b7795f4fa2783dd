"""What the model answers: made up from the request, the same each time."""

import json
import secrets
from dataclasses import dataclass, field

from modelbay_deepseek.simulator.knobs import Knobs
from modelbay_deepseek.simulator.prompt import pieces
from modelbay_deepseek.simulator.validation import Body, is_thinking

DEFAULT_LIMIT = 8192  # words; the real defaults are larger and make no difference to a short text


@dataclass(frozen=True, slots=True)
class Script:
    """What the model says, whoever asks.

    Attributes:
        thought: Before every answer, where it thinks.
        text: To a prompt without tools and without results of tools.
    """

    thought: str = "Let me think about that."
    text: str = "This is a pretended answer."


@dataclass(frozen=True, slots=True)
class Call:
    id: str
    name: str
    arguments: str


@dataclass(slots=True)
class Answer:
    """One answer, cut into tokens.

    Attributes:
        thinking: The model thought; the usage says so, even if nothing was left of it.
        finish: Its finish reason.
    """

    thinking: bool
    reasoning: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    finish: str = "stop"

    @property
    def reasoning_tokens(self) -> int:
        return len(self.reasoning)

    @property
    def tokens(self) -> int:
        """All that is billed as output."""
        in_calls = sum(len(pieces(call.arguments)) for call in self.calls)
        return len(self.reasoning) + len(self.text) + in_calls


def compose(body: Body, script: Script, knobs: Knobs) -> Answer:
    """The answer to a valid request, within its limit: thinking uses it up first."""
    answer = Answer(is_thinking(body))
    limit = body.get("max_tokens")
    left = limit if isinstance(limit, int) else DEFAULT_LIMIT
    if answer.thinking:
        thought = pieces(script.thought)
        answer.reasoning = thought[:left]
        left -= len(answer.reasoning)
        if len(answer.reasoning) < len(thought) or not left:
            answer.finish = "length"
            return answer
    if _wants_call(body, knobs):
        answer.calls = _calls(body, knobs)
        answer.finish = "tool_calls"
        return answer
    text = pieces(_text(body, script, knobs))
    answer.text = text[:left]
    if len(answer.text) < len(text):
        answer.finish = "length"
    return answer


def _messages(body: Body) -> list[Body]:
    found = body.get("messages")
    return found if isinstance(found, list) else []


def _tools(body: Body) -> list[Body]:
    found = body.get("tools")
    return [tool["function"] for tool in found] if isinstance(found, list) else []


def _wants_call(body: Body, knobs: Knobs) -> bool:
    if not _tools(body) or body.get("tool_choice") == "none":
        return False
    rounds = 0
    for message in reversed(_messages(body)):
        if message.get("role") == "user":
            break
        rounds += message.get("role") == "assistant"
    return rounds < knobs.tool_rounds


def _calls(body: Body, knobs: Knobs) -> list[Call]:
    tools = _tools(body)
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        tools = [tool for tool in tools if tool.get("name") == choice["function"]["name"]] or tools
    return [
        Call(
            f"call_{number:02d}_{secrets.token_hex(12)}",
            str(tools[number % len(tools)]["name"]),
            json.dumps(example(tools[number % len(tools)].get("parameters") or {}, "arguments")),
        )
        for number in range(knobs.parallel)
    ]


def example(schema: object, name: str) -> object:
    """A value that fits a schema; a text without any hint is the name of its property."""
    if not isinstance(schema, dict):
        return name
    for key in ("const", "default"):
        if key in schema:
            found: object = schema[key]
            return found
    for key in ("enum", "examples"):
        if schema.get(key):
            first: object = schema[key][0]
            return first
    if schema.get("anyOf"):
        return example(schema["anyOf"][0], name)
    match schema.get("type"):
        case "object":
            return {key: example(one, key) for key, one in schema.get("properties", {}).items()}
        case "array":
            return [example(schema.get("items", {}), name)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case None if "properties" in schema:
            return example({**schema, "type": "object"}, name)
        case _:
            return name


def _text(body: Body, script: Script, knobs: Knobs) -> str:
    last = _messages(body)[-1]
    shape = body.get("response_format")
    if isinstance(shape, dict) and shape.get("type") == "json_object":
        return "" if knobs.json_empty else json.dumps({"answer": script.text})
    if last.get("role") == "tool":
        return f"The tool said: {last.get('content')}"
    return script.text
