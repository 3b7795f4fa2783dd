"""The simulated Ollama server, held to the protocol notes: an area per section, a rule per test."""

import base64
import hashlib
import json
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import httpx2 as httpx
import pytest

from modelbay.testing.simulator import Fault
from modelbay_ollama.simulator import (
    SCRIPTS,
    Knobs,
    Layer,
    OllamaSimulator,
    Pullable,
    Remote,
    Script,
    SimulatedModel,
    ToolCall,
    plain,
)
from modelbay_ollama.simulator.names import parse_name, split_source, stub_name
from modelbay_ollama.simulator.versions import Release

Lines = list[dict[str, Any]]

VERSIONS = ("0.5.0", "0.12.0", "0.30.0", "0.33.0")
LATEST = Release("0.33.0")
HI = [{"role": "user", "content": "hi"}]
M = SimulatedModel("m:1b", answer="one two")
THINKER = SimulatedModel(
    "t:1b", answer="42", thinking="hm ok", capabilities=("completion", "tools", "thinking")
)
ROME = ToolCall("get_weather", {"city": "Rome"})
OSLO = ToolCall("get_weather", {"city": "Oslo"})
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@contextmanager
def serving(
    models: Sequence[SimulatedModel] = (M,), version: str = "0.33.0", **options: Any
) -> Iterator[tuple[OllamaSimulator, httpx.Client]]:
    with (
        OllamaSimulator(models, version, **options) as sim,
        httpx.Client(base_url=sim.base_url, timeout=10, trust_env=False) as http,
    ):
        yield sim, http


def chat(http: httpx.Client, model: str = "m:1b", **body: Any) -> httpx.Response:
    return http.post("/api/chat", json={"model": model, "messages": HI, **body})


def lines(response: httpx.Response) -> Lines:
    return [json.loads(line) for line in response.content.split(b"\n") if line]


def error(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]


def text(answer: Lines) -> str:
    return "".join(line["message"]["content"] for line in answer)


@contextmanager
def in_thread(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Work beside the test; what it raises is its own affair."""

    def quietly() -> None:
        with suppress(httpx.HTTPError):
            work()

    thread = threading.Thread(target=quietly, daemon=True)
    thread.start()
    yield thread
    thread.join(10)
    assert not thread.is_alive()


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "full", "display"),
    [
        ("llama3", "registry.ollama.ai/library/llama3:latest", "llama3:latest"),
        ("library/llama3", "registry.ollama.ai/library/llama3:latest", "llama3:latest"),
        (
            "registry.ollama.ai/library/llama3:latest",
            "registry.ollama.ai/library/llama3:latest",
            "llama3:latest",
        ),
        ("qwen3:8b-q4_K_M", "registry.ollama.ai/library/qwen3:8b-q4_K_M", "qwen3:8b-q4_K_M"),
        ("mattw/pygmalion", "registry.ollama.ai/mattw/pygmalion:latest", "mattw/pygmalion:latest"),
        ("hf.co/u/Repo-GGUF:Q4_K_M", "hf.co/u/Repo-GGUF:Q4_K_M", "hf.co/u/Repo-GGUF:Q4_K_M"),
        ("http://localhost:5000/u/m:t", "localhost:5000/u/m:t", "localhost:5000/u/m:t"),
    ],
)
def test_names_are_completed_and_displayed(given: str, full: str, display: str) -> None:
    name = parse_name(given)

    assert name is not None
    assert (name.full, name.display) == (full, display)


@pytest.mark.parametrize(
    "given",
    ["localhost:5000/m", "a.b/c", "a/b/c/d", "model:", ":tag", "/m", "m/", "m:a:b", "m@sha256:ab",
     "my model", "-m", "m:-x", ""],
)  # fmt: skip
def test_bad_names_are_refused(given: str) -> None:
    assert parse_name(given) is None


@pytest.mark.parametrize(
    ("given", "base", "source", "stored"),
    [
        ("gpt-oss:20b:cloud", "gpt-oss:20b", "cloud", "gpt-oss:20b-cloud"),
        ("gpt-oss:20b-cloud", "gpt-oss:20b", "cloud", "gpt-oss:20b-cloud"),
        ("gpt-oss:cloud", "gpt-oss", "cloud", "gpt-oss:cloud"),
        ("gpt-oss:20b:local", "gpt-oss:20b", "local", "gpt-oss:20b"),
        ("glm-5-cloud", "glm-5-cloud", "", "glm-5-cloud"),
    ],
)
def test_sources_are_split_off(given: str, base: str, source: str, stored: str) -> None:
    assert (*split_source(given, LATEST), stub_name(given, LATEST)) == (base, source, stored)


def test_both_sources_at_once_are_400() -> None:
    with serving() as (_, http):
        wrong = 'use either :local or :cloud, not both: "foo:cloud:local"'
        assert error(chat(http, "foo:cloud:local")) == (400, wrong)


@pytest.mark.parametrize("sent", ["llama3", "LLAMA3", "library/llama3:latest", "llama3:Latest"])
def test_every_spelling_finds_the_model_and_is_echoed(sent: str) -> None:
    with serving([SimulatedModel("llama3")]) as (sim, http):
        answer = lines(chat(http, sent))

        assert {line["model"] for line in answer} == {sent}
        assert http.get("/api/ps").json()["models"][0]["name"] == "llama3:latest"
        assert sim.loads == {"llama3:latest": 1}


def test_a_copy_has_the_digest_and_the_weights_of_its_source() -> None:
    with serving() as (sim, http):
        http.post("/api/copy", json={"source": "m:1b", "destination": "twin"})
        chat(http, "m:1b")
        chat(http, "twin")

        tags = http.get("/api/tags").json()["models"]
        assert {tag["digest"] for tag in tags} == {M.manifest_digest}
        assert [m["name"] for m in http.get("/api/ps").json()["models"]] == ["m:1b"]
        assert sim.loads == {"m:1b": 1}


def test_other_parameters_over_the_same_weights_are_another_digest() -> None:
    with serving() as (_, http):
        http.post("/api/create", json={"model": "n", "from": "m:1b", "parameters": {"top_k": 3}})

        digests = {tag["digest"] for tag in http.get("/api/tags").json()["models"]}
        assert len(digests) == 2


# --- root, version, routes ------------------------------------------------------------------------


def test_root_and_version_answer_get_and_head() -> None:
    with serving(version="0.30.0-rc2") as (_, http):
        assert http.get("/").text == "Ollama is running"
        assert http.get("/api/version").json() == {"version": "0.30.0-rc2"}
        assert [http.head(path).status_code for path in ("/", "/api/version", "/api/tags")] == [
            200
        ] * 3


@pytest.mark.parametrize(
    ("version", "answer"),
    [("0.6.8", (404, "404 page not found")), ("0.7.0", (405, "405 method not allowed"))],
)
def test_the_wrong_method_is_405_since_0_7_0(version: str, answer: tuple[int, str]) -> None:
    with serving(version=version) as (_, http):
        response = http.get("/api/chat")

        assert (response.status_code, response.text) == answer
        assert response.headers["content-type"] == "text/plain"


def test_an_unknown_path_is_404_in_plain_text() -> None:
    with serving() as (_, http):
        response = http.get("/api/tokenize")

        assert (response.status_code, response.text) == (404, "404 page not found")


@pytest.mark.parametrize(("version", "status"), [("0.16.1", 404), ("0.16.2", 200)])
def test_routes_exist_since_their_version(version: str, status: int) -> None:
    with serving(version=version) as (_, http):
        assert http.get("/api/status").status_code == status


@pytest.mark.parametrize(
    ("version", "since", "expected"),
    [("0.9.6", "0.12.0", False), ("0.12.10", "0.12.9", True), ("0.0.0", "0.33.0", True),
     ("0.33.0-rc2", "0.33.0", True)],
)  # fmt: skip
def test_versions_are_compared_by_number(version: str, since: str, expected: bool) -> None:
    assert Release(version).since(since) is expected


def test_a_version_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="not a version of Ollama"):
        OllamaSimulator(version="latest")


# --- tags, show, ps -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_fields_appear_with_their_version(version: str) -> None:
    with serving(version=version) as (_, http):
        chat(http)
        [tag] = http.get("/api/tags").json()["models"]
        show = http.post("/api/show", json={"model": "m:1b"}).json()
        [running] = http.get("/api/ps").json()["models"]

    number = tuple(int(part) for part in version.split("."))
    assert {
        "tags": "capabilities" in tag and "context_length" in tag["details"],
        "show": "capabilities" in show,
        "ps": "context_length" in running,
    } == {"tags": number >= (0, 30, 0), "show": number >= (0, 6, 4), "ps": number >= (0, 10, 0)}


def test_tags_lists_the_newest_first() -> None:
    old = SimulatedModel("old", modified_at=datetime(2024, 1, 2, 3, 4, 5, 123456, UTC))
    with serving([old, M]) as (_, http):
        tags = http.get("/api/tags").json()["models"]

        assert [tag["name"] for tag in tags] == ["m:1b", "old:latest"]
        assert tags[1]["modified_at"].startswith("2024-01-02T04:04:05.123456")


def test_an_empty_store_is_an_empty_list_natively_and_null_on_v1() -> None:
    with serving([]) as (_, http):
        assert http.get("/api/tags").json() == {"models": []}
        assert http.get("/v1/models").json() == {"object": "list", "data": None}


def test_show_writes_parameters_as_go_does_in_any_order() -> None:
    parameters = {"num_ctx": 1_048_576, "temperature": 0.7, "use_mmap": True, "stop": ["a", 'b"\n']}
    with serving([SimulatedModel("m:1b", parameters=parameters)]) as (_, http):
        orders = {
            http.post("/api/show", json={"model": "m:1b"}).json()["parameters"] for _ in range(20)
        }

    assert {frozenset(order.split("\n")) for order in orders} == {
        frozenset(
            [
                "num_ctx                        1.048576e+06",
                "temperature                    0.7",
                "use_mmap                       true",
                'stop                           "a"',
                'stop                           "b\\"\\n"',
            ]
        )
    }
    assert len(orders) > 1


def test_show_has_flat_metadata_and_the_token_table_only_when_verbose() -> None:
    with serving() as (_, http):
        info = http.post("/api/show", json={"model": "m:1b"}).json()["model_info"]
        verbose = http.post("/api/show", json={"name": "m:1b", "verbose": True}).json()[
            "model_info"
        ]

    assert info["general.architecture"] == "llama"
    assert (info["llama.context_length"], info["general.parameter_count"]) == (131_072, 8 * 10**9)
    assert (info["tokenizer.ggml.tokens"], len(verbose["tokenizer.ggml.tokens"])) == (None, 3)


def test_show_says_the_normalised_name_of_what_is_missing() -> None:
    with serving() as (_, http):
        assert error(http.post("/api/show", json={"model": "NoSuch"})) == (
            404,
            "model 'NoSuch:latest' not found",
        )


def test_ps_tells_how_much_is_on_the_gpu() -> None:
    with serving([SimulatedModel("m:1b", size_vram_bytes=1000)]) as (_, http):
        chat(http)
        [running] = http.get("/api/ps").json()["models"]

    assert running["size_vram"] == 1000
    assert running["size"] > running["size_vram"]


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


# --- load and unload ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [("/api/chat", {"messages": []}, {"message": {"role": "assistant", "content": ""}}),
     ("/api/chat", {}, {"message": {"role": "assistant", "content": ""}}),
     ("/api/generate", {}, {"response": ""})],
)  # fmt: skip
def test_an_empty_request_loads_and_with_zero_unloads(
    path: str, body: dict[str, object], field: dict[str, object]
) -> None:
    with serving() as (sim, http):
        answers = []
        for keep_alive in ("1h", 0):
            request = {"model": "m:1b", "stream": True, "keep_alive": keep_alive, **body}
            response = http.post(path, json=request)
            answers.append((response.headers["content-type"], response.json()))
        sim.wait_until(lambda: sim.unloads == {"m:1b": 1})

        assert http.get("/api/ps").json() == {"models": []}
    kind = "application/json; charset=utf-8"
    for (content_type, answer), reason in zip(answers, ("load", "unload"), strict=True):
        del answer["created_at"]
        assert content_type == kind
        assert answer == {"model": "m:1b", **field, "done": True, "done_reason": reason}


def test_two_chats_in_a_row_are_one_load() -> None:
    with serving() as (sim, http):
        chat(http)
        chat(http)

        assert (sim.loads, sim.reloads, [a.loaded for a in sim.answers]) == (
            {"m:1b": 1},
            {},
            [True, False],
        )


@pytest.mark.parametrize(
    "change", [{"options": {"num_ctx": 8192}}, {"options": {"num_gpu": 0}}, {"shift": False}]
)
def test_a_changed_load_option_or_shift_reloads(change: dict[str, Any]) -> None:
    with serving() as (sim, http):
        chat(http)
        chat(http, **change)
        chat(http, **change)
        chat(http)

        assert (sim.loads, sim.reloads) == ({"m:1b": 3}, {"m:1b": 2})


def test_other_options_do_not_reload() -> None:
    with serving() as (sim, http):
        chat(http, options={"temperature": 0.1})
        chat(http, options={"temperature": 0.9, "num_ctx": 4096, "num_batch": None})

        assert (sim.loads, sim.reloads) == ({"m:1b": 1}, {})


def test_unloading_waits_for_whoever_is_talking() -> None:
    with serving(knobs=Knobs(token_delay_s=math.inf)) as (sim, http):
        with in_thread(lambda: chat(http)):
            sim.wait_until(lambda: sim.holding == 1)
            answer = httpx.post(
                f"{sim.base_url}/api/chat", json={"model": "m:1b", "keep_alive": 0}
            ).json()
            assert answer["done_reason"] == "unload"
            assert list(sim.running) == ["m:1b"]
            for _ in range(3):
                sim.wait_until(lambda: sim.holding == 1)
                sim.release("m:1b")
        sim.wait_until(lambda: sim.unloads == {"m:1b": 1})

        assert sim.running == {}


def test_unloading_is_seen_in_ps_until_it_is_over() -> None:
    with serving(knobs=Knobs(unload_delay_s=math.inf)) as (sim, http):
        chat(http, keep_alive=0)
        sim.wait_until(lambda: sim.holding == 1)
        assert list(sim.running) == ["m:1b"]
        sim.finish_unload("m:1b")
        sim.wait_until(lambda: sim.unloads == {"m:1b": 1})

        assert sim.running == {}


def test_keep_alive_is_sticky_and_the_servers_own_only_for_a_fresh_load() -> None:
    with serving() as (sim, http):
        chat(http, keep_alive="1h")
        chat(http)
        sim.advance(3500)
        kept = sim.running
        sim.advance(200)
        expired = sim.running
        chat(http)
        sim.advance(301)

        assert (kept, expired, sim.running, sim.loads) == ({"m:1b": 4096}, {}, {}, {"m:1b": 2})


@pytest.mark.parametrize("keep_alive", [-1, -0.5, "-1m"])
def test_a_negative_keep_alive_is_for_ever(keep_alive: object) -> None:
    with serving() as (sim, http):
        chat(http, keep_alive=keep_alive)
        sim.advance(10 * 365 * 86_400)

        assert (
            datetime.fromisoformat(http.get("/api/ps").json()["models"][0]["expires_at"]).year
            > 2300
        )


@pytest.mark.parametrize("keep_alive", [300, 2.5, "10m", "1h30m", "1.5h", "500ms", None])
def test_good_keep_alives_are_taken(keep_alive: object) -> None:
    with serving() as (_, http):
        assert chat(http, keep_alive=keep_alive).status_code == 200


@pytest.mark.parametrize(
    ("keep_alive", "answer"),
    [
        ("-1", 'time: missing unit in duration "-1"'),
        ("300", 'time: missing unit in duration "300"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("", 'time: invalid duration ""'),
        ("5 m", 'time: unknown unit " m" in duration "5 m"'),
        (True, "Unsupported type: 'bool'"),
        ([1], "Unsupported type: '[]interface {}'"),
    ],
)
def test_bad_keep_alives_are_400(keep_alive: object, answer: str) -> None:
    with serving() as (_, http):
        assert error(chat(http, keep_alive=keep_alive)) == (400, answer)


def test_leaving_during_a_load_aborts_it() -> None:
    with serving(knobs=Knobs(load_delay_s=math.inf)) as (sim, http):
        with pytest.raises(httpx.TimeoutException):
            http.post("/api/chat", json={"model": "m:1b", "messages": HI}, timeout=0.2)
        sim.wait_until(lambda: sim.aborted_loads == {"m:1b": 1})

        assert (sim.running, sim.loads) == ({}, {"m:1b": 1})


def test_a_load_that_another_waits_for_goes_on() -> None:
    with serving(knobs=Knobs(load_delay_s=math.inf)) as (sim, http):
        with in_thread(lambda: chat(http)):
            sim.wait_until(lambda: sim.holding == 1)
            with pytest.raises(httpx.TimeoutException):
                httpx.post(f"{sim.base_url}/api/chat", json={"model": "m:1b"}, timeout=0.2)
            sim.finish_load("m:1b")

        assert (sim.loads, sim.aborted_loads) == ({"m:1b": 1}, {})
        assert [answer.outcome for answer in sim.answers] == ["done"]


def test_a_load_that_fails_is_500() -> None:
    broken = SimulatedModel("m:1b", load_error="llama-server process has terminated: exit status 1")
    with serving([broken]) as (sim, http):
        assert error(chat(http)) == (500, "llama-server process has terminated: exit status 1")
        assert sim.running == {}


def test_the_least_lasting_idle_model_makes_room() -> None:
    models = [SimulatedModel(name) for name in "abcd"]
    with serving(models) as (sim, http):
        for name in "abcd":
            chat(http, name)

        assert set(sim.running) == {"b:latest", "c:latest", "d:latest"}


def test_a_full_queue_is_503_with_two_spaces() -> None:
    knobs = Knobs(load_delay_s=math.inf, max_queue=1)
    with serving(knobs=knobs) as (sim, http), in_thread(lambda: chat(http)):
        sim.wait_until(lambda: sim.holding == 1)
        full = httpx.post(f"{sim.base_url}/api/chat", json={"model": "m:1b"})
        sim.finish_load("m:1b")

    busy = "server busy, please try again.  maximum pending requests exceeded"
    assert error(full) == (503, busy)
    assert "retry-after" not in full.headers


def test_one_runner_answers_one_after_the_other() -> None:
    with serving(knobs=Knobs(token_delay_s=math.inf)) as (sim, http):
        first = in_thread(lambda: chat(http))
        second = in_thread(lambda: httpx.post(f"{sim.base_url}/api/chat", json={
            "model": "m:1b", "messages": HI}))  # fmt: skip
        with first, second:
            for _ in range(6):
                sim.wait_until(lambda: sim.holding == 1)
                sim.release("m:1b")
        assert [answer.outcome for answer in sim.answers] == ["done", "done"]


def test_closing_the_connection_stops_the_answer() -> None:
    with serving([SimulatedModel("m:1b", endless=True, hold_after=2)]) as (sim, http):
        with http.stream("POST", "/api/chat", json={"model": "m:1b", "messages": HI}) as response:
            sim.wait_until(lambda: sim.holding == 1)
            assert response.status_code == 200
        sim.wait_until(lambda: sim.cancelled_answers == {"m:1b": 1})

        assert (sim.active_streams, sim.open_streams, sim.streams_closed_by_client) == (0, 0, 1)


# --- the window -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "knobs", "parameters", "asked", "window"),
    [
        ("0.33.0", {}, {"num_ctx": 8192}, 16_384, 16_384),
        ("0.33.0", {"default_ctx": 1000}, {"num_ctx": 8192}, None, 8192),
        ("0.33.0", {"default_ctx": 1000}, {}, None, 1000),
        ("0.33.0", {"gpu_gib": 47}, {}, None, 131_072),  # 262144, clamped to the trained length
        ("0.33.0", {"gpu_gib": 24}, {}, None, 32_768),
        ("0.33.0", {"gpu_gib": 8}, {}, None, 4096),
        ("0.12.0", {"gpu_gib": 47}, {}, None, 4096),
        ("0.5.0", {"default_ctx": 1000}, {}, None, 2048),
        ("0.33.0", {}, {}, 10**9, 131_072),
        ("0.33.0", {}, {}, 1, 4),
    ],
)
def test_the_effective_window_follows_the_servers_rules(
    version: str,
    knobs: dict[str, Any],
    parameters: dict[str, object],
    asked: int | None,
    window: int,
) -> None:
    model = SimulatedModel("m:1b", parameters=parameters)
    with serving([model], version, knobs=Knobs(**knobs)) as (sim, http):
        chat(http, options={"num_ctx": asked})

        assert sim.running == {"m:1b": window}


def test_a_model_that_sees_has_a_window_of_2048_at_least() -> None:
    with serving([SimulatedModel("m:1b", capabilities=("completion", "vision"))]) as (sim, http):
        chat(http, options={"num_ctx": 100})

        assert sim.running == {"m:1b": 2048}


def turns(count: int, size: int, system: bool = False) -> list[dict[str, str]]:
    """Messages of `size` bytes: user and assistant in turn, a user at the end."""
    first = [{"role": "system", "content": "s" * size}] if system else []
    roles = ["user" if (count - at) % 2 else "assistant" for at in range(count)]
    return [*first, *({"role": role, "content": role[0] * size} for role in roles)]


def test_the_oldest_messages_are_dropped_in_silence_but_not_system_and_last() -> None:
    with serving(knobs=Knobs(bytes_per_token=1.0)) as (sim, http):
        last = lines(chat(http, messages=turns(9, 996, system=True)))[-1]

    [record] = sim.answers
    assert last["done_reason"] == "stop"
    assert last["prompt_eval_count"] == record.prompt_tokens == 4000
    assert (record.full_tokens, record.dropped_messages, record.truncated) == (10_000, 6, True)
    assert sim.truncations == 1


def test_a_prompt_that_fits_is_whole() -> None:
    with serving(knobs=Knobs(bytes_per_token=1.0)) as (sim, http):
        last = lines(chat(http, messages=turns(4, 1020)))[-1]

    assert (last["prompt_eval_count"], sim.answers[0].truncated, sim.truncations) == (
        4096,
        False,
        0,
    )


@pytest.mark.parametrize(
    ("path", "version", "shift", "tokens"),
    [("rendered", "0.33.0", None, 2051), ("rendered", "0.33.0", False, None),
     ("native", "0.33.0", None, None), ("native", "0.12.0", None, 4096),
     ("rendered", "0.12.0", None, 4096)],
)  # fmt: skip
def test_a_last_message_too_long_by_itself_is_cut_or_refused(
    path: Any, version: str, shift: bool | None, tokens: int | None
) -> None:
    model = SimulatedModel("m:1b", path=path)
    with serving([model], version, knobs=Knobs(bytes_per_token=1.0)) as (sim, http):
        response = chat(http, messages=turns(1, 15_700), shift=shift)

    if tokens is None:
        status, message = error(response)
        assert status == 400
        wanted = "exceed_context_size_error" if path == "native" else "the prompt is longer than"
        assert wanted in message
    else:
        assert lines(response)[-1]["prompt_eval_count"] == tokens
        assert sim.answers[0].truncated


def test_truncate_false_is_400_since_it_exists() -> None:
    knobs = Knobs(bytes_per_token=1.0)
    with serving(version="0.12.5", knobs=knobs) as (_, http):
        assert chat(http, messages=turns(9, 1000), truncate=False).status_code == 200
    with serving(version="0.12.6", knobs=knobs) as (_, http):
        assert chat(http, messages=turns(9, 1000), truncate=False).status_code == 400


def test_an_mlx_model_never_truncates() -> None:
    model = SimulatedModel("m:1b", format="safetensors")
    with serving([model], knobs=Knobs(bytes_per_token=1.0)) as (_, http):
        wrong = (
            "input length (9036 tokens) exceeds the model's maximum context length (4096 tokens)"
        )
        assert error(chat(http, messages=turns(9, 1000))) == (400, wrong)


def test_some_templates_fail_when_the_user_turn_is_gone() -> None:
    model = SimulatedModel("m:1b", needs_user_turn=True)
    history = [
        *turns(1, 2000),
        {"role": "assistant", "content": "a"},
        {"role": "tool", "content": "t" * 3000},
    ]
    with serving([model], knobs=Knobs(bytes_per_token=1.0)) as (_, http):
        assert error(chat(http, messages=history)) == (500, "no user query found in messages")


def test_every_conversation_has_a_ratio_of_its_own_and_keeps_it() -> None:
    with serving() as (sim, http):
        for number in range(40):
            chat(http, messages=[{"role": "user", "content": f"question {number}"}])
        ratios = [record.bytes_per_token for record in sim.answers]
        grown = [{"role": "user", "content": "question 7"}, *turns(3, 50)]
        chat(http, messages=grown)

    assert len(set(ratios)) == 40
    assert 1.2 <= min(ratios) < 2.2 < 5 < max(ratios) <= 6
    assert sim.answers[-1].bytes_per_token == ratios[7]


def test_the_seed_decides_the_ratios() -> None:
    found = []
    for seed in (1, 1, 2):
        with serving(seed=seed) as (sim, http):
            chat(http)
            found.append(sim.answers[0].bytes_per_token)

    assert found[0] == found[1] != found[2]


def test_an_image_costs_a_fixed_number_on_models_that_see() -> None:
    image = base64.b64encode(b"not looked at").decode()
    seen, blind = SimulatedModel("s", capabilities=("completion", "vision")), SimulatedModel("b")
    message = {"role": "user", "content": "hi", "images": [image, image]}
    with serving([seen, blind]) as (sim, http):
        chat(http, "s", messages=[message])
        chat(http, "b", messages=[message])

    tokens = [record.prompt_tokens for record in sim.answers]
    assert tokens[0] - tokens[1] == 2 * 768


def test_0_30_0_leaves_cached_tokens_out_of_the_count() -> None:
    counts = {}
    for version in ("0.30.0", "0.30.1", "0.35.0"):
        with serving(version=version, knobs=Knobs(bytes_per_token=1.0)) as (_, http):
            chat(http, messages=turns(1, 100))
            last = lines(chat(http, messages=[*turns(1, 100), *turns(2, 20)]))[-1]
            counts[version] = (last["prompt_eval_count"], last.get("prompt_eval_cached_count"))

    assert counts == {"0.30.0": (48, None), "0.30.1": (152, None), "0.35.0": (152, 104)}


def test_a_modelfiles_own_turns_count() -> None:
    model = SimulatedModel(
        "m:1b", system="s" * 96, messages=[{"role": "user", "content": "x" * 46}]
    )
    with serving([model], knobs=Knobs(bytes_per_token=1.0)) as (sim, http):
        chat(http)
        chat(http, messages=[{"role": "system", "content": "other"}, *HI])

    assert [record.prompt_tokens for record in sim.answers] == [100 + 50 + 6, 50 + 9 + 6]


# --- what a model cannot do -----------------------------------------------------------------------

EMBEDDER = SimulatedModel("e", capabilities=("embedding",), family="bert", embed_len=8)


@pytest.mark.parametrize(
    ("path", "model", "body", "answer"),
    [
        ("chat", "e", {"messages": HI}, '"e" does not support chat'),
        ("chat", "e", {"messages": []}, '"e" does not support chat'),
        ("generate", "e", {"prompt": "x"}, '"e" does not support generate'),
        (
            "chat",
            "m:1b",
            {"messages": HI, "tools": [WEATHER]},
            "registry.ollama.ai/library/m:1b does not support tools",
        ),
        (
            "generate",
            "m:1b",
            {"prompt": "x", "suffix": "y"},
            "registry.ollama.ai/library/m:1b does not support insert",
        ),
    ],
)
def test_a_missing_ability_is_400_in_known_words(
    path: str, model: str, body: dict[str, object], answer: str
) -> None:
    with serving([M, EMBEDDER]) as (sim, http):
        response = http.post(f"/api/{path}", json={"model": model, **body})

        assert (error(response), sim.loads) == ((400, answer), {})


# --- validation -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({"num_ctx": "8192"}, 'option "num_ctx" must be of type integer'),
        ({"temperature": "hot"}, 'option "temperature" must be of type float32'),
        ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
        ({"stop": "x"}, 'option "stop" must be of type array'),
        ({"stop": [1]}, 'option "stop" must be of an array of strings'),
        ({"top_k": True}, 'option "top_k" must be of type integer'),
    ],
)
def test_options_of_a_wrong_type_are_500(options: dict[str, object], answer: str) -> None:
    with serving() as (_, http):
        assert error(chat(http, options=options)) == (500, answer)


def test_null_and_unknown_options_are_skipped_and_integers_are_cut() -> None:
    with serving() as (sim, http):
        chat(http, options={"num_ctx": 8192.7, "seed": None, "future": {}, "stop": ["tw"]})

    assert sim.answers[0].options == {"num_ctx": 8192, "stop": ["tw"]}


@pytest.mark.parametrize(
    ("body", "status", "answer"),
    [
        (b"", 400, "missing request body"),
        (b"{", 400, "unexpected EOF"),
        (b"nope", 400, "invalid character 'n' looking for beginning of value"),
        (b"[]", 400, "json: cannot unmarshal array into Go value of type api.ChatRequest"),
        (b"{}", 400, "model is required"),
        (b'{"model":"a b"}', 400, "invalid model name"),
        (b'{"model":"gone"}', 404, "model 'gone' not found"),
        (
            b'{"model":3}',
            400,
            "json: cannot unmarshal number into Go struct field ChatRequest.model of type string",
        ),
        (b'{"model":"m:1b","top_logprobs":21}', 400, "top_logprobs must be between 0 and 20"),
    ],
)
def test_bad_requests(body: bytes, status: int, answer: str) -> None:
    with serving() as (_, http):
        assert error(http.post("/api/chat", content=body)) == (status, answer)


@pytest.mark.parametrize(
    ("message", "start"),
    [
        ({"content": [{"type": "text"}]}, "json: cannot unmarshal array into Go struct field"),
        ({"images": ["data:image/png;base64,AAAA"]}, "illegal base64 data at input byte 4"),
        ({"images": ["https://example.com/cat.png"]}, "illegal base64 data at input byte 5"),
        (
            {"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
            "json: cannot unmarshal string into Go struct field .messages.tool_calls.function",
        ),
    ],
)
def test_bad_messages_are_400(message: dict[str, object], start: str) -> None:
    with serving() as (_, http):
        status, answer = error(chat(http, messages=[{"role": "user", **message}]))

        assert (status, answer[: len(start)]) == (400, start)


def test_properties_that_are_a_list_are_400() -> None:
    tool = {"function": {"name": "f", "parameters": {"type": "object", "properties": []}}}
    with serving() as (_, http):
        assert chat(http, tools=[tool]).status_code == 400


def test_a_bad_format_is_500() -> None:
    with serving() as (_, http):
        wrong = 'invalid format: "yaml"; expected "json" or a valid JSON Schema object'
        assert error(chat(http, format="yaml")) == (500, wrong)


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


# --- errors from around the server ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "models.example.com"}, 403), ({"Host": "8.8.8.8:80"}, 403),
     ({"Host": "localhost:11434"}, 200), ({"Host": "192.168.1.7"}, 200),
     ({"Host": "box.local"}, 200), ({"Host": "[::1]:11434"}, 200),
     ({"Origin": "https://example.com"}, 403), ({"Origin": "http://localhost:3000"}, 200),
     ({"Origin": "tauri://localhost"}, 200)],
)  # fmt: skip
def test_foreign_hosts_and_origins_get_an_empty_403(headers: dict[str, str], status: int) -> None:
    with serving() as (_, http):
        response = http.get("/api/tags", headers=headers)

        assert response.status_code == status
        assert (response.content == b"") is (status == 403)


def test_a_proxy_may_answer_html_and_a_stream_may_be_cut() -> None:
    with serving() as (sim, http):
        sim.inject(Fault.html(), path="/api/chat", times=1)
        page = chat(http)
        assert (page.status_code, page.headers["content-type"]) == (502, "text/html")

        sim.inject(Fault(cut_after_bytes=20), path="/api/chat", times=1)
        with pytest.raises(httpx.RemoteProtocolError):
            chat(http)


# --- bytes ----------------------------------------------------------------------------------------


def test_go_escapes_five_characters_and_leaves_u_0085_raw() -> None:
    with serving() as (sim, http):
        sim.next_answer("separators")
        raw = chat(http).content

    assert b"one\\u2028two" in raw
    assert b"three\xc2\x85four" in raw
    assert b" \\u003cb\\u003e \\u0026 \\u2029" in raw


def test_a_line_may_be_two_megabytes_long() -> None:
    with serving() as (sim, http):
        sim.next_answer("long_line")

        assert len(text(lines(chat(http)))) == 2_000_000


@pytest.mark.parametrize("size", [1, 7])
def test_bytes_may_arrive_cut_anywhere(size: int) -> None:
    with serving() as (sim, http):
        sim.next_answer(plain("über", " ½\u0085"))
        sim.inject(Fault(rechunk_bytes=size))
        with http.stream("POST", "/api/chat", json={"model": "m:1b", "messages": HI}) as response:
            pieces = list(response.iter_raw())

    assert max(map(len, pieces)) == size
    answer = [json.loads(line) for line in b"".join(pieces).split(b"\n") if line]
    assert text(answer) == "über ½\u0085"


def test_several_lines_may_come_in_one_write_and_the_last_without_a_newline() -> None:
    knobs = Knobs(lines_per_write=10, final_newline=False)
    asked = {"model": "m:1b", "messages": HI}
    with (
        serving(knobs=knobs) as (_, http),
        http.stream("POST", "/api/chat", json=asked) as response,
    ):
        pieces = list(response.iter_raw())

    assert [piece.count(b"\n") for piece in pieces] == [2]


# --- pull -----------------------------------------------------------------------------------------

BIG, SMALL = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def pullable(*layers: Layer, **options: Any) -> list[Pullable]:
    return [Pullable(SimulatedModel("new:7b"), layers, **options)]


def pull(http: httpx.Client, model: str = "new:7b", **body: Any) -> httpx.Response:
    return http.post("/api/pull", json={"model": model, **body})


def test_a_pull_reports_layer_after_layer_and_ends_with_success() -> None:
    registry = pullable(Layer(100, BIG, steps=2), Layer(7, SMALL, steps=1))
    with serving(registry=registry) as (sim, http):
        progress = lines(pull(http))

        big = {"status": f"pulling {'a' * 12}", "digest": BIG, "total": 100}
        small = {"status": f"pulling {'b' * 12}", "digest": SMALL, "total": 7}
        assert progress == [
            {"status": "pulling manifest"},
            big,
            {**big, "completed": 50},
            {**big, "completed": 100},
            small,
            {**small, "completed": 7},
            {"status": "verifying sha256 digest"},
            {"status": "writing manifest"},
            {"status": "success"},
        ]
        assert sim.installed == ["new:7b", "m:1b"]
        assert (sim.pulls_begun, sim.pulls_done) == ({"new:7b": 1}, {"new:7b": 1})


def amounts(progress: Lines) -> list[int]:
    return [line.get("completed", 0) for line in progress if "digest" in line]


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (Layer(100, cached=True), [100]),
        (Layer(100, silent=True), []),
        (Layer(100, steps=4, backward=True), [0, 25, 50, 37, 75, 100]),
        (Layer(100, steps=4, ends_short=True), [0, 25, 50, 75]),
    ],
)
def test_layers_report_in_odd_ways(layer: Layer, expected: list[int]) -> None:
    with serving(registry=pullable(layer)) as (sim, http):
        progress = lines(pull(http))

        assert (amounts(progress), progress[-1]) == (expected, {"status": "success"})
        assert "new:7b" in sim.installed


def test_tensor_models_report_one_series() -> None:
    registry = pullable(Layer(60, steps=1), Layer(40, steps=1), tensors=True)
    with serving(registry=registry) as (_, http):
        progress = lines(pull(http))

    assert {
        (line["status"], line["digest"], line["total"]) for line in progress if "digest" in line
    } == {("pulling model", "sha256:model", 100)}
    assert amounts(progress) == [0, 60, 60, 100]
    assert [line["status"] for line in progress[-2:]] == ["writing manifest", "success"]


def test_an_unknown_model_is_an_error_line_or_500() -> None:
    with serving() as (sim, http):
        missing = "pull model manifest: file does not exist"
        streamed = pull(http, "nosuch")
        assert streamed.status_code == 200
        assert lines(streamed) == [{"status": "pulling manifest"}, {"error": missing}]
        assert error(pull(http, "nosuch", stream=False)) == (500, missing)
        assert (sim.pulls_begun, sim.pulls_done) == ({"nosuch:latest": 2}, {})


def test_a_pull_may_break_off_with_an_error() -> None:
    registry = pullable(Layer(100), error="max retries exceeded: EOF", error_after=2)
    with serving(registry=registry) as (sim, http):
        progress = lines(pull(http))

        assert (amounts(progress), progress[-1]) == (
            [0, 25],
            {"error": "max retries exceeded: EOF"},
        )
        assert sim.installed == ["m:1b"]


def test_a_pull_that_is_not_streamed_answers_with_its_end() -> None:
    with serving(registry=pullable(Layer(100), prunes=True)) as (_, http):
        response = pull(http, stream=False)
        assert response.json() == {"status": "success"}


@pytest.mark.parametrize("name", ["", "a b"])
def test_a_bad_name_cannot_be_pulled(name: str) -> None:
    with serving() as (_, http):
        assert error(pull(http, name)) == (400, "invalid model name")


def test_plain_http_needs_insecure() -> None:
    with serving() as (_, http):
        assert error(pull(http, "http://localhost:5000/u/m")) == (500, "insecure protocol http")
        assert pull(http, "http://localhost:5000/u/m", insecure=True).status_code == 200


def leave_pull(sim: OllamaSimulator, http: httpx.Client, ticks: int) -> None:
    with http.stream("POST", "/api/pull", json={"model": "new:7b"}) as response:
        assert response.status_code == 200
        for _ in range(ticks):
            sim.wait_until(lambda: sim.holding == 1)
            sim.release_pull("new:7b")
        sim.wait_until(lambda: sim.holding == 1)


def test_leaving_stops_a_pull_and_the_next_one_goes_on_from_there() -> None:
    knobs = Knobs(pull_tick_s=math.inf)
    with serving(registry=pullable(Layer(100, BIG, steps=4)), knobs=knobs) as (sim, http):
        leave_pull(sim, http, ticks=3)
        sim.wait_until(lambda: sim.pulls_cancelled == {"new:7b": 1})
        assert (sim.partial_layers, sim.installed) == ({BIG: 50}, ["m:1b"])

        sim.knobs.pull_tick_s = 0
        assert amounts(lines(pull(http))) == [50, 75, 100]
        assert sim.pulls_done == {"new:7b": 1}


def test_two_pulls_share_one_download_and_the_other_goes_on_when_one_leaves() -> None:
    knobs = Knobs(pull_tick_s=math.inf)
    with serving(registry=pullable(Layer(100, BIG, steps=2)), knobs=knobs) as (sim, http):
        got: list[Lines] = []
        other = in_thread(lambda: got.append(lines(httpx.post(
            f"{sim.base_url}/api/pull", json={"model": "new:7b"}))))  # fmt: skip
        with http.stream("POST", "/api/pull", json={"model": "new:7b"}):
            sim.wait_until(lambda: sim.holding == 1)
            other.__enter__()
            sim.wait_until(lambda: sim.listening == {"new:7b": 2})
            sim.release_pull("new:7b")
            sim.wait_until(lambda: sim.holding == 1)
        sim.wait_until(lambda: sim.pulls_cancelled == {"new:7b": 1})
        for _ in range(2):
            sim.wait_until(lambda: sim.holding == 1)
            sim.release_pull("new:7b")
        other.__exit__(None, None, None)

        # Each listener has a clock of its own, so an amount may be told twice.
        assert list(dict.fromkeys(amounts(got[0]))) == [0, 50, 100]
        assert (sim.pulls_begun, sim.pulls_done) == ({"new:7b": 2}, {"new:7b": 1})


# --- delete, copy, create, push, blobs ------------------------------------------------------------


def test_delete_answers_with_nothing_and_leaves_the_runner() -> None:
    with serving() as (sim, http):
        chat(http)
        gone = http.request("DELETE", "/api/delete", json={"model": "M:1B"})

        assert (gone.status_code, gone.content) == (200, b"")
        assert (sim.installed, list(sim.running)) == ([], ["m:1b"])


@pytest.mark.parametrize(
    ("method", "path", "body", "answer"),
    [
        ("DELETE", "delete", {"model": "x"}, (404, "model 'x' not found")),
        ("DELETE", "delete", {"model": "a b"}, (400, 'name "a b" is invalid')),
        ("POST", "copy", {"source": "x", "destination": "y"}, (404, 'model "x" not found')),
        ("POST", "copy", {"source": "a b", "destination": "y"}, (400, 'source "a b" is invalid')),
        ("POST", "copy", {"source": "m:1b", "destination": ""}, (400, 'destination "" is invalid')),
        ("POST", "create", {"model": "a b"}, (400, "invalid model name")),
        ("POST", "create", {"model": "n"}, (400, "neither 'from' or 'files' was specified")),
        ("POST", "create", {"model": "n", "files": {}}, (400, "no files provided to convert")),
        ("POST", "push", {}, (400, "model is required")),
    ],
)
def test_management_errors(
    method: str, path: str, body: dict[str, object], answer: tuple[int, str]
) -> None:
    with serving() as (_, http):
        assert error(http.request(method, f"/api/{path}", json=body)) == answer


def test_create_changes_a_model_over_the_same_weights() -> None:
    body = {
        "model": "mario",
        "from": "m:1b",
        "system": "Be Mario.",
        "parameters": {"num_ctx": 8192},
    }
    with serving() as (sim, http):
        progress = [
            line["status"].split(":")[0] for line in lines(http.post("/api/create", json=body))
        ]
        show = http.post("/api/show", json={"model": "mario"}).json()
        chat(http, "mario")

        assert progress == [
            "using existing layer sha256",
            "creating new layer sha256",
            "writing manifest",
            "success",
        ]
        assert (show["system"], show["parameters"].split()) == ("Be Mario.", ["num_ctx", "8192"])
        assert sim.running == {"mario:latest": 8192}


def test_create_pulls_what_it_is_made_from() -> None:
    with serving(registry=pullable(Layer(10))) as (sim, http):
        progress = lines(http.post("/api/create", json={"model": "n", "from": "new:7b"}))

        statuses = [line["status"] for line in progress]
        assert statuses[0] == "pulling manifest"
        assert statuses.count("success") == 1
        assert set(sim.installed) == {"n:latest", "new:7b", "m:1b"}


def test_blobs_are_checked_against_their_digest() -> None:
    data = b"GGUF"
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    with serving() as (sim, http):
        seen = [
            http.head(f"/api/blobs/{digest}").status_code,
            http.post(f"/api/blobs/{digest}", content=b"else").status_code,
            http.post(f"/api/blobs/{digest}", content=data).status_code,
            http.post(f"/api/blobs/{digest}", content=data).status_code,
            http.head(f"/api/blobs/{digest}").status_code,
            http.head("/api/blobs/sha256:12").status_code,
        ]
        body = {"model": "made", "files": {"a.gguf": digest}, "stream": False}
        assert http.post("/api/create", json=body).json() == {"status": "success"}

        assert seen == [404, 400, 201, 200, 200, 400]
        assert sim.installed[0] == "made:latest"


def test_push_of_a_missing_model_ends_in_an_error_line() -> None:
    with serving() as (_, http):
        good = lines(http.post("/api/push", json={"model": "m:1b"}))
        bad = lines(http.post("/api/push", json={"model": "gone"}))

    assert (good[0], good[-1]) == ({"status": "retrieving manifest"}, {"status": "success"})
    assert bad[1] == {"status": "couldn't retrieve manifest"}
    assert list(bad[2]) == ["error"]


# --- embed ----------------------------------------------------------------------------------------


def embed(http: httpx.Client, **body: Any) -> httpx.Response:
    return http.post("/api/embed", json={"model": "e", **body})


def test_vectors_are_normalised_and_in_order() -> None:
    with serving([EMBEDDER]) as (_, http):
        both = embed(http, input=["a cat", "a dog"]).json()
        dog = embed(http, input="a dog").json()

    assert both["embeddings"][1] == dog["embeddings"][0]
    assert [math.hypot(*vector) for vector in both["embeddings"]] == pytest.approx([1, 1])
    assert len(dog["embeddings"][0]) == 8
    assert both["prompt_eval_count"] > dog["prompt_eval_count"] > 0
    assert {"total_duration", "load_duration"} <= both.keys()


@pytest.mark.parametrize(
    ("version", "asked", "got"), [("0.33.0", 4, 4), ("0.33.0", 99, 8), ("0.11.10", 4, 8)]
)
def test_dimensions_cut_and_normalise_again(version: str, asked: int, got: int) -> None:
    with serving([EMBEDDER], version) as (_, http):
        [vector] = embed(http, input="a cat", dimensions=asked).json()["embeddings"]

    assert len(vector) == got
    assert math.hypot(*vector) == pytest.approx(1)


@pytest.mark.parametrize("body", [{"input": ""}, {"input": []}, {}])
def test_an_empty_input_only_loads(body: dict[str, object]) -> None:
    with serving([EMBEDDER]) as (sim, http):
        assert embed(http, **body).json() == {"model": "e", "embeddings": []}
        assert sim.loads == {"e:latest": 1}


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"input": [1]}, (400, "invalid input type")),
        ({"input": {"a": 1}}, (400, "invalid input type")),
        ({"model": "x", "input": "a"}, (404, 'model "x" not found, try pulling it first')),
        (
            {"input": "x" * 60_000, "truncate": False},
            (400, "the input length exceeds the context length"),
        ),
    ],
)
def test_embedding_errors(body: dict[str, object], answer: tuple[int, str]) -> None:
    with serving([EMBEDDER]) as (_, http):
        assert error(embed(http, **body)) == answer


def test_a_chat_model_makes_no_vectors() -> None:
    with serving() as (_, http):
        assert embed(http, model="m:1b", input="a").status_code == 501


def test_the_old_endpoint_gives_one_vector_as_it_is() -> None:
    with serving([EMBEDDER]) as (_, http):
        vector = http.post("/api/embeddings", json={"model": "e", "prompt": "a cat"}).json()[
            "embedding"
        ]
        assert math.hypot(*vector) == pytest.approx(7.5)
        assert error(http.post("/api/embeddings", json={"prompt": "x"})) == (
            400,
            "model is required",
        )


# --- the cloud ------------------------------------------------------------------------------------

OFF = "ollama cloud is disabled"
CLOUD = [SimulatedModel("gpt-oss:120b", answer="far\u2028away", trained_ctx=100_000)]
STUB = SimulatedModel(
    "gpt-oss:120b-cloud", format="", size_bytes=384, remote=Remote("gpt-oss:120b")
)


def test_a_cloud_name_passes_through_untouched() -> None:
    with serving(cloud=CLOUD) as (sim, http):
        raw = chat(http, "gpt-oss:120b:cloud")

        assert {line["model"] for line in lines(raw)} == {"gpt-oss:120b"}
        assert "\u2028away".encode() in raw.content
        assert (sim.running, sim.answers[0].window) == ({}, 100_000)


def test_a_stub_is_replayed_and_marked_in_every_line() -> None:
    with serving([STUB], "0.12.0", cloud=CLOUD) as (sim, http):
        sim.next_answer("late_error")
        response = chat(http, "gpt-oss:120b-cloud")
        [tag] = http.get("/api/tags").json()["models"]

    first, last = lines(response)
    marks = {"remote_model": "gpt-oss:120b", "remote_host": "https://ollama.com:443"}
    assert (first["model"], last) == ("gpt-oss:120b-cloud", {"error": "boom"})
    assert first.items() >= marks.items() <= tag.items()
    assert not response.content.endswith(b"\n")


def test_a_stub_is_not_found_when_the_local_model_is_asked_for() -> None:
    stub = SimulatedModel("gpt-oss:120b", remote=Remote("gpt-oss:120b"))
    with serving([stub], cloud=CLOUD) as (_, http):
        assert error(chat(http, "gpt-oss:120b:local")) == (
            404,
            "model 'gpt-oss:120b:local' not found",
        )


@pytest.mark.parametrize(
    ("knobs", "status", "answer"),
    [
        ({"cloud_disabled": True}, 403, f"{OFF}: remote inference is unavailable"),
        ({"signed_in": False}, 401, "unauthorized"),
        ({"cloud_refusal": (429, "you have reached your session usage limit")}, 429,
         "you have reached your session usage limit"),
    ],
)  # fmt: skip
def test_the_cloud_may_refuse(knobs: dict[str, Any], status: int, answer: str) -> None:
    with serving([STUB], cloud=CLOUD, knobs=Knobs(**knobs)) as (_, http):
        responses = [chat(http, name) for name in ("gpt-oss:120b-cloud", "gpt-oss:120b:cloud")]

    assert [error(response) for response in responses] == [(status, answer)] * 2
    assert ("signin_url" in responses[0].json()) is (status == 401)


def test_show_of_a_cloud_name_needs_the_cloud() -> None:
    with serving(cloud=CLOUD) as (sim, http):
        assert http.post("/api/show", json={"model": "gpt-oss:120b:cloud"}).status_code == 200
        sim.knobs.cloud_disabled = True
        off = "ollama cloud is disabled: remote model details are unavailable"
        assert error(http.post("/api/show", json={"model": "gpt-oss:120b:cloud"})) == (403, off)
        assert http.get("/api/status").json() == {"cloud": {"disabled": True, "source": "env"}}


def test_a_stub_of_a_foreign_host_is_400() -> None:
    stub = SimulatedModel("m:1b", remote=Remote("m", "https://example.com:443"))
    with serving([stub]) as (_, http):
        assert error(chat(http)) == (400, "this server cannot run this remote model")


def test_pulling_a_cloud_name_writes_a_stub() -> None:
    with serving([], cloud=CLOUD) as (sim, http):
        assert lines(pull(http, "gpt-oss:120b:cloud"))[-1] == {"status": "success"}
        [tag] = http.get("/api/tags").json()["models"]

        assert (tag["name"], tag["remote_model"]) == ("gpt-oss:120b-cloud", "gpt-oss:120b")
        assert sim.installed == ["gpt-oss:120b-cloud"]


def test_the_account_may_be_signed_out() -> None:
    with serving() as (_, http):
        assert http.post("/api/me").json()["name"] == "sam"
        assert http.post("/api/signout").json() is None
        assert http.post("/api/me").status_code == 401
        assert error(http.post("/api/signout")) == (401, "you are not currently signed in")


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


# --- the simulator itself -------------------------------------------------------------------------


def test_calls_of_a_path_are_counted() -> None:
    with serving(prefix="/llm") as (sim, _):
        with httpx.Client(base_url=f"{sim.base_url}/") as http:
            http.get("api/tags")
            http.get("api/tags")
            http.post("api/show", json={"model": "m:1b"})

        assert (sim.tags_calls, sim.show_calls, sim.calls_of("/api/ps")) == (2, 1, 0)


def test_a_server_that_is_started_again_has_its_models_but_none_loaded() -> None:
    sim = OllamaSimulator([M])
    for _ in range(2):
        with sim, httpx.Client(base_url=sim.base_url) as http:
            assert sim.running == {}
            chat(http)

    assert (sim.installed, sim.loads) == (["m:1b"], {"m:1b": 2})


def test_releasing_what_is_not_held_is_a_mistake() -> None:
    with serving() as (sim, _), pytest.raises(LookupError):
        sim.release("m:1b")


def test_models_come_and_go_behind_a_clients_back() -> None:
    with serving() as (sim, _):
        sim.add_model(SimulatedModel("late"))
        sim.remove_model("m:1b")

        assert sim.installed == ["late:latest"]
        with pytest.raises(LookupError):
            sim.remove_model("m:1b")


def test_every_ready_script_is_a_script() -> None:
    assert all(isinstance(script, Script) for script in SCRIPTS.values())
