"""Mirrors modelbay_gateway/loading.py: one beginning of a load for everybody who asks."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx

from gateway.conftest import Raw, Start
from gateway.own.lab import Lab, events, lab_host, posted
from gateway.own.test_manage import MANAGE, wait_until
from modelbay.models.capabilities import Capabilities
from modelbay.models.catalog import ModelInfo, ModelState
from modelbay.refs import ModelRef
from modelbay_gateway.loading import UNSEEN_S, LoadingTimes


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def model(name: str, state: ModelState) -> ModelInfo:
    ref = ModelRef("desk", name)
    return ModelInfo(ref=ref, name=name, kind="acme", capabilities=Capabilities(), state=state)


def loading_s(client: httpx.Client) -> Any:
    (provider,) = client.get("/api/providers").json()["providers"]
    return provider["loading_s"]


def test_it_counts_from_the_first_look_that_saw_it() -> None:
    clock = Clock()
    times = LoadingTimes(clock)
    models = [model("a", "loading"), model("b", "downloading"), model("c", "loaded")]

    assert times.look(models) == {"desk/a": 0.0, "desk/b": 0.0}
    clock.now += 12.5
    assert times.look(models) == {"desk/a": 12.5, "desk/b": 12.5}


def test_a_model_that_has_loaded_begins_anew_the_next_time() -> None:
    clock = Clock()
    times = LoadingTimes(clock)
    times.look([model("a", "loading")])
    clock.now += 5

    assert times.look([model("a", "loaded")]) == {}
    clock.now += 5
    assert times.look([model("a", "loading")]) == {"desk/a": 0.0}


def test_a_change_that_is_heard_of_counts_as_a_look() -> None:
    clock = Clock()
    times = LoadingTimes(clock)
    with times.followed():
        times.hear("desk/a", "loading")
        clock.now += 3
        times.hear("desk/a", "loading")  # by another one who listens, later
        assert times.look([model("a", "loading")]) == {"desk/a": 3.0}
        times.hear("desk/a", None)
        times.hear("desk/a", "loading")
        assert times.look([model("a", "loading")]) == {"desk/a": 0.0}


def test_what_nobody_watched_is_not_taken_for_one_long_load() -> None:
    clock = Clock()
    times = LoadingTimes(clock)
    with times.followed():
        times.look([model("a", "loading")])
        clock.now += 10 * UNSEEN_S
    clock.now += UNSEEN_S  # as long as a page takes to be opened again, and longer
    assert times.look([model("a", "loading")]) == {"desk/a": 11 * UNSEEN_S}

    clock.now += UNSEEN_S + 1
    assert times.look([model("a", "loading")]) == {"desk/a": 0.0}


def test_everybody_who_asks_reads_the_same_beginning(start: Start, raw: Raw) -> None:
    lab = Lab()
    served = start(lab_host(lab))
    clock = Clock()
    served.bay.clock = clock
    client = raw(served)
    assert loading_s(client) == {}
    lab.gate.clear()

    with (
        raw(served).stream("GET", "/api/events") as answer,
        ThreadPoolExecutor(1) as pool,
    ):
        found = events(answer)
        assert next(found)["type"] == "ready"
        wait_until(lambda: bool(lab._news))
        action = pool.submit(posted, client, MANAGE, {"action": "load", "model": "a"})
        while next(found).get("state") != "loading":
            pass
        clock.now += 42.0
        assert [loading_s(raw(served)) for _ in range(2)] == [{"desk/a": 42.0}] * 2
        served.loop.call_soon_threadsafe(lab.gate.set)
        assert action.result(30)[-1]["type"] == "done"
    assert loading_s(client) == {}
