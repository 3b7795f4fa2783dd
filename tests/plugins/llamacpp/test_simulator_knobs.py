"""What the recordings do not reach: the knobs of the simulator, and its router under load."""

import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2 as httpx
import pytest

from modelbay.testing.simulator import Fault
from modelbay_llamacpp.simulator import LlamaCppSimulator, SimulatedModel, ToolCall

HI = [{"role": "user", "content": "hi"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


@contextmanager
def client(sim: LlamaCppSimulator) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sim.base_url, timeout=5) as opened:
        yield opened


def chat(http: httpx.Client, **body: object) -> httpx.Response:
    return http.post("/v1/chat/completions", json={"messages": HI, **body})


def events(text: str) -> list[object]:
    """Data of a stream's events; what is not JSON as text."""
    found: list[object] = []
    for line in text.split("\n"):
        if line.startswith("data: {"):
            found.append(json.loads(line.removeprefix("data: ")))
        elif line:
            found.append(line)
    return found


def router(*names: str, **options: object) -> LlamaCppSimulator:
    models = [SimulatedModel(name) for name in names]
    return LlamaCppSimulator(models, "router", **options)  # type: ignore[arg-type]


# single mode


def test_a_load_that_fails_ends_the_process_of_a_single_model_server() -> None:
    model = SimulatedModel("m", load_s=0.01, exit_code=1)
    with LlamaCppSimulator([model]) as sim, client(sim) as http:
        sim.wait_until(lambda: sim.states == {"m": "unloaded"})
        with pytest.raises(httpx.TransportError):
            http.get("/health")


def test_a_process_that_dies_breaks_its_streams_and_closes_the_port() -> None:
    with LlamaCppSimulator([SimulatedModel("m", die_after=2)]) as sim, client(sim) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            chat(http, stream=True)
        sim.wait_until(lambda: sim.open_connections == 0)
        with pytest.raises(httpx.ConnectError):
            http.get("/health")


def test_a_compute_error_comes_inside_the_stream_without_done() -> None:
    with LlamaCppSimulator([SimulatedModel("m", fail_after=2)]) as sim, client(sim) as http:
        last = events(chat(http, stream=True).text)[-1]

    message = "Context size has been exceeded."
    assert last == {"error": {"code": 500, "message": message, "type": "server_error"}}


def test_pings_fill_the_silence_between_tokens() -> None:
    model = SimulatedModel("m", answer="ab", prompt_s=0.02, token_s=0.02)
    with LlamaCppSimulator([model], ping_interval_s=0.004) as sim, client(sim) as http:
        text = chat(http, stream=True).text

    assert text.count(":\n\n") >= 4


def test_a_request_that_waits_for_a_slot_gets_no_byte_before_it_has_one() -> None:
    model = SimulatedModel("m", hold_after=1)
    with LlamaCppSimulator([model], slots=1, ping_interval_s=0.001) as sim, client(sim) as http:
        first = threading.Thread(target=lambda: chat(http, stream=True))
        first.start()
        sim.wait_until(lambda: sim.holding == 1)
        with pytest.raises(httpx.ReadTimeout):
            http.post("/v1/chat/completions", json={"messages": HI, "stream": True}, timeout=0.02)
        sim.wait_until(lambda: sim.queued == 0)
        sim.release("m")
        first.join()


def test_a_client_that_leaves_its_stream_frees_the_slot() -> None:
    model = SimulatedModel("m", hold_after=1)
    with LlamaCppSimulator([model], slots=1) as sim, client(sim) as http:
        body = {"messages": HI, "stream": True}
        with http.stream("POST", "/v1/chat/completions", json=body) as response:
            blocks = response.iter_raw()  # kept: collecting it would close the response
            next(blocks)
            assert (sim.active_streams, sim.busy_slots) == (1, 1)
        sim.wait_until(lambda: (sim.active_streams, sim.busy_slots) == (0, 0), timeout_s=1)


def test_calls_come_in_parallel_unless_that_is_forbidden() -> None:
    calls = [ToolCall("get_weather", f'{{"city":"{city}"}}') for city in ("Paris", "Rome")]
    with LlamaCppSimulator([SimulatedModel("m", tool_calls=calls)]) as sim, client(sim) as http:
        both = chat(http, tools=[WEATHER]).json()["choices"][0]["message"]["tool_calls"]
        one = chat(http, tools=[WEATHER], parallel_tool_calls=False).json()
        streamed = events(chat(http, tools=[WEATHER], stream=True).text)

    assert [c["function"]["arguments"] for c in both] == ['{"city":"Paris"}', '{"city":"Rome"}']
    assert len(one["choices"][0]["message"]["tool_calls"]) == 1
    deltas = [
        c["choices"][0]["delta"]["tool_calls"][0]
        for c in streamed
        if isinstance(c, dict) and "tool_calls" in c["choices"][0]["delta"]
    ]
    joined = {0: "", 1: ""}
    for delta in deltas:
        joined[delta["index"]] += delta["function"]["arguments"]
    assert joined == {0: '{"city":"Paris"}', 1: '{"city":"Rome"}'}
    assert [d["function"]["name"] for d in deltas if "id" in d] == ["get_weather"] * 2


def test_a_tool_result_is_answered_in_words() -> None:
    model = SimulatedModel("m", answer="It is warm.", tool_calls=[ToolCall("get_weather")])
    history = [
        *HI,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "30"},
    ]
    with LlamaCppSimulator([model]) as sim, client(sim) as http:
        answer = chat(http, messages=history, tools=[WEATHER]).json()["choices"][0]

    assert (answer["finish_reason"], answer["message"]["content"]) == ("stop", "It is warm.")


def test_required_forces_a_call_on_a_model_that_would_not_make_one() -> None:
    with LlamaCppSimulator([SimulatedModel("m")]) as sim, client(sim) as http:
        answer = chat(http, tools=[WEATHER], tool_choice="required").json()["choices"][0]

    function = answer["message"]["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("get_weather", {"city": ""})


def test_thoughts_and_calls_come_one_after_the_other() -> None:
    model = SimulatedModel("m", reasoning="Look it up.", tool_calls=[ToolCall("get_weather")])
    with LlamaCppSimulator([model]) as sim, client(sim) as http:
        message = chat(http, tools=[WEATHER]).json()["choices"][0]["message"]

    assert (message["reasoning_content"], message["content"], len(message["tool_calls"])) == (
        "Look it up.\n",
        "",
        1,
    )


def test_equal_texts_have_equal_vectors_of_length_one() -> None:
    model = SimulatedModel("m", embeddings=True)
    with LlamaCppSimulator([model]) as sim, client(sim) as http:
        answer = http.post("/v1/embeddings", json={"input": ["a", "b", "a"]}).json()

    first, second, third = (one["embedding"] for one in answer["data"])
    assert first == third != second
    assert math.isclose(math.fsum(x * x for x in first), 1.0)


def test_rerank_puts_the_text_with_the_words_of_the_query_first() -> None:
    model = SimulatedModel("m", rerank=True)
    with LlamaCppSimulator([model]) as sim, client(sim) as http:
        body = {"query": "red fox", "documents": ["blue sea", "a red fox ran", "red sky"]}
        results = http.post("/v1/rerank", json=body).json()["results"]

    assert [r["index"] for r in results] == [1, 2, 0]


def test_a_base_fault_works_on_a_ready_made_simulator() -> None:
    with LlamaCppSimulator() as sim, client(sim) as http:
        sim.inject(Fault.html(502), path="/v1/models", times=1)

        assert [http.get("/v1/models").status_code for _ in range(2)] == [502, 200]


# router


def test_the_model_that_was_posted_to_longest_ago_is_evicted() -> None:
    with router("a", "b", "c", models_max=2) as sim, client(sim) as http:
        for name in ("a", "b", "a", "c"):
            assert chat(http, model=name).status_code == 200

        assert sim.states == {"a": "loaded", "b": "unloaded", "c": "loaded"}
        assert sim.loads == {"a": 1, "b": 1, "c": 1}


def test_requests_for_one_model_share_its_load() -> None:
    model = SimulatedModel("a", load_s=0.02)
    with LlamaCppSimulator([model], "router") as sim, client(sim) as http:
        threads = [threading.Thread(target=lambda: chat(http, model="a")) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sim.loads == {"a": 1}


def test_requests_wait_for_a_place_first_come_first_served() -> None:
    models = [SimulatedModel("a", hold_after=1), SimulatedModel("b"), SimulatedModel("c")]
    with LlamaCppSimulator(models, "router", models_max=1) as sim, client(sim) as http:

        def ask(name: str) -> threading.Thread:
            thread = threading.Thread(target=lambda: chat(http, model=name))
            thread.start()
            return thread

        threads = [ask("a")]
        sim.wait_until(lambda: sim.holding == 1)
        threads.append(ask("b"))
        sim.wait_until(lambda: sim.queued == 1)
        threads.append(ask("c"))
        sim.wait_until(lambda: sim.queued == 2)
        sim.release("a")
        for thread in threads:
            thread.join()

        assert list(sim.loads.items()) == [("a", 1), ("b", 1), ("c", 1)]


def test_a_model_that_is_unloaded_while_busy_stops_at_the_time_limit() -> None:
    models = [SimulatedModel("a", hold_after=1)]
    with LlamaCppSimulator(models, "router", stop_timeout_s=0.02) as sim, client(sim) as http:
        texts: list[str] = []
        stream = threading.Thread(
            target=lambda: texts.append(chat(http, model="a", stream=True).text)
        )
        stream.start()
        sim.wait_until(lambda: sim.holding == 1)
        begun = time.monotonic()
        assert http.post("/models/unload", json={"model": "a"}).json() == {"success": True}
        assert sim.states == {"a": "loaded"}
        stream.join()

        assert time.monotonic() - begun >= 0.02
        assert texts[0].endswith("\n\nproxy error: Failed to read connection")
        sim.wait_until(lambda: sim.states == {"a": "unloaded"})
        status = http.get("/models").json()["data"][0]["status"]
        assert "failed" not in status


def test_a_child_that_dies_leaves_a_failed_entry_and_a_broken_stream() -> None:
    models = [SimulatedModel("a", die_after=2)]
    with LlamaCppSimulator(models, "router") as sim, client(sim) as http:
        response = chat(http, model="a", stream=True)

        assert response.text.endswith("proxy error: Failed to read connection")
        sim.wait_until(lambda: sim.states == {"a": "unloaded"})
        status = http.get("/models").json()["data"][0]["status"]
        assert (status["failed"], status["exit_code"]) == (True, 1)


def test_a_proxy_error_is_text_labelled_json() -> None:
    with router("a") as sim, client(sim) as http:
        sim.fail_proxy(times=1)
        response = chat(http, model="a")

        assert (response.status_code, response.text, response.headers["content-type"]) == (
            500,
            "proxy error: Could not establish connection",
            "application/json; charset=utf-8",
        )
        assert chat(http, model="a").status_code == 200


def test_autoload_no_means_no_and_so_does_yes() -> None:
    with router("a") as sim, client(sim) as http:
        url = "/v1/chat/completions"
        body = {"model": "a", "messages": HI}
        refused = [
            http.post(url, params={"autoload": value}, json=body).status_code
            for value in ("false", "no", "yes")
        ]
        assert (refused, sim.loads) == ([400, 400, 400], {})
        assert http.post(url, params={"autoload": "1"}, json=body).status_code == 200


def test_reload_finds_new_models_and_zero_reloads_too() -> None:
    with router("a") as sim, client(sim) as http:
        sim.add_model(SimulatedModel("late"))

        def ids(query: str) -> list[str]:
            return [entry["id"] for entry in http.get(f"/models{query}").json()["data"]]

        assert [ids(""), ids("?reload="), ids("?reload=0")] == [["a"], ["a"], ["a", "late"]]


def test_idle_models_sleep_and_a_request_wakes_them() -> None:
    with router("a", sleep_idle_s=0.01) as sim, client(sim) as http:
        chat(http, model="a")
        sim.wait_until(lambda: sim.states == {"a": "sleeping"})
        asleep = http.get("/props", params={"model": "a"}).json()["is_sleeping"]
        still = dict(sim.states)
        chat(http, model="a")

        assert (asleep, still, sim.loads) == (True, {"a": "sleeping"}, {"a": 1})


@pytest.mark.parametrize("style", ["server", "readme"])
def test_model_events_come_in_both_spellings(style: str) -> None:
    with (
        router("a", event_style=style) as sim,
        client(sim) as http,
        http.stream("GET", "/models/sse") as stream,
    ):
        http.post("/models/load", json={"model": "a"})
        seen: list[dict[str, object]] = []
        for line in stream.iter_lines():
            if line:
                seen.append(json.loads(line.removeprefix("data: ")))
            if seen and seen[-1].get("data") and '"loaded"' in line:
                break

    progress = seen[1]["data"]
    assert isinstance(progress, dict)
    names = [event["event"] for event in seen]
    if style == "server":
        assert (names[0], set(names[1:])) == ("model_status", {"status_change"})
        assert progress["progress"]["stages"] == ["text_model"]
    else:
        assert set(names) == {"model_status"}
        assert progress["stages"] == ["text_model"]


def test_a_download_ends_in_the_list_or_nowhere() -> None:
    there = SimulatedModel("u/there:Q8_0", source="cache")
    with router("a", hub=[there]) as sim, client(sim) as http:
        for name in ("u/there:Q8_0", "u/nowhere:Q8_0"):
            assert http.post("/models", json={"model": name}).json() == {"success": True}
            sim.wait_until(lambda: "downloading" not in sim.states.values())
        ids = [entry["id"] for entry in http.get("/models").json()["data"]]

        assert ids == ["a", "u/there:Q8_0"]
        assert http.request("DELETE", "/models", params={"model": "u/there:Q8_0"}).is_success
        assert sim.states == {"a": "unloaded"}


def test_a_client_that_leaves_does_not_stop_the_load_it_began() -> None:
    model = SimulatedModel("a", load_s=math.inf)
    with LlamaCppSimulator([model], "router") as sim, client(sim) as http:
        with pytest.raises(httpx.ReadTimeout):
            http.post("/v1/chat/completions", json={"model": "a", "messages": HI}, timeout=0.02)
        sim.finish_load("a")
        sim.wait_until(lambda: sim.states == {"a": "loaded"})
