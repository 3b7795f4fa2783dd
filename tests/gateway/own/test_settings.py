"""Mirrors modelbay_gateway/own/settings.py, over real sockets."""

import httpx2 as httpx
import pytest

from gateway.conftest import Raw, Start
from gateway.own.conftest import Open
from gateway.serving import acme, desk


def test_favourites_are_there_before_anybody_has_set_any(open_lab: Open) -> None:
    """S0-48."""
    assert open_lab().get("/api/settings").json() == {"favorite_models": []}


def test_favourites_are_kept_in_their_order_and_once_each(open_lab: Open) -> None:
    client = open_lab()

    put = client.put("/api/settings", json={"favorite_models": ["desk/b", "desk/a", "desk/b"]})

    assert put.json() == {"favorite_models": ["desk/b", "desk/a"]}
    assert client.get("/api/settings").json() == put.json()


def test_a_favourite_that_is_missing_or_offline_is_kept(open_lab: Open) -> None:
    """S0-50: hidden by who shows them, never deleted."""
    client = open_lab()

    put = client.put("/api/settings", json={"favorite_models": ["gone/x", "desk/nothing"]})

    assert put.json() == {"favorite_models": ["gone/x", "desk/nothing"]}


def test_only_what_is_named_changes_and_null_removes(open_lab: Open) -> None:
    client = open_lab()
    client.put("/api/settings", json={"favorite_models": ["desk/a"], "theme": "dark", "n": [1]})

    assert client.put("/api/settings", json={"theme": None}).json() == {
        "favorite_models": ["desk/a"],
        "n": [1],
    }
    assert client.put("/api/settings", json={"favorite_models": None}).json() == {
        "favorite_models": [],
        "n": [1],
    }


@pytest.mark.parametrize(
    "body",
    [
        {"favorite_models": ["bare"]},  # S0-49, S0-51
        {"favorite_models": [""]},
        {"favorite_models": "desk/a"},
        {"favorite_models": [1]},
        {"favorite_models": [f"desk/{n}" for n in range(1001)]},
        {"big": "x" * 65_537},
        {"n" * 101: 1},
        {"": 1},
        {"nul\0": 1},
        {f"n{n}": 1 for n in range(201)},
        [],
        "text",
    ],
)
def test_what_cannot_be_kept_is_refused_and_nothing_of_it_is_written(
    open_lab: Open, body: object
) -> None:
    client = open_lab()
    client.put("/api/settings", json={"favorite_models": ["desk/a"], "theme": "dark"})
    both = {"theme": "light", **body} if isinstance(body, dict) else body

    answer = client.put("/api/settings", json=both)

    assert answer.status_code == 400
    assert isinstance(answer.json()["error"]["message"], str)
    assert client.get("/api/settings").json() == {
        "favorite_models": ["desk/a"],
        "theme": "dark",
    }


def test_too_many_settings_together_are_refused_and_nothing_of_them_is_written(
    open_lab: Open,
) -> None:
    client = open_lab()
    kept = {f"n{number}": number for number in range(150)}
    client.put("/api/settings", json={"favorite_models": ["desk/a"], **kept})
    before = client.get("/api/settings").json()

    more = {f"m{number}": number for number in range(50)}
    answer = client.put("/api/settings", json={"favorite_models": [], "n0": "new", **more})

    assert (answer.status_code, client.get("/api/settings").json()) == (400, before)
    # What is removed in the same request makes room, wherever it stands.
    answer = client.put("/api/settings", json={**more, "n1": None})
    assert (answer.status_code, len(answer.json())) == (200, 200)


def test_a_gateway_without_a_store_says_so(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme())))

    for path in ("/api/settings", "/conversations", "/conversations/c/model"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_feature")


# --- one favourite at a time ----------------------------------------------------------------------

FAVORITES = "/api/settings/favorites"


def changed(client: httpx.Client, change: str, model: str, **more: object) -> list[str]:
    answer = client.post(FAVORITES, json={"change": change, "model": model, **more})
    assert answer.status_code == 200, answer.text
    found: list[str] = answer.json()["favorite_models"]
    return found


def test_favourites_of_two_writers_are_all_kept(open_lab: Open) -> None:
    """S0-48: each says what changes, and not what it believes the list to be."""
    client = open_lab()

    assert changed(client, "add", "desk/a") == ["desk/a"]
    assert changed(client, "add", "gone/x") == ["desk/a", "gone/x"]
    assert changed(client, "add", "desk/a") == ["desk/a", "gone/x"]
    assert changed(client, "add", "desk/b") == ["desk/a", "gone/x", "desk/b"]
    assert changed(client, "move", "desk/b", before="desk/a") == ["desk/b", "desk/a", "gone/x"]
    assert changed(client, "move", "desk/b") == ["desk/a", "gone/x", "desk/b"]
    assert changed(client, "remove", "gone/x") == ["desk/a", "desk/b"]
    assert changed(client, "remove", "gone/x") == ["desk/a", "desk/b"]
    assert client.get("/api/settings").json() == {"favorite_models": ["desk/a", "desk/b"]}


@pytest.mark.parametrize(
    "body",
    [
        {"change": "add", "model": "bare"},  # S0-49
        {"change": "add"},
        {"change": "swap", "model": "desk/a"},
        {"change": "move", "model": "desk/b"},
        {"change": "move", "model": "desk/a", "before": "desk/b"},
    ],
)
def test_a_change_that_cannot_be_leaves_favourites_alone(open_lab: Open, body: object) -> None:
    client = open_lab()
    changed(client, "add", "desk/a")

    assert client.post(FAVORITES, json=body).status_code == 400
    assert client.get("/api/settings").json() == {"favorite_models": ["desk/a"]}
