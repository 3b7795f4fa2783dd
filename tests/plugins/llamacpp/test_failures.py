"""Mirrors modelbay_llamacpp/failures.py: recorded errors in, classes out."""

import pytest

from modelbay.errors import (
    BackendBusyError,
    BackendError,
    ContextLengthError,
    InvalidRequestError,
    ModelNotFoundError,
    ProtocolError,
)
from modelbay.wire.errors import error_class, parse_error_body
from modelbay_llamacpp.failures import classify
from recorded_exchanges import recorded


@pytest.mark.parametrize(
    ("transcript", "message", "expected"),
    [
        ("01-health", "Loading model", BackendBusyError),
        ("70-no-autoload", "Could not establish connection", BackendBusyError),
        ("62-load-unload", "model is not found", ModelNotFoundError),
        ("62-load-unload", "File Not Found", ProtocolError),
        ("62-load-unload", "parse_error.101", InvalidRequestError),
        ("60-props", "model 'no-such' not found", ModelNotFoundError),
        ("68-loading", "model limit reached", BackendBusyError),
        ("67-failed", "failed to load", BackendError),
        ("74-download", "is not running", BackendBusyError),
        ("30-bad-requests", "image input is not supported", InvalidRequestError),
        ("30-bad-requests", "Missing 'role'", InvalidRequestError),
        ("30-bad-requests", "Cannot use both", InvalidRequestError),
        ("30-bad-requests", "Unknown reasoning format", InvalidRequestError),
        ("25-tools", "Failed to parse tools", InvalidRequestError),
        ("30-bad-requests", "'messages' is required", InvalidRequestError),
        ("34-tools-without-jinja", "requires --jinja", InvalidRequestError),
        ("33-context", "exceeds the available context", ContextLengthError),
        ("41-embedding-errors", "too large to process", InvalidRequestError),
    ],
)
def test_an_error_answer_gets_its_class_from_the_servers_words(
    transcript: str, message: str, expected: type[BackendError]
) -> None:
    """S3-61: recorded answers; most 500s of this server are the caller's fault (trap 12)."""
    for exchange in recorded("llamacpp", transcript):
        if exchange.answer is not None and message in exchange.answer.body:
            body = parse_error_body(exchange.answer.body.encode())
            assert error_class(exchange.answer.status, body, classify) is expected
            return
    raise AssertionError(f"{transcript} has no answer with {message!r}")


def test_a_full_context_in_the_middle_of_a_stream_is_a_context_error() -> None:
    body = parse_error_body(
        b'{"error":{"code":500,"message":"Context size has been exceeded.","type":"server_error"}}'
    )

    assert error_class(500, body, classify) is ContextLengthError
