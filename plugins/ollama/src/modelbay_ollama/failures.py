"""What the server's words about a failure mean. Pure.

Status and JSON shape decide; words only where nothing else does.
"""

import re
from urllib.parse import urlsplit

import msgspec

from modelbay.errors import (
    AuthenticationError,
    BackendBusyError,
    BackendError,
    BackendUnreachableError,
    ContextLengthError,
    InvalidRequestError,
    ModelbayError,
    ModelNotFoundError,
    ProtocolError,
    QuotaExceededError,
    StreamInterruptedError,
    UnsupportedFeatureError,
)
from modelbay.wire.errors import ErrorBody, error_class, parse_error_body


class ReportedFailureError(StreamInterruptedError):
    """The server wrote an error into an answer that had begun as a success (trap 6)."""


class SilentEndError(StreamInterruptedError):
    """The answer ended without its last line and without a word (trap 7).

    A model that repeats itself, an engine that died, a proxy that gave up: it cannot be told.
    """


_TOO_LONG = (
    "exceed_context_size",
    "exceeds the available context size",
    "prompt is longer than the context",
    "input length exceeds",
    "exceeds maximum context length",
    "exceeds the model's maximum context length",
    "exceeds the context length",
)
_NOT_FOUND = re.compile(
    r"model ['\"].*['\"] not found|not found, try pulling|manifest: file does not exist"
)
_CANNOT = re.compile(r"does not support (tools|insert|chat|generate|thinking|completion|vision)")
_BAD_INPUT = re.compile(
    r"option \".*\" must be of type|invalid format:|invalid model name|invalid input type"
    r"|keep_alive|time: |think value|invalid think|top_logprobs|illegal base64|json: cannot"
)
_MEMORY = (
    "out of memory",
    "failed to allocate",
    "cudaMalloc failed",
    "requires more system memory",
)
_LOADING = ("llama-server process has terminated", "timed out waiting for llama-server")


def classify(status: int, body: ErrorBody) -> type[BackendError] | None:
    """The class of an error answer, where Ollama's words say more than its status."""
    text = body.message
    if any(words in text for words in _TOO_LONG):
        return ContextLengthError
    if _NOT_FOUND.search(text):
        return ModelNotFoundError
    if status == 404 and body.raw is None and "page not found" in text:
        return ProtocolError  # the router's own words: there is no such route
    if status == 429 and "usage limit" in text:
        return QuotaExceededError
    if text.startswith("server busy"):
        return BackendBusyError
    if text.startswith(("unauthorized", "signin required")):
        return AuthenticationError
    if status in (200, 500) and (_BAD_INPUT.search(text) or _CANNOT.search(text)):
        return InvalidRequestError
    if status == 502:
        return BackendUnreachableError  # the cloud, or what a proxy stands in front of
    return None


def unwrap(text: str) -> str:
    """The words inside an error that is JSON itself, up to two levels deep (trap 42)."""
    for _ in range(2):
        if not text.lstrip().startswith("{"):
            break
        inner = parse_error_body(text.encode("utf-8", "replace"))
        if inner.raw is None or inner.message == text:
            break
        text = inner.message
    return text


def reported(line: bytes, *, begun: bool, partial: str) -> BackendError:
    """The error of a line ``{"error": ...}`` inside an answer.

    As the first line it is what older servers (before 0.12.6) say instead of a status.
    """
    body = parse_error_body(line)
    message = unwrap(body.message) or "the server reported an error without words"
    if begun:
        return ReportedFailureError(message, partial=partial, status=200)
    kind = error_class(500, body, lambda _, found: classify(200, found))
    return kind(message, status=200, stage="decode")


def explain(exc: BackendError, body: ErrorBody | None, model: str | None) -> ModelbayError:
    """The error with readable words and the next step in its hint.

    Another class where the model cannot at all what was asked: leaving it out would help, asking
    again would not.
    """
    message, status = _apart(exc.message)
    if (plain := unwrap(message)) != message:
        exc.message = f"{plain}{status}"
        exc.args = (exc.message,)
    text = exc.message
    url = None if body is None or body.raw is None else body.raw.get("signin_url")
    if isinstance(url, str) and urlsplit(url).scheme == "https":
        exc.hint = f"sign in: {url}"
    elif found := _CANNOT.search(text):
        return UnsupportedFeatureError(
            text,
            provider_id=exc.provider_id,
            model=model,
            hint=f"choose a model that does, or leave out what needs {found[1]}",
        )
    else:
        exc.hint = _hint(exc, text, model) or exc.hint
    return exc


def _apart(message: str) -> tuple[str, str]:
    found = re.search(r" \(HTTP [0-9]{3}\)$", message)
    return (message, "") if found is None else (message[: found.start()], found[0])


def _hint(exc: BackendError, text: str, model: str | None) -> str | None:
    if isinstance(exc, ModelNotFoundError) and model:
        return f"modelbay pull {model}   # or see what is there: modelbay models"
    if isinstance(exc, ContextLengthError):
        return 'shorten the conversation, or raise "numCtx" of this provider'
    if exc.status == 403 and "no reason given" in text:
        return "behind a proxy, let it send 'Host: localhost:11434' and no 'Origin'"
    if "cloud is disabled" in text:
        return "switch the cloud on in the server's settings, or choose a local model"
    if any(words in text for words in _MEMORY):
        return 'choose a smaller model, or a smaller "numCtx"'
    if any(words in text for words in _LOADING):
        return "read the server's log; the file may be broken or too new for this Ollama"
    if "no longer compatible" in text:
        return f"pull it again: modelbay pull {model}" if model else None
    if "insecure protocol" in text:
        name = (model or "").partition("/")[2]
        return f"give that registry https, or: ollama pull --insecure {name}"
    if "max retries exceeded" in text:
        return "look at the server's connection to the registry, and ask again: what came is kept"
    if "access denied" in text:
        return "check the spelling; if it is somebody's private model: ollama signin"
    if isinstance(exc, BackendBusyError):
        return "the server's queue is full; ask again in a moment"
    return None


def is_half(data: bytes) -> bool:
    """Whether this is the beginning of a record, and not all of it."""
    if not data.lstrip().startswith(b"{"):
        return False
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return True
    return False


def decode_error(data: bytes, exc: Exception, *, begun: bool, partial: str) -> BackendError:
    """The error for a line that is no record of an answer."""
    shown = data[:80].decode("utf-8", "replace")
    message = f"expected a line of an answer, got {shown!r} ({_kind(exc)})"
    if begun:
        return StreamInterruptedError(message, partial=partial)
    return ProtocolError(message, hint="does a proxy answer in the server's place?", stage="decode")


def _kind(exc: Exception) -> str:
    return "no JSON" if isinstance(exc, msgspec.DecodeError) else type(exc).__name__
