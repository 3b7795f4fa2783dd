"""What llama-server says when it fails, and which error that is. Pure.

Source of every fact here: transcripts of llama.cpp 0.5.0-dev (commit 0c1e57098).
"""

import re

from modelbay.errors import (
    BackendBusyError,
    BackendError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    ProtocolError,
)
from modelbay.wire.errors import ErrorBody

COULD_NOT_CONNECT = "proxy error: Could not establish connection"
LIMIT_REACHED = "model limit reached"
NOT_LOADED = "model is not loaded"
ALREADY_RUNNING = "model is already running"
CONTEXT_FULL = "Context size has been exceeded"
NO_IMAGES = ("image input is not supported", "audio input is not supported")
NO_JINJA = "requires --jinja"
BATCH_TOO_SMALL = "is too large to process"

_NOT_FOUND = re.compile(r"model '.*' not found|model (name=.* )?is not found")
_ARRIVING = re.compile(r"model name=.* is not running")
# Bad input that this server answers with 500 (trap 12).
_BAD_INPUT = (
    "[json.exception.",
    "Failed to parse messages",
    "Failed to parse tools",
    "Cannot use both",
    "Unknown reasoning format",
    "Invalid",
    "error: cannot make GET request",
    *NO_IMAGES,
)


def classify(status: int, body: ErrorBody) -> type[BackendError] | None:
    """The class of an error answer, where llama-server's words say more than its status."""
    text = body.message
    if status == 503 or text.startswith((COULD_NOT_CONNECT, LIMIT_REACHED)):
        return BackendBusyError  # the only failures worth a repetition
    if text.startswith(CONTEXT_FULL):
        return ContextLengthError
    if status == 400 and _ARRIVING.match(text):
        return BackendBusyError  # it is still being downloaded
    if _NOT_FOUND.match(text):
        return ModelNotFoundError
    if status == 404:
        return ProtocolError  # "File Not Found" is all a 404 ever says: no such route
    if body.type == "feature_disabled":
        return InvalidRequestError
    if status == 500 and (
        text.startswith(_BAD_INPUT) or NO_JINJA in text or BATCH_TOO_SMALL in text
    ):
        return InvalidRequestError
    return None
