"""Mirrors modelbay_gateway/own/turn.py: the same rules on every surface, over real sockets."""

from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest

import pretend
from gateway.conftest import Raw, Start
from gateway.serving import media
from modelbay.models.capabilities import Facts
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.frozen import JsonObject
from modelbay.models.media import EmbedRequest, EmbedResult
from modelbay.state import open_store

HI = [{"role": "user", "content": "hi"}]

TURNS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HI},
    "/v1/completions": {"prompt": "hi"},
    "/v1/messages": {"messages": HI, "max_tokens": 9},
    "/api/chat": {"messages": HI, "stream": False},
    "/api/generate": {"prompt": "hi", "stream": False},
}
each_surface = pytest.mark.parametrize("path", sorted(TURNS))


@pytest.fixture
def client(start: Start, raw: Raw) -> Iterator[httpx.Client]:
    store = open_store(":memory:")
    served = start(pretend.host([pretend.config()], acme=media()), store=store)
    yield raw(served)
    served.ask(store.aclose())


def asked(client: httpx.Client, path: str, model: str = "m", **fields: object) -> httpx.Response:
    return client.post(path, json={"model": model, **TURNS[path], **fields})


def remembered(client: httpx.Client) -> str | None:
    model: str | None = client.get("/conversations/c1/model").json()["model"]
    return model


@each_surface
def test_the_model_of_a_turn_is_remembered_for_its_conversation(
    client: httpx.Client, path: str
) -> None:
    asked(client, path, conversation_id="c1")

    assert remembered(client) == "desk/m"


@each_surface
def test_a_turn_that_is_to_leave_no_trace_leaves_none(client: httpx.Client, path: str) -> None:
    """U12."""
    asked(client, path, conversation_id="c1", persist=False)
    asked(client, path, "gone/x", conversation_id="c1", persist=False)

    assert remembered(client) is None


@each_surface
def test_a_model_there_is_not_is_remembered_too(client: httpx.Client, path: str) -> None:
    """S2-21."""
    answer = asked(client, path, "gone/x", conversation_id="c1")

    assert (answer.status_code, remembered(client)) == (404, "gone/x")


@each_surface
def test_the_header_says_it_before_the_body(client: httpx.Client, path: str) -> None:
    body = {"model": "m", **TURNS[path], "conversation_id": "c2"}

    client.post(path, json=body, headers={"x-conversation-id": "c1"})

    assert remembered(client) == "desk/m"


@pytest.mark.parametrize(
    "fields", [{"raw": True}, {"suffix": "end"}, {"raw": True, "suffix": "end"}]
)
def test_a_raw_prompt_is_a_turn_too(client: httpx.Client, fields: dict[str, Any]) -> None:
    asked(client, "/api/generate", conversation_id="c1", **fields)

    assert remembered(client) == "desk/m"


@each_surface
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_an_id_is_the_same_in_a_header_and_in_a_path(
    client: httpx.Client, path: str, encoding: str
) -> None:
    body = {"model": "m", **TURNS[path]}
    id = "gespräch"

    answer = client.post(path, json=body, headers={b"x-conversation-id": id.encode(encoding)})

    assert answer.status_code == 200
    assert client.get("/conversations/gespr%C3%A4ch/model").json()["model"] == "desk/m"


@each_surface
@pytest.mark.parametrize("id", ["q\nq", "\x00", "q\x7f"])
def test_an_id_that_no_path_can_hold_is_refused(client: httpx.Client, path: str, id: str) -> None:
    answer = asked(client, path, conversation_id=id)

    assert answer.status_code == 400
    assert "control character" in answer.text
    assert client.get("/conversations?all=1").json()["items"] == []


def test_a_completion_without_a_model_goes_to_its_conversations(client: httpx.Client) -> None:
    client.put("/conversations/c1/model", json={"model": "desk/embed"})

    answer = client.post("/v1/completions", json={"prompt": "hi", "conversation_id": "c1"})

    assert answer.headers["x-modelbay-model"] == "desk/embed"


def test_no_provider_is_sent_what_is_the_gateways_own(start: Start, raw: Raw) -> None:
    seen: list[JsonObject] = []

    async def embed(request: EmbedRequest) -> EmbedResult:
        seen.append(request.extra)
        return EmbedResult(vectors=[[1.0]])

    async def discover_models() -> list[DiscoveredModel]:
        return [DiscoveredModel(wire_id="embed", facts=Facts(embeddings=True))]

    module = pretend.plugin(discover_models=discover_models, embed=embed)
    client = raw(start(pretend.host([pretend.config()], acme=module)))
    body = {"model": "embed", "input": "hi", "conversation_id": "c1", "persist": True}

    assert client.post("/v1/embeddings", json={**body, "user": "sam"}).status_code == 200
    assert seen == [{"user": "sam"}]


def test_a_blank_model_clears_it_as_an_empty_one_does(client: httpx.Client) -> None:
    """S2-22."""
    client.put("/conversations/c1/model", json={"model": "desk/m"})

    assert client.put("/conversations/c1/model", json={"model": " \t"}).json()["model"] is None
