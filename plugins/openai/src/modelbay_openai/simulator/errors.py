"""Errors in the words and shapes of each server."""

from modelbay_openai.simulator.personalities import Personality

Json = dict[str, object]

_TYPES = {
    400: ("invalid_request_error", "BadRequestError"),
    401: ("invalid_request_error", "AuthenticationError"),
    402: ("insufficient_quota", "PaymentRequired"),
    404: ("invalid_request_error", "NotFoundError"),
    422: ("invalid_request_error", "UnprocessableEntityError"),
    429: ("rate_limit_error", "RateLimitError"),
    500: ("server_error", "InternalServerError"),
    503: ("server_error", "ServiceUnavailableError"),
}


class ApiError(Exception):
    """A refusal.

    Args:
        code: What OpenAI puts into ``code``.
    """

    def __init__(
        self, status: int, message: str, code: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.retry_after_s = retry_after_s


def body(personality: Personality, error: ApiError) -> Json:
    """The body of a refusal."""
    status, message = error.status, error.message
    plain, name = _TYPES.get(status, ("server_error", "InternalServerError"))
    match personality.errors:
        case "openai":
            return {"error": {"message": message, "type": plain, "param": None, "code": error.code}}
        case "vllm":
            return {"error": {"message": message, "type": name, "param": None, "code": status}}
        case "sglang":
            return {
                "object": "error",
                "message": message,
                "type": name,
                "param": None,
                "code": status,
            }
        case "text":
            return {"error": message}
        case "detail":
            if status == 422:
                field = {"loc": ["body", "messages"], "msg": message, "type": "missing"}
                return {"detail": [field]}
            return {"detail": message}
        case "kobold":
            kind = "service_unavailable" if status == 503 else "bad_input"
            return {"detail": {"msg": message, "type": kind}}
        case "openrouter":
            return {"error": {"code": status, "message": message}, "user_id": "user_simulated"}


def in_stream(personality: Personality, error: ApiError, head: Json) -> Json:
    """The chunk that tells of a failure after the answer has begun."""
    match personality.errors:
        case "openrouter":
            choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
            inner = {"code": error.status, "message": error.message}
            return {**head, "error": inner, "choices": [choice]}
        case "detail":
            return {"error": {"message": error.message, "trace": None}}
        case "sglang":
            return {"error": body(personality, error)}
        case "kobold":
            return {"error": {"message": error.message, "type": "server_error"}}
        case _:
            return body(personality, error)


def unknown_model(personality: Personality, name: str) -> ApiError:
    """The refusal of a name."""
    match personality.errors:
        case "openrouter":
            return ApiError(400, f"{name} is not a valid model ID")
        case "text":
            return ApiError(404, f"Model '{name}' not found")
        case _:
            return ApiError(404, f"The model `{name}` does not exist.", "model_not_found")


def too_long(personality: Personality, used: int, context: int) -> ApiError:
    """The refusal of a conversation that does not fit."""
    match personality.errors:
        case "sglang":
            text = (
                f"The input ({used} tokens) is longer than the model's context length"
                f" ({context} tokens)."
            )
        case "text":
            text = (
                f"Trying to keep the first {used} tokens when context overflows, which is greater"
                f" than the context length ({context})"
            )
        case _:
            text = (
                f"This model's maximum context length is {context} tokens. However, you requested"
                f" {used} tokens. Please reduce the length of the messages."
            )
    return ApiError(400, text, "context_length_exceeded" if personality.name == "openai" else None)


def no_money(personality: Personality) -> ApiError:
    """The refusal when the account is used up."""
    if personality.empty == 429:
        return ApiError(
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
        )
    return ApiError(402, "Insufficient credits. Add more and retry the request.")
