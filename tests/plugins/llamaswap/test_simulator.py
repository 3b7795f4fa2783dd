"""The simulated llama-swap in each of its versions: routes, keys, errors, lists."""

from typing import Any

import pytest

from modelbay_llamaswap.simulator import (
    Capabilities,
    Dialect,
    LlamaSwapSimulator,
    Peer,
    SimulatedModel,
    demo,
)
from plugins.llamaswap.simulated import DIALECTS, HI, A, B, asking, chat, said, serving

JSON = {"Accept": "application/json"}


def test_discovery_of_a_hundred_models_starts_none_of_them() -> None:
    models = [SimulatedModel(f"model-{number}") for number in range(100)]
    with serving(models) as (sim, http):
        for path in ("/v1/models", "/models", "/running", "/health", "/api/version", "/logs"):
            http.get(path)

        assert len(http.get("/v1/models").json()["data"]) == 100
        assert (sim.starts, set(sim.states.values())) == ({}, {"stopped"})


def test_starts_are_counted_for_each_model() -> None:
    with serving([A, B]) as (sim, http):
        for model in ("a", "a", "b", "a"):
            chat(http, model)

        assert sim.starts == {"a": 2, "b": 1}


def test_two_servers_in_one_process_know_nothing_of_each_other() -> None:
    same = SimulatedModel("a", answer="I am another.")
    with serving([A]) as (first, http), serving([same], "v217") as (second, other):
        assert (said(chat(http)), first.starts, second.starts) == ("I am a.", {"a": 1}, {})
        assert said(chat(other)) == "I am another."
        http.post("/api/models/unload")
        assert (first.states, second.states) == ({"a": "stopped"}, {"a": "ready"})


# versions


@pytest.mark.parametrize(
    ("dialect", "accept", "status", "kind", "body"),
    [
        ("v185", "", 400, "text/plain; charset=utf-8", "could not find {} for x"),
        (
            "v217",
            "application/json",
            400,
            "application/json; charset=utf-8",
            '{{"error":"could not find {} for x"}}',
        ),
        (
            "v250",
            "application/json",
            404,
            "application/json",
            '{{"src":"llama-swap","error":"no router for requested model"}}',
        ),
        (
            "head",
            "application/json",
            404,
            "application/json",
            '{{"src":"llama-swap","error":{{"message":"no router for requested model",'
            '"type":"invalid_request_error","param":null,"code":"not_found"}}}}',
        ),
        ("head", "text/plain", 404, "text/plain", "llama-swap: no router for requested model"),
    ],
)
def test_an_unknown_model_is_refused_in_the_words_of_the_version(
    dialect: Dialect, accept: str, status: int, kind: str, body: str
) -> None:
    with serving([A], dialect) as (_, http):
        response = http.post(
            "/v1/chat/completions", json={"model": "x", "messages": HI}, headers={"Accept": accept}
        )

    wanted = body.format("suitable inference handler")
    assert (response.status_code, response.headers["content-type"]) == (status, kind)
    assert response.text == wanted


@pytest.mark.parametrize(
    ("dialect", "status", "why"),
    [
        ("v185", 502, "unable to start process: upstream command exited prematurely"),
        ("v217", 502, "unable to start process: upstream command exited prematurely"),
        ("v250", 500, "unspecific error: upstream command exited prematurely"),
    ],
)
def test_a_failed_start_has_the_status_of_the_version(
    dialect: Dialect, status: int, why: str
) -> None:
    with serving([SimulatedModel("a", fail="exit")], dialect) as (sim, http):
        response = http.post(
            "/v1/chat/completions", json={"model": "a", "messages": HI}, headers=JSON
        )

        assert (response.status_code, response.json()["error"]) == (status, why)
        assert (sim.states, sim.starts) == ({"a": "stopped"}, {"a": 1})


@pytest.mark.parametrize(
    ("dialect", "after", "body"),
    [
        ("v185", None, "Too many requests\n"),
        ("v217", None, "Too many requests\n"),
        ("v250", "1", '{"error":"Too many requests"}'),
    ],
)
def test_too_many_requests_look_as_in_the_version(
    dialect: Dialect, after: str | None, body: str
) -> None:
    with serving([SimulatedModel("a", limit=1, hold_after=0)], dialect) as (sim, http):
        first = asking(http)
        sim.wait_until(lambda: sim.holding == 1)
        response = chat(http)
        sim.release_held()
        first.answer()

    assert (response.status_code, response.headers.get("retry-after")) == (429, after)
    assert response.text == body


@pytest.mark.parametrize(
    ("dialect", "keys"),
    [
        ("v185", {"model", "state"}),
        ("v217", {"model", "state", "cmd", "proxy", "ttl", "name", "description"}),
        ("head", {"model", "state", "cmd", "proxy", "ttl", "name", "description"}),
    ],
)
def test_running_has_the_keys_of_the_version(dialect: Dialect, keys: set[str]) -> None:
    with serving([A], dialect) as (_, http):
        chat(http)

        assert set(http.get("/running").json()["running"][0]) == keys


@pytest.mark.parametrize(
    ("dialect", "listed"), [("v185", []), ("v217", []), ("v250", ["starting"])]
)
def test_running_shows_a_model_that_starts_since_v218(dialect: Dialect, listed: list[str]) -> None:
    with serving([SimulatedModel("a", load_s=float("inf"))], dialect) as (sim, http):
        waiting = asking(http)
        sim.wait_until(lambda: sim.states == {"a": "starting"})
        running = http.get("/running").json()["running"]
        sim.finish_load("a")
        waiting.answer()

    assert [model["state"] for model in running] == listed


FULL = SimulatedModel(
    "a",
    name=" A ",
    metadata={"family": "q"},
    aliases=("x",),
    capabilities=Capabilities(("text",), ("text",), context=512),
)


@pytest.mark.parametrize(
    ("dialect", "entry"),
    [
        ("v160", {"name": "A"}),
        ("v185", {"name": "A", "meta": {"llamaswap": {"family": "q"}}}),
        (
            "v250",
            {
                "name": "A",
                "architecture": {
                    "input_modalities": ["text"],
                    "modality": "text->text",
                    "output_modalities": ["text"],
                },
                "context_length": 512,
                "meta": {
                    "llamaswap": {"aliases": ["x"], "family": "q", "type": "model"},
                    "n_ctx": 512,
                },
                "status": {"value": "unloaded"},
            },
        ),
    ],
)
def test_the_list_says_what_the_version_knows(dialect: Dialect, entry: dict[str, Any]) -> None:
    with serving([FULL], dialect) as (_, http):
        listed = http.get("/v1/models").json()["data"][0]
    del listed["created"]

    assert listed == {"id": "a", "object": "model", "owned_by": "llama-swap", **entry}


@pytest.mark.parametrize(("dialect", "listed"), [("v217", "m"), ("v250", "lab/m")])
def test_models_of_peers_have_a_prefix_since_v242(dialect: Dialect, listed: str) -> None:
    with serving([], dialect, peers=[Peer("lab", [SimulatedModel("m")])]) as (_, http):
        assert [model["id"] for model in http.get("/v1/models").json()["data"]] == [listed]
        assert chat(http, listed).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "since"),
    [
        ("POST", "/api/models/unload/a", "v185"),
        ("GET", "/api/version", "v185"),
        ("GET", "/api/performance", "v217"),
        ("GET", "/api/profiles", "v250"),
        ("GET", "/api/hardware", "v250"),
        ("GET", "/api/metrics/activity", "v250"),
        ("GET", "/models", "v250"),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_route_is_there_from_its_version_on(
    dialect: Dialect, method: str, path: str, since: Dialect
) -> None:
    with serving([A], dialect) as (_, http):
        response = http.request(method, path)

    there = DIALECTS.index(dialect) >= DIALECTS.index(since)
    assert (response.status_code == 200) is there
    if not there:
        assert response.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("dialect", "version"),
    [("v185", "185"), ("v217", "217"), ("v250", "v250"), ("head", "v250-5-g0bdb372")],
)
def test_the_version_is_written_as_its_release_did(dialect: Dialect, version: str) -> None:
    with serving([A], dialect) as (_, http):
        assert http.get("/api/version").json()["version"] == version


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(ValueError, match="v999"):
        LlamaSwapSimulator([A], "v999")  # type: ignore[arg-type]


# keys


@pytest.mark.parametrize(("dialect", "key"), [("v217", None), ("v250", "Bearer k")])
def test_the_callers_key_reaches_the_child_since_v225(dialect: Dialect, key: str | None) -> None:
    with serving([A], dialect, keys=["k"]) as (sim, http):
        http.headers["Authorization"] = "Bearer k"
        chat(http)

        assert sim.forwarded[0].request.headers.get("authorization") == key


def test_a_peer_with_a_key_of_its_own_never_sees_the_callers() -> None:
    peers = [Peer("lab", [A], key="peer-key"), Peer("den", [B])]
    with serving([], peers=peers, keys=["k"]) as (sim, http):
        http.headers["Authorization"] = "Bearer k"
        chat(http, "lab/a")
        chat(http, "den/b")
        keys = [forwarded.request.headers["authorization"] for forwarded in sim.forwarded]

    assert keys == ["Bearer peer-key", "Bearer k"]


# what tests may do


def test_a_route_of_a_test_takes_the_place_of_the_servers() -> None:
    with serving([A]) as (sim, http):

        @sim.route("GET", "/v1/models")
        async def models(exchange: Any) -> None:
            await exchange.json({"data": "mine"})

        assert http.get("/v1/models").json() == {"data": "mine"}
        assert http.get("/running").json() == {"running": []}


def test_a_second_start_begins_anew() -> None:
    sim = LlamaSwapSimulator([A])
    for _ in range(2):
        with sim:
            assert sim.starts == {}
            sim.wait_until(lambda: sim.states == {"a": "stopped"})


def test_the_demo_lists_its_models_and_loads_none() -> None:
    with demo(0) as sim:
        assert set(sim.states.values()) == {"stopped"}
        assert len(sim.states) == 4
