"""Mirrors modelbay_gateway/retention.py: each surface, over real sockets."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import pretend
from gateway.conftest import Raw, Start
from modelbay.host.host import Host
from modelbay.models.capabilities import CapabilityTable, Facts
from modelbay.models.catalog import DiscoveredModel
from modelbay.models.chat import ChatRequest, ImagePart
from modelbay.models.events import Finish, StreamEvent, TextDelta
from modelbay.models.frozen import JsonObject
from modelbay.models.manage import Action, Done, Load, ManageEvent
from modelbay.models.media import (
    CompleteRequest,
    EmbedRequest,
    EmbedResult,
    ImageRequest,
    ImageResult,
    RerankRequest,
    RerankResult,
)
from modelbay_gateway.client_keys import ClientKeys
from modelbay_gateway.security import Access
from pretend import Clock

HI = [{"role": "user", "content": "hi"}]
TOLD = "how long a model stays loaded needs a key that is good for 'manage'"

REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": HI}),
    ("/v1/completions", {"prompt": "hi"}),
    ("/v1/embeddings", {"input": "hi"}),
    ("/v1/rerank", {"query": "hi", "documents": ["a"]}),
    ("/v1/images/generations", {"prompt": "hi"}),
    ("/api/chat", {"messages": HI, "stream": False}),
    ("/api/generate", {"prompt": "hi", "stream": False}),
    ("/api/generate", {"prompt": "hi", "suffix": "end", "stream": False}),
    ("/api/embed", {"input": "hi"}),
    ("/api/embeddings", {"prompt": "hi"}),
]


class Desk:
    """A provider of Ollama's kind, which notes what else it was asked for."""

    def __init__(self) -> None:
        self.seen: list[JsonObject] = []
        self.done: list[Action] = []

    def host(self) -> Host:
        async def discover_models() -> list[DiscoveredModel]:
            facts = Facts(embeddings=True, rerank=True, image_generation=True)
            return [DiscoveredModel(wire_id="m", facts=facts)]

        async def answer(request: ChatRequest | CompleteRequest) -> AsyncIterator[StreamEvent]:
            self.seen.append(request.extra)
            yield TextDelta("x")
            yield Finish("stop")

        async def embed(request: EmbedRequest) -> EmbedResult:
            self.seen.append(request.extra)
            return EmbedResult(vectors=[[1.0]])

        async def rerank(request: RerankRequest) -> RerankResult:
            self.seen.append(request.extra)
            return RerankResult(results=[])

        async def generate_image(request: ImageRequest) -> ImageResult:
            self.seen.append(request.extra)
            return ImageResult(images=[ImagePart(data="AAAA")])

        async def manage(action: Action) -> AsyncIterator[ManageEvent]:
            self.done.append(action)
            yield Done()

        module = pretend.plugin(
            capabilities=lambda: CapabilityTable(actions=frozenset(("load", "unload"))),
            discover_models=discover_models,
            stream_chat=lambda request: answer(request),
            complete=lambda request: answer(request),
            embed=embed,
            rerank=rerank,
            generate_image=generate_image,
            manage=manage,
        )
        return pretend.host([pretend.config(kind="ollama")], ollama=module)


def keyed(folder: Path, *scopes: str) -> tuple[Access, dict[str, str]]:
    keys = ClientKeys(folder / "gateway-keys.json", clock=Clock())
    secret = keys.add("laptop", scopes, now=0)
    return Access(keys=keys), {"authorization": f"Bearer {secret}"}


@pytest.mark.parametrize("time", [0, "0h", "1ms", "5m", -1])
def test_a_key_for_chats_alone_does_not_say_how_long_a_model_stays(
    start: Start, raw: Raw, tmp_path: Path, time: int | str
) -> None:
    desk = Desk()
    access, headers = keyed(tmp_path, "chat")
    client = raw(start(desk.host(), access=access))

    for path, body in REQUESTS:
        answer = client.post(
            path, json={"model": "desk/m", "keep_alive": time, **body}, headers=headers
        )
        assert (answer.status_code, path) == (200, path), answer.text
        assert TOLD in answer.headers.get("x-modelbay-notices", ""), path
    assert desk.seen == [{}] * len(REQUESTS)


@pytest.mark.parametrize(
    "fields",
    [
        {"options": {"keep_alive": 0}},
        {"options": {"Keep_Alive": -1}},
        {"options": {"keep_alive": "0h"}, "keep_alive": "0h"},
    ],
)
def test_a_key_for_chats_alone_does_not_say_it_among_the_options_either(
    start: Start, raw: Raw, tmp_path: Path, fields: dict[str, Any]
) -> None:
    desk = Desk()
    access, headers = keyed(tmp_path, "chat")
    client = raw(start(desk.host(), access=access))

    for path, body in REQUESTS:
        asked = {**body, **fields, "options": {"num_ctx": 4096, **fields["options"]}}
        answer = client.post(path, json={"model": "desk/m", **asked}, headers=headers)
        assert (answer.status_code, path) == (200, path), answer.text
        assert answer.headers.get("x-modelbay-notices", "").count(TOLD) == 1, path
    assert desk.seen == [{"options": {"num_ctx": 4096}}] * len(REQUESTS)


@pytest.mark.parametrize(
    "fields", [{"Keep_Alive": 0}, {"KEEP_ALIVE": 0}, {"Options": {"keep_alive": 0}}]
)
def test_nor_in_capitals_which_some_servers_read_as_the_same(
    start: Start, raw: Raw, tmp_path: Path, fields: dict[str, Any]
) -> None:
    desk = Desk()
    access, headers = keyed(tmp_path, "chat")
    client = raw(start(desk.host(), access=access))

    body = {"model": "desk/m", "messages": HI, **fields}
    answer = client.post("/v1/chat/completions", json=body, headers=headers)

    assert TOLD in answer.headers["x-modelbay-notices"]
    assert desk.seen == [{"Options": {}} if "Options" in fields else {}]


def test_a_key_that_may_manage_says_how_long(start: Start, raw: Raw, tmp_path: Path) -> None:
    desk = Desk()
    access, headers = keyed(tmp_path, "chat", "manage")
    client = raw(start(desk.host(), access=access))

    for path, body in REQUESTS:
        answer = client.post(
            path, json={"model": "desk/m", "keep_alive": 0, **body}, headers=headers
        )
        assert (answer.status_code, path) == (200, path), answer.text
        assert "x-modelbay-notices" not in answer.headers
    assert desk.seen == [{"keep_alive": 0}] * len(REQUESTS)


def test_loading_a_model_with_a_key_for_chats_alone_leaves_the_time_to_the_server(
    start: Start, raw: Raw, tmp_path: Path
) -> None:
    desk = Desk()
    access, headers = keyed(tmp_path, "chat")
    client = raw(start(desk.host(), access=access))

    def load(time: str) -> int:
        body = {"model": "desk/m", "keep_alive": time}
        return client.post("/api/generate", json=body, headers=headers).status_code

    assert [load("1ms"), load("0ms"), load("0h")] == [200, 403, 403]
    assert desk.done == [Load(model="m")]


@pytest.mark.parametrize(
    ("scopes", "options"),
    [(("chat",), {"num_ctx": 8}), (("chat", "manage"), {"num_ctx": 8, "keep_alive": -1})],
)
def test_nor_does_it_while_loading_among_the_options(
    start: Start, raw: Raw, tmp_path: Path, scopes: tuple[str, ...], options: dict[str, Any]
) -> None:
    desk = Desk()
    access, headers = keyed(tmp_path, *scopes)
    client = raw(start(desk.host(), access=access))

    for path in ("/api/generate", "/api/chat"):
        body = {"model": "desk/m", "options": {"num_ctx": 8, "keep_alive": -1}}
        answer = client.post(path, json=body, headers=headers)
        assert answer.status_code == 200
        assert (TOLD in answer.headers.get("x-modelbay-notices", "")) == (len(scopes) == 1)
    assert desk.done == [Load(model="m", options=options)] * 2
