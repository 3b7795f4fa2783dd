"""What the simulated Ollama says: ready scripts, streams, thinking, formats, and ``/v1``."""

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import httpx2 as httpx
import pytest

from modelbay_ollama.simulator import (
    Knobs,
    SimulatedModel,
    plain,
)
from plugins.ollama.serving import (
    EMBEDDER,
    HI,
    OSLO,
    ROME,
    THINKER,
    WEATHER,
    Lines,
    M,
    chat,
    error,
    in_thread,
    lines,
    serving,
    text,
)

# --- chat: ready scripts --------------------------------------------------------------------------

# What each line says: content, thinking, cities called for; then the reason, None without an end.
SAID: Mapping[str, tuple[list[tuple[str, str, list[str]]], str | None]] = {
    "plain": ([("Hel", "", []), ("lo", "", []), ("", "", [])], "stop"),
    "thinking": ([("", "hm", []), ("", " ok", []), ("42", "", []), ("", "", [])], "stop"),
    "boundary": ([("", "hm", []), ("4", " ok", []), ("2", "", []), ("", "", [])], "stop"),
    "tools_mid": (
        [("", "need", []), ("", "", ["Rome"]), ("", "", ["Oslo"]), ("", "", [])],
        "stop",
    ),
    "tools_last": ([("", "need", []), ("", "", ["Rome", "Oslo"])], "stop"),
    "tools_text": ([("I will look.", "", []), ("", "", ["Rome"]), ("", "", [])], "stop"),
    "length": ([("abc", "", []), ("", "", [])], "length"),
    "think_only": ([("", "…", []), ("", "", [])], "length"),
    "silent_end": ([("par", "", [])], None),
    "empty_first": ([("", "", []), ("hi", "", []), ("", "", [])], "stop"),
    "final_text": ([("a", "", []), ("b", "", [])], "stop"),
    "logprob_only": ([("", "", []), ("x", "", []), ("", "", [])], "stop"),
    "no_metrics": ([("x", "", []), ("", "", [])], "stop"),
    "unknown_keys": ([("x", "", []), ("", "", [])], "something_new"),
}


@pytest.mark.parametrize("name", SAID)
def test_ready_scripts_say_their_lines(name: str) -> None:
    with serving() as (sim, http):
        sim.next_answer(name)
        answer = lines(chat(http))

    said = [
        (
            line["message"]["content"],
            line["message"].get("thinking", ""),
            [
                call["function"]["arguments"]["city"]
                for call in line["message"].get("tool_calls", [])
            ],
        )
        for line in answer
    ]
    ends = [line["done_reason"] for line in answer if line["done"]]
    assert (said, ends) == (SAID[name][0], [] if SAID[name][1] is None else [SAID[name][1]])
    assert sim.answers[-1].outcome == ("silent" if SAID[name][1] is None else "done")


def test_a_late_error_is_a_line_after_200() -> None:
    with serving() as (sim, http):
        sim.next_answer("late_error")
        response = chat(http)

    assert response.status_code == 200
    assert lines(response)[1:] == [{"error": "boom"}]


@pytest.mark.parametrize(("version", "status"), [("0.12.5", 200), ("0.12.6", 500)])
def test_an_early_error_has_its_status_since_0_12_6(version: str, status: int) -> None:
    with serving(version=version) as (sim, http):
        sim.next_answer("early_error")
        response = chat(http)

    assert response.status_code == status
    assert lines(response) == [{"error": "load failed"}]


def test_an_error_in_an_answer_that_is_not_streamed_has_its_status() -> None:
    with serving() as (sim, http):
        sim.next_answer("late_error")

        assert error(chat(http, stream=False)) == (500, "boom")


def test_a_silent_end_that_is_not_streamed_is_200_and_not_done() -> None:
    with serving() as (sim, http):
        sim.next_answer("silent_end")
        answer = chat(http, stream=False).json()

    del answer["created_at"]
    assert answer == {
        "model": "m:1b",
        "message": {"role": "assistant", "content": "par"},
        "done": False,
    }


def test_an_error_may_carry_the_engines_own_json() -> None:
    with serving() as (sim, http):
        sim.next_answer("nested_error")
        inner = json.loads(lines(chat(http))[-1]["error"])

    assert inner["error"]["type"] == "exceed_context_size_error"


def test_logprobs_come_with_their_lines() -> None:
    with serving() as (sim, http):
        sim.next_answer("logprob_only")
        unasked = lines(chat(http))
        asked = chat(http, stream=False, logprobs=True, top_logprobs=2).json()

    assert [len(line.get("logprobs", [])) for line in unasked] == [1, 0, 0]
    assert [one["token"] for one in asked["logprobs"]] == ["one", " two"]
    assert len(asked["logprobs"][0]["top_logprobs"]) == 2


def test_a_model_may_say_one_script_for_ever_and_a_queue_goes_first() -> None:
    model = SimulatedModel("m:1b", script="length")
    with serving([model]) as (sim, http):
        sim.next_answer(plain("first"), model="M:1b")
        said = [chat(http, stream=False).json()["message"]["content"] for _ in range(3)]

    assert said == ["first", "abc", "abc"]


# --- chat: stream and shape -----------------------------------------------------------------------


def test_a_chat_streams_unless_told_otherwise() -> None:
    with serving() as (_, http):
        streamed, whole = chat(http), chat(http, stream=False)

    assert streamed.headers["content-type"] == "application/x-ndjson"
    assert whole.headers["content-type"] == "application/json; charset=utf-8"
    assert text(lines(streamed)) == whole.json()["message"]["content"] == "one two"


def test_the_last_line_has_metrics_in_nanoseconds_without_zeros() -> None:
    with serving(knobs=Knobs(bytes_per_token=1.0)) as (_, http):
        last = lines(chat(http))[-1]
        silent = lines(chat(http, options={"num_predict": 0}))[-1]

    del last["created_at"]
    assert last == {
        "model": "m:1b",
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        "total_duration": 1_200_000_000,
        "load_duration": 200_000_000,
        "prompt_eval_count": 6,
        "prompt_eval_duration": 100_000_000,
        "eval_count": 2,
        "eval_duration": 900_000_000,
    }
    assert silent["done_reason"] == "stop"  # a rendered path takes 0 for no limit


def test_the_native_path_takes_a_limit_of_zero_literally() -> None:
    with serving([SimulatedModel("m:1b", path="native")]) as (_, http):
        [only] = lines(chat(http, options={"num_predict": 0}))

    assert only["done_reason"] == "length"
    assert "eval_count" not in only


def test_num_predict_counts_thinking() -> None:
    with serving([THINKER]) as (_, http):
        answer = chat(http, "t:1b", stream=False, options={"num_predict": 2}).json()

    assert answer["message"] == {"role": "assistant", "content": "", "thinking": "hm ok"}
    assert (answer["done_reason"], answer["eval_count"]) == ("length", 2)


def test_the_head_is_withheld_until_the_first_line() -> None:
    with serving(knobs=Knobs(token_delay_s=math.inf)) as (sim, http):
        heads: list[int] = []
        with in_thread(lambda: heads.append(chat(http).status_code)):
            sim.wait_until(lambda: sim.holding == 1)
            assert (sim.active_streams, sim.open_streams) == (1, 0)
            for _ in range(3):
                sim.wait_until(lambda: sim.holding == 1)
                sim.release("m:1b")
        assert heads == [200]


@pytest.mark.parametrize(
    ("path", "placement"),
    [
        ("rendered", [["Rome"], ["Oslo"], []]),
        ("native", [["Rome", "Oslo"]]),
        ("harmony", [["Rome"]]),
    ],
)
def test_tool_calls_stand_where_the_path_puts_them(path: Any, placement: list[list[str]]) -> None:
    model = SimulatedModel(
        "m:1b", capabilities=("completion", "tools"), tool_calls=[ROME, OSLO], path=path
    )
    with serving([model]) as (_, http):
        answer = lines(chat(http, tools=[WEATHER]))
        whole = chat(http, tools=[WEATHER], stream=False).json()

    found = [
        [call["function"]["arguments"]["city"] for call in line["message"].get("tool_calls", [])]
        for line in answer
    ]
    assert found == placement
    assert answer[-1]["done_reason"] == "stop"
    assert len(whole["message"]["tool_calls"]) == sum(map(len, placement))


def test_the_native_path_came_with_0_30_0() -> None:
    model = SimulatedModel(
        "m:1b", capabilities=("completion", "tools"), tool_calls=[ROME], path="native"
    )
    with serving([model], "0.12.0") as (_, http):
        answer = lines(chat(http, tools=[WEATHER]))

    assert ["tool_calls" in line["message"] for line in answer] == [True, False]


@pytest.mark.parametrize(
    ("version", "keys"),
    [
        ("0.12.5", ({"function"}, {"name", "arguments"})),
        ("0.12.6", ({"function"}, {"index", "name", "arguments"})),
        ("0.12.10", ({"id", "function"}, {"index", "name", "arguments"})),
    ],
)
def test_calls_have_an_index_and_an_id_with_their_versions(
    version: str, keys: tuple[set[str], set[str]]
) -> None:
    with serving(version=version) as (sim, http):
        sim.next_answer("tools_mid")
        calls = [line["message"]["tool_calls"] for line in lines(chat(http))[1:3]]

    assert [(set(call), set(call["function"])) for [call] in calls] == [keys, keys]
    if "id" in keys[0]:
        ids = {call["id"] for [call] in calls}
        assert all(len(one) == len("call_") + 8 and one.startswith("call_") for one in ids)
        assert [call["function"]["index"] for [call] in calls] == [0, 1]


def test_tools_made_old_servers_wait_for_the_whole_answer() -> None:
    model = SimulatedModel("m:1b", answer="one two three", capabilities=("completion", "tools"))
    counts = []
    for version in ("0.5.0", "0.8.0"):
        with serving([model], version) as (_, http):
            counts.append(len(lines(chat(http, tools=[WEATHER]))))

    assert counts == [2, 4]


def test_after_a_tool_result_the_model_answers() -> None:
    model = SimulatedModel(
        "m:1b", answer="Sunny.", capabilities=("completion", "tools"), tool_calls=[ROME]
    )
    call = {"function": {"name": "get_weather", "arguments": {"city": "Rome"}}}
    history = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "sun", "tool_name": "get_weather"},
    ]
    with serving([model]) as (_, http):
        assert text(lines(chat(http, tools=[WEATHER], messages=history))) == "Sunny."


def test_tool_schemas_lose_what_the_server_does_not_know() -> None:
    city = {"type": "string", "description": "which", "pattern": "x", "default": "Rome"}
    nested = {"type": "object", "properties": {"city": city}, "additionalProperties": False}
    parameters = {"type": "object", "properties": {"where": nested}, "$ref": "#/x", "title": "T"}
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters, "strict": True}}
    model = SimulatedModel("m:1b", capabilities=("completion", "tools"))
    with serving([model]) as (sim, http):
        chat(http, tools=[tool])

    kept = {"type": "string", "description": "which"}
    seen = {"where": {"type": "object", "properties": {"city": kept}}}
    assert sim.answers[0].seen_tools == [
        {
            "type": "function",
            "function": {"name": "f", "parameters": {"type": "object", "properties": seen}},
        }
    ]


def test_debug_render_only_shows_the_prompt_instead_of_answering() -> None:
    with serving([SimulatedModel("m:1b", system="Be brief.")]) as (sim, http):
        answer = chat(http, _debug_render_only=True).json()

    assert answer["_debug_info"]["rendered_template"] == "[system] Be brief.\n[user] hi"
    assert (answer["done"], sim.loads) == (False, {"m:1b": 1})


def test_what_a_request_ignores_it_ignores_in_silence() -> None:
    with serving() as (_, http):
        assert chat(http, tool_choice="required", n=3, options={"mirostat": "x"}).status_code == 200


# --- thinking -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("think", "thought"), [(None, "hm ok"), (True, "hm ok"), (False, ""), ("high", "hm ok")]
)
def test_thinking_is_on_unless_it_is_switched_off(think: object, thought: str) -> None:
    with serving([THINKER]) as (_, http):
        message = chat(http, "t:1b", stream=False, think=think).json()["message"]

    assert (message["content"], message.get("thinking", "")) == ("42", thought)


def test_gpt_oss_cannot_be_kept_from_thinking() -> None:
    model = SimulatedModel(
        "o", thinking="hm", capabilities=("completion", "thinking"), path="harmony"
    )
    with serving([model]) as (_, http):
        assert chat(http, "o", stream=False, think=False).json()["message"]["thinking"] == "hm"


@pytest.mark.parametrize("script", ["thinking", "boundary"])
def test_before_0_9_0_the_thought_stands_in_the_content(script: str) -> None:
    with serving([THINKER], "0.5.0") as (sim, http):
        sim.next_answer(script)
        answer = lines(chat(http, "t:1b", think=True))

    assert text(answer) == "<think>\nhm ok\n</think>\n\n42"
    assert not any("thinking" in line["message"] for line in answer)


def test_before_0_12_4_a_thought_nobody_asked_for_is_raw() -> None:
    with serving([THINKER], "0.12.0") as (_, http):
        unasked = chat(http, "t:1b", stream=False).json()["message"]
        asked = chat(http, "t:1b", stream=False, think=True).json()["message"]

    assert unasked["content"] == "<think>\nhm ok\n</think>\n\n42"
    assert asked == {"role": "assistant", "content": "42", "thinking": "hm ok"}


@pytest.mark.parametrize(
    ("version", "think", "answer"),
    [
        ("0.33.0", True, '"m:1b" does not support thinking'),
        ("0.33.0", "low", '"m:1b" does not support thinking'),
        (
            "0.33.0",
            "much",
            'invalid think value: "much" (must be "high", "medium", "low", true, or false)',
        ),
        (
            "0.33.0",
            3,
            'think must be a boolean or string ("high", "medium", "low", true, or false)',
        ),
        (
            "0.12.0",
            "max",
            'invalid think value: "max" (must be "high", "medium", "low", true, or false)',
        ),
        ("0.9.0", "low", "json: cannot unmarshal string into Go value of type bool"),
    ],
)
def test_a_bad_think_is_400(version: str, think: object, answer: str) -> None:
    with serving(version=version) as (_, http):
        assert error(chat(http, think=think)) == (400, answer)


def test_levels_were_gpt_oss_s_own_until_0_17_7() -> None:
    with serving([THINKER], "0.12.0") as (_, http):
        assert error(chat(http, "t:1b", think="low")) == (
            400,
            'think value "low" is not supported for this model',
        )
    with serving([THINKER], "0.17.7") as (_, http):
        assert chat(http, "t:1b", think="low").status_code == 200


# --- format ---------------------------------------------------------------------------------------

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def test_a_format_constrains_the_content_and_keeps_tools_from_being_called() -> None:
    model = SimulatedModel("m:1b", capabilities=("completion", "tools"), tool_calls=[ROME])
    with serving([model]) as (_, http):
        message = chat(http, stream=False, format=SCHEMA, tools=[WEATHER]).json()["message"]

    assert message == {"role": "assistant", "content": '{"n": 0}'}


@pytest.mark.parametrize(
    ("model", "version", "kept"),
    [
        (
            SimulatedModel("t:1b", format="safetensors", capabilities=THINKER.capabilities),
            "0.33.0",
            False,
        ),
        (THINKER, "0.31.1", False),
        (THINKER, "0.31.2", True),
    ],
)
def test_some_servers_ignore_the_format(model: SimulatedModel, version: str, kept: bool) -> None:
    with serving([model], version) as (_, http):
        said = chat(http, "t:1b", stream=False, think=False, format=SCHEMA).json()["message"][
            "content"
        ]

    assert (said == '{"n": 0}') is kept


# --- generate -------------------------------------------------------------------------------------


def test_generate_says_response_and_gives_a_context_at_the_end() -> None:
    with serving([THINKER]) as (_, http):
        answer = lines(http.post("/api/generate", json={"model": "t:1b", "prompt": "hi"}))
        raw = lines(http.post("/api/generate", json={"model": "t:1b", "prompt": "x", "raw": True}))

    assert "".join(line["response"] for line in answer) == "42"
    assert "".join(line.get("thinking", "") for line in answer) == "hm ok"
    assert ["context" in line for line in answer] == [False, False, False, True]
    assert "context" not in raw[-1]


def test_generate_shows_calls_without_ids_on_its_last_line() -> None:
    with serving() as (sim, http):
        sim.next_answer("tools_mid")
        answer = lines(http.post("/api/generate", json={"model": "m:1b", "prompt": "hi"}))

    assert ["tool_calls" in line for line in answer] == [False, False, False, True]
    assert [set(call) for call in answer[-1]["tool_calls"]] == [{"function"}] * 2


def test_generate_without_a_model_is_404_and_raw_goes_with_nothing_else() -> None:
    with serving() as (_, http):
        assert error(http.post("/api/generate", json={"prompt": "x"})) == (
            404,
            "model '' not found",
        )
        body = {"model": "m:1b", "prompt": "x", "raw": True, "system": "s"}
        wrong = "raw mode does not support template, system, or context"
        assert error(http.post("/api/generate", json=body)) == (400, wrong)


# --- /v1 ------------------------------------------------------------------------------------------


def v1_chat(http: httpx.Client, **body: Any) -> httpx.Response:
    return http.post("/v1/chat/completions", json={"model": "t:1b", "messages": HI, **body})


def chunks(response: httpx.Response) -> Lines:
    found = [line.removeprefix("data: ") for line in response.text.split("\n") if line]
    return [{"end": True} if one == "[DONE]" else json.loads(one) for one in found]


def test_v1_streams_role_deltas_finish_usage_and_done() -> None:
    with serving([THINKER]) as (_, http):
        answer = chunks(v1_chat(http, stream=True, stream_options={"include_usage": True}))

    deltas = [(c["choices"][0]["delta"], c["choices"][0]["finish_reason"]) for c in answer[:-2]]
    assert deltas == [
        ({"role": "assistant", "content": ""}, None),
        ({"reasoning": "hm"}, None),
        ({"reasoning": " ok"}, None),
        ({"content": "42"}, None),
        ({}, "stop"),
    ]
    assert (answer[-2]["choices"], answer[-2]["usage"]["completion_tokens"]) == ([], 3)
    assert answer[-1] == {"end": True}


def test_v1_put_the_reason_on_the_last_chunk_before_0_32_6() -> None:
    with serving([SimulatedModel("t:1b", answer="a b")], "0.32.5") as (_, http):
        answer = chunks(v1_chat(http, stream=True))[:-1]

    reasons = [chunk["choices"][0]["finish_reason"] for chunk in answer]
    assert reasons == [None, None, "stop"]


def test_v1_calls_have_string_arguments() -> None:
    model = SimulatedModel("t:1b", capabilities=("completion", "tools"), tool_calls=[ROME])
    with serving([model]) as (_, http):
        whole = v1_chat(http, tools=[WEATHER]).json()["choices"][0]
        streamed = chunks(v1_chat(http, tools=[WEATHER], stream=True))
        call = whole["message"]["tool_calls"][0]
        history = [*HI, {"role": "assistant", "content": None, "tool_calls": [call]},
                   {"role": "tool", "tool_call_id": call["id"], "content": "sun"}]  # fmt: skip
        after = v1_chat(http, messages=history, tools=[WEATHER]).json()["choices"][0]

    assert call["function"] == {"name": "get_weather", "arguments": '{"city":"Rome"}'}
    assert whole["finish_reason"] == streamed[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert after["finish_reason"] == "stop"


def test_v1_loses_an_error_in_mid_stream() -> None:
    with serving([THINKER]) as (sim, http):
        sim.next_answer("late_error")
        answer = chunks(v1_chat(http, stream=True))

    assert [(c["model"], c["choices"][0]["delta"].get("content")) for c in answer] == [
        ("t:1b", ""),
        ("t:1b", "par"),
        ("", ""),
    ]


def test_v1_overrides_the_modelfiles_temperature_and_knows_no_window() -> None:
    model = SimulatedModel("t:1b", parameters={"temperature": 0.2})
    with serving([model]) as (sim, http):
        v1_chat(http, options={"num_ctx": 9}, max_tokens=5, stop="x")

    assert sim.answers[0].options == {
        "temperature": 1.0, "top_p": 1.0, "num_predict": 5, "stop": ["x"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [({"model": "gone"}, 404, "not_found_error"), ({"messages": []}, 400, "invalid_request_error"),
     ({"reasoning_effort": "some"}, 400, "invalid_request_error"),
     ({"messages": [{"role": "user", "content": [
         {"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}]}]},
      400, "invalid_request_error")],
)  # fmt: skip
def test_v1_errors_have_their_own_shape(body: dict[str, Any], status: int, kind: str) -> None:
    with serving([THINKER]) as (_, http):
        response = v1_chat(http, **body)

    assert response.status_code == status
    assert {**response.json()["error"], "message": ""} == {
        "message": "", "type": kind, "param": None, "code": None,
    }  # fmt: skip


def test_v1_lists_models_and_makes_vectors() -> None:
    with serving([EMBEDDER, M]) as (_, http):
        listed = http.get("/v1/models").json()["data"]
        one = http.get("/v1/models/m:1b").json()
        body = {"model": "e", "input": ["a"], "encoding_format": "base64"}
        vectors = http.post("/v1/embeddings", json=body).json()["data"]

    assert [(item["id"], item["owned_by"]) for item in listed] == [
        ("e:latest", "library"),
        ("m:1b", "library"),
    ]
    assert one["id"] == "m:1b"
    assert len(base64.b64decode(vectors[0]["embedding"])) == 8 * 4
