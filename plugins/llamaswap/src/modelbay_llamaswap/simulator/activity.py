"""What was asked and how it went: activity rows, their sums, and captures."""

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from modelbay_llamaswap.simulator.gojson import rfc3339

SORTABLE = (
    *("id", "time", "model", "req_path", "resp_status_code", "resp_content_type", "cached"),
    *("prompt", "generated", "drafted", "prompt_speed", "gen_speed", "duration"),
)
_BINS = 5
_NOTHING = {
    "cache_tokens": 0,
    "draft_tokens": 0,
    "draft_acc_tokens": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "prompt_per_second": 0.0,
    "tokens_per_second": 0.0,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One request to a model."""

    id: int
    model: str
    path: str
    content_type: str
    status: int
    tokens: Mapping[str, float]
    duration_ms: int
    has_capture: bool
    metadata: Mapping[str, str]
    error: str
    moment: datetime = field(default_factory=lambda: datetime.now(UTC))

    def entry(self) -> dict[str, object]:
        """As `GET /api/metrics/activity` lists it."""
        shown: dict[str, object] = {
            "id": self.id,
            "timestamp": rfc3339(self.moment),
            "model": self.model,
            "req_path": self.path,
            "resp_content_type": self.content_type,
            "resp_status_code": self.status,
            "tokens": _compact(self.tokens),
            "duration_ms": self.duration_ms,
            "has_capture": self.has_capture,
        }
        if self.metadata:
            shown["metadata"] = dict(self.metadata)
        return {**shown, "error_msg": self.error} if self.error else shown

    def flat(self) -> dict[str, object]:
        """As ``/api/metrics`` listed it up to v208."""
        tokens = _compact(self.tokens)
        names = ("cache_tokens", "input_tokens", "output_tokens")
        speeds = ("prompt_per_second", "tokens_per_second")
        return {
            "id": self.id - 1,  # they began at 0
            "timestamp": rfc3339(self.moment),
            "model": self.model,
            **{name: tokens[name] for name in (*names, *speeds)},
            "duration_ms": self.duration_ms,
            "has_capture": self.has_capture,
        }

    def nested(self) -> dict[str, object]:
        """As ``/api/metrics`` listed it from v209 to v235."""
        return {**self.entry(), "id": self.id - 1}

    def column(self, name: str) -> float | str:
        columns: dict[str, float | str] = {
            "id": self.id,
            "time": self.id,
            "model": self.model,
            "req_path": self.path,
            "resp_status_code": self.status,
            "resp_content_type": self.content_type,
            "cached": self.tokens["cache_tokens"],
            "prompt": self.tokens["input_tokens"],
            "generated": self.tokens["output_tokens"],
            "drafted": self.tokens["draft_tokens"],
            "prompt_speed": self.tokens["prompt_per_second"],
            "gen_speed": self.tokens["tokens_per_second"],
            "duration": self.duration_ms,
        }
        return columns[name]


@dataclass(frozen=True, slots=True)
class Capture:
    """A request and its answer, kept in memory."""

    path: str
    request_headers: Mapping[str, str]
    request_body: bytes
    response_headers: Mapping[str, str]
    response_body: bytes

    def entry(self, key: int) -> dict[str, object]:
        return {
            "id": key,
            "req_path": self.path,
            "req_headers": dict(self.request_headers),
            "req_body": _packed(self.request_body),
            "resp_headers": dict(self.response_headers),
            "resp_body": _packed(self.response_body),
        }


def _packed(data: bytes) -> str | None:
    return base64.b64encode(data).decode() if data else None


def _compact(tokens: Mapping[str, float]) -> dict[str, float]:
    """Go writes a whole float without its fraction."""
    return {name: int(value) if value == int(value) else value for name, value in tokens.items()}


def count_tokens(body: bytes, content_type: str) -> dict[str, float]:
    """Tokens of an answer, from llama-server's `timings` or else from `usage`.

    -1 is not reported; all zeros: nothing could be read, as in a stream that was cut.
    """
    counted = dict(_NOTHING)
    for record in _records(body, content_type):
        timings, usage = record.get("timings"), _usage(record)
        if isinstance(timings, dict):
            counted = {
                "cache_tokens": timings.get("cache_n", -1),
                "draft_tokens": timings.get("draft_n", -1),
                "draft_acc_tokens": timings.get("draft_n_accepted", -1),
                "input_tokens": timings.get("prompt_n", 0),
                "output_tokens": timings.get("predicted_n", 0),
                "prompt_per_second": timings.get("prompt_per_second", -1),
                "tokens_per_second": timings.get("predicted_per_second", -1),
            }
        elif usage:
            details = usage.get("prompt_tokens_details")
            cached = details.get("cached_tokens", -1) if isinstance(details, dict) else -1
            counted = {
                "cache_tokens": usage.get("cache_read_input_tokens", cached),
                "draft_tokens": -1,
                "draft_acc_tokens": -1,
                "input_tokens": usage.get("prompt_tokens", usage.get("input_tokens", 0)),
                "output_tokens": usage.get("completion_tokens", usage.get("output_tokens", 0)),
                "prompt_per_second": -1,
                "tokens_per_second": -1,
            }
    return counted


def _usage(record: Mapping[str, object]) -> dict[str, int]:
    for holder in (record, record.get("response"), record.get("message")):
        usage = holder.get("usage") if isinstance(holder, dict) else None
        if isinstance(usage, dict):
            return usage
    return {}


def _records(body: bytes, content_type: str) -> Iterable[dict[str, object]]:
    text = body.decode("utf-8", "replace")
    if content_type.startswith("text/event-stream"):
        texts = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    else:
        texts = [text] if content_type.startswith("application/json") else []
    for one in texts:
        try:
            value: object = json.loads(one)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


class Activity:
    """All rows, newest last."""

    def __init__(self, kept: int = 1000) -> None:
        self._kept = kept
        self._rows: list[Row] = []
        self._next = 1

    @property
    def rows(self) -> Sequence[Row]:
        return self._rows

    def add(
        self,
        *,
        model: str,
        path: str,
        content_type: str,
        status: int,
        body: bytes,
        duration_ms: int,
        has_capture: bool,
        metadata: Mapping[str, str],
        error: str,
    ) -> Row:
        tokens = count_tokens(body, content_type) if status == 200 else dict(_NOTHING)
        row = Row(
            self._next,
            model,
            path,
            content_type,
            status,
            tokens,
            duration_ms,
            has_capture,
            {} if error else metadata,
            error,
        )
        self._next += 1
        self._rows = [*self._rows[1 - self._kept :], row]
        return row

    def stats(self, models: Sequence[str]) -> dict[str, object]:
        """Sums, and how the speeds are spread."""
        rows = [row for row in self._rows if not models or row.model in models]

        def total(name: str) -> int:
            return sum(int(max(0, row.tokens[name])) for row in rows)

        def spread(name: str) -> dict[str, object] | None:
            return histogram([row.tokens[name] for row in rows if row.tokens[name] > 0])

        return {
            "total_requests": len(rows),
            "total_input_tokens": total("input_tokens"),
            "total_output_tokens": total("output_tokens"),
            "total_cache_tokens": total("cache_tokens"),
            "prompt_histogram": spread("prompt_per_second"),
            "gen_histogram": spread("tokens_per_second"),
        }


def histogram(values: Sequence[float]) -> dict[str, object] | None:
    """Five bins from the least to the largest value, and percentiles between neighbours."""
    if not values:
        return None
    ordered = sorted(values)
    least, most = ordered[0], ordered[-1]
    size = (most - least) / _BINS
    bins = [0] * _BINS
    for value in ordered:
        bins[min(_BINS - 1, int((value - least) / size)) if size else 0] += 1

    def percentile(share: float) -> float:
        at = share * (len(ordered) - 1)
        low, high = math.floor(at), math.ceil(at)
        return ordered[low] + (ordered[high] - ordered[low]) * (at - low)

    return {
        "bins": bins,
        "min": least,
        "max": most,
        "binSize": size,
        "p50": percentile(0.5),
        "p95": percentile(0.95),
        "p99": percentile(0.99),
    }
