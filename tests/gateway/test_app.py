"""Mirrors modelbay_gateway/app.py and front.py, over real sockets."""

import pytest

from gateway.conftest import Raw, Start
from gateway.serving import acme, desk

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/chat/completions",
        "/chat/completions",
        "/v1/v1/chat/completions",
        "/v1/v1/v1/chat/completions",
        "/v1/chat/completions/",
        "/chat/completions//",
    ],
)
def test_however_base_and_path_are_joined_it_is_found(start: Start, raw: Raw, path: str) -> None:
    answer = raw(start(desk(acme()))).post(path, json=CHAT)

    assert answer.status_code == 200  # and no redirect, which would lose the body


def test_every_answer_has_an_id_and_no_two_the_same(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme())))

    answers = [
        client.get("/health"),
        client.get("/nowhere"),
        client.post("/v1/chat/completions", json=CHAT),
        client.post("/v1/chat/completions", json={**CHAT, "stream": True}),
        client.options("/v1/models"),
    ]

    assert len({answer.headers["x-request-id"] for answer in answers}) == 5
    assert answers[1].json()["error"]["request_id"] == answers[1].headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/nowhere", 404, "not_found"),
        ("POST", "/v1", 404, "not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models/m", 405, "method_not_allowed"),
        ("TRACE", "/health", 405, "method_not_allowed"),
        ("BREW", "/v1/models", 405, "method_not_allowed"),
    ],
)
def test_what_is_not_there_is_refused_as_json(
    start: Start, raw: Raw, method: str, path: str, status: int, code: str
) -> None:
    answer = raw(start(desk(acme()))).request(method, path)

    if method == "BREW":  # no method at all: the parser refuses it
        assert (answer.status_code, "error" in answer.json()) == (400, True)
        return
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/settings", "GET, HEAD, OPTIONS, PUT"),
        ("PATCH", "/conversations/c/messages", "DELETE, GET, HEAD, OPTIONS, POST, PUT"),
    ],
)
def test_a_wrong_method_is_told_all_that_the_path_has(
    start: Start, raw: Raw, method: str, path: str, allowed: str
) -> None:
    answer = raw(start(desk(acme()))).request(method, path)

    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_a_base_that_ends_in_a_slash_does_no_harm(start: Start, raw: Raw) -> None:
    served = start(desk(acme()))

    assert raw(served).get(f"{served.base_url}//v1/models").status_code == 200


def test_the_door_answers_without_asking_anybody(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme())))

    assert client.get("/").json()["name"] == "modelbay"
    assert client.get("/health").json()["status"] == "ok"
    head = client.head("/")
    assert (head.status_code, head.content) == (200, b"")
