"""What llama-swap's errors mean, and the next step: errors with better words and a hint."""

import difflib
from typing import NoReturn

from modelbay.client.http import NOTHING
from modelbay.context import ProviderContext
from modelbay.errors import (
    BackendBusyError,
    BackendError,
    BackendUnreachableError,
    ModelbayError,
    ModelNotFoundError,
    ProtocolError,
    StreamInterruptedError,
    UnsupportedFeatureError,
)
from modelbay_llamaswap.memory import memory
from modelbay_llamaswap.sidecar import Endpoint
from modelbay_llamaswap.wire import EMPTY, NO_ROUTE, TOO_MANY, known_names, without_command

# What a request gets that somebody cancels while it waits: 200 and no body (trap 6).
CALLED_OFF = "the request was called off at the server: an empty answer"
_NEAR = 3
_FAILED_START = (
    "upstream command exited prematurely",
    "failed to start its command",
    "unable to start process",
    "start() failed",
)


def raise_explained(
    provider: ProviderContext, exc: BackendError, name: str, place: Endpoint | None = None
) -> NoReturn:
    """Raise the error in its better form."""
    explained = _explained(provider, exc, name, place)
    if explained is exc:
        raise exc
    raise explained from exc


def _explained(
    provider: ProviderContext, exc: BackendError, name: str, place: Endpoint | None
) -> ModelbayError:
    exc.message = without_command(exc.message)
    exc.args = (exc.message,)
    if place is not None and place.is_sidecar:
        exc.message = place.credentials.redact(exc.message)
        exc.args = (exc.message,)
        if isinstance(exc, BackendUnreachableError):
            exc.message = f"cannot reach the sidecar of provider '{provider.id}', {place.shown}"
            exc.args = (exc.message,)
            exc.hint = "start the sidecar, or leave the request's routing flags out"
        return exc  # its words are its own
    text = exc.message
    if isinstance(exc, ProtocolError) and text.endswith(NOTHING):
        return StreamInterruptedError(
            CALLED_OFF, status=exc.status, provider_id=provider.id, model=exc.model or name
        )
    if text.startswith(NO_ROUTE):
        return UnsupportedFeatureError(
            "this llama-swap has no such endpoint",
            provider_id=provider.id,
            model=name,
            hint="update llama-swap; modelbay doctor shows which version answers",
        )
    if exc.status == 502 and text.startswith(EMPTY):
        exc.message = "the model's own server died, or takes no connections yet (HTTP 502)"
        exc.args = (exc.message,)
        exc.hint = _logs(provider, name)
    elif isinstance(exc, ModelNotFoundError):
        exc.hint = _near(provider, name) or exc.hint
    elif exc.hint is None:
        exc.hint = _hint(provider, exc, name)
    return exc


def _hint(provider: ProviderContext, exc: BackendError, name: str) -> str | None:
    text = exc.message
    if any(words in text for words in _FAILED_START):
        return _logs(provider, name)
    if "health check timed out" in text:
        return (
            "raise healthCheckTimeout, or correct the model's checkEndpoint: it must answer 200."
            f" {_logs(provider, name)}"
        )
    if TOO_MANY in text:
        return "raise the model's concurrencyLimit (10 unless set), or busyWaitS here"
    if text.startswith("peer proxy error"):
        return "is the peer up? It has 60 s to begin unless its timeouts.responseHeader says else"
    if "no model id could be identified" in text:
        return "a proxy in between may have changed the request's Content-Type or body"
    if isinstance(exc, BackendBusyError):
        return "send it again: the next request loads the model"
    if isinstance(exc, StreamInterruptedError):
        return (
            f"its process died, or it was unloaded; {_logs(provider, name)}"
            if exc.partial
            else _logs(provider, name)
        )
    return None


def _logs(provider: ProviderContext, name: str) -> str:
    return f"modelbay logs {provider.id} {memory(provider).real_id(name)}"


def _near(provider: ProviderContext, name: str) -> str | None:
    """Listed names that look alike, else the first few."""
    names = memory(provider).real_ids
    if not names:
        return None
    close = difflib.get_close_matches(name, list(names), _NEAR, 0.6)
    if close:
        return f"did you mean {' or '.join(f'{provider.id}/{near}' for near in close)}?"
    return f"this server lists: {known_names(names)}"
