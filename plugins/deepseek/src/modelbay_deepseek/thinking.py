"""Whether the model shall think, and how hard: what the request says, as the wire wants it. Pure.

Every current model thinks unless told otherwise.
"""

from dataclasses import dataclass

from modelbay.errors import UnsupportedFeatureError
from modelbay.models.chat import ChatRequest, NamedTool
from modelbay.models.events import Notice
from modelbay.models.frozen import JsonObject

# The server takes more names than it has levels, and not every deployment takes the same ones.
LEVELS = {
    "minimal": "low",
    "low": "low",
    "medium": "high",
    "high": "high",
    "xhigh": "high",
    "max": "max",
    "ultra": "max",
}
FIELDS = ("thinking", "reasoning_effort")  # of a request's `extra`; read here


@dataclass(frozen=True, slots=True)
class Thinking:
    """Attributes:
    on: The model will think: its earlier reasoning has to be sent back.
    fields: Of the body.
    """

    on: bool
    fields: JsonObject
    notices: tuple[Notice, ...] = ()


def decide(
    request: ChatRequest, *, default: bool | None = None, default_effort: str | None = None
) -> Thinking:
    """What to send for a request.

    ``extra={"thinking": ...}`` is the switch; an effort switches it on too, and the effort
    ``none`` off. A forced tool call needs it off: the server refuses both together.

    Args:
        default: For a request that does not say; ``None`` leaves it to the server.
        default_effort: For a request that thinks and does not say how hard.

    Raises:
        UnsupportedFeatureError: Thinking is demanded together with a forced tool call, or the
            switch is none the server knows.
    """
    notices: list[Notice] = []
    asked = _switch(request.extra.get("thinking"))
    wanted = request.reasoning_effort or request.extra.get("reasoning_effort")
    effort: str | None = None
    if wanted == "none":
        if asked is True:
            notices.append(_dropped("thinking is switched on"))
        asked = False if asked is None else asked
    elif wanted is not None:
        effort = LEVELS.get(str(wanted))
        if effort is None:
            levels = ", ".join(("none", *dict.fromkeys(LEVELS.values())))
            notices.append(_dropped(f"'{wanted}' is none of {levels}"))
    if _is_forced(request):
        if asked is True:
            raise UnsupportedFeatureError(
                "DeepSeek cannot think and be forced to call a tool in one request",
                hint='send tool_choice "auto", or extra={"thinking": False}',
                stage="encode",
            )
        if asked is None:
            notices.append(
                Notice("thinking_off", "the model does not think here: a tool call is forced")
            )
        asked, effort = False, None
    elif asked is None:
        asked = True if effort is not None else default
    if asked is False:
        if effort is not None:
            notices.append(_dropped("thinking is switched off"))
        return Thinking(False, {"thinking": {"type": "disabled"}}, tuple(notices))
    effort = effort or default_effort
    fields: JsonObject = {}
    if asked or effort is not None:
        fields["thinking"] = {"type": "enabled"}
    if effort is not None:
        fields["reasoning_effort"] = effort
    return Thinking(True, fields, tuple(notices))


def _dropped(why: str) -> Notice:
    return Notice("dropped_field", f"reasoning_effort was left out: {why}")


def _is_forced(request: ChatRequest) -> bool:
    choice = request.tool_choice
    return bool(request.tools) and (choice == "required" or isinstance(choice, NamedTool))


def _switch(value: object) -> bool | None:
    kind = value.get("type") if isinstance(value, dict) else value
    known: dict[object, bool | None] = {
        None: None,
        True: True,
        False: False,
        "enabled": True,
        "disabled": False,
    }
    if not isinstance(kind, (str, bool, type(None))) or kind not in known:
        raise UnsupportedFeatureError(
            "DeepSeek's thinking is enabled or disabled, and nothing else",
            hint='extra={"thinking": {"type": "disabled"}}, or reasoning_effort "low"',
            stage="encode",
        )
    return known[kind]
