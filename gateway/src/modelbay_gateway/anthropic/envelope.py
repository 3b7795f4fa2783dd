"""Refusals in the words of Anthropic's clients. Pure."""

from dataclasses import replace

from modelbay.models.frozen import JsonObject
from modelbay_gateway.json_line import to_json
from modelbay_gateway.refusal import Refusal

OVERLOADED = 529

_BY_STATUS: dict[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    OVERLOADED: "overloaded_error",
}


def as_theirs(refusal: Refusal) -> Refusal:
    """With the status this protocol has for it: a server without a free place is overloaded."""
    return replace(refusal, status=OVERLOADED) if refusal.status == 503 else refusal


def refuse(refusal: Refusal, request_id: str = "") -> bytes:
    """The error envelope, on one line."""
    refusal = as_theirs(refusal)
    status = refusal.status
    kind = _BY_STATUS.get(status, "invalid_request_error" if status < 500 else "api_error")
    error: JsonObject = {"type": kind, "message": _message(refusal)}
    for name, value in (
        ("code", refusal.code),
        ("field", refusal.field),
        ("hint", refusal.hint),
        ("provider", refusal.provider_id),
        ("model", refusal.model),
    ):
        if value is not None:
            error[name] = value
    body: JsonObject = {"type": "error", "error": error}
    if request_id:
        body["request_id"] = request_id
    return to_json(body)


def _message(refusal: Refusal) -> str:
    """The text. Clients know a request that is too long by its words, so it gets theirs."""
    if refusal.code != "context_length_exceeded":
        return refusal.message
    window = refusal.context_window
    limit = f" of {window} tokens" if window else ""
    return (
        f"prompt is too long: it exceeds the context window{limit} of this model"
        f" ({refusal.message})"
    )
