"""``functions``, the older form of tools: to tools, and calls back to what its programs read. Pure.

There a message holds one call, which has no id, and a message of the role ``function`` its result.
"""

from typing import Any, Literal

import msgspec

from modelbay.models.chat import NamedTool, Tool
from modelbay.models.events import FinishReason, Notice, ToolCall
from modelbay.models.frozen import JsonObject
from modelbay_gateway.fields import Fields, made, unsupported, wrong
from modelbay_gateway.json_line import to_json
from modelbay_gateway.openai.encode import ChatEncoder

_ONE = Notice(
    "dropped_call", "the model called several functions, and an answer of this form holds one"
)


class Calls:
    """Ties results to calls, in the order of the messages."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting: list[ToolCall] = []

    def called(self, fields: Fields, ignored: list[str]) -> ToolCall:
        """The call of an earlier answer, with an id of its own."""
        call = ToolCall(
            id=f"function_call_{self._count}",
            name=fields.needed_text("name"),
            arguments=fields.text("arguments") or "",
        )
        ignored += fields.unread()
        self._count += 1
        self._waiting.append(call)
        return call

    def claimed(self, name: str) -> str:
        """The id of the call this is the result of: the first of that name that has none."""
        call = next((each for each in self._waiting if each.name == name), None)
        if call is None:
            return f"function_call_of_{name}"  # of a turn that was cut away
        self._waiting.remove(call)
        return call.id


def decode_functions(
    fields: Fields, ignored: list[str]
) -> tuple[list[Tool], Literal["auto", "none"] | NamedTool | None] | None:
    """``functions`` and ``function_call`` as tools and a choice; ``None`` if neither is there.

    Raises:
        Refused: They stand beside tools, or one is malformed.
    """
    if not (fields.has("functions") or fields.has("function_call")):
        return None
    for name in ("tools", "tool_choice"):
        if fields.has(name):
            raise unsupported(
                "functions", f"functions are an older form of tools and cannot go with {name}"
            )
    functions = [_function(each, ignored) for each in fields.objects("functions")]
    raw = fields.any("function_call")
    if not functions:
        if raw not in (None, "auto", "none"):
            ignored.append("function_call")
        return [], None
    if raw is None:
        return functions, None
    if raw == "auto" or raw == "none":
        return functions, raw
    if isinstance(raw, str):
        raise wrong("function_call", 'auto, none or {"name": NAME}', raw)
    choice = Fields(raw, "function_call")
    named = NamedTool(name=choice.needed_text("name"))
    ignored += choice.unread()
    return functions, named


def _function(fields: Fields, ignored: list[str]) -> Tool:
    tool = made(
        Tool,
        name=fields.needed_text("name"),
        description=fields.text("description") or "",
        parameters=fields.json("parameters") or {},
    )
    ignored += fields.unread()
    return tool


# --- answers --------------------------------------------------------------------------------------


class FunctionEncoder(ChatEncoder):
    """The same chunks with ``function_call``, of which there is one."""

    def _call_chunk(self, call: JsonObject) -> bytes:
        if call["index"] != 0:
            if _ONE not in self._notices:
                self._notices.append(_ONE)
            return b""
        return self._in_delta(b'"function_call":' + to_json(call["function"]))

    def _word(self, reason: FinishReason, *, has_calls: bool) -> str:
        return _renamed(super()._word(reason, has_calls=has_calls))


def as_function_call(body: bytes) -> bytes:
    """The body of a whole answer with ``function_call`` in place of ``tool_calls``."""
    document: dict[str, Any] = msgspec.json.decode(body)
    choice = document["choices"][0]
    calls = choice["message"].pop("tool_calls", None)
    if not calls:
        return body
    choice["message"]["function_call"] = calls[0]["function"]
    choice["finish_reason"] = _renamed(choice["finish_reason"])
    if len(calls) > 1:
        notices = document.setdefault("modelbay", {}).setdefault("notices", [])
        notices.append({"code": _ONE.code, "message": _ONE.message})
    return to_json(document)


def _renamed(word: str) -> str:
    return "function_call" if word == "tool_calls" else word
