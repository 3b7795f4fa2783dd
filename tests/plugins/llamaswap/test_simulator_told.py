"""What the simulated llama-swap tells about itself: events, logs, activity, captures, machine."""

import base64
import json
import math
from dataclasses import replace
from typing import Any

import httpx2 as httpx
import pytest

from modelbay_llamaswap.simulator import (
    Capabilities,
    Dialect,
    LlamaSwapSimulator,
    Profile,
    SimulatedModel,
)
from modelbay_llamaswap.simulator.logs import Log
from plugins.llamaswap.simulated import A, Asked, B, by_hand, chat, serving

# events


def _events(response: httpx.Response) -> list[tuple[str, Any]]:
    found = []
    for block in response.text.split("\n\n"):
        if block:
            name, _, data = block.partition("\n")
            assert name == "event:message"
            frame = json.loads(data.removeprefix("data:"))
            found.append((frame["type"], json.loads(frame["data"])))
    return found


def _listening(sim: LlamaSwapSimulator, http: httpx.Client) -> Asked:
    events = Asked(lambda: http.get("/api/events"))
    sim.wait_until(lambda: sim.listeners == 1)
    return events


OPENINGS = {
    "v160": ["logData", "logData", "modelStatus", "metrics"],
    "v185": ["logData", "logData", "modelStatus", "metrics"],
    "v217": ["logData", "logData", "modelStatus", "metrics", "inflight"],
    "v250": ["logData", "logData", "modelStatus", "uiConfig", "profileChanged", "inflight"],
}


@pytest.mark.parametrize("dialect", ["v160", "v185", "v217", "v250"])
def test_a_listener_is_told_first_what_the_version_tells(dialect: Dialect) -> None:
    with serving([A], dialect) as (sim, http):
        events = _listening(sim, http)
        sim.reload()

        assert [kind for kind, _ in _events(events.answer())] == OPENINGS[dialect]


def test_states_of_a_swap_are_told_in_order() -> None:
    with serving([A, B], info_lines=False) as (sim, http):
        events = _listening(sim, http)
        chat(http, "a")
        chat(http, "b")
        sim.reload()
        told = [data for kind, data in _events(events.answer()) if kind == "modelStatus"]

    states = [tuple(model["state"] for model in models) for models in told]
    assert states[:7] == [
        ("stopped", "stopped"),
        ("starting", "stopped"),
        ("ready", "stopped"),
        ("stopping", "stopped"),
        ("stopped", "stopped"),
        ("stopped", "starting"),
        ("stopped", "ready"),
    ]


@pytest.mark.parametrize(
    ("dialect", "wanted"),
    [
        ("v217", [{"total": 0}, {"total": 1}, {"total": 1}, {"total": 0}]),
        (
            "v250",
            [
                {"operation": "snapshot"},
                {"operation": "upsert"},
                {"operation": "upsert"},
                {"operation": "remove"},
            ],
        ),
    ],
)
def test_requests_in_flight_are_told_as_the_version_does(
    dialect: Dialect, wanted: list[dict[str, object]]
) -> None:
    with by_hand([A], dialect) as (sim, http):
        events = _listening(sim, http)
        request = Asked(lambda: chat(http))
        sim.wait_until(lambda: sim.states == {"a": "starting"})
        sim.advance(0.25)
        request.answer()
        sim.wait_until(lambda: sim.inflight == [])
        sim.reload()
        told = [data for kind, data in _events(events.answer()) if kind == "inflight"]

    kept = [{k: v for k, v in data.items() if k in ("total", "operation")} for data in told]
    assert kept[:4] == wanted


@pytest.mark.parametrize(("dialect", "kind"), [("v217", "metrics"), ("v250", "activity")])
def test_a_row_of_activity_is_told(dialect: Dialect, kind: str) -> None:
    with serving([A], dialect) as (sim, http):
        events = _listening(sim, http)
        chat(http)
        sim.wait_until(lambda: sim.inflight == [])
        sim.reload()
        told = [data for name, data in _events(events.answer()) if name == kind]

    assert told[-1] == {"id": 1} if kind == "activity" else told[-1][0]["id"] == 0


def test_streams_of_events_can_be_ended_alone() -> None:
    with serving([A]) as (sim, http):
        chat(http)
        events = _listening(sim, http)
        sim.close_events()
        events.answer()
        sim.wait_until(lambda: sim.listeners == 0)

        assert sim.states == {"a": "ready"}


# logs


def test_the_combined_log_has_no_lines_of_children_unless_told() -> None:
    found = {}
    for source in ("proxy", "upstream", "both", "none"):
        with serving([A], log_to_stdout=source) as (_, http):
            chat(http)
            text = http.get("/logs").text
        found[source] = ("[INFO]" in text, "load_model" in text)

    assert found == {
        "proxy": (True, False),
        "upstream": (False, True),
        "both": (True, True),
        "none": (False, False),
    }


@pytest.mark.parametrize("path", ["a", "upstream", "x"])
def test_a_models_log_can_be_followed(path: str) -> None:
    with serving([replace(A, aliases=("x",))]) as (sim, http):
        chat(http)
        with http.stream("GET", f"/logs/stream/{path}") as response:
            text = next(response.iter_text())
            assert response.headers["content-type"] == "text/plain"
        sim.wait_until(lambda: sim.open_streams == 0)

    assert "I srv    load_model: loading model 'models/a.gguf'" in text


def test_without_history_not_even_the_head_comes_before_a_line() -> None:
    with serving() as (sim, http):
        chat(http)
        follow = Asked(lambda: http.get("/logs/stream/a?no-history", timeout=0.1))
        assert follow.ended(5)
        with pytest.raises(AssertionError):
            follow.answer()
        assert sim.streams_opened == 0


def test_a_log_keeps_its_last_hundred_kibibytes() -> None:
    log = Log()
    for number in range(20_000):
        log.write(f"line {number}\n")

    assert len(log.history) == 100 * 1024
    assert log.history.endswith("line 19999\n")


def test_a_slow_follower_is_told_how_much_was_dropped() -> None:
    log = Log()
    follower = log.follow()
    log.write("x" * 100 * 1024)
    log.write("lost")
    log.write("lost")

    assert follower.take() == "x" * 100 * 1024 + "\u2014 8 bytes dropped \u2014\n"
    log.write("on")
    assert follower.take() == "on"


# activity


def _activity(http: httpx.Client, query: str = "") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = http.get(f"/api/metrics/activity?{query}").json()["data"]
    return rows


def test_rows_come_newest_first_and_can_be_chosen() -> None:
    with serving([A, B]) as (_, http):
        for model in ("a", "b", "a", "a"):
            chat(http, model)

        def ids(query: str = "") -> list[int]:
            return [row["id"] for row in _activity(http, query)]

        assert ids() == [4, 3, 2, 1]
        assert ids("order=asc&limit=3") == [1, 2, 3]
        assert ids("model=b") == [2]
        assert ids("model=a&model=b&limit=2&page=2") == [2, 1]
        assert ids("sort=model&order=asc") == [1, 3, 4, 2]
        assert ids("min_id=2&max_id=3") == [3, 2]
        assert ids("start=2000-01-01T00:00:00Z&end=2000-01-02T00:00:00Z") == []
        bad = ("limit=0", "limit=1000", "page=0", "sort=x", "order=x", "start=x")
        statuses = [http.get(f"/api/metrics/activity?{query}").status_code for query in bad]
        assert statuses == [400] * len(bad)


def test_a_cut_stream_leaves_a_row_of_zeros() -> None:
    with serving([replace(A, die_after=1)]) as (_, http):
        chat(http, stream=True)
        (row,) = _activity(http)

    assert (row["resp_status_code"], set(row["tokens"].values())) == (200, {0})


def test_the_time_of_a_row_includes_the_load() -> None:
    with by_hand([SimulatedModel("a", load_s=3)]) as (sim, http):
        request = Asked(lambda: chat(http))
        sim.wait_until(lambda: sim.states == {"a": "starting"})
        sim.advance(5)
        request.answer()

        assert _activity(http)[0]["duration_ms"] == 3250


@pytest.mark.parametrize("dialect", ["v185", "v217"])
def test_old_metrics_are_a_list_with_ids_from_zero(dialect: Dialect) -> None:
    with serving([A], dialect) as (_, http):
        chat(http)
        (row,) = http.get("/api/metrics").json()

    nested = dialect == "v217"
    assert row["id"] == 0
    assert ("tokens" in row, "output_tokens" in row) == (nested, not nested)


def test_captures_are_bounded_and_hide_keys() -> None:
    with serving([A], capture_bytes=1500) as (_, http):
        http.headers["Authorization"] = "Bearer secret"
        for _number in range(3):
            chat(http)
        statuses = [http.get(f"/api/captures/{key}").status_code for key in (1, 2, 3)]
        kept = http.get("/api/captures/3").json()

    assert statuses == [404, 200, 200]
    assert kept["req_headers"]["Authorization"] == "[REDACTED]"
    assert json.loads(base64.b64decode(kept["req_body"]))["model"] == "a"
    assert json.loads(base64.b64decode(kept["resp_body"]))["object"] == "chat.completion"


def test_without_a_buffer_nothing_is_captured() -> None:
    with serving([A], capture_bytes=0) as (_, http):
        chat(http)

        assert _activity(http)[0]["has_capture"] is False
        assert http.get("/api/captures/1").status_code == 404


def test_pictures_and_failures_are_captured_without_their_body() -> None:
    models = [SimulatedModel("p", role="image"), SimulatedModel("x", fail="exit")]
    with serving(models) as (_, http):
        http.post("/v1/images/generations", json={"model": "p", "prompt": "dot"})
        chat(http, "x")
        bodies = [http.get(f"/api/captures/{key}").json()["resp_body"] for key in (1, 2)]

    assert bodies == [None, None]


# machine


def test_samples_come_every_five_seconds() -> None:
    with by_hand(gpu=True) as (sim, http):
        counts = []
        for _ in range(3):
            answer = http.get("/api/performance").json()
            counts.append((len(answer["sys_stats"]), len(answer["gpu_stats"])))
            sim.advance(5)
        last = answer["sys_stats"][0]["timestamp"]
        later = http.get("/api/performance", params={"after": last}).json()

    assert counts == [(0, 0), (1, 1), (2, 2)]
    assert len(later["sys_stats"]) == 2


def test_without_tools_there_is_no_graphics_card() -> None:
    with by_hand() as (sim, http):
        sim.advance(5)

        assert http.get("/api/performance").json()["gpu_stats"] is None
        assert http.get("/api/performance?after=x").status_code == 400
        assert http.get("/api/hardware").json()["accelerators"] == []
        assert "llamaswap_memory_total_bytes 3" in http.get("/metrics").text


def test_what_is_switched_off_is_503() -> None:
    with serving(performance=False, hardware=False) as (_, http):
        answers = [http.get(path) for path in ("/api/performance", "/metrics", "/api/hardware")]

    assert [answer.status_code for answer in answers] == [503, 503, 503]
    assert answers[0].json() == {"enabled": False}


def test_the_active_profile_is_lost_on_reload() -> None:
    with serving([A], profiles=[Profile("p", {"x": "a", "off": None})]) as (sim, http):
        http.put("/api/profiles/active", json={"name": "p"})
        before = http.get("/api/profiles").json()
        sim.reload()

        pins = {"x": "a", "off": ""}
        assert before == {
            "active": "p",
            "profiles": [{"id": "p", "description": "", "pins": pins}],
        }
        assert http.get("/api/profiles").json()["active"] is None


def test_the_inventory_has_what_the_list_hides() -> None:
    hidden = replace(A, unlisted=True, capabilities=Capabilities(context=8), load_s=math.inf)
    with serving([hidden]) as (sim, http):
        events = _listening(sim, http)
        sim.reload()
        told = [data for kind, data in _events(events.answer()) if kind == "modelStatus"]

        assert http.get("/v1/models").json()["data"] == []
        assert told[0] == [
            {
                "id": "a",
                "name": "",
                "description": "",
                "state": "stopped",
                "unlisted": True,
                "peerID": "",
                "context_length": 8,
            }
        ]
