"""Which models of the simulated llama-swap run together, who waits, and in what order."""

from collections.abc import Mapping
from dataclasses import replace

import httpx2 as httpx
import pytest

from modelbay_llamaswap.simulator import Dialect, Group, LlamaSwapSimulator, SimulatedModel
from plugins.llamaswap.simulated import A, Asked, B, C, asking, by_hand, chat, said, serving

HELD = [replace(model, hold_after=0) for model in (A, B, C)]


def _busy(sim: LlamaSwapSimulator, http: httpx.Client, model: str = "a") -> Asked:
    """A request that is being worked on until `release_held`."""
    holding = sim.holding
    request = asking(http, model)
    sim.wait_until(lambda: sim.holding == holding + 1)
    return request


def _queue(sim: LlamaSwapSimulator, http: httpx.Client, *models: str) -> list[Asked]:
    """Requests that have come one after the other."""
    return [_queued(sim, http, model) for model in models]


def _queued(sim: LlamaSwapSimulator, http: httpx.Client, model: str) -> Asked:
    before = sim.waiting
    request = asking(http, model)
    sim.wait_until(lambda: sim.waiting == before + 1)
    return request


def _let_all_go(sim: LlamaSwapSimulator, *requests: Asked) -> None:
    while not all(request.ended(0.01) for request in requests):
        sim.release_held()


# queue


def test_a_swap_waits_for_a_running_request_and_does_not_cut_it() -> None:
    with serving(HELD) as (sim, http):
        running = _busy(sim, http)
        (waiting,) = _queue(sim, http, "b")
        assert sim.states == {"a": "ready", "b": "stopped", "c": "stopped"}
        _let_all_go(sim, running, waiting)

        assert (said(running.answer()), said(waiting.answer())) == ("I am a.", "I am b.")
        assert sim.states == {"a": "stopped", "b": "ready", "c": "stopped"}


def test_who_waits_for_the_same_model_is_served_by_one_load() -> None:
    """Arrivals A B C A B C run as A A B B C C."""
    with serving(HELD) as (sim, http):
        requests = [_busy(sim, http), *_queue(sim, http, "b", "c")]
        requests.append(_busy(sim, http))  # A is ready: this one overtakes
        requests += _queue(sim, http, "b", "c")
        _let_all_go(sim, *requests)

        order = [forwarded.to for forwarded in sim.forwarded]
        assert (order, sim.starts) == (["a", "a", "b", "b", "c", "c"], {"a": 1, "b": 1, "c": 1})


def test_up_to_v217_the_order_of_arrival_is_kept() -> None:
    with serving(HELD, "v217") as (sim, http):
        requests = [_busy(sim, http), *_queue(sim, http, "b", "a", "b")]
        _let_all_go(sim, *requests)

        assert [forwarded.to for forwarded in sim.forwarded] == ["a", "b", "a", "b"]
        assert sim.starts == {"a": 2, "b": 2}


def test_up_to_v217_the_request_that_caused_a_swap_keeps_others_out() -> None:
    with serving(HELD, "v217") as (sim, http):
        first = _busy(sim, http)
        (second,) = _queue(sim, http, "a")
        assert (sim.waiting, sim.active) == (1, {"a": 1})
        _let_all_go(sim, first, second)


def test_requests_for_a_ready_model_overtake_the_queue() -> None:
    """So steady traffic starves whoever waits for another model."""
    with serving(HELD) as (sim, http):
        running = [_busy(sim, http)]
        (starved,) = _queue(sim, http, "b")
        running += [_busy(sim, http) for _ in range(3)]
        assert (sim.active, sim.waiting, starved.pending) == ({"a": 4}, 1, True)
        _let_all_go(sim, *running, starved)

        assert [forwarded.to for forwarded in sim.forwarded] == ["a", "a", "a", "a", "b"]


def test_a_higher_priority_goes_first() -> None:
    models = [HELD[0], HELD[1], replace(HELD[2], priority=5)]
    with serving(models) as (sim, http):
        requests = [_busy(sim, http), *_queue(sim, http, "b", "c")]
        _let_all_go(sim, *requests)

        assert [forwarded.to for forwarded in sim.forwarded] == ["a", "c", "b"]


def test_who_leaves_the_queue_is_out_of_it() -> None:
    with serving(HELD) as (sim, http):
        running = _busy(sim, http)
        with pytest.raises(httpx.TimeoutException):
            http.get("/upstream/b/health", timeout=0.05)
        sim.wait_until(lambda: sim.waiting == 0)
        _let_all_go(sim, running)

        assert sim.starts == {"a": 1}


def test_a_request_for_a_model_that_is_being_stopped_starts_it_again() -> None:
    with by_hand([replace(A, stop_s=5)]) as (sim, http):
        first = asking(http)
        sim.wait_until(lambda: sim.states == {"a": "starting"})
        sim.advance(0.25)
        first.answer()
        unload = Asked(lambda: http.post("/api/models/unload/a"))
        sim.wait_until(lambda: sim.states == {"a": "stopping"})
        (again,) = _queue(sim, http, "a")
        sim.advance(5)
        sim.advance(0.25)

        assert (unload.answer().status_code, said(again.answer())) == (200, "I am a.")
        assert sim.starts == {"a": 2}


# limit


def _sent(sim: LlamaSwapSimulator, http: httpx.Client) -> Asked:
    before = len(sim.requests)
    request = asking(http)
    sim.wait_until(lambda: len(sim.requests) == before + 1)
    return request


@pytest.mark.parametrize("dialect", ["v185", "v250", "head"])
def test_twelve_at_once_for_a_cold_model_are_ten_answers_and_two_refusals(
    dialect: Dialect,
) -> None:
    with serving([replace(A, load_s=float("inf"))], dialect) as (sim, http):
        requests = [_sent(sim, http) for _ in range(12)]
        assert [request.answer().status_code for request in requests[10:]] == [429, 429]
        sim.finish_load("a")

        assert [request.answer().status_code for request in requests[:10]] == [200] * 10


def test_passthrough_counts_in_the_limit() -> None:
    with serving([replace(A, limit=1, hold_after=0)]) as (sim, http):
        running = _busy(sim, http)
        assert http.get("/upstream/a/health").status_code == 429
        _let_all_go(sim, running)

        assert http.get("/upstream/a/health").status_code == 200


# groups


@pytest.mark.parametrize(
    ("groups", "first", "second", "left"),
    [
        ({}, "a", "b", {"b"}),
        ({"g": Group(("a", "b"), swap=False)}, "a", "b", {"a", "b"}),
        ({"g": Group(("a",)), "h": Group(("b",))}, "a", "b", {"b"}),
        ({"g": Group(("a",), persistent=True), "h": Group(("b",))}, "a", "b", {"a", "b"}),
        ({"g": Group(("a",)), "h": Group(("b",), exclusive=False)}, "a", "b", {"a", "b"}),
        ({"g": Group(("a",)), "h": Group(("b",), exclusive=False)}, "b", "a", {"a"}),
        ({"g": Group(("a", "b"), exclusive=False)}, "c", "a", {"a", "c"}),
    ],
)
def test_a_start_stops_what_its_group_says(
    groups: Mapping[str, Group], first: str, second: str, left: set[str]
) -> None:
    with serving([A, B, C], groups=groups) as (sim, http):
        chat(http, first)
        chat(http, second)

        assert {name for name, state in sim.states.items() if state == "ready"} == left


def test_two_that_may_run_together_load_at_the_same_time() -> None:
    with by_hand([A, B], groups={"g": Group(("a", "b"), swap=False)}) as (sim, http):
        both = [asking(http, "a"), asking(http, "b")]
        sim.wait_until(lambda: sim.states == {"a": "starting", "b": "starting"})
        sim.advance(0.25)

        assert [said(one.answer()) for one in both] == ["I am a.", "I am b."]


# cancel


def test_a_waiting_request_that_is_cancelled_is_an_empty_200() -> None:
    with serving([SimulatedModel("a", load_s=float("inf"))]) as (sim, http):
        waiting = asking(http)
        sim.wait_until(lambda: sim.inflight == ["1"])
        assert http.post("/api/inflight/1/cancel").json() == {"msg": "ok"}
        answer = waiting.answer()

        assert (answer.status_code, answer.content) == (200, b"")
        assert "content-type" not in answer.headers
        sim.wait_until(lambda: sim.inflight == [])
        assert sim.states == {"a": "starting"}


def test_a_stream_that_is_cancelled_ends_like_a_whole_one() -> None:
    with serving([replace(A, hold_after=1)]) as (sim, http):
        stream = asking(http, stream=True)
        sim.wait_until(lambda: sim.holding == 1)
        http.post("/api/inflight/1/cancel")
        answer = stream.answer()

        assert (answer.status_code, "[DONE]" in answer.text) == (200, False)
        sim.wait_until(lambda: sim.active == {})
