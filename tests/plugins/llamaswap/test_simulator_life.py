"""How the children of the simulated llama-swap come, work and go; on a clock moved by hand."""

import math

import pytest

from modelbay_llamaswap.simulator import Dialect, Group, SimulatedModel
from plugins.llamaswap.simulated import (
    A,
    Asked,
    B,
    asking,
    by_hand,
    chat,
    frames,
    said,
    serving,
    streamed,
)

TALKER = SimulatedModel("a", answer="one two three four", hold_after=3)

TOGETHER = {"together": Group(("a", "b"), swap=False)}

# start


@pytest.mark.parametrize(
    ("load_s", "ready_s"), [(0.0, 0.25), (0.25, 0.25), (0.3, 1.25), (2.0, 2.25), (2.3, 3.25)]
)
def test_a_child_is_looked_at_after_a_quarter_and_then_each_second(
    load_s: float, ready_s: float
) -> None:
    with by_hand([SimulatedModel("a", load_s=load_s)]) as (sim, http):
        waiting = asking(http)
        sim.wait_until(lambda: sim.states == {"a": "starting"})
        sim.advance(ready_s - 0.01)
        assert (sim.states, waiting.pending) == ({"a": "starting"}, True)
        sim.advance(0.02)

        assert waiting.answer().status_code == 200
        assert sim.states == {"a": "ready"}


def test_everybody_who_waits_for_a_load_is_served_by_it() -> None:
    with by_hand() as (sim, http):
        waiting = [asking(http) for _ in range(4)]
        sim.wait_until(lambda: sim.waiting == 4)
        sim.advance(0.3)

        assert [one.answer().status_code for one in waiting] == [200] * 4
        assert sim.starts == {"a": 1}


@pytest.mark.parametrize(("bound_s", "shown"), [(15.0, "15s"), (120.0, "2m0s"), (90.0, "1m30s")])
def test_a_child_that_never_gets_healthy_is_given_up(bound_s: float, shown: str) -> None:
    models = [SimulatedModel("a", fail="timeout")]
    with by_hand(models, health_check_timeout_s=bound_s) as (sim, http):
        waiting = asking(http)
        sim.wait_until(lambda: sim.states == {"a": "starting"})
        sim.advance(bound_s)
        assert waiting.pending
        sim.advance(1)
        answer = waiting.answer()

    assert answer.status_code == 500
    wanted = f"unspecific error: health check timed out after {shown}"
    assert answer.json()["error"]["message"] == wanted


def test_the_next_request_tries_a_failed_start_again() -> None:
    with serving([SimulatedModel("a", fail="exit")]) as (sim, http):
        assert [chat(http).status_code for _ in range(3)] == [500] * 3
        assert sim.starts == {"a": 3}


def test_a_child_that_refuses_connections_is_an_empty_502() -> None:
    with serving([SimulatedModel("a", fail="502")]) as (sim, http):
        answer = chat(http)

        assert (answer.status_code, answer.content) == (502, b"")
        assert "content-type" not in answer.headers
        assert sim.states == {"a": "ready"}


def test_a_load_goes_on_when_its_client_leaves() -> None:
    with serving([SimulatedModel("a", load_s=math.inf)]) as (sim, http):
        with pytest.raises(Exception, match="timed out"):
            http.get("/upstream/a/health", timeout=0.05)
        sim.wait_until(lambda: sim.waiting == 0)
        assert sim.states == {"a": "starting"}
        sim.finish_load("a")

        sim.wait_until(lambda: sim.states == {"a": "ready"})


# time to live


def test_an_idle_model_is_unloaded_after_its_ttl_from_the_end_of_the_last_request() -> None:
    with by_hand([SimulatedModel("a", ttl_s=2)]) as (sim, http):
        first = asking(http)
        sim.wait_until(lambda: sim.states == {"a": "starting"})
        sim.advance(0.25)
        first.answer()
        sim.advance(2)
        assert sim.states == {"a": "ready"}  # looked at after 1 and 2 s, when 2 were not over
        sim.advance(1)

        assert sim.states == {"a": "stopped"}


def test_a_load_whose_caller_left_is_unloaded_a_second_after_it_is_ready() -> None:
    with by_hand([SimulatedModel("a", ttl_s=20)]) as (sim, http):
        with pytest.raises(Exception, match="timed out"):
            http.get("/upstream/a/health", timeout=0.05)
        sim.wait_until(lambda: sim.waiting == 0)
        sim.advance(0.25)
        assert sim.states == {"a": "ready"}
        sim.advance(1)

        assert sim.states == {"a": "stopped"}


def test_ttl_never_ends_a_model_that_works() -> None:
    models = [SimulatedModel("a", ttl_s=1, hold_after=0)]
    with by_hand(models) as (sim, http):
        working = asking(http)
        sim.wait_until(lambda: sim.states == {"a": "starting"})
        sim.advance(0.25)
        sim.wait_until(lambda: sim.holding == 1)
        sim.advance(30)
        assert sim.states == {"a": "ready"}
        sim.release_held()

        assert working.answer().status_code == 200


# death


@pytest.mark.parametrize("dialect", ["v185", "v217", "v250", "head"])
def test_a_stream_whose_child_dies_ends_like_a_whole_one(dialect: Dialect) -> None:
    with serving([SimulatedModel("a", answer="one two three", die_after=2)], dialect) as (
        sim,
        http,
    ):
        answer = chat(http, stream=True)

        assert (answer.status_code, streamed(answer)) == (200, "one tw")
        assert "[DONE]" not in answer.text
        assert all(frame["choices"][0]["finish_reason"] is None for frame in frames(answer))
        assert sim.states == {"a": "stopped"}
        assert sim.streams_closed_by_client == 0


def test_a_whole_answer_whose_child_dies_is_an_empty_502() -> None:
    with serving([SimulatedModel("a", die_after=2)]) as (sim, http):
        answer = chat(http)

        assert (answer.status_code, answer.content) == (502, b"")
        assert sim.states == {"a": "stopped"}


def test_a_death_between_requests_is_not_noticed_by_anybody() -> None:
    with serving() as (sim, http):
        chat(http)
        sim.kill("a")
        assert http.get("/running").json() == {"running": []}

        assert said(chat(http)) == "I am a."
        assert sim.starts == {"a": 2}


def test_the_child_stops_working_when_its_client_leaves() -> None:
    endless = SimulatedModel("a", endless=True, token_s=1)
    with serving([endless]) as (sim, http):
        with http.stream(
            "POST", "/v1/chat/completions", json={"model": "a", "stream": True, "messages": []}
        ) as response:
            next(response.iter_bytes())
        sim.wait_until(lambda: sim.active == {})

        assert (sim.open_streams, sim.states) == (0, {"a": "ready"})


# unload


def test_an_unload_cuts_streams_cleanly_and_answers_when_the_child_is_gone() -> None:
    with by_hand([SimulatedModel("a", answer="one two three", hold_after=2, stop_s=3)]) as (
        sim,
        http,
    ):
        stream = asking(http, stream=True)
        sim.wait_until(lambda: sim.states == {"a": "starting"})
        sim.advance(0.25)
        sim.wait_until(lambda: sim.holding == 1)
        unload = Asked(lambda: http.post("/api/models/unload/a"))
        sim.wait_until(lambda: sim.states == {"a": "stopping"})
        sim.advance(2.9)
        assert (unload.pending, stream.pending) == (True, True)
        sim.advance(0.2)

        assert unload.answer().text == "OK"
        assert (streamed(stream.answer()), sim.states) == ("one tw", {"a": "stopped"})


def test_a_busy_child_that_hangs_keeps_an_unload_waiting_until_it_is_killed() -> None:
    model = SimulatedModel("a", hold_after=0, hang_when_busy=True)
    with by_hand([model], unload_timeout_s=10) as (sim, http):
        busy = asking(http)
        sim.wait_until(lambda: sim.states == {"a": "starting"})
        sim.advance(0.25)
        sim.wait_until(lambda: sim.holding == 1)
        unload = Asked(lambda: http.get("/unload"))
        sim.wait_until(lambda: sim.states == {"a": "stopping"})
        sim.advance(9.9)
        assert unload.pending
        sim.advance(0.2)

        assert (unload.answer().text, busy.answer().status_code) == ("OK", 502)


def test_nothing_else_is_routed_while_an_unload_waits() -> None:
    models = [SimulatedModel("a", stop_s=5), B]
    with by_hand(models, groups=TOGETHER) as (sim, http):
        waiting = [asking(http, "a"), asking(http, "b")]
        sim.wait_until(lambda: set(sim.states.values()) == {"starting"})
        sim.advance(0.25)
        assert [one.answer().status_code for one in waiting] == [200, 200]
        unload = Asked(lambda: http.post("/api/models/unload/a"))
        sim.wait_until(lambda: sim.states["a"] == "stopping")
        other = asking(http, "b")
        sim.wait_until(lambda: sim.waiting == 1)
        assert http.get("/running").status_code == http.get("/health").status_code == 200
        assert other.pending
        sim.advance(5)

        assert (said(other.answer()), unload.answer().text) == ("I am b.", "OK")


def test_who_waits_for_an_unloaded_model_is_told_so() -> None:
    with serving([SimulatedModel("a", load_s=math.inf)]) as (sim, http):
        waiting = asking(http)
        sim.wait_until(lambda: sim.states == {"a": "starting"})

        assert http.post("/api/models/unload/a").text == "OK"
        answer = waiting.answer()
        assert answer.status_code == 500
        assert answer.json()["error"]["message"] == "unspecific error: group: model unloaded"
        assert sim.states == {"a": "stopped"}


def test_unloads_one_after_the_other_are_all_successes() -> None:
    with serving([A, B]) as (sim, http):
        chat(http)
        for path in ("/api/models/unload/a", "/api/models/unload/a", "/api/models/unload"):
            assert http.post(path).status_code == 200

        assert sim.states == {"a": "stopped", "b": "stopped"}


def test_models_with_a_short_timeout_are_unloaded_before_the_others() -> None:
    models = [
        SimulatedModel("a", stop_s=9, unload_timeout_s=4),
        SimulatedModel("b", stop_s=9, unload_timeout_s=2),
    ]
    with by_hand(models, groups=TOGETHER) as (sim, http):
        both = [asking(http, "a"), asking(http, "b")]
        sim.wait_until(lambda: set(sim.states.values()) == {"starting"})
        sim.advance(0.25)
        for loading in both:
            loading.answer()
        unload = Asked(lambda: http.post("/api/models/unload"))
        sim.wait_until(lambda: sim.states == {"a": "ready", "b": "stopping"})
        sim.advance(2)
        sim.wait_until(lambda: sim.states == {"a": "stopping", "b": "stopped"})
        sim.advance(4)

        assert unload.answer().json() == {"msg": "ok"}


# reload


def test_a_reload_cuts_streams_ends_events_and_forgets_captures() -> None:
    with serving([TALKER]) as (sim, http):
        events = Asked(lambda: http.get("/api/events"))
        sim.wait_until(lambda: sim.listeners == 1)
        stream = asking(http, stream=True)
        sim.wait_until(lambda: sim.holding == 1)
        sim.reload([B])
        cut = stream.answer()

        assert streamed(cut) == "one two t"
        assert "[DONE]" not in cut.text
        assert events.answer().status_code == 200
        assert [m["id"] for m in http.get("/v1/models").json()["data"]] == ["b"]
        assert http.get("/api/captures/1").status_code == 404


def test_starts_are_counted_over_a_reload() -> None:
    with serving() as (sim, http):
        chat(http)
        sim.reload()
        chat(http)

        assert sim.starts == {"a": 2}
