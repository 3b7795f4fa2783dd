"""Mirrors modelbay_gateway/own/feed.py, over real sockets."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2 as httpx

import modelbay_llamacpp.plugin
import pretend
from gateway.conftest import Raw, Start
from gateway.own.lab import Lab, events, lab_host, posted
from gateway.own.test_manage import MANAGE, wait_until
from gateway.serving import Served
from modelbay.host.watching import WAITING_LIMIT
from modelbay.models.catalog import CatalogChange
from modelbay.state import open_store
from modelbay_gateway.limits import Limits
from modelbay_llamacpp.simulator import LlamaCppSimulator, SimulatedModel

EVENTS = "/api/events"
LOAD = {"action": "load", "model": "a"}


@contextmanager
def listening(client: httpx.Client) -> Iterator[Iterator[dict[str, Any]]]:
    with client.stream("GET", EVENTS) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        yield events(answer)


def until(found: Iterator[dict[str, Any]], **wanted: object) -> list[dict[str, Any]]:
    """Everything up to the first event that has these values."""
    seen = []
    for event in found:
        seen.append(event)
        if wanted.items() <= event.items():
            return seen
    raise AssertionError(seen)


def states(found: list[dict[str, Any]], id: str) -> list[str]:
    return [event["state"] for event in found if event.get("id") == id]


def test_it_says_at_once_that_it_listens(start: Start, raw: Raw) -> None:
    served = start(lab_host(Lab()))
    client = raw(served)
    client.get("/api/models")

    with listening(client) as found:
        assert next(found) == {"type": "ready", "generation": served.bay.host.catalog.generation}


def test_two_clients_see_a_model_being_loaded(start: Start, raw: Raw) -> None:
    lab = Lab()
    served = start(lab_host(lab))
    client = raw(served)
    client.get("/api/models")
    lab.gate.clear()

    with (
        listening(raw(served)) as first,
        listening(raw(served)) as second,
        ThreadPoolExecutor(1) as pool,
    ):
        assert [next(found)["type"] for found in (first, second)] == ["ready", "ready"]
        wait_until(lambda: len(lab._news) == 1)  # however many listen, one looks
        action = pool.submit(posted, client, MANAGE, LOAD)
        seen = [until(found, id="desk/a", state="loading") for found in (first, second)]
        served.loop.call_soon_threadsafe(lab.gate.set)
        seen += [until(found, id="desk/a", state="loaded") for found in (first, second)]
        assert action.result(30)[-1]["type"] == "done"

    assert [states(each, "desk/a") for each in seen] == [["loading"]] * 2 + [["loaded"]] * 2
    assert seen[0][-1] == {
        "type": "changed",
        "provider_id": "desk",
        "id": "desk/a",
        "state": "loading",
        "status": None,
    }


def test_listeners_share_the_looks_and_the_last_one_ends_them(start: Start, raw: Raw) -> None:
    lab = Lab()
    served = start(lab_host(lab))
    raw(served).get("/api/models")
    looks = lab.looks

    with listening(raw(served)) as first, listening(raw(served)) as second:
        assert [next(found)["type"] for found in (first, second)] == ["ready", "ready"]
        wait_until(lambda: bool(lab._news))
        lab.models["c"] = "unloaded"
        served.loop.call_soon_threadsafe(lab.news)
        for found in (first, second):
            assert until(found, type="added")[-1]["id"] == "desk/c"
        assert lab.looks == looks + 1

    wait_until(lambda: not lab._news)


def test_a_listener_that_is_too_slow_is_told_that_it_lost_something(start: Start, raw: Raw) -> None:
    served = start(lab_host(Lab()))
    raw(served).get("/api/models")

    with listening(raw(served)) as found:
        assert next(found)["type"] == "ready"
        wait_until(lambda: bool(served.bay.host._watching._watchers))
        change = CatalogChange(type="changed", provider_id="desk", id="desk/a", state="loaded")
        flood = [change] * (WAITING_LIMIT + 5)
        served.loop.call_soon_threadsafe(served.bay.host._watching._tell, flood)

        assert next(found) == {
            "type": "lost",
            "provider_id": "",
            "id": None,
            "state": None,
            "status": None,
        }


def test_while_nothing_changes_there_are_heartbeats(start: Start, raw: Raw) -> None:
    served = start(lab_host(Lab()), limits=Limits(heartbeat_s=0.02))

    with raw(served).stream("GET", EVENTS) as answer:
        beats = (line for line in answer.iter_lines() if line == ": keep-alive")
        assert [next(beats) for _ in range(3)] == [": keep-alive"] * 3


def test_asked_for_the_head_alone_it_ends(start: Start, raw: Raw) -> None:
    answer = raw(start(lab_host(Lab()))).head(EVENTS)

    assert (answer.status_code, answer.content) == (200, b"")


def test_a_gateway_that_stops_ends_it_at_once(start: Start, raw: Raw) -> None:
    served = start(lab_host(Lab()), limits=Limits(drain_s=300.0))

    with listening(raw(served)) as found:
        next(found)
        served.loop.call_soon_threadsafe(setattr, served.server, "should_exit", True)
        last = list(found)[-1]

    assert (last["type"], last["error"]["code"]) == ("error", "backend_busy")
    assert last["error"]["message"] == "the gateway is shutting down"


def _routed(start: Start, simulator: LlamaCppSimulator) -> Served:
    config = pretend.config(kind="llamacpp", baseUrl=simulator.base_url)
    return start(pretend.host([config], llamacpp=modelbay_llamacpp.plugin))


def test_two_clients_see_a_simulated_router_load_a_model(start: Start, raw: Raw) -> None:
    model = SimulatedModel("one", load_s=math.inf)
    with LlamaCppSimulator([model], "router") as simulator:
        served = _routed(start, simulator)
        client = raw(served)
        client.get("/api/models")
        with (
            listening(raw(served)) as first,
            listening(raw(served)) as second,
            ThreadPoolExecutor(1) as pool,
        ):
            assert [next(found)["type"] for found in (first, second)] == ["ready", "ready"]
            load = {"action": "load", "model": "one"}
            action = pool.submit(posted, client, MANAGE, load)
            seen = [until(found, id="desk/one", state="loading") for found in (first, second)]
            simulator.finish_load("one")
            seen += [until(found, id="desk/one", state="loaded") for found in (first, second)]
            assert action.result(30)[-1]["type"] == "done"

    assert [states(each, "desk/one") for each in seen] == [["loading"]] * 2 + [["loaded"]] * 2


def test_changed_settings_are_told_to_everybody_who_listens(start: Start, raw: Raw) -> None:
    """S0-48: favourites are the same everywhere, at once; beside what the catalogue tells."""
    served = start(lab_host(Lab()), store=open_store(":memory:"))
    client = raw(served)
    client.get("/api/models")

    with listening(raw(served)) as first, listening(raw(served)) as second:
        assert [next(found)["type"] for found in (first, second)] == ["ready", "ready"]
        change = {"change": "add", "model": "desk/b"}
        client.post("/api/settings/favorites", json=change).raise_for_status()
        assert [next(found) for found in (first, second)] == [{"type": "settings"}] * 2
        client.put("/api/settings", json={"theme": "dark"}).raise_for_status()
        assert [next(found) for found in (first, second)] == [{"type": "settings"}] * 2
        posted(client, MANAGE, LOAD)
        assert until(first, id="desk/a", state="loaded")
    wait_until(lambda: not served.bay.settings_changed)
