"""The simulated Ollama server, held to the protocol notes: names, lists, refusals, bytes."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import httpx2 as httpx
import pytest

from modelbay.testing.simulator import Fault
from modelbay_ollama.simulator import (
    SCRIPTS,
    Knobs,
    OllamaSimulator,
    Remote,
    Script,
    SimulatedModel,
    plain,
)
from modelbay_ollama.simulator.names import parse_name, split_source, stub_name
from modelbay_ollama.simulator.versions import Release
from plugins.ollama.serving import (
    EMBEDDER,
    HI,
    LATEST,
    VERSIONS,
    WEATHER,
    M,
    chat,
    error,
    lines,
    pull,
    serving,
    text,
)

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


# --- what a model cannot do -----------------------------------------------------------------------


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
