"""What changes the store of the simulated Ollama: pulls, copies, new models, blobs."""

import hashlib
import math
from typing import Any

import httpx2 as httpx
import pytest

from modelbay_ollama.simulator import (
    Knobs,
    Layer,
    OllamaSimulator,
    Pullable,
    SimulatedModel,
)
from plugins.ollama.serving import Lines, chat, error, in_thread, lines, pull, serving

# --- pull -----------------------------------------------------------------------------------------

BIG, SMALL = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def pullable(*layers: Layer, **options: Any) -> list[Pullable]:
    return [Pullable(SimulatedModel("new:7b"), layers, **options)]


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
