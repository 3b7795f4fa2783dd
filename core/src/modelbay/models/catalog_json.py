"""The catalogue as JSON: the body of ``GET /api/models`` and of ``modelbay models --json``."""

from collections.abc import Sequence
from typing import Any

from modelbay.models.catalog import ModelInfo, ProviderEntry


def model_json(model: ModelInfo) -> dict[str, Any]:
    """One model; its id, which is the ref (S0-37), comes first, for people who read it."""
    return {"id": model.id, **model.model_dump(mode="json")}


def provider_json(entry: ProviderEntry, models: Sequence[ModelInfo]) -> dict[str, Any]:
    """One provider with these of its models (S0-36); its health stands beside the fixed fields."""
    return {
        "id": entry.id,
        "label": entry.label,
        "kind": entry.kind,
        "status": entry.status,
        "problem": None if entry.problem is None else entry.problem.model_dump(mode="json"),
        "age_s": _seconds(entry.age_s),
        "took_s": _seconds(entry.took_s),
        "next_look_s": _seconds(entry.next_look_s),
        "models": [model_json(model) for model in models],
    }


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
