"""Mirrors modelbay_gateway/openai/models.py, and which model an id means."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest

import pretend
from gateway.conftest import Raw, Start
from gateway.serving import WAIT_S, acme, desk, media
from modelbay.errors import BackendUnreachableError
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.chat import ChatRequest
from modelbay.models.events import Finish, StreamEvent
from modelbay_gateway.limits import Limits

ODD = ["a/b:c", "hf.co/user/model:q4", "with blank", "50%off", "a%2Fb", "ünï", "@cf/x", "a//b"]


def test_the_list_has_what_clients_need(start: Start, raw: Raw) -> None:
    served = start(desk(media()))

    body = raw(served).get("/v1/models", params={"limit": 1000, "after_id": "x"}).json()

    assert body == {
        "object": "list",
        "data": [
            {
                "id": "desk/m",
                "object": "model",
                "created": served.bay.started_at,
                "owned_by": "desk",
                "name": "m",
                "display_name": "m (desk)",
                "type": "model",
                "state": "unknown",
                "max_output_tokens": 16384,
                "capabilities": {},
            },
            {
                "id": "desk/embed",
                "object": "model",
                "created": served.bay.started_at,
                "owned_by": "desk",
                "name": "embed",
                "display_name": "embed (desk)",
                "type": "model",
                "state": "unknown",
                "max_output_tokens": 16384,
                "capabilities": {"embeddings": True},
            },
        ],
        "first_id": "desk/m",
        "last_id": "desk/embed",
        "has_more": False,
    }


def test_one_client_gets_an_empty_list_of_its_own(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme())))

    assert client.get("/v1/models", params={"client_version": "1.0"}).json()["models"] == []
    assert "models" not in client.get("/v1/models").json()


@pytest.mark.parametrize("safe", ["", "/:@", "/"])
def test_any_id_can_be_retrieved_encoded_or_not_and_is_decoded_once(
    start: Start, raw: Raw, safe: str
) -> None:
    client = raw(start(desk(acme(models=ODD))))

    for wire_id in ODD:
        for asked in (wire_id, f"desk/{wire_id}"):
            answer = client.get(f"/v1/models/{quote(asked, safe=safe)}")

            assert (answer.status_code, answer.json()["id"]) == (200, asked)


def test_a_model_that_is_not_listed_is_not_asked_for(start: Start, raw: Raw) -> None:
    answer = raw(start(desk(acme(models=["qwen3:8b"])))).get("/v1/models/qwen3:9b")

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert error["hint"] == "did you mean desk/qwen3:8b?"


# --- which model an id means ----------------------------------------------------------------------

TWO = [pretend.config("desk"), pretend.config("lab", kind="other")]


def two_providers(asked: list[str]) -> dict[str, Any]:
    async def stream_chat(request: ChatRequest, model: Any) -> AsyncIterator[StreamEvent]:
        asked.append(model.id)
        yield Finish("stop")

    def both(*names: str) -> Any:
        return pretend.plugin(discover_models=pretend.lists(*names), stream_chat=stream_chat)

    return {"acme": both("a", "both"), "other": both("b", "c/d", "both")}


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        ("desk/a", "desk/a"),
        ("lab/b", "lab/b"),
        ("a", "desk/a"),
        ("b", "lab/b"),
        ("c/d", "lab/c/d"),
        ("lab/c/d", "lab/c/d"),
        ("both", "desk/both"),  # a bare id is the default provider's, where that has it (S0-31)
    ],
)
def test_composite_legacy_and_unique_bare_ids(
    start: Start, raw: Raw, asked: str, answers: str
) -> None:
    seen: list[str] = []
    client = raw(start(pretend.host(TWO, **two_providers(seen))))

    body = {"model": asked, "messages": [{"role": "user", "content": "hi"}]}
    answer = client.post("/v1/chat/completions", json=body)

    assert seen == [answers]
    assert answer.json()["model"] == asked
    assert answer.headers["x-modelbay-model"] == answers


def test_a_bare_id_of_several_models_is_refused_with_their_names(start: Start, raw: Raw) -> None:
    providers = [*TWO, pretend.config("shed", kind="other")]
    client = raw(start(pretend.host(providers, **two_providers([]))))

    answer = client.get("/v1/models/b")

    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "'b' could be any of 2 models"
    assert answer.json()["error"]["hint"] == "write lab/b or shed/b"


def test_no_model_at_all_leaves_it_to_the_defaults(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme(models=["only"]))))

    for model in ({}, {"model": None}, {"model": ""}):
        body = {**model, "messages": [{"role": "user", "content": "hi"}]}
        assert client.post("/v1/chat/completions", json=body).json()["model"] == "desk/only"


# --- quick whatever happens -----------------------------------------------------------------------


def test_not_even_the_first_list_waits_for_the_slowest(start: Start, raw: Raw) -> None:
    async def hangs() -> list[DiscoveredModel]:
        await asyncio.Event().wait()
        return []

    host = pretend.host(
        [pretend.config("desk"), pretend.config("lab", kind="other", probeTimeoutS=60)],
        acme=acme(),
        other=acme(discover_models=hangs),
    )
    client = raw(start(host, limits=Limits(first_look_s=0.2)))

    began = time.monotonic()
    found = [model["id"] for model in client.get("/v1/models").json()["data"]]

    assert found == ["desk/m"]
    assert time.monotonic() - began < 30


def test_a_provider_that_has_died_delays_the_list_for_nobody(start: Start, raw: Raw) -> None:
    looks = 0
    hangs = threading.Event()

    async def discover_models() -> list[DiscoveredModel]:
        nonlocal looks
        looks += 1
        if looks > 1:
            hangs.set()
            await asyncio.Event().wait()
        return [DiscoveredModel(wire_id="slow")]

    async def down() -> list[DiscoveredModel]:
        raise BackendUnreachableError("nobody listens")

    clock = pretend.Clock()
    host = pretend.host(
        [pretend.config("desk", probeTimeoutS=60), pretend.config("lab", kind="other")],
        clock=clock,
        acme=acme(discover_models=discover_models),
        other=acme(discover_models=down),
    )
    client = raw(start(host))

    first = [model["id"] for model in client.get("/v1/models").json()["data"]]
    clock.now += 3600
    second = [model["id"] for model in client.get("/v1/models").json()["data"]]

    assert (first, second) == (["desk/slow"], ["desk/slow"])
    assert hangs.wait(WAIT_S)  # it is looked at anew, behind the answer
