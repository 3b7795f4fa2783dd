"""Turns that load a model by themselves, and who is told of it: over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2 as httpx
import pytest

import pretend
from gateway.conftest import Raw, Start
from gateway.own.lab import Lab, lab_host
from gateway.own.test_feed import listening, until
from gateway.own.test_manage import wait_until
from gateway.serving import acme
from modelbay.errors import BackendError
from modelbay.models.capabilities import Facts
from modelbay.models.catalog import DiscoveredModel, ModelState
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, Status, StreamEvent, TextDelta
from modelbay.models.media import EmbedRequest, EmbedResult


class Loader(Lab):
    """Its server loads a model as soon as it is asked, and tells nobody.

    Attributes:
        hold: An answer that has begun waits here; open at the start.
        failure: Raised instead of an answer; the model has failed then.
    """

    def __init__(self, **models: ModelState) -> None:
        super().__init__(**models)
        self.hold = asyncio.Event()
        self.hold.set()
        self.failure: Exception | None = None
        self.is_stuck = False  # it does not list its models any more

    async def _discover(self) -> list[DiscoveredModel]:
        found = await super()._discover()
        if self.is_stuck:
            await asyncio.Event().wait()
        return found

    async def reply(self, request: ChatRequest) -> AsyncIterator[StreamEvent]:
        name = str(request.model).partition("/")[2]
        yield Status("loading")
        if self.failure is not None:
            self.models[name] = "failed"
            raise self.failure
        if self.models[name] != "unknown":
            self.models[name] = "loaded"
        yield TextDelta("hello")
        await self.hold.wait()
        yield Finish("stop")


@pytest.fixture
def loader() -> Loader:
    return Loader(hot="loaded", hosted="unknown")


def ask(client: httpx.Client, model: str, *, stream: bool = True) -> int:
    body: dict[str, Any] = {"model": f"desk/{model}", "stream": stream}
    body["messages"] = [{"role": "user", "content": "hi"}]
    return client.post("/v1/chat/completions", json=body).status_code


@pytest.mark.parametrize("stream", [True, False])
def test_a_model_that_a_turn_has_loaded_is_told_while_it_still_answers_and_looked_at_once(
    start: Start, raw: Raw, loader: Loader, stream: bool
) -> None:
    served = start(lab_host(loader, reply=loader.reply))
    client = raw(served)
    client.get("/api/models")
    before = loader.looks

    with listening(raw(served)) as found, ThreadPoolExecutor(1) as pool:
        wait_until(lambda: bool(loader._news))
        loader.hold.clear()
        turn = pool.submit(ask, client, "a", stream=stream)
        told = until(found, id="desk/a")[-1]
        assert (told["type"], told["state"], turn.done()) == ("changed", "loaded", False)
        served.loop.call_soon_threadsafe(loader.hold.set)
        assert turn.result(30) == 200

        assert ask(client, "b") == 200  # what is told of it comes after all of the first
        assert until(found, id="desk/b")[-1]["state"] == "loaded"
    assert loader.looks == before + 2


@pytest.mark.parametrize("model", ["hot", "hosted"])
def test_a_model_that_is_loaded_or_has_no_state_is_not_looked_at_after_its_turns(
    start: Start, raw: Raw, loader: Loader, model: str
) -> None:
    served = start(lab_host(loader, reply=loader.reply))
    client = raw(served)
    client.get("/api/models")
    before = loader.looks

    with listening(raw(served)) as found:
        wait_until(lambda: bool(loader._news))
        assert [ask(client, model) for _ in range(3)] == [200] * 3
        assert ask(client, "a") == 200
        until(found, id="desk/a", state="loaded")
    assert loader.looks == before + 1


def test_turns_that_began_together_look_once_if_the_first_look_found_the_model_loaded(
    start: Start, raw: Raw, loader: Loader
) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    begun: list[int] = []

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        gate = gates[len(begun)]
        begun.append(1)
        await gate.wait()
        async for event in loader.reply(request):
            yield event

    served = start(lab_host(loader, reply=reply))
    client = raw(served)
    client.get("/api/models")
    before = loader.looks

    with listening(raw(served)) as found, ThreadPoolExecutor(2) as pool:
        wait_until(lambda: bool(loader._news))
        turns = [pool.submit(ask, raw(served), "a") for _ in gates]
        wait_until(lambda: len(begun) == 2)
        served.loop.call_soon_threadsafe(gates[0].set)
        until(found, id="desk/a", state="loaded")
        served.loop.call_soon_threadsafe(gates[1].set)
        assert [turn.result(30) for turn in turns] == [200, 200]
        gates.append(gates[0])
        assert ask(client, "b") == 200
        until(found, id="desk/b", state="loaded")
    assert loader.looks == before + 2


def test_a_model_that_could_not_be_loaded_is_told(start: Start, raw: Raw, loader: Loader) -> None:
    loader.failure = BackendError("the file is damaged")
    served = start(lab_host(loader, reply=loader.reply))
    client = raw(served)
    client.get("/api/models")

    with listening(raw(served)) as found:
        wait_until(lambda: bool(loader._news))
        assert ask(client, "a", stream=False) == 502
        assert until(found, id="desk/a")[-1]["state"] == "failed"


def test_without_a_listener_the_next_list_is_what_looks(
    start: Start, raw: Raw, loader: Loader
) -> None:
    served = start(lab_host(loader, reply=loader.reply))
    client = raw(served)
    client.get("/api/models")
    before = loader.looks

    def state() -> str:
        models = client.get("/api/models").json()["providers"][0]["models"]
        return next(str(each["state"]) for each in models if each["id"] == "desk/a")

    assert ask(client, "a") == 200
    assert loader.looks == before
    wait_until(lambda: state() == "loaded")
    assert loader.looks == before + 1


def test_a_listener_that_comes_later_finds_it_loaded(
    start: Start, raw: Raw, loader: Loader
) -> None:
    served = start(lab_host(loader, reply=loader.reply))
    client = raw(served)
    client.get("/api/models")
    assert ask(client, "a") == 200

    with listening(raw(served)) as found:
        assert until(found, id="desk/a")[-1]["state"] == "loaded"


def test_a_gateway_that_stops_does_not_wait_for_such_a_look(
    start: Start, raw: Raw, loader: Loader
) -> None:
    """That it leaves nothing behind is looked at wherever a gateway is stopped."""
    served = start(lab_host(loader, reply=loader.reply))
    client = raw(served)
    client.get("/api/models")
    before = loader.looks

    with listening(raw(served)):
        wait_until(lambda: bool(loader._news))
        loader.is_stuck = True
        assert ask(client, "a") == 200
        wait_until(lambda: loader.looks == before + 1)


def test_vectors_load_a_model_too(start: Start, raw: Raw) -> None:
    states: dict[str, ModelState] = {"e": "unloaded"}

    async def discover_models() -> list[DiscoveredModel]:
        facts = Facts(embeddings=True)
        return [DiscoveredModel(wire_id=k, state=now, facts=facts) for k, now in states.items()]

    async def embed(request: EmbedRequest) -> EmbedResult:
        states["e"] = "loaded"
        return EmbedResult(vectors=[[1.0] for _ in request.input])

    hooks: dict[str, Any] = {"discover_models": discover_models, "embed": embed}
    served = start(pretend.host([pretend.config()], acme=acme(**hooks)))
    client = raw(served)
    client.get("/api/models")

    with listening(raw(served)) as found:
        assert next(found)["type"] == "ready"
        wait_until(lambda: served.bay.host.registry.listener is not None)
        body = {"model": "desk/e", "input": "hi"}
        assert client.post("/v1/embeddings", json=body).status_code == 200
        assert until(found, id="desk/e")[-1]["state"] == "loaded"
