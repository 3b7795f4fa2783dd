"""Model options and ``keep_alive``, checked before they go on the wire. Pure.

A wrong type is answered by the server with 500, which looks like its own fault (trap 18). Source of
the table: Ollama's ``api/types.go`` at v0.33.0-rc2.
"""

import math
import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

from pydantic import JsonValue

from modelbay.errors import InvalidRequestError
from modelbay.models.frozen import JsonObject

KeepAlive: TypeAlias = int | float | str
OptionType: TypeAlias = Literal["integer", "number", "boolean", "list of strings"]

LEAST_WINDOW = 4  # tokens; the server makes more of less
_LARGEST = 2**63  # its integers end there

# name -> (type, whether a change makes the server load the model anew)
OPTIONS: Mapping[str, tuple[OptionType, bool]] = {
    "num_ctx": ("integer", True),
    "num_batch": ("integer", True),
    "num_gpu": ("integer", True),
    "main_gpu": ("integer", True),
    "use_mmap": ("boolean", True),
    "num_thread": ("integer", True),
    "draft_num_predict": ("integer", True),
    "num_keep": ("integer", False),
    "seed": ("integer", False),
    "num_predict": ("integer", False),
    "temperature": ("number", False),
    "top_k": ("integer", False),
    "top_p": ("number", False),
    "min_p": ("number", False),
    "typical_p": ("number", False),
    "repeat_last_n": ("integer", False),
    "repeat_penalty": ("number", False),
    "presence_penalty": ("number", False),
    "frequency_penalty": ("number", False),
    "stop": ("list of strings", False),
}
# Options the server once had and now passes over without a word.
REMOVED = frozenset(
    {
        *("mirostat", "mirostat_tau", "mirostat_eta", "tfs_z", "penalize_newline", "numa"),
        *("low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock", "embedding_only"),
    }
)
# What other servers call the same thing.
RENAMED: Mapping[str, str] = {
    "repetition_penalty": "repeat_penalty",
    "max_completion_tokens": "num_predict",
    "max_tokens": "num_predict",
    "n_ctx": "num_ctx",
    "n_predict": "num_predict",
}


def option(name: str, value: object) -> JsonValue:
    """The value in the type the server wants; a number or switch written as text is read.

    Raises:
        InvalidRequestError: It is of another type.
    """
    if name not in OPTIONS:
        return _as_it_is(name, value)
    kind, _ = OPTIONS[name]
    match kind:
        case "integer":
            number = _number(value)
            if number is not None and float(number).is_integer():
                if name == "num_ctx" and number < LEAST_WINDOW:
                    raise _wrong(name, f"at least {LEAST_WINDOW}", number)
                return int(number)
        case "number":
            number = _number(value)
            if number is not None:
                return number
        case "boolean":
            if isinstance(value, bool):
                return value
            if isinstance(value, str) and value.lower() in ("true", "false"):
                return value.lower() == "true"
        case "list of strings":
            if isinstance(value, str):
                return [value]  # the server takes lists alone
            if isinstance(value, list) and all(isinstance(each, str) for each in value):
                return list(value)
    raise _wrong(name, f"a{'n' if kind == 'integer' else ''} {kind}", value)


def options(values: Mapping[str, object]) -> JsonObject:
    """All of them; ``None`` is left out, as the server would.

    Raises:
        InvalidRequestError: One is of the wrong type.
    """
    return {name: option(name, value) for name, value in values.items() if value is not None}


def is_load_time(name: str) -> bool:
    """Whether a change of it makes the server unload the model and load it anew."""
    return name in OPTIONS and OPTIONS[name][1]


def _number(value: object) -> int | float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?[0-9]{1,15}(\.[0-9]{1,15})?\s*", value):
        value = float(value)
        return int(value) if value.is_integer() else value
    if isinstance(value, (int, float)) and -_LARGEST <= value < _LARGEST:  # false for NaN too
        return value
    return None


def _as_it_is(name: str, value: object) -> JsonValue:
    if value is None or isinstance(value, (bool, int, float, str, list, dict)):
        return value
    raise _wrong(name, "JSON", value)


def _wrong(name: str, wanted: str, value: object) -> InvalidRequestError:
    given = type(value).__name__
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        given = f"{value}" if -_LARGEST <= value < _LARGEST else "a number of that size"
    return InvalidRequestError(
        f"the option {name} must be {wanted}, not {given}",
        hint=_EXAMPLES.get(name, f"give {name} as {wanted}"),
        stage="encode",
    )


_EXAMPLES = {
    "num_ctx": 'for example {"num_ctx": 8192}',
    "stop": 'for example {"stop": ["END"]}',
    "temperature": 'for example {"temperature": 0.7}',
}


# --- keep_alive ----------------------------------------------------------------------------------

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_PIECE = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_LONG_UNITS = {"d": 86400, "day": 86400, "days": 86400, "w": 604800, "week": 604800}
_LONG_UNITS["weeks"] = _LONG_UNITS["w"]
_LONG_PIECE = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(days?|d|weeks?|w)")
_PLAIN = re.compile(r"[+-]?[0-9]{1,12}(\.[0-9]{1,9})?")
_FOREVER = ("forever", "always", "inf", "infinite")
_LONGEST_TEXT = 64
_LONGEST_S = _LARGEST / 1e9  # what the server counts in nanoseconds: 292 years


def keep_alive(value: object) -> KeepAlive:
    """The value in a form every server takes; what people write is read (trap 10).

    The server refuses numbers as text, days and spaces: ``"300"``, ``"1d"``, ``"5 m"``.

    Raises:
        ValueError: It is no length of time, or longer than the server can count.
    """
    found = _read_keep_alive(value)
    if found is None:
        raise ValueError("expected a length of time: seconds, or text such as 10m, 1h30m, 1d, -1")
    seconds = keep_alive_s(found)
    if seconds is not None and _LONGEST_S <= seconds < math.inf:
        raise ValueError("that is longer than 292 years; -1 is for ever")
    return found


def _read_keep_alive(value: object) -> KeepAlive | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < 0:
            return value if value > -_LARGEST else -1
        return value if value < _LARGEST else None  # also for what is no number
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        return None
    text = value.strip().lower()
    if _PLAIN.fullmatch(text):
        number = float(text)
        return int(number) if number.is_integer() else number
    if text in _FOREVER:
        return -1
    text = re.sub(r"\s+", "", text)
    if keep_alive_s(text) is not None:
        return text
    return _with_days(text)


def _with_days(text: str) -> str | None:
    """``1d12h`` as ``36h``; ``None`` if it is no such text."""
    bare = text.lstrip("+-")
    days = _LONG_PIECE.findall(bare)
    rest = _LONG_PIECE.sub("", bare)
    rest_s = keep_alive_s(rest) if rest else 0.0
    if not days or len(text) - len(bare) > 1 or rest_s is None or rest.startswith(("+", "-")):
        return None
    sign = "-" if text.startswith("-") else ""
    total_s = sum(float(number) * _LONG_UNITS[unit] for number, unit in days) + rest_s
    if (total_s / 3600).is_integer():
        return f"{sign}{total_s / 3600:.0f}h"
    return f"{sign}{total_s:.9f}".rstrip("0").rstrip(".") + "s"


def keep_alive_s(value: KeepAlive) -> float | None:
    """Seconds; infinite for what is negative, ``None`` for text that is no duration of Go's."""
    if not isinstance(value, str):
        return math.inf if value < 0 else float(value)
    text = value[1:] if value.startswith(("+", "-")) else value
    seconds, at = 0.0, 0
    while at < len(text):
        found = _PIECE.match(text, at)
        if found is None:
            return None
        seconds += float(found[1]) * _UNITS[found[2]]
        at = found.end()
    if text == "":
        return None
    return math.inf if value.startswith("-") and seconds > 0 else seconds


def request_keep_alive(value: object) -> KeepAlive:
    """`keep_alive` for a field of a request.

    Raises:
        InvalidRequestError: It is no length of time.
    """
    try:
        return keep_alive(value)
    except ValueError as exc:
        raise InvalidRequestError(
            f"keep_alive: {exc}", hint='for example {"keep_alive": "10m"}', stage="encode"
        ) from exc
