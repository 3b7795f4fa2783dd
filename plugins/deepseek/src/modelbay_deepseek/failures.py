"""What DeepSeek's words about a failure mean. Pure.

The status decides, then the error's ``type``, then its text. Its ``code`` is of no use: it is
``invalid_request_error`` on nearly everything, also on 401, 402 and 429.
"""

import re

from modelbay.errors import (
    AuthenticationError,
    BackendBusyError,
    BackendError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    QuotaExceededError,
    RateLimitedError,
    StreamInterruptedError,
)
from modelbay.models.events import Finish
from modelbay.wire.errors import ErrorBody
from modelbay_deepseek.table import RETIRED, Retired

# Finish reasons under which the server broke an answer off; never an end of its own.
ABORTED = {
    "insufficient_system_resource": "DeepSeek ran out of capacity",
    "aborted": "DeepSeek broke the answer off",
}

_BY_TYPE: dict[str, type[BackendError]] = {
    "authentication_error": AuthenticationError,
    "rate_limit_error": RateLimitedError,
    "invalid_request_error": InvalidRequestError,
}
_NAMES = "the supported api model names are"
_CONTEXT = re.compile(r"maximum context length is [0-9]")
_KEYS = re.compile(r"\*{2,}[\w-]+|\bsk-[\w-]+")
_TRACE = re.compile(r"[0-9a-zA-Z-]{8,64}")


def classify(status: int, body: ErrorBody) -> type[BackendError] | None:
    """The class of an error answer, where DeepSeek's words say more than its status.

    An error inside a stream has no status of its own and comes here with 500.
    """
    text = body.message.lower()
    if status in (400, 422, 500):
        # A refusal may quote the request, with any words in it: these are whole phrases.
        if _NAMES in text:
            return ModelNotFoundError
        if _CONTEXT.search(text):
            return ContextLengthError
    # A body may carry a type of another protocol; a status that stands for itself wins.
    kind = _BY_TYPE.get(body.type) if status == 500 else None
    used_up = "insufficient balance" in text
    if status == 402 or (used_up and (status == 429 or (status == 500 and kind is None))):
        return QuotaExceededError
    if (status == 429 or kind is RateLimitedError) and is_about_balance(text):
        # The concurrency an account may have falls with its balance, before a 402 ever comes.
        return QuotaExceededError
    return kind


def is_about_balance(text: str) -> bool:
    """Whether a refusal for too many requests is really one for too little money."""
    text = text.lower()
    return "top up" in text or "remaining balance" in text


def explain(exc: BackendError, wire_id: str | None, provider_id: str, trace: str = "") -> None:
    """Put the next step into an error's hint, and take what is left of a key out of its words.

    Args:
        trace: The server's own id of the request, for its support.
    """
    # A 401 repeats the key's last four characters behind asterisks, a 400 parts of the request.
    exc.message = _KEYS.sub("***", exc.message)
    if _TRACE.fullmatch(trace) and trace not in exc.message:
        exc.message = f"{exc.message} [trace {trace}]"
    exc.args = (exc.message,)
    exc.hint = _hint(exc, wire_id, provider_id) or exc.hint


def _hint(exc: BackendError, wire_id: str | None, provider_id: str) -> str | None:
    text = exc.message
    if isinstance(exc, ModelNotFoundError) and wire_id in RETIRED:
        return successor_hint(RETIRED[wire_id], provider_id)
    if isinstance(exc, QuotaExceededError):
        if exc.status == 429:
            return (
                "top up the account: fewer requests at once are allowed as its balance falls; or"
                f' set "maxConcurrent" of provider "{provider_id}"'
            )
        return "top up the DeepSeek account, or choose a local model: modelbay models"
    if isinstance(exc, RateLimitedError):
        return f'set "maxConcurrent" of provider "{provider_id}" in providers.json'
    if isinstance(exc, ContextLengthError):
        return "shorten the conversation, or lower max_tokens: both count"
    if "does not support this tool_choice" in text:
        return 'send tool_choice "auto", or extra={"thinking": False}'
    return None


def retired(wire_id: str, old: Retired, provider_id: str) -> ModelNotFoundError:
    """The error for an id that nothing answers under any more."""
    return ModelNotFoundError(
        f"'{wire_id}' is no model of DeepSeek's any more: it {old.note}",
        provider_id=provider_id,
        hint=successor_hint(old, provider_id),
        stage="encode",
    )


def successor_hint(old: Retired, provider_id: str) -> str:
    return f"modelbay chat -m {provider_id}/{old.successor}"


def broken_off(finish: Finish, *, begun: bool, partial: str) -> BackendError | None:
    """The error that a finish reason of ours to see stands for; ``None`` for a proper end.

    Args:
        begun: Something of the answer has been handed on.
    """
    said = ABORTED.get(finish.raw_reason or "")
    if said is None:
        return None
    message = f"{said} ({finish.raw_reason})"
    if begun:
        return StreamInterruptedError(message, partial=partial, status=503)
    return BackendBusyError(message, status=503, stage="decode")
