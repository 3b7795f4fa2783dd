"""LiteLLM, with its local price map, in an environment of its own."""

from pathlib import Path
from typing import Any

import pytest

from gateway.clients import upstreams
from gateway.clients.environments import asked
from gateway.clients.upstreams import MODELS, RETRY_AFTER_S, Upstreams

pytestmark = pytest.mark.soak

PIECES = ["H", "ell", "o t", "her", "e."]
ANSWER = {
    "model": "lab/org/tiny:q4",
    "content": "Hello there.",
    "reasoning": "hm\n",
    "finish": "stop",
    "total": 31,
}


@pytest.fixture(scope="module")
def said(older: Path, up: Upstreams) -> dict[str, Any]:
    return asked(
        *(older / "python", "-m", "gateway.clients.programs.ask_litellm", up.base_url),
        LITELLM_LOCAL_MODEL_COST_MAP="True",
    )


def test_models_are_listed(said: dict[str, Any]) -> None:
    assert said["list"] == MODELS


def test_chat(said: dict[str, Any]) -> None:
    assert said["chat"] == ANSWER


def test_streams(said: dict[str, Any]) -> None:
    assert said["stream"] == {"pieces": PIECES, "whole": ANSWER}
    assert said["stream_asynchronously"] == PIECES


def test_a_whole_round_of_tools(said: dict[str, Any]) -> None:
    whole = ["tool_calls", [["weather", '{"city":"Rome"}']], "It is sunny."]
    assert (said["loop"], said["streamed_loop"]) == (whole, whole)


def test_structured_output(said: dict[str, Any]) -> None:
    assert said["structured"] == {"city": "Rome", "degrees": 31}


def test_completions(said: dict[str, Any]) -> None:
    assert said["completion"] == ["text_completion", "length", True]


def test_embeddings(said: dict[str, Any], up: Upstreams) -> None:
    assert said["embeddings"] == up.vectors("a", "b")


def test_images(said: dict[str, Any]) -> None:
    assert said["image"] == ["iVBORw0KGgo"]


@pytest.mark.parametrize(
    ("name", "status", "kind", "message"),
    [
        (
            *("unknown", 404, "NotFoundError"),
            f"litellm.NotFoundError: OpenAIException - {upstreams.UNKNOWN}",
        ),
        (
            *("too_long", 400, "ContextWindowExceededError"),
            "litellm.ContextWindowExceededError: litellm.BadRequestError:"
            f" ContextWindowExceededError: OpenAIException - {upstreams.TOO_LONG}",
        ),
        (
            *("broken", 502, "BadGatewayError"),
            f"litellm.BadGatewayError: BadGatewayError: OpenAIException - {upstreams.BROKEN}",
        ),
    ],
)
def test_errors_are_those_the_client_knows(
    said: dict[str, Any], name: str, status: int, kind: str, message: str
) -> None:
    assert said[name] == {
        "raised": kind,
        "status": status,
        "code": None,
        "retry_after": None,
        "message": message,
    }


def test_a_failure_in_the_middle_raises(said: dict[str, Any]) -> None:
    """Under this name LiteLLM reports every failure in a stream, so that its router can go on."""
    cause = f"APIConnectionError: OpenAIException - {upstreams.BROKEN}"
    told = f"litellm.APIConnectionError: {cause}"
    assert said["broken_stream"] == {
        "said": ["Hel", "lo "],
        "raised": "MidStreamFallbackError",
        "status": 500,
        "code": None,
        "retry_after": None,
        "message": f"litellm.MidStreamFallbackError: {told}"
        f" Original exception: APIConnectionError: {told}",
    }


def test_it_waits_as_long_as_it_was_told(said: dict[str, Any], up: Upstreams) -> None:
    assert said["limited"] == {
        "raised": "RateLimitError",
        "status": 429,
        "code": "429",
        "retry_after": None,
        "message": f"litellm.RateLimitError: RateLimitError: OpenAIException - {upstreams.LIMITED}",
    }
    assert up.gap_s() >= RETRY_AFTER_S
