"""Clients that run in Node: `openai`, and the AI SDK with `@ai-sdk/openai-compatible`."""

from pathlib import Path
from typing import Any

import pytest

from gateway.clients import upstreams
from gateway.clients.environments import asked
from gateway.clients.upstreams import MODELS, RETRY_AFTER_S, Upstreams

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def openai(node: Path, up: Upstreams) -> dict[str, Any]:
    said = asked("node", "ask_openai.mjs", up.base_url, cwd=node)
    up.wait_until_left()
    return {**said, "gap_s": up.gap_s()}


@pytest.fixture(scope="module")
def sdk(node: Path, up: Upstreams) -> dict[str, Any]:
    said = asked("node", "ask_ai_sdk.mjs", up.base_url, cwd=node)
    up.wait_until_left()
    return {**said, "gap_s": up.gap_s()}


# --- openai ---------------------------------------------------------------------------------------


def test_openai_models_are_listed_and_found_by_an_id_with_slashes(openai: dict[str, Any]) -> None:
    assert (openai["list"], openai["retrieve"]) == (MODELS, "lab/org/tiny:q4")


def test_openai_chat(openai: dict[str, Any]) -> None:
    assert openai["chat"] == {
        "model": "lab/org/tiny:q4",
        "message": {
            "role": "assistant",
            "content": "Hello there.",
            "refusal": None,
            "reasoning_content": "hm\n",
        },
        "finish_reason": "stop",
        "total": 31,
        "id": "string",
    }


def test_openai_streams(openai: dict[str, Any]) -> None:
    assert openai["stream"] == {
        "deltas": [
            {"role": "assistant", "content": ""},
            {"reasoning_content": "hm\n"},
            *({"content": piece} for piece in ("H", "ell", "o t", "her", "e.")),
            {},
        ],
        "ends": [None] * 7 + ["stop"],
        "total": 31,
        "heads": ["lab/org/tiny:q4 chat.completion.chunk"],
        "ids": 1,
    }
    assert openai["helper"] == "Hello there."


def test_openai_tools_called_and_run_by_the_client(openai: dict[str, Any]) -> None:
    call = {"name": "weather", "arguments": '{"city":"Rome"}'}
    assert openai["call"] == ["tool_calls", None, [call]]
    whole = ["It is sunny.", ["Rome"], ["user", "assistant", "tool", "assistant"]]
    assert (openai["loop"], openai["streamed_loop"]) == (whole, whole)


def test_openai_structured_output(openai: dict[str, Any]) -> None:
    assert openai["parsed"] == {"city": "Rome", "degrees": 31}


def test_openai_completions(openai: dict[str, Any]) -> None:
    assert openai["completion"] == ["text_completion", "length", True]


def test_openai_embeddings_packed_by_default_and_plain(
    openai: dict[str, Any], up: Upstreams
) -> None:
    assert openai["embeddings"] == [up.packed_vectors("a", "b"), up.vectors("a", "b")]


def test_openai_images(openai: dict[str, Any]) -> None:
    assert openai["image"] == ["iVBORw0KGgo"]


def test_openai_leaving_a_stream_ends_it_upstream(openai: dict[str, Any]) -> None:
    assert openai["left"] is True


@pytest.mark.parametrize(
    ("name", "thrown", "status", "code", "kind", "message"),
    [
        (
            *("unknown", "NotFoundError", 404, "model_not_found"),
            *("invalid_request_error", upstreams.UNKNOWN),
        ),
        (
            *("too_long", "BadRequestError", 400, "context_length_exceeded"),
            *("invalid_request_error", upstreams.TOO_LONG),
        ),
        (
            *("broken", "InternalServerError", 502, "upstream_stream_closed"),
            *("upstream_error", upstreams.BROKEN),
        ),
    ],
)
def test_openai_errors_are_those_the_client_knows(
    openai: dict[str, Any],
    name: str,
    thrown: str,
    status: int,
    code: str,
    kind: str,
    message: str,
) -> None:
    assert openai[name] == {
        "thrown": thrown,
        "status": status,
        "code": code,
        "type": kind,
        "message": f"{status} {message}",
        "retry_after": None,
    }


def test_openai_a_failure_in_the_middle_is_thrown(openai: dict[str, Any]) -> None:
    assert openai["broken_stream"] == {
        "thrown": "APIError",
        "code": "upstream_stream_closed",
        "type": "upstream_error",
        "message": upstreams.BROKEN,
        "retry_after": None,
        "said": ["", "Hel", "lo "],
    }


def test_openai_it_waits_as_long_as_it_was_told(openai: dict[str, Any]) -> None:
    assert openai["limited"] == {
        "thrown": "RateLimitError",
        "status": 429,
        "code": "rate_limit_exceeded",
        "type": "rate_limit_error",
        "message": f"429 {upstreams.LIMITED}",
        "retry_after": str(RETRY_AFTER_S),
    }
    assert openai["gap_s"] >= RETRY_AFTER_S


# --- the AI SDK -----------------------------------------------------------------------------------


def test_sdk_chat(sdk: dict[str, Any]) -> None:
    assert sdk["chat"] == {
        "text": "Hello there.",
        "reasoningText": "hm\n",
        "finishReason": "stop",
        "totalTokens": 31,
        "modelId": "lab/org/tiny:q4",
    }


def test_sdk_streams(sdk: dict[str, Any]) -> None:
    assert sdk["stream"] == {
        "order": [
            *("start", "start-step", "reasoning-start", "reasoning-delta", "reasoning-end"),
            *("text-start", "text-delta", "text-end", "finish-step", "finish"),
        ],
        "text": ["H", "ell", "o t", "her", "e."],
        "thought": ["hm\n"],
        "finishReason": "stop",
        "totalTokens": 31,
    }


def test_sdk_tools_run_by_the_client(sdk: dict[str, Any]) -> None:
    call = {"toolName": "weather", "input": {"city": "Rome"}}
    whole = {
        "asked": ["Rome"],
        "steps": [
            {"finishReason": "tool-calls", "calls": [call], "text": ""},
            {"finishReason": "stop", "calls": [], "text": "It is sunny."},
        ],
    }
    assert (sdk["loop"], sdk["streamed_loop"]) == (whole, whole)


def test_sdk_rounds_of_tools_with_a_server_that_wants_its_thoughts_back(
    sdk: dict[str, Any],
) -> None:
    assert sdk["rounds"] == [3, "The tool said: sunny"]


def test_sdk_structured_output(sdk: dict[str, Any]) -> None:
    whole = {"city": "Rome", "degrees": 31}
    assert (sdk["object"], sdk["streamed_object"]) == (whole, whole)


def test_sdk_embeddings(sdk: dict[str, Any], up: Upstreams) -> None:
    a, b = up.vectors("a", "b")
    assert sdk["embed"] == [a, [a, b]]


def test_sdk_images(sdk: dict[str, Any]) -> None:
    assert sdk["image"] == [["iVBORw0KGgo", "image/png"]]


def test_sdk_leaving_a_stream_ends_it_upstream(sdk: dict[str, Any]) -> None:
    assert sdk["left"] == "abort"


@pytest.mark.parametrize(
    ("name", "status", "code", "message", "is_retryable"),
    [
        ("unknown", 404, "model_not_found", upstreams.UNKNOWN, False),
        ("too_long", 400, "context_length_exceeded", upstreams.TOO_LONG, False),
        ("broken", 502, "upstream_stream_closed", upstreams.BROKEN, True),
    ],
)
def test_sdk_errors_are_those_the_client_knows(
    sdk: dict[str, Any],
    name: str,
    status: int,
    code: str,
    message: str,
    is_retryable: bool,
) -> None:
    assert sdk[name] == {
        "thrown": "APICallError",
        "statusCode": status,
        "isRetryable": is_retryable,
        "message": message,
        "code": code,
    }


def test_sdk_a_failure_in_the_middle_is_a_part_of_the_stream(sdk: dict[str, Any]) -> None:
    assert sdk["broken_stream"] == {
        "said": ["Hel", "lo "],
        "error": upstreams.BROKEN,
        "end": "error",
    }


def test_sdk_it_waits_as_long_as_it_was_told(sdk: dict[str, Any]) -> None:

    assert sdk["limited"] == {
        "thrown": "RetryError",
        "statusCode": 429,
        "isRetryable": True,
        "message": upstreams.LIMITED,
        "code": "rate_limit_exceeded",
        "reason": "maxRetriesExceeded",
        "retry_after": str(RETRY_AFTER_S),
    }
    assert sdk["gap_s"] >= RETRY_AFTER_S
