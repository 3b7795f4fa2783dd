"""What holds for every route of every surface, found by asking the surfaces for their routes."""

import re

import pytest
from starlette.routing import Route

from gateway.conftest import Raw, Start
from gateway.serving import Served, acme, desk
from modelbay.models.chat import ChatRequest
from modelbay_gateway.app import SURFACES
from modelbay_gateway.security import Access, key_for_this_run

ATTACKS = {
    "a page of another place": {"origin": "https://evil.example"},
    "a page without a place": {"origin": "null"},
    "a page of another port": {"origin": "http://127.0.0.1:1"},
    "a name that leads here": {"host": "evil.example"},
    "a name that leads here, with our port": {"host": "evil.example:{port}"},
    "a page and its name that leads here": {
        "host": "evil.example:{port}",
        "origin": "http://evil.example:{port}",
    },
    "a name that looks like an address": {"host": "127.0.0.1.evil.example:{port}"},
}


def routes(served: Served) -> list[tuple[str, str]]:
    """Method and path of every route; what stands for a name is one."""
    found = {("GET", "/"), ("GET", "/health")}
    for surface in SURFACES:
        for route in surface.routes(served.bay):
            assert isinstance(route, Route)
            path = re.sub(r"\{[^}]+\}", "m", route.path)
            found |= {(method, path) for method in route.methods or ()}
    return sorted(found)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_web_page_reaches_no_route(start: Start, raw: Raw, attack: str) -> None:
    seen: list[ChatRequest] = []
    served = start(desk(acme(seen=seen)))
    client = raw(served)
    headers = {name: text.format(port=served.port) for name, text in ATTACKS[attack].items()}
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}

    asked = routes(served)
    assert len(asked) > 40
    for method, path in asked:
        for sent in ("application/json", "text/plain"):  # the second needs no preflight
            answer = client.request(
                method, path, json=body, headers={**headers, "content-type": sent}
            )
            assert (method, path, answer.status_code) == (method, path, 403)
            assert answer.headers["content-type"] == "application/json"
            assert "access-control-allow-origin" not in answer.headers
    assert seen == []


def test_an_allowed_origin_and_a_foreign_name_are_refused(start: Start, raw: Raw) -> None:
    page = "https://chat.example.org"
    client = raw(start(desk(acme()), access=Access(origins=frozenset({page}))))

    answer = client.get("/v1/models", headers={"origin": page, "host": "evil.example"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_host")


def test_a_key_is_asked_for_on_every_route_but_the_doors(start: Start, raw: Raw) -> None:
    secret = "mb-a-secret-of-this-test"
    served = start(desk(acme()), access=Access(given_keys=(key_for_this_run(secret, 1),)))
    client = raw(served)

    def statuses(headers: dict[str, str]) -> dict[tuple[str, str], int]:
        return {each: client.request(*each, headers=headers).status_code for each in routes(served)}

    open_to_all = {each for each, status in statuses({}).items() if status != 401}
    assert {path for _, path in open_to_all if not path.startswith("/page/")} == {"/", "/health"}
    assert {
        each for each, status in statuses({"x-api-key": "wrong"}).items() if status != 401
    } == open_to_all
