"""The simulated DeepSeek by itself: lists, answers, faults, the Messages format."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest

from modelbay_deepseek.simulator import DeepSeekSimulator, Knobs, Script, demo
from modelbay_deepseek.simulator.answer import example

FLASH, PRO = "deepseek-flash", "deepseek-v4-pro"
HI = [{"role": "user", "content": "hi"}]
WEATHER = {"type": "object", "properties": {"city": {"examples": ["Oslo"]}}}
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


def events(answer: httpx.Response) -> list[Any]:
    """The data of a stream, its end mark included."""
    lines = [line for line in answer.text.split("\n") if line.startswith("data: ")]
    return [line if line == "data: [DONE]" else json.loads(line[6:]) for line in lines]


# --- every answer ---------------------------------------------------------------------------------


def test_every_answer_is_marked(http: httpx.Client) -> None:
    for path in ("/models", "/nowhere", "/user/balance"):
        headers = http.get(path).headers
        assert headers["server"] == "openresty"
        assert len(headers["x-ds-trace-id"]) == 32
        assert "x-request-id" not in headers


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("Bearer sk-wrong-wxyz", "Authentication Fails, Your api key: ****wxyz is invalid"),
        ("sk-test", "Authentication Fails (auth header format should be Bearer sk-...)"),
        ("", "Authentication Fails (auth header format should be Bearer sk-...)"),
    ],
)
def test_without_the_key_there_is_no_answer(http: httpx.Client, header: str, words: str) -> None:
    answer = http.get("/models", headers={"Authorization": header})

    assert refusal(answer) == (401, words)
    assert answer.json()["error"]["type"] == "authentication_error"
    assert answer.json()["error"]["code"] == "invalid_request_error"


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_both_prefixes_lead_to_the_same(http: httpx.Client, prefix: str) -> None:
    assert http.get(f"{prefix}/models").status_code == 200
    assert http.get(f"{prefix}/user/balance").status_code == 200
    assert chat(http, f"{prefix}/chat/completions").status_code == 200


@pytest.mark.parametrize("path", ["/embeddings", "/completions", "/v1/beta/completions"])
def test_what_does_not_exist_is_not_found(http: httpx.Client, path: str) -> None:
    assert http.post(path, json={}).status_code == 404


def test_the_old_list_has_three_members_in_an_entry(
    server: DeepSeekSimulator, http: httpx.Client
) -> None:
    server.knobs = Knobs(models_shape="classic")

    assert http.get("/models").json() == {
        "object": "list",
        "data": [
            {"id": FLASH, "object": "model", "owned_by": "deepseek"},
            {"id": PRO, "object": "model", "owned_by": "deepseek"},
        ],
    }


def test_the_log_holds_bodies_and_no_key(server: DeepSeekSimulator, http: httpx.Client) -> None:
    chat(http)

    [logged] = server.log
    assert (logged.method, logged.path, logged.headers["authorization"]) == (
        "POST",
        "/chat/completions",
        "Bearer ***",
    )
    assert logged.body == {"model": FLASH, "messages": HI}


# --- answers --------------------------------------------------------------------------------------


def test_a_stream_has_the_chunks_of_the_real_server(
    server: DeepSeekSimulator, http: httpx.Client
) -> None:
    server.script = Script(thought="Need weather.", text="")
    answer = chat(
        http,
        stream=True,
        stream_options={"include_usage": True},
        tools=[{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}],
    )

    *chunks, done = events(answer)
    call_id = chunks[3]["choices"][0]["delta"]["tool_calls"][0]["id"]
    assert call_id.startswith("call_00_")
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": None, "reasoning_content": ""},
        {"content": None, "reasoning_content": "Need"},
        {"content": None, "reasoning_content": " weather."},
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": call_id,
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": ""},
                }
            ]
        },
        *(
            {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
            for piece in ('{"ci', 'ty":', ' "Os', 'lo"}')
        ),
        {"content": "", "reasoning_content": None},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-1] == "tool_calls"
    assert [chunk["usage"] is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]
    assert done == "data: [DONE]"


@pytest.mark.parametrize("thinking", [True, False])
def test_usage_adds_up(http: httpx.Client, thinking: bool) -> None:
    more: dict[str, Any] = {} if thinking else {"thinking": {"type": "disabled"}}
    usage = chat(http, **more).json()["usage"]

    hit, miss = usage["prompt_cache_hit_tokens"], usage["prompt_cache_miss_tokens"]
    assert hit + miss == usage["prompt_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == hit
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
    assert ("completion_tokens_details" in usage) is thinking


@pytest.mark.parametrize(
    ("limit", "thought", "text"),
    [
        (2, "Let me", ""),
        (5, "Let me think about that.", ""),
        (7, "Let me think about that.", "This is"),
        (10, "Let me think about that.", "This is a pretended answer."),
    ],
)
def test_thinking_uses_up_the_limit_first(
    http: httpx.Client, limit: int, thought: str, text: str
) -> None:
    answer = chat(http, max_tokens=limit).json()
    [choice] = answer["choices"]

    assert (choice["message"]["reasoning_content"], choice["message"]["content"]) == (thought, text)
    assert choice["finish_reason"] == ("stop" if limit == 10 else "length")
    assert answer["usage"]["completion_tokens"] == limit


def test_the_cache_is_one_for_each_user(http: httpx.Client) -> None:
    def hit(prompt: str, **more: Any) -> int:
        answer = chat(http, messages=[{"role": "user", "content": prompt}], **more).json()
        return int(answer["usage"]["prompt_cache_hit_tokens"])

    long = "word " * 100
    assert [hit(long), hit(long + "and more"), hit(f"another {long}")] == [0, 64, 0]
    assert [hit(long, user_id="u"), hit(long, user_id="u")] == [0, 64]


def test_images_are_a_placeholder_to_pro(http: httpx.Client) -> None:
    parts = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]
    used = [
        chat(http, model=model, messages=[{"role": "user", "content": parts}]).json()["usage"]
        for model in (FLASH, PRO)
    ]

    assert [usage["prompt_tokens"] for usage in used] == [1 + 384, 1 + 2]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object", "properties": {"a": {"type": "string"}}}, {"a": "a"}),
        ({"properties": {"a": {"type": "integer", "minimum": 3}}}, {"a": 3}),
        ({"type": "array", "items": {"type": "boolean"}}, [True]),
        ({"enum": ["x", "y"]}, "x"),
        ({"const": 7}, 7),
        ({"default": "d"}, "d"),
        ({"anyOf": [{"type": "number"}, {"type": "string"}]}, 1),
        ({"examples": ["Oslo"]}, "Oslo"),
        (True, "name"),
    ],
)
def test_arguments_fit_their_schema(schema: object, value: object) -> None:
    assert example(schema, "name") == value


def test_a_named_tool_is_the_one_that_is_called(http: httpx.Client) -> None:
    other = {"type": "function", "function": {"name": "g"}}
    choice = {"type": "function", "function": {"name": "g"}}
    answer = chat(
        http, tools=[TOOL, other], tool_choice=choice, thinking={"type": "disabled"}
    ).json()

    [call] = answer["choices"][0]["message"]["tool_calls"]
    assert (call["index"], call["function"]["name"]) == (0, "g")


# --- faults ---------------------------------------------------------------------------------------


def test_more_at_once_than_allowed_are_refused(
    server: DeepSeekSimulator, http: httpx.Client
) -> None:
    server.knobs = Knobs(concurrency=1, endless=True)
    with http.stream(
        "POST", "/chat/completions", json={"model": FLASH, "messages": HI, "stream": True}
    ) as running:
        pieces = running.iter_bytes()  # dropped, it would close the connection
        next(pieces)
        assert refusal(chat(http)) == (
            429,
            "Too many requests. Your current concurrency is 2, which exceeds your concurrency limit"
            " of 1 based on your remaining balance. Please top up your balance to restore your"
            " concurrency.",
        )
        server.knobs = Knobs(concurrency=1)
        assert chat(http, model=PRO).status_code == 200
    server.wait_until(lambda: server.open_streams == 0)
    assert chat(http).status_code == 200


def test_a_queue_keeps_the_connection_with_nothing(
    server: DeepSeekSimulator, http: httpx.Client
) -> None:
    server.knobs = Knobs(queue_ms=200, tick_s=0)

    whole, stream = chat(http), chat(http, stream=True)

    assert whole.text.startswith("\n\n\n\n{")
    assert whole.json()["object"] == "chat.completion"
    assert stream.text.startswith(": keep-alive\n\n" * 4 + "data: {")


def test_faults_happen_to_the_first_requests_only(
    server: DeepSeekSimulator, http: httpx.Client
) -> None:
    server.knobs = Knobs(status=503, times=2)

    assert [chat(http).status_code for _ in range(4)] == [503, 503, 200, 200]


def test_a_cut_leaves_the_answer_without_its_end(
    server: DeepSeekSimulator, http: httpx.Client
) -> None:
    server.knobs = Knobs(cut_after=2)

    for stream in (True, False):
        with pytest.raises(httpx.RemoteProtocolError):
            chat(http, stream=stream)


@pytest.mark.parametrize(
    ("scenario", "check"),
    [
        ("no_done", lambda found: found[-1] != "data: [DONE]"),
        ("finish=aborted", lambda found: found[-2]["choices"][0]["finish_reason"] == "aborted"),
        ("error_in_stream=boom", lambda found: "boom" in str(found[-1])),
        ("trailing_usage_chunk", lambda found: found[-2]["choices"] == []),
        ("parallel=0, no_done, times=1", lambda found: found[-1] != "data: [DONE]"),
    ],
)
def test_a_header_turns_knobs_for_one_request(
    http: httpx.Client, scenario: str, check: Any
) -> None:
    http.headers["x-sim-scenario"] = scenario
    found = events(chat(http, stream=True))
    del http.headers["x-sim-scenario"]

    assert check(found)
    assert not check(events(chat(http, stream=True)))


def test_an_unknown_knob_is_an_error() -> None:
    with pytest.raises(ValueError, match="no knob is called 'speed'"):
        Knobs().with_scenario("speed=9")


def test_an_empty_account_refuses_and_says_so(
    server: DeepSeekSimulator, http: httpx.Client
) -> None:
    server.account.is_available = False

    assert http.get("/user/balance").json() == {
        "is_available": False,
        "balance_infos": [
            {
                "currency": "USD",
                "total_balance": "110.00",
                "granted_balance": "10.00",
                "topped_up_balance": "100.00",
            }
        ],
    }
    answer = chat(http)
    assert refusal(answer) == (402, "Insufficient Balance")
    assert answer.json()["error"]["type"] == "unknown_error"


# --- the Messages format --------------------------------------------------------------------------


def message(http: httpx.Client, **body: Any) -> httpx.Response:
    return http.post(
        "/anthropic/v1/messages",
        json={"model": "claude-sonnet-5", "max_tokens": 100, "messages": HI, **body},
        headers={"Authorization": "", "x-api-key": "sk-test"},
    )


@pytest.mark.parametrize(
    ("model", "served"),
    [("claude-opus-5", PRO), (PRO, PRO), ("claude-haiku-4", FLASH), ("anything", FLASH)],
)
def test_the_messages_format_answers_every_name(
    http: httpx.Client, model: str, served: str
) -> None:
    answer = message(http, model=model).json()

    assert (answer["model"], answer["stop_reason"]) == (served, "end_turn")
    assert answer["content"] == [
        {"type": "thinking", "thinking": "Let me think about that.", "signature": ""},
        {"type": "text", "text": "This is a pretended answer."},
    ]


def test_the_messages_format_has_tools(http: httpx.Client) -> None:
    tools = [{"name": "f", "input_schema": {"properties": {"a": {"type": "string"}}}}]
    off = {"type": "disabled"}
    called = message(http, tools=tools, thinking=off).json()
    [block] = called["content"]
    result = {"type": "tool_result", "tool_use_id": block["id"], "content": "42"}
    history = [
        *HI,
        {"role": "assistant", "content": [block]},
        {"role": "user", "content": [result]},
    ]
    said = message(http, tools=tools, messages=history, thinking=off).json()

    assert (block["type"], block["name"], block["input"]) == ("tool_use", "f", {"a": "a"})
    assert called["stop_reason"] == "tool_use"
    assert said["content"] == [{"type": "text", "text": "The tool said: 42"}]


def test_the_messages_format_streams(http: httpx.Client) -> None:
    answer = message(http, stream=True)
    found = events(answer)

    assert [event["type"] for event in found] == [
        "message_start",
        *["content_block_start", "content_block_delta", "content_block_stop"] * 2,
        "message_delta",
        "message_stop",
    ]
    assert found[2]["delta"] == {
        "type": "thinking_delta",
        "thinking": "Let me think about that.",
    }
    assert answer.text.startswith("event: message_start\ndata: ")


def test_the_messages_format_needs_a_limit(http: httpx.Client) -> None:
    assert message(http, max_tokens=None).status_code == 400


def test_the_demo_serves_on_a_port_of_its_choice() -> None:
    with demo(0) as server:
        assert httpx.get(f"{server.base_url}/models", trust_env=False).status_code == 401
