"""What a llama-swap has answered and how busy its machine is; in whatever form its version has."""

from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from modelbay.client.http import fetch_json
from modelbay.context import ProviderContext
from modelbay.errors import BackendError
from modelbay.models.frozen import JsonObject
from modelbay_llamaswap.config import JSON, at
from modelbay_llamaswap.wire import classify

T = TypeVar("T")

_LAST = 5
_DEADLINE_S = 5.0


class Tokens(msgspec.Struct):
    """Of one answer; -1 is not reported."""

    cache_tokens: int = -1
    input_tokens: int = -1
    output_tokens: int = -1
    prompt_per_second: float = -1
    tokens_per_second: float = -1


class Answered(msgspec.Struct):
    """One request: nested ``tokens`` since v209, flat before."""

    model: str = ""
    timestamp: str = ""
    req_path: str = ""
    resp_status_code: int | None = None
    tokens: Tokens | None = None
    duration_ms: float | None = None
    error_msg: str | None = None
    cache_tokens: int = -1
    input_tokens: int = -1
    output_tokens: int = -1
    prompt_per_second: float = -1
    tokens_per_second: float = -1


class _Page(msgspec.Struct):
    data: list[Answered] | None = None


class Stats(msgspec.Struct):
    total_requests: int = 0
    total_input_tokens: int = 0
    total_output_tokens: int = 0
    total_cache_tokens: int = 0


class System(msgspec.Struct):
    """A sample of the machine."""

    mem_total_mb: float | None = None
    mem_used_mb: float | None = None
    load_avg_1: float | None = None


class Gpu(msgspec.Struct):
    id: int | str | None = None
    name: str | None = None
    gpu_util_pct: float | None = None
    mem_used_mb: float | None = None
    mem_total_mb: float | None = None
    temp_c: float | None = None
    power_draw_w: float | None = None


class Performance(msgspec.Struct):
    """``gpu_stats`` is null on a machine without GPU tools (trap 18)."""

    enabled: bool = True
    sys_stats: list[System] | None = None
    gpu_stats: list[Gpu] | None = None


async def activity_of(provider: ProviderContext, wire_id: str) -> JsonObject:
    """Counts and the last answers of a model; empty where the server keeps none.

    ``/api/metrics/activity`` and ``/stats`` since v236, ``/api/metrics`` from v140 to v235.
    """
    query = urlencode({"model": wire_id, "limit": _LAST})
    found: JsonObject = {}
    page = await _have(provider, f"api/metrics/activity?{query}", _Page)
    if page is not None:
        rows = [row for row in page.data or () if row.model == wire_id]
        stats = await _have(provider, f"api/metrics/stats?{urlencode({'model': wire_id})}", Stats)
        if stats is not None:
            found["requests"] = stats.total_requests
            found["input_tokens"] = stats.total_input_tokens
            found["output_tokens"] = stats.total_output_tokens
            found["cached_tokens"] = stats.total_cache_tokens
    else:
        old = await _have(provider, "api/metrics", list[Answered])
        if old is None:
            return {}
        rows = [row for row in reversed(old) if row.model == wire_id]
        found["requests"] = len(rows)
    if rows:
        found["last"] = [_row(row) for row in rows[:_LAST]]
    return found


async def performance(provider: ProviderContext) -> JsonObject:
    """The newest sample of the machine; empty where there is none (before v212, or disabled)."""
    sample = await _have(provider, "api/performance", Performance)
    if sample is None or not sample.enabled:
        return {}
    found: JsonObject = {}
    if sample.sys_stats:
        found.update(_known(sample.sys_stats[-1]))
    newest = {gpu.id: gpu for gpu in sample.gpu_stats or ()}
    if newest:
        found["gpus"] = [_known(gpu) for gpu in newest.values()]
    return found


def _row(row: Answered) -> JsonObject:
    tokens = row.tokens or Tokens(
        row.cache_tokens,
        row.input_tokens,
        row.output_tokens,
        row.prompt_per_second,
        row.tokens_per_second,
    )
    shown: JsonObject = {
        "at": row.timestamp,
        "path": row.req_path,
        "status": row.resp_status_code,
        "duration_s": None if row.duration_ms is None else row.duration_ms / 1000,
        "error": row.error_msg,
    }
    for name in tokens.__struct_fields__:
        value = getattr(tokens, name)
        shown[name] = None if value < 0 else value
    return {name: value for name, value in shown.items() if value not in (None, "")}


def _known(sample: msgspec.Struct) -> JsonObject:
    values = {name: getattr(sample, name) for name in sample.__struct_fields__}
    return {name: value for name, value in values.items() if value is not None}


async def _have(provider: ProviderContext, path: str, into: type[T]) -> T | None:
    """The answer, or ``None`` from a server that has no such route or does not say."""
    try:
        return await fetch_json(
            provider,
            "GET",
            at(provider, path),
            into=into,
            headers=JSON,
            deadline_s=_DEADLINE_S,
            classify=classify,
        )
    except BackendError:
        return None
