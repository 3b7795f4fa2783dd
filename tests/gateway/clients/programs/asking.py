"""What the programs need: how to tell what came of each question."""

import json
from collections.abc import Callable, Mapping
from typing import TypeAlias

Ask: TypeAlias = Callable[[], object]


def tell(questions: Mapping[str, Ask]) -> None:
    """Print one JSON object: of every question its answer, or what was raised."""
    print(json.dumps({name: _outcome(ask) for name, ask in questions.items()}))


def raised(error: Exception) -> dict[str, object]:
    """An error as its client tells it; `code` and `hint` are what the gateway sent."""
    response = getattr(error, "response", None)
    body = getattr(error, "body", None)
    return {
        "raised": type(error).__name__,
        "status": getattr(error, "status_code", None),
        "code": getattr(error, "code", None) or (body or {}).get("code"),
        "retry_after": None if response is None else response.headers.get("retry-after"),
        "message": str(error),
    }


def _outcome(ask: Ask) -> object:
    try:
        return ask()
    except Exception as error:  # the outcome is what the test compares
        return raised(error)
