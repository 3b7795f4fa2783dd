"""``GET /metrics``: the numbers in the text format of Prometheus."""

from collections.abc import Iterable, Mapping

from modelbay_gateway.answer import Answer
from modelbay_gateway.bay import Bay
from modelbay_gateway.call import Call
from modelbay_gateway.front import VERSION
from modelbay_gateway.metering import BOUNDS_S, Histogram, Meter

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

# Outcomes that are no fault of a provider's.
_FINE = frozenset(("ok", "cancelled"))
_UP = {"ok": 1.0, "stale": 1.0, "loading": 1.0}

Sample = tuple[Mapping[str, str], float]


async def metrics(bay: Bay, call: Call) -> None:
    """Counts since the start, and how things stand now. Asks no provider."""
    await call.reply(written(bay, bay.meter).encode(), content_type=CONTENT_TYPE)


def written(bay: Bay, meter: Meter) -> str:
    """All metrics, in one text."""
    providers = [entry for entry in bay.host.catalog.providers if not entry.hidden]
    ids = [entry.id for entry in providers]
    lines = [
        *_family(
            "modelbay_build_info",
            "gauge",
            "What serves here.",
            [({"version": VERSION}, 1)],
        ),
        *_family(
            "modelbay_requests_total",
            "counter",
            "Answers, by the protocol they were in and their status.",
            [
                ({"surface": surface, "status": str(status)}, count)
                for (surface, status), count in sorted(meter.answers.items())
            ],
        ),
        *_family(
            "modelbay_open_streams",
            "gauge",
            "Streams of events on their way to clients.",
            [({}, sum(isinstance(each, Answer) for each in bay.answers))],
        ),
        *_family(
            "modelbay_provider_up",
            "gauge",
            "Whether the last look at a provider went well.",
            [({"provider": each.id}, _UP.get(each.status, 0.0)) for each in providers],
        ),
        *_family(
            "modelbay_provider_models",
            "gauge",
            "Models a provider lists.",
            [({"provider": each.id}, len(each.models)) for each in providers],
        ),
        *_family(
            "modelbay_provider_requests_total",
            "counter",
            "Requests to providers, by what was asked and how it ended.",
            [
                ({"provider": provider, "task": task, "outcome": outcome}, count)
                for (provider, task, outcome), count in sorted(meter.asked.items())
            ],
        ),
        *_family(
            "modelbay_provider_errors_total",
            "counter",
            "Requests to providers that failed, by the error.",
            [
                ({"provider": provider, "code": outcome}, count)
                for (provider, outcome), count in sorted(_errors(meter).items())
            ],
        ),
        *_family(
            "modelbay_provider_running",
            "gauge",
            "Requests that providers work on.",
            [
                ({"provider": provider, "task": task}, count)
                for (provider, task), count in sorted(meter.running.items())
            ],
        ),
        *_family(
            "modelbay_queue_active",
            "gauge",
            "Places that are taken at a provider.",
            [({"provider": each}, bay.admission.active(each)) for each in ids],
        ),
        *_family(
            "modelbay_queue_waiting",
            "gauge",
            "Requests that wait for a place at a provider.",
            [({"provider": each}, bay.admission.waiting(each)) for each in ids],
        ),
        *_family(
            "modelbay_tokens_total",
            "counter",
            "Tokens, as the providers counted them.",
            [
                ({"provider": provider, "direction": direction}, count)
                for (provider, direction), count in sorted(meter.tokens.items())
            ],
        ),
        *_histograms(
            "modelbay_first_token_seconds",
            "From asking a provider to the first of its answer.",
            meter.first_token,
        ),
    ]
    return "\n".join(lines) + "\n"


def _errors(meter: Meter) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for (provider, _, outcome), count in meter.asked.items():
        if outcome not in _FINE:
            found[provider, outcome] = found.get((provider, outcome), 0) + count
    return found


def _family(name: str, kind: str, about: str, samples: Iterable[Sample]) -> list[str]:
    return [
        f"# HELP {name} {about}",
        f"# TYPE {name} {kind}",
        *(_sample(name, labels, value) for labels, value in samples),
    ]


def _histograms(name: str, about: str, found: Mapping[str, Histogram]) -> list[str]:
    lines = _family(name, "histogram", about, ())
    for provider, histogram in sorted(found.items()):
        labels, below = {"provider": provider}, 0
        for bound, count in zip((*BOUNDS_S, None), histogram.counts, strict=True):
            below += count
            most = "+Inf" if bound is None else f"{bound:g}"
            lines.append(_sample(f"{name}_bucket", {**labels, "le": most}, below))
        lines.append(_sample(f"{name}_sum", labels, histogram.total))
        lines.append(_sample(f"{name}_count", labels, below))
    return lines


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{told}}} {value}" if told else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
