"""What the simulated DeepSeek refuses: in its own words, in its own order."""

from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest

from modelbay_deepseek.simulator import DeepSeekSimulator, Knobs

FLASH, PRO = "deepseek-flash", "deepseek-v4-pro"
HI = [{"role": "user", "content": "hi"}]
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": "", "tool_calls": [CALL], "reasoning_content": ""}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "42"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@pytest.fixture
def http(server: DeepSeekSimulator) -> Iterator[httpx.Client]:
    headers = {"Authorization": "Bearer sk-test"}
    with httpx.Client(
        base_url=server.base_url, headers=headers, timeout=10, trust_env=False
    ) as client:
        yield client


def chat(http: httpx.Client, path: str = "/chat/completions", **body: Any) -> httpx.Response:
    return http.post(path, json={"model": FLASH, "messages": HI, **body})


def refusal(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["message"]


DESERIALIZE = "Failed to deserialize the JSON body into the target type: "
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, f"{DESERIALIZE}missing field `messages`"),
    (
        {"reasoning_effort": "foo"},
        f"{DESERIALIZE}reasoning_effort: unknown variant `foo`, expected one of `none`, `minimal`,"
        " `low`, `medium`, `high`, `xhigh`, `max` at line 1 column 1",
    ),
    (
        {"messages": [{"role": "developer", "content": "x"}]},
        f"{DESERIALIZE}messages[0]: role: unknown variant `developer`, expected one of `system`,"
        " `user`, `assistant`, `tool`, `latest_reminder`",
    ),
    (
        {"messages": [*HI, CALLED, {"role": "tool", "content": "x"}]},
        f"{DESERIALIZE}messages[2]: missing field `tool_call_id`",
    ),
    (
        {"messages": [{"role": "assistant", "content": None}]},
        "Invalid assistant message: content or tool_calls must be set",
    ),
    (
        {"tools": [{"type": "custom"}]},
        f"{DESERIALIZE}tools[0].type: unknown variant `custom`, expected one of `function`",
    ),
    (
        {"response_format": {"type": "json_schema"}},
        f"{DESERIALIZE}response_format.type: unknown variant `json_schema`, expected one of"
        " `text`, `json_object`",
    ),
    (
        {"model": "deepseek-chat"},
        "The supported API model names are deepseek-flash, deepseek-v4-pro, but you passed"
        " deepseek-chat.",
    ),
    (
        {"stream_options": {"include_usage": True}},
        "stream_options should be set along with stream = true",
    ),
    (
        {"response_format": {"type": "json_object"}},
        "Prompt must contain the word 'json' in some form to use 'response_format' of type"
        " 'json_object'.",
    ),
    (
        {"temperature": 2.1},
        "Invalid temperature value, the valid range of temperature is [0, 2]",
    ),
    ({"top_p": 0}, "Invalid top_p value, the valid range of top_p is (0, 1.0]"),
    ({"stop": ["x"] * 17}, "Stop string array too long: 17"),
    (
        {"max_tokens": 393_217},
        "Invalid max_tokens value, the valid range of max_tokens is [1, 393216]",
    ),
    (
        {"top_logprobs": 2},
        "Invalid top_logprobs and logprobs value, logprobs must be set to true if top_logprobs is"
        " used.",
    ),
    (
        {"top_logprobs": 21, "logprobs": True},
        "Invalid top_logprobs value, the valid range of top_logprobs is [0, 20].",
    ),
    (
        {"tools": [TOOL], "tool_choice": "required"},
        "Thinking mode does not support this tool_choice",
    ),
    (
        {"messages": [*HI, RESULT]},
        "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'",
    ),
    (
        {"messages": [*HI, CALLED, RESULT, RESULT]},
        "Messages with role 'tool' must be a response to a preceding message with 'tool_calls'",
    ),
    (
        {"messages": [*HI, CALLED, *HI]},
        "An assistant message with 'tool_calls' must be followed by tool messages responding to"
        " each 'tool_call_id'. (insufficient tool messages following tool_calls message)",
    ),
    (
        {"messages": [*HI, CALLED, {**RESULT, "tool_call_id": "c2"}]},
        "An assistant message with 'tool_calls' must be followed by tool messages responding to"
        " each 'tool_call_id', The following tool_call_ids did not have response messages: c1",
    ),
]


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(("body", "words"), REFUSED, ids=[words[-40:] for _, words in REFUSED])
def test_what_is_wrong_is_refused_in_the_server_s_words(
    server: DeepSeekSimulator, http: httpx.Client, body: dict[str, Any], words: str, status: int
) -> None:
    server.knobs = Knobs(refusal_status=status)

    assert refusal(chat(http, **body)) == (status, words)


def test_of_several_faults_the_first_in_order_is_told(http: httpx.Client) -> None:
    faults: dict[str, Any] = {
        "reasoning_effort": "foo",
        "response_format": {"type": "json_object"},
        "temperature": 3,
        "top_p": 3,
        "stop": ["x"] * 17,
        "max_tokens": 0,
        "top_logprobs": 21,
    }
    marks = ["reasoning_effort", "json", "temperature", "top_p", "Stop", "max_tokens", "logprobs"]
    for name, mark in zip(list(faults), marks, strict=True):
        assert mark in refusal(chat(http, **faults))[1]
        del faults[name]
    assert chat(http).status_code == 200


def test_a_body_that_is_no_json_is_refused(http: httpx.Client) -> None:
    assert http.post("/chat/completions", content=b"{").status_code == 400


LACKING = {name: value for name, value in CALLED.items() if name != "reasoning_content"}
PLAIN_LACKING = {"role": "assistant", "content": "x"}


@pytest.mark.parametrize(
    ("passback", "messages", "more", "status"),
    [
        ("probed", [*HI, LACKING, RESULT], {}, 400),
        ("probed", [*HI, {**CALLED, "reasoning_content": None}, RESULT], {}, 400),
        ("probed", [*HI, CALLED, RESULT], {}, 200),
        ("probed", [*HI, LACKING, RESULT, *HI], {}, 200),
        ("probed", [*HI, LACKING, RESULT], {"thinking": {"type": "disabled"}}, 200),
        ("probed", [*HI, LACKING, RESULT], {"reasoning_effort": "none"}, 200),
        ("probed", [*HI, LACKING, RESULT], {"model": "deepseek-v4-flash-vision-exp"}, 200),
        ("documented", [*HI, PLAIN_LACKING, *HI], {"tools": [TOOL]}, 400),
        ("documented", [*HI, PLAIN_LACKING, *HI], {}, 200),
        ("documented", [*HI, {**PLAIN_LACKING, "prefix": True}], {"tools": [TOOL]}, 200),
        ("off", [*HI, LACKING, RESULT], {}, 200),
    ],
)
def test_reasoning_has_to_come_back(
    server: DeepSeekSimulator,
    http: httpx.Client,
    passback: Any,
    messages: list[Any],
    more: dict[str, Any],
    status: int,
) -> None:
    server.knobs = Knobs(passback=passback)

    assert chat(http, messages=messages, **more).status_code == status


OBJECT = {"type": "object", "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "status"),
    [
        ({**OBJECT, "properties": {"a": {"type": "string"}}, "required": ["a"]}, 200),
        ({**OBJECT, "properties": {"a": {"type": "string"}}, "required": []}, 400),
        ({"type": "object", "properties": {}}, 400),
        (
            {**OBJECT, "properties": {"a": {"type": "string", "maxLength": 3}}, "required": ["a"]},
            400,
        ),
        ({**OBJECT, "properties": {"a": {"format": "ipv4"}}, "required": ["a"]}, 200),
        ({**OBJECT, "properties": {"a": {"format": "date"}}, "required": ["a"]}, 400),
        (
            {
                **OBJECT,
                "properties": {"a": {"type": "array", "items": {"type": "string", "minLength": 1}}},
                "required": ["a"],
            },
            400,
        ),
        ({"anyOf": [{"type": "string"}, {"type": "tuple"}]}, 400),
        ({**OBJECT, "properties": {}, "$defs": {"x": {"type": "array", "minItems": 1}}}, 400),
    ],
)
def test_strict_schemas_are_checked_at_the_beta_address_only(
    http: httpx.Client, schema: dict[str, Any], status: int
) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": schema, "strict": True}}

    assert chat(http, "/beta/chat/completions", tools=[tool]).status_code == status
    assert chat(http, tools=[tool]).status_code == 200


def test_strict_is_for_all_tools_or_none(http: httpx.Client) -> None:
    strict = {"type": "function", "function": {"name": "g", "strict": True}}

    assert chat(http, "/beta/chat/completions", tools=[TOOL, strict]).status_code == 400
