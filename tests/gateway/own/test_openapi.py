"""Mirrors modelbay_gateway/own/openapi.py: the document against the routes and real answers."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx2 as httpx
import pytest
from starlette.routing import BaseRoute, Route

from gateway.own.lab import Lab, lab_host
from gateway.serving import acme, desk, serve
from modelbay import errors
from modelbay.errors import ModelbayError
from modelbay.models.capabilities import CapabilityTable
from modelbay.state import open_store
from modelbay_gateway import app, front
from modelbay_gateway.bay import Bay
from modelbay_gateway.own.openapi import described
from modelbay_gateway.own.operations import OPERATIONS
from modelbay_gateway.page.files import page_files

METHODS = frozenset(("get", "put", "post", "delete", "head"))


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with (
        serve(lab_host(Lab()), store=open_store(":memory:")) as served,
        httpx.Client(base_url=served.base_url, timeout=30) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> Any:
    return client.get("/openapi.json").json()


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def test_its_paths_are_the_routes_and_no_others(document: Any) -> None:
    bay = Bay(lab_host(Lab()))
    routes: list[BaseRoute] = [
        route for surface in (*app.SURFACES, front.SURFACE) for route in surface.routes(bay)
    ]

    served = {
        (route.path_format, method.lower())
        for route in routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if method != "HEAD" or len(route.methods or ()) == 1
    }

    assert all(isinstance(route, Route) for route in routes)
    assert {(path, method) for path, method, _ in operations(document)} == served
    assert {(each.path.replace(":path", ""), each.method.lower()) for each in OPERATIONS} <= served


def test_every_reference_leads_somewhere(document: Any) -> None:
    text = json.dumps(document)
    parts = text.split('"#/')[1:]

    for part in parts:
        place = document
        for step in part.partition('"')[0].split("/"):
            place = place[step]
    assert len(parts) > 50


def test_every_operation_says_what_it_needs_takes_and_gives(document: Any) -> None:
    for path, method, operation in operations(document):
        assert method in METHODS
        assert operation["summary"]
        assert operation["responses"]["200"]["content"]
        assert {"400", "401", "403", "500"} <= set(operation["responses"])
        named = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}
        if method in ("put", "post"):
            assert operation["requestBody"]["content"]["application/json"]["schema"]
        if path in front.OPEN:
            assert operation["security"] == []


def test_a_management_action_may_be_confirmed(document: Any) -> None:
    body = document["paths"]["/api/providers/{id}/manage"]["post"]["requestBody"]
    variants = body["content"]["application/json"]["schema"]["oneOf"]

    names = [each["$ref"].rpartition("/")[2] for each in variants]
    assert len(names) == 12
    for name in names:
        assert document["components"]["schemas"][name]["properties"]["confirm"]["type"] == "boolean"
    assert "confirm" not in document["components"]["schemas"]["Done"]["properties"]


def test_no_route_is_left_undescribed(document: Any) -> None:
    assert [
        (method, path)
        for path, method, operation in operations(document)
        if operation["tags"] == ["other"]
    ] == []


@pytest.mark.parametrize("path", ["/", *(f"/page/{name}" for name in sorted(page_files()))])
def test_what_the_page_is_made_of_is_documented(
    client: httpx.Client, document: Any, path: str
) -> None:
    described = document["paths"]["/" if path == "/" else "/page/{name}"]["get"]
    answer = client.get(path, headers={"accept": "text/html"})
    media_type = answer.headers["content-type"].partition(";")[0]
    again = client.get(
        path, headers={"accept": "text/html", "if-none-match": answer.headers["etag"]}
    )

    assert media_type in described["responses"]["200"]["content"]
    assert str(again.status_code) == "304"
    assert "304" in described["responses"]
    assert described["security"] == []


KINDS: dict[str, type[Exception]] = {
    each.code: each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, ModelbayError)
}
QUESTION = {"model": "desk/m", "messages": [{"role": "user", "content": "hi"}]}
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": QUESTION,
    "/v1/completions": {"model": "desk/m", "prompt": "hi"},
    "/v1/embeddings": {"model": "desk/m", "input": "hi"},
    "/v1/images/generations": {"model": "desk/m", "prompt": "hi"},
    "/v1/rerank": {"model": "desk/m", "query": "hi", "documents": ["a"]},
    "/v1/messages": {**QUESTION, "max_tokens": 9},
    "/api/chat": QUESTION,
    "/api/generate": {"model": "desk/m", "prompt": "hi"},
    "/api/embed": {"model": "desk/m", "input": "hi"},
    "/api/embeddings": {"model": "desk/m", "prompt": "hi"},
    "/api/providers/{id}/manage": {"action": "load", "model": "m"},
    "/conversations/{id}/warm": {"model": "desk/m"},
}


def test_every_status_that_a_failure_of_a_provider_has_is_documented(document: Any) -> None:
    failure: list[Exception] = []

    async def fails() -> None:
        raise failure[0]

    async def fails_in_events() -> AsyncIterator[Any]:
        raise failure[0]
        yield

    plugin = acme(
        lambda request: fails_in_events(),
        capabilities=lambda: CapabilityTable(actions=frozenset(("load",))),
        embed=fails,
        rerank=fails,
        generate_image=fails,
        complete=fails_in_events,
        manage=fails_in_events,
    )
    with (
        serve(desk(plugin), store=open_store(":memory:")) as served,
        httpx.Client(base_url=served.base_url, timeout=30) as client,
    ):
        statuses = set()
        for code, kind in {**KINDS, "a bug": RuntimeError}.items():
            for path, body in ASKED.items():
                failure[:] = [kind("it failed")]
                answer = client.post(path.replace("{id}", "desk"), json=body)
                described = document["paths"][path]["post"]["responses"]
                assert str(answer.status_code) in described, (path, code)
                assert "application/json" in described[str(answer.status_code)].get(
                    "content", {"application/json": None}
                )
                assert answer.headers["content-type"] == "application/json"
                statuses.add(answer.status_code)

    assert statuses == {400, 402, 404, 429, 500, 502, 503, 504, 529}


def test_a_route_nobody_has_described_is_there_too() -> None:
    async def endpoint(scope: object, receive: object, send: object) -> None: ...

    found = described([Route("/later/{x:path}", endpoint, methods=["POST"])])

    paths: Any = found["paths"]
    assert list(paths) == ["/later/{x}"]
    assert paths["/later/{x}"]["post"]["summary"]
