"""Mirrors modelbay_gateway/own/conversations.py, over real sockets."""

from typing import Any

import pytest

from gateway.own.conftest import Open

HI = {"message": {"role": "user", "content": "hi"}}
HELLO = {
    "message": {"role": "assistant", "content": "hello", "reasoning": "hm"},
    "ref": "desk/a",
    "usage": {"input_tokens": 3, "output_tokens": 1},
}


def without_times(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if not name.endswith("_at")}


def test_a_conversation_is_made_named_and_deleted(open_lab: Open) -> None:
    client = open_lab()

    made = client.post("/conversations", json={"id": "trip", "settings": {"system": "Be kind."}})
    assert without_times(made.json()) == {
        "id": "trip",
        "title": "",
        "settings": {"system": "Be kind."},
        "messages": 0,
    }
    named = client.put("/conversations/trip", json={"title": "A trip"}).json()
    assert (named["title"], named["settings"]) == ("A trip", {"system": "Be kind."})
    assert client.get("/conversations/trip").json() == named
    settled = client.put("/conversations/trip", json={"settings": {"seed": 1}}).json()
    assert (settled["title"], settled["settings"]) == ("A trip", {"seed": 1})

    assert client.delete("/conversations/trip").json() == {"deleted": 1}
    for answer in (client.get("/conversations/trip"), client.delete("/conversations/trip")):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_one_without_an_id_gets_one_of_its_own(open_lab: Open) -> None:
    client = open_lab()

    ids = {client.post("/conversations", json={}).json()["id"] for _ in range(5)}

    assert len(ids) == 5
    assert all(len(id) == 32 for id in ids)


def test_its_model_goes_with_it(open_lab: Open) -> None:
    client = open_lab()
    client.post("/conversations", json={"id": "trip"})
    client.put("/conversations/trip/model", json={"model": "desk/b"})
    client.delete("/conversations/trip")

    assert client.get("/conversations/trip/model").json()["model"] is None


def test_they_are_listed_page_by_page_each_once(open_lab: Open) -> None:
    client = open_lab()
    for n in range(7):
        client.post("/conversations", json={"id": f"c{n}"})

    seen: list[str] = []
    cursor: str | None = None
    pages = 0
    while True:
        query = {"limit": "3", **({"cursor": cursor} if cursor else {})}
        page = client.get("/conversations", params=query).json()
        seen += [each["id"] for each in page["items"]]
        pages += 1
        cursor = page["next"]
        if cursor is None:
            break

    assert (sorted(seen), pages) == ([f"c{n}" for n in range(7)], 3)


def test_messages_come_back_as_they_were_kept(open_lab: Open) -> None:
    client = open_lab()

    kept = client.post("/conversations/trip/messages", json={"messages": [HI, HELLO]}).json()
    page = client.get("/conversations/trip/messages").json()

    assert page == {"items": kept["messages"], "next": None}
    assert [
        (each["position"], each["message"]["content"], each["ref"]) for each in page["items"]
    ] == [(1, "hi", None), (2, "hello", "desk/a")]
    assert page["items"][1]["message"]["reasoning"] == "hm"
    usage = page["items"][1]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (3, 1)
    assert client.get("/conversations/trip").json()["messages"] == 2


def test_a_page_holds_the_last_messages_and_the_next_one_older_ones(open_lab: Open) -> None:
    client = open_lab()
    messages = [{"message": {"role": "user", "content": str(n)}} for n in range(5)]
    client.post("/conversations/trip/messages", json={"messages": messages})

    first = client.get("/conversations/trip/messages?limit=2").json()
    second = client.get(
        "/conversations/trip/messages", params={"limit": 2, "cursor": first["next"]}
    ).json()

    assert [each["message"]["content"] for each in first["items"]] == ["3", "4"]
    assert [each["message"]["content"] for each in second["items"]] == ["1", "2"]


def test_what_is_behind_a_position_can_be_dropped_to_ask_anew(open_lab: Open) -> None:
    client = open_lab()
    client.post("/conversations/trip/messages", json={"messages": [HI, HELLO, HI]})

    assert client.delete("/conversations/trip/messages?after=1").json() == {"deleted": 2}
    assert len(client.get("/conversations/trip/messages").json()["items"]) == 1
    assert client.delete("/conversations/trip/messages").json()["error"]["param"] == "after"


def test_there_are_no_messages_of_a_conversation_that_is_not_there(open_lab: Open) -> None:
    assert open_lab().get("/conversations/none/messages").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/conversations", {"title": "x" * 501}),
        ("POST", "/conversations", {"title": 1}),
        ("POST", "/conversations", {"id": ""}),
        ("POST", "/conversations", {"colour": "red"}),
        ("PUT", "/conversations/trip", {"settings": []}),
        ("POST", "/conversations/trip/messages", {"messages": [{"message": {"role": "boss"}}]}),
        ("POST", "/conversations/trip/messages", {"messages": [{**HI, "ref": "bare"}]}),
        ("POST", "/conversations/trip/messages", {"messages": [HI] * 201}),
        ("POST", "/conversations/trip/messages", {}),
        ("GET", "/conversations?limit=0", None),
        ("GET", "/conversations?limit=x", None),
        ("GET", "/conversations?limit=1&limit=2", None),
        ("GET", "/conversations?cursor=x", None),
        ("GET", "/conversations?cursor=%FF", None),
        ("GET", "/conversations/trip/messages?cursor=x", None),
        ("DELETE", "/conversations/trip/messages?after=-1", None),
    ],
)
def test_what_cannot_be_is_refused(open_lab: Open, method: str, path: str, body: object) -> None:
    client = open_lab()
    client.post("/conversations", json={"id": "trip"})

    answer = client.request(method, path, json=body) if body else client.request(method, path)

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_part_of_a_message_that_does_not_say_what_it_is_is_named(open_lab: Open) -> None:
    message = {"role": "user", "content": [{"text": "hi"}]}

    answer = open_lab().post("/conversations/t/messages", json={"messages": [{"message": message}]})

    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith("messages.0.message.content")


def test_one_that_has_a_model_alone_is_listed_on_request_and_deleted(open_lab: Open) -> None:
    client = open_lab()
    client.post("/conversations", json={"id": "kept", "title": "A trip"})
    client.put("/conversations/kept/model", json={"model": "desk/a"})
    client.put("/conversations/bare/model", json={"model": "desk/b"})

    def listed(**query: str) -> list[tuple[str, str, int]]:
        items = client.get("/conversations", params=query).json()["items"]
        return [(each["id"], each["title"], each["messages"]) for each in items]

    assert listed() == [("kept", "A trip", 0)]
    assert sorted(listed(all="1")) == [("bare", "", 0), ("kept", "A trip", 0)]
    first = client.get("/conversations?all=1&limit=1").json()
    second = client.get("/conversations", params={"all": "1", "cursor": first["next"]}).json()
    assert {each["id"] for each in (*first["items"], *second["items"])} == {"kept", "bare"}

    assert client.delete("/conversations/bare").json() == {"deleted": 1}
    assert client.get("/conversations/bare/model").json()["model"] is None
    assert listed(all="1") == [("kept", "A trip", 0)]
    assert client.delete("/conversations/bare").status_code == 404


@pytest.mark.parametrize("id", ["q\nq", "q\x7f", "\x85q"])
def test_an_id_that_no_path_can_hold_is_none(open_lab: Open, id: str) -> None:
    answer = open_lab().post("/conversations", json={"id": id})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "id")


@pytest.mark.parametrize("path", ["%FF", "%FF/model", "a%C3/messages"])
def test_a_path_that_is_not_utf_8_names_nothing(open_lab: Open, path: str) -> None:
    client = open_lab()

    answer = client.get(f"/conversations/{path}")

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "id")
    assert client.get("/conversations/%EF%BF%BD/model").status_code == 200
