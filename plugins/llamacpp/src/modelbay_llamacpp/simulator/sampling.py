"""Sampling fields: their types and ranges, and the echo of how the server understood them."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from modelbay_llamacpp.simulator.answer import ApiError

_INT_MAX = 2_147_483_647
_UINT_MAX = 4_294_967_295


@dataclass(frozen=True, slots=True)
class Field:
    """One number field. Out of range: moved into it, or with `hard` refused with 400."""

    default: float
    low: float | None = None
    high: float | None = None
    hard: bool = False


FLOATS = {
    "temperature": Field(0.8, low=0),
    "dynatemp_range": Field(0.0),
    "dynatemp_exponent": Field(1.0),
    "top_p": Field(0.95, 0, 1),
    "min_p": Field(0.05, 0, 1),
    "top_n_sigma": Field(-1.0),
    "xtc_probability": Field(0.0, 0, 1),
    "xtc_threshold": Field(0.1, 0, 1),
    "typical_p": Field(1.0),
    "repeat_penalty": Field(1.0),
    "presence_penalty": Field(0.0),
    "frequency_penalty": Field(0.0),
    "dry_multiplier": Field(0.0),
    "dry_base": Field(1.75),
    "mirostat_tau": Field(5.0),
    "mirostat_eta": Field(0.1),
    "adaptive_target": Field(-1.0, high=1),
    "adaptive_decay": Field(0.9, 0, 0.99, hard=True),
}
INTEGERS = {
    "top_k": Field(40, low=0),
    "repeat_last_n": Field(64, 0, _INT_MAX, hard=True),
    "dry_allowed_length": Field(2, 0, _INT_MAX, hard=True),
    "dry_penalty_last_n": Field(64, 0, _INT_MAX, hard=True),
    "mirostat": Field(0, 0, 2),
    "n_keep": Field(0, -1, _INT_MAX, hard=True),
    "n_discard": Field(0, 0, _INT_MAX, hard=True),
    "n_probs": Field(0),
    "min_keep": Field(0, 0, _INT_MAX, hard=True),
}
SAMPLERS = ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc"]
LIMITS = ("n_predict", "max_completion_tokens", "max_tokens")  # the first one present counts


def number(body: Mapping[str, object], name: str, rule: Field, *, whole: bool = False) -> float:
    """The value of a number field; absent and null are the default.

    Raises:
        ApiError: 400 for a wrong type, or a value beyond a hard limit.
    """
    value = body.get(name)
    if value is None:
        return rule.default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong_type(name, "number", value)
    low, high = rule.low, rule.high
    if (low is not None and value < low) or (high is not None and value > high):
        if rule.hard:
            raise ApiError(
                400,
                f"Field '{name}': Value must be between {low} <= value <= {high}, but got {value}",
            )
        value = max(value if low is None else low, min(value, value if high is None else high))
    return int(value) if whole else float(value)


def boolean(body: Mapping[str, object], name: str, default: bool = False) -> bool:
    """Raises ApiError 400 for a wrong type."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise _wrong_type(name, "boolean", value)
    return value


def token_limit(body: Mapping[str, object]) -> int:
    """The most tokens to make, -1 without limit; 0 still makes one."""
    for name in LIMITS:
        if body.get(name) is not None:
            limit = number(body, name, Field(-1, -1, _INT_MAX, hard=True), whole=True)
            return max(1, int(limit)) if limit >= 0 else -1
    return -1


def stop_strings(body: Mapping[str, object]) -> list[str]:
    stop = body.get("stop")
    if isinstance(stop, str):
        return [stop]
    return [s for s in stop if isinstance(s, str)] if isinstance(stop, list) else []


def settings(body: Mapping[str, object], *, chat_format: str, full: bool) -> dict[str, object]:
    """`generation_settings` of a request, or with {} the `params` of ``/props``.

    `full`: with the fields that only an answer echoes.

    Raises:
        ApiError: 400 as in `number`.
    """
    limit = token_limit(body)
    echo: dict[str, object] = {
        "seed": int(number(body, "seed", Field(_UINT_MAX), whole=True)) % (_UINT_MAX + 1)
    }
    for name, rule in FLOATS.items():
        echo[name] = _float32(number(body, name, rule))
    for name, rule in INTEGERS.items():
        echo[name] = number(body, name, rule, whole=True)
    samplers = body.get("samplers")
    echo |= {
        "max_tokens": limit,
        "n_predict": limit,
        "ignore_eos": boolean(body, "ignore_eos"),
        "stream": boolean(body, "stream"),
        "chat_format": chat_format,
        "reasoning_format": "deepseek" if full or chat_format != "Content-only" else "none",
        "reasoning_in_content": False,
        "generation_prompt": "" if chat_format == "Content-only" else "<|im_start|>assistant\n",
        "samplers": samplers if isinstance(samplers, list) else [*SAMPLERS, "temperature"],
        "speculative.types": "none",
        "timings_per_token": boolean(body, "timings_per_token"),
        "post_sampling_probs": boolean(body, "post_sampling_probs"),
        "backend_sampling": False,
        "lora": [],
    }
    if full:
        echo |= {
            "dry_sequence_breakers": body.get("dry_sequence_breakers") or ["\n", ":", '"', "*"],
            "stop": stop_strings(body),
            "logit_bias": _logit_bias(body),
            "grammar": "",
            "grammar_lazy": False,
            "grammar_triggers": [],
            "preserved_tokens": [],
        }
    return echo


def _logit_bias(body: Mapping[str, object]) -> list[dict[str, object]]:
    given = body.get("logit_bias")
    pairs = (
        [p for p in given if isinstance(p, list) and len(p) == 2] if isinstance(given, list) else []
    )
    bias: list[dict[str, object]] = [
        {"bias": None if value is False else float(value), "token": token} for token, value in pairs
    ]
    if body.get("ignore_eos") is True:
        bias += [{"bias": None, "token": token} for token in (2, 4)]
    return bias


def _float32(value: float) -> float:
    """The noise a float32 leaves in JSON."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


def _wrong_type(name: str, wanted: str, value: object) -> ApiError:
    kinds = {bool: "boolean", str: "string", list: "array", dict: "object"}
    found = kinds.get(type(value), "number")
    return ApiError(
        400,
        f"Field '{name}': [json.exception.type_error.302] type must be {wanted}, but is {found}",
    )
