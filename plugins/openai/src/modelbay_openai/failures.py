"""What the errors of these servers mean, where the status alone would say something else."""

from modelbay.context import ProviderContext
from modelbay.errors import (
    BackendBusyError,
    BackendError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    QuotaExceededError,
)
from modelbay.wire.errors import ErrorBody
from modelbay_openai.memory import memory

# Words of the errors for a request that does not fit the context, in lower case.
_TOO_LONG = (
    "maximum context length",  # OpenAI, vLLM, OpenRouter
    "longer than the model's context length",  # SGLang
    "exceeds the available context size",  # llama.cpp
    "greater than the context length",  # LM Studio
    "prompt is too long",
    "exceeds the context window",
    "reduce the length of the messages",
)
_USED_UP = (
    "exceeded your current quota",  # OpenAI: 429, as for too many requests
    "insufficient credits",  # OpenRouter
    "insufficient balance",
    "billing hard limit",
)
_NO_MODEL = (
    "is not a valid model id",  # OpenRouter: 400
    "model_not_found",
)
_TOOLS_OFF = "--enable-auto-tool-choice"  # vLLM names its own switches
_NO_TOOLS = "no endpoints found that support tool use"  # OpenRouter: 404
_OVERLOADED = 529  # not a registered status; several services answer it


def classify(status: int, body: ErrorBody) -> type[BackendError] | None:
    """The class of error; ``None`` leaves it to the code and the status."""
    text = body.message.lower()
    if status in (400, 413, 422, 500) and any(words in text for words in _TOO_LONG):
        return ContextLengthError
    if status in (402, 403, 429) and any(words in text for words in _USED_UP):
        return QuotaExceededError
    if status in (400, 404) and _NO_TOOLS in text:
        return InvalidRequestError
    if status == 400 and any(words in text for words in _NO_MODEL):
        return ModelNotFoundError
    if status == 403 and _was_moderated(body):
        return InvalidRequestError
    if status == _OVERLOADED:
        return BackendBusyError
    return None


def _was_moderated(body: ErrorBody) -> bool:
    """OpenRouter's 403 for a text its moderation took offence at; the key is fine."""
    metadata = (body.raw or {}).get("metadata")
    return isinstance(metadata, dict) and ("reasons" in metadata or "flagged_input" in metadata)


def explain(provider: ProviderContext, exc: BackendError) -> None:
    """Put the next step into an error that has none."""
    if exc.hint is not None:
        return
    if _TOOLS_OFF in exc.message:
        exc.hint = "start vLLM with --enable-auto-tool-choice --tool-call-parser NAME"
    elif _NO_TOOLS in exc.message.lower():
        exc.hint = "choose a model with tools: modelbay models"
    else:
        exc.hint = memory(provider).server.hints.get(exc.code)
