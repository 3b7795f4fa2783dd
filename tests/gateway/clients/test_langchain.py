"""LangChain's clients for OpenAI-compatible servers, in an environment of their own."""

from pathlib import Path
from typing import Any

import pytest

from gateway.clients import upstreams
from gateway.clients.environments import asked
from gateway.clients.upstreams import RETRY_AFTER_S, Upstreams

pytestmark = pytest.mark.soak

PIECES = ["H", "ell", "o t", "her", "e."]


@pytest.fixture(scope="module")
def said(newest: Path, up: Upstreams) -> dict[str, Any]:
    return asked(
        *(newest / "python", "-m", "gateway.clients.programs.ask_langchain", up.base_url),
        LANGSMITH_TRACING="false",
    )


def test_chat(said: dict[str, Any]) -> None:
    assert said["chat"] == {
        "content": "Hello there.",
        "model": "lab/org/tiny:q4",
        "finish": "stop",
        "total": 31,
    }


def test_streams(said: dict[str, Any]) -> None:
    assert said["stream"] == {
        "pieces": PIECES,
        "content": "Hello there.",
        "finish": "stop",
        "total": 31,
    }
    assert said["stream_asynchronously"] == PIECES


def test_a_whole_round_of_tools(said: dict[str, Any]) -> None:
    call = {"name": "weather", "args": {"city": "Rome"}, "type": "tool_call"}
    whole = [[call], "It is sunny."]
    assert (said["loop"], said["streamed_loop"]) == (whole, whole)


def test_rounds_of_tools_with_a_server_that_wants_its_thoughts_back(said: dict[str, Any]) -> None:
    """LangChain drops them; the gateway gives them back."""
    assert said["rounds"] == [7, "The tool said: sunny"]


def test_structured_output_by_every_method(said: dict[str, Any]) -> None:
    whole = {"city": "Rome", "degrees": 31}
    assert (said["json_schema"], said["json_mode"]) == (whole, whole)
    assert said["function_calling"] == {"city": "Rome"}


def test_embeddings_of_text(said: dict[str, Any], up: Upstreams) -> None:
    """With ``check_embedding_ctx_length=False``; without it LangChain sends numbers of tokens."""
    a, b = up.packed_vectors("a", "b")
    assert said["embeddings"] == [a, [a, b]]


@pytest.mark.parametrize(
    ("name", "kind", "status", "code", "message"),
    [
        ("unknown", "OpenAIModelNotFoundError", 404, "model_not_found", upstreams.UNKNOWN),
        (
            "too_long",
            "OpenAIInvalidRequestError",
            400,
            "context_length_exceeded",
            upstreams.TOO_LONG,
        ),
        ("broken", "OpenAIAPIError", 502, "upstream_stream_closed", upstreams.BROKEN),
    ],
)
def test_errors_are_those_the_client_knows(
    said: dict[str, Any], name: str, kind: str, status: int, code: str, message: str
) -> None:
    assert said[name] == {
        "raised": kind,
        "status": status,
        "code": code,
        "retry_after": None,
        "message": f"Error code: {status} - {message}",
    }


def test_a_failure_in_the_middle_raises(said: dict[str, Any]) -> None:
    assert said["broken_stream"] == {
        "said": ["Hel", "lo "],
        "raised": "APIError",
        "status": None,
        "code": "upstream_stream_closed",
        "retry_after": None,
        "message": upstreams.BROKEN,
    }


def test_it_waits_as_long_as_it_was_told(said: dict[str, Any], up: Upstreams) -> None:
    assert said["limited"] == {
        "raised": "OpenAIRateLimitError",
        "status": 429,
        "code": "rate_limit_exceeded",
        "retry_after": str(RETRY_AFTER_S),
        "message": f"Error code: 429 - {upstreams.LIMITED}",
    }
    assert up.gap_s() >= RETRY_AFTER_S
