"""Every error a caller may see.

ModelbayError                        code, retryable; message, provider_id, model, hint, stage
├── ConfigError                      providers.json, an argument or the environment is wrong
├── PluginError                      a plugin is at fault, not the user and not the server
│   ├── PluginLoadError              it could not be imported, or its hooks do not fit
│   └── PluginContractError          it broke a promise of its hook
├── RoutingError                     the ref names nothing we have
│   ├── UnknownProviderError
│   └── UnknownModelError
├── UnsupportedError                 this backend cannot do it; `hint` says what to do instead
│   ├── UnsupportedActionError
│   └── UnsupportedFeatureError
└── BackendError                     status, retry_after_s; the server refused, failed or broke off
    ├── BackendUnreachableError      no connection
    ├── BackendTimeoutError          a deadline of ours passed
    ├── AuthenticationError          the key is missing or wrong
    ├── RateLimitedError             too many requests; wait
    ├── QuotaExceededError           the account is used up; waiting does not help
    ├── ModelNotFoundError           the server does not know the model
    ├── ContextLengthError           the request does not fit the context window
    ├── InvalidRequestError          the server rejects the request as it is
    ├── BackendBusyError             loading, queue full; the same request may succeed later
    ├── WrongServerError             something else answers at this address; `found` names it
    ├── StreamInterruptedError       it ended before its end; `partial` holds the text so far
    └── ProtocolError                what came is not what the server's wire format allows

A message says what happened in the user's words; `hint` is the next step, as something to type.
Secrets and whole prompts never enter either.
"""

from typing import ClassVar, Literal

Stage = Literal["encode", "connect", "send", "decode"]


class ModelbayError(Exception):
    """The root of the tree.

    Args:
        message: What happened.
        provider_id: The provider it happened at, if one was involved.
        model: The ref or wire id it was about, if one was.
        hint: The next step, as something to type.
        stage: Where in a request it happened.
    """

    code: ClassVar[str] = "modelbay_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        provider_id: str | None = None,
        model: str | None = None,
        hint: str | None = None,
        stage: Stage | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.provider_id = provider_id
        self.model = model
        self.hint = hint
        self.stage = stage


class ConfigError(ModelbayError):
    """Configuration is wrong.

    Args:
        where: The file, or the name of the variable or argument.
        pointer: JSON pointer into the file, such as ``/providers/0/baseUrl``.
    """

    code = "config_error"

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        pointer: str | None = None,
        provider_id: str | None = None,
        hint: str | None = None,
    ) -> None:
        place = f"{where or ''}{f'#{pointer}' if pointer is not None else ''}"
        super().__init__(
            f"{place}: {message}" if place else message, provider_id=provider_id, hint=hint
        )
        self.where = where
        self.pointer = pointer


class PluginError(ModelbayError):
    code = "plugin_error"


class PluginLoadError(PluginError):
    code = "plugin_load_error"


class PluginContractError(PluginError):
    code = "plugin_contract_error"


class RoutingError(ModelbayError):
    code = "routing_error"


class UnknownProviderError(RoutingError):
    code = "unknown_provider"


class UnknownModelError(RoutingError):
    code = "unknown_model"


class UnsupportedError(ModelbayError):
    code = "unsupported"


class UnsupportedActionError(UnsupportedError):
    code = "unsupported_action"


class UnsupportedFeatureError(UnsupportedError):
    code = "unsupported_feature"


class BackendError(ModelbayError):
    """The server refused, failed or broke off.

    Args:
        status: HTTP status, where there was one.
        retry_after_s: How long the server asks to wait, in seconds.
    """

    code = "backend_error"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        provider_id: str | None = None,
        model: str | None = None,
        hint: str | None = None,
        stage: Stage | None = None,
    ) -> None:
        super().__init__(message, provider_id=provider_id, model=model, hint=hint, stage=stage)
        self.status = status
        self.retry_after_s = retry_after_s


class BackendUnreachableError(BackendError):
    code = "backend_unreachable"
    retryable = True


class BackendTimeoutError(BackendError):
    code = "backend_timeout"
    retryable = True


class AuthenticationError(BackendError):
    code = "authentication_failed"


class RateLimitedError(BackendError):
    code = "rate_limited"
    retryable = True


class QuotaExceededError(BackendError):
    code = "quota_exceeded"


class ModelNotFoundError(BackendError):
    code = "model_not_found"


class ContextLengthError(BackendError):
    code = "context_length_exceeded"


class InvalidRequestError(BackendError):
    code = "invalid_request"


class BackendBusyError(BackendError):
    code = "backend_busy"
    retryable = True


class WrongServerError(BackendError):
    """Something else answers at this address.

    Args:
        found: What the fingerprint says it is, in words.
    """

    code = "wrong_server"

    def __init__(
        self,
        message: str,
        *,
        found: str = "",
        status: int | None = None,
        provider_id: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, status=status, provider_id=provider_id, hint=hint)
        self.found = found


class StreamInterruptedError(BackendError):
    """A stream ended before the server's own end.

    Args:
        partial: The answer's text as far as it came.
    """

    code = "stream_interrupted"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        partial: str = "",
        status: int | None = None,
        provider_id: str | None = None,
        model: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(
            message, status=status, provider_id=provider_id, model=model, hint=hint, stage="decode"
        )
        self.partial = partial


class ProtocolError(BackendError):
    code = "protocol_error"


# code -> (HTTP status a gateway answers with, exit code of the command line).
# An upstream's 401 becomes 502: our caller's own key was fine. 4 is "no such model", 124 is what
# `timeout` uses; the rest of the exit codes are in docs/errors.md. A status of the server's own may
# stand in for the one here: see `http_status`.
CODES: dict[str, tuple[int, int]] = {
    "modelbay_error": (500, 1),
    "config_error": (500, 2),
    "plugin_error": (500, 1),
    "plugin_load_error": (500, 1),
    "plugin_contract_error": (500, 1),
    "routing_error": (404, 4),
    "unknown_provider": (404, 4),
    "unknown_model": (404, 4),
    "unsupported": (400, 6),
    "unsupported_action": (400, 6),
    "unsupported_feature": (400, 6),
    "backend_error": (502, 1),
    "backend_unreachable": (502, 3),
    "backend_timeout": (504, 124),
    "authentication_failed": (502, 5),
    "rate_limited": (429, 1),
    "quota_exceeded": (402, 5),
    "model_not_found": (404, 4),
    "context_length_exceeded": (400, 1),
    "invalid_request": (400, 1),
    "backend_busy": (503, 1),
    "wrong_server": (502, 3),
    "stream_interrupted": (502, 1),
    "protocol_error": (502, 1),
}


# Those that say no more than the server's own status does, and the statuses that are about us and
# not about our caller: our key, our proxy.
_KEEPS_STATUS = frozenset(("backend_error", "backend_timeout", "invalid_request", "protocol_error"))
_OURS = frozenset((401, 403, 407))


def http_status(error: ModelbayError) -> int:
    """The HTTP status a gateway gives this error.

    A server's own 4xx is kept where the error says no more than it: clients tell a request that
    is too large (413) from one that cannot be read (422).
    """
    if isinstance(error, BackendError) and error.code in _KEEPS_STATUS:
        status = error.status or 0
        if 400 <= status < 500 and status not in _OURS:
            return status
    return CODES[error.code][0]


def exit_code(error: ModelbayError) -> int:
    """The exit code the command line gives this error."""
    return CODES[error.code][1]


def from_code(
    code: str, message: str, *, provider_id: str | None = None, hint: str | None = None
) -> ModelbayError:
    """An error that was written down, made anew; of an unknown code it is a `BackendError`."""
    kind = _kinds(ModelbayError).get(code, BackendError)
    error = kind(message, hint=hint)
    error.provider_id = provider_id
    return error


def _kinds(top: type[ModelbayError]) -> dict[str, type[ModelbayError]]:
    """By code the class that brought it; a plugin's own class without one is not asked for."""
    found = {top.code: top}
    for kind in top.__subclasses__():
        found = _kinds(kind) | found
    return found
