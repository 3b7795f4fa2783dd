"""The field ``think``: for whom it is sent, and in which form a server of some age takes it. Pure.

Absent it means "on" since 0.12.4 for models that think (trap 12), and sent to others it is refused
(trap 11); so it is always sent to the former and never to the latter.
"""

from typing import TypeAlias

from modelbay.models.catalog import ModelInfo
from modelbay.models.events import Notice
from modelbay_ollama.extras import dropped
from modelbay_ollama.names import parse_name
from modelbay_ollama.versions import Version, reaches

Think: TypeAlias = bool | str

# Efforts of other servers, by the nearest of Ollama's; as its own /v1 layer maps them.
_LEVELS = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
    "xhigh": "max",
    "ultra": "max",
}


def encode_think(
    effort: str | None, model: ModelInfo, version: Version | None, notices: list[Notice]
) -> Think | None:
    """The value to send; ``None`` sends nothing.

    Args:
        effort: ``none`` to ``max``; ``None`` leaves it to the model, which means on.
    """
    wanted = None if effort is None else effort.strip().lower()
    if model.capabilities.reasoning is not True:
        if wanted not in (None, "none"):
            notices.append(dropped("reasoning_effort", "this model is not known to think"))
        return None
    if not reaches(version, 0, 9, 0):
        return None  # the field is unknown there; thoughts come as tags in the text
    levels = _is_gpt_oss(model)
    if wanted == "none":
        if levels:
            told = "reasoning_effort 'none' became 'low': this model cannot be kept from thinking"
            notices.append(Notice("dropped_field", told))
            return _level("low", version, levels=True)
        return False
    if wanted is None:
        return True
    level = _LEVELS.get(wanted)
    if level is None:
        known = ", ".join(("none", *_LEVELS))
        notices.append(dropped("reasoning_effort", f"{effort!r} is none of {known}"))
        return True
    return _level(level, version, levels=levels)


def _level(level: str, version: Version | None, *, levels: bool) -> Think:
    """A level where the server takes one: from gpt-oss since 0.11.0, from all since 0.17.7."""
    if not reaches(version, *((0, 11, 0) if levels else (0, 17, 7))):
        return True
    return "high" if level == "max" and not reaches(version, 0, 22, 0) else level


def simpler(think: object) -> Think | None:
    """What to try when a server refuses this value: a switch, then nothing."""
    return True if isinstance(think, str) else None


def _is_gpt_oss(model: ModelInfo) -> bool:
    name = parse_name(model.ref.wire_id)
    family = (model.family or "").replace("-", "")
    return family == "gptoss" or (name is not None and name.model.lower().startswith("gpt-oss"))
