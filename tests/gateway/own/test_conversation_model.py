"""Mirrors modelbay_gateway/own/conversation_model.py and turn.py: every row of S2, over sockets."""

from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

import pretend
from gateway.conftest import Raw, Start
from gateway.own.conftest import Open
from gateway.own.lab import Lab, lab_host, posted
from gateway.serving import acme, desk
from modelbay.errors import BackendUnreachableError, UnknownModelError
from modelbay.models.manage import Load
from modelbay.state import open_store
from modelbay_gateway.own.turn import resolve_turn

MODEL = "/conversations/trip/model"


def told(model: str | None, *, resolvable: bool | None = True, fallback: str | None = None) -> Any:
    return {
        "conversationId": "trip",
        "model": model,
        "resolvable": resolvable,
        "fallback": fallback,
    }


def put(client: httpx.Client, model: object) -> Any:
    answer = client.put(MODEL, json={"model": model})
    assert answer.status_code == 200, answer.text
    return answer.json()


def chat(client: httpx.Client, **fields: object) -> httpx.Response:
    headers = {"x-conversation-id": "trip"}
    body = {"messages": [{"role": "user", "content": "hi"}], **fields}
    return client.post("/v1/chat/completions", json=body, headers=headers)


def answered(client: httpx.Client, **fields: object) -> str:
    answer = chat(client, **fields)
    assert answer.status_code == 200, answer.text
    return answer.headers["x-modelbay-model"]


# --- the endpoint ---------------------------------------------------------------------------------


def test_a_conversation_nobody_has_heard_of_has_no_model(open_lab: Open) -> None:
    """S2-05, S2-07, S2-08, S2-11: null, and turns go to the default."""
    assert open_lab().get(MODEL).json() == told(None, fallback="desk/a")


def test_put_answers_what_it_is_now_and_get_repeats_it(open_lab: Open) -> None:
    """S2-06, S2-09, S2-12, S2-20: one string."""
    client = open_lab()

    assert put(client, "desk/b") == told("desk/b")
    assert client.get(MODEL).json() == told("desk/b")


@pytest.mark.parametrize("nothing", [None, ""])
def test_null_and_an_empty_text_clear(open_lab: Open, nothing: str | None) -> None:
    """S2-06, S2-13, S2-22: and the answer holds null, never the empty text."""
    client = open_lab()
    put(client, "desk/b")

    assert put(client, nothing) == told(None, fallback="desk/a")
    assert client.get(MODEL).json() == told(None, fallback="desk/a")


def test_it_is_there_again_in_a_new_session_of_the_server(
    start: Start, raw: Raw, tmp_path: Path
) -> None:
    """S2-01, S2-02."""
    first = start(lab_host(Lab()), store=open_store(tmp_path / "state.db"))
    put(raw(first), "desk/b")
    second = raw(start(lab_host(Lab()), store=open_store(tmp_path / "state.db")))

    assert second.get(MODEL).json() == told("desk/b")
    assert answered(second) == "desk/b"


def test_what_is_put_is_not_validated(open_lab: Open) -> None:
    """S2-21: the turn fails when it is run, not the PUT."""
    client = open_lab()

    assert put(client, "desk/nothing") == told("desk/nothing", resolvable=False, fallback="desk/a")
    assert put(client, "nobody/b") == told("nobody/b", resolvable=False, fallback="desk/b")
    failed = chat(client)
    assert (failed.status_code, failed.json()["error"]["code"]) == (404, "model_not_found")


def test_every_listed_model_can_be_put_as_it_is_listed(open_lab: Open) -> None:
    """S2-10."""
    client = open_lab()
    listed = [model["id"] for model in client.get("/models").json()["data"]]

    assert [put(client, id)["model"] for id in listed] == listed == ["desk/a", "desk/b"]


def test_a_bare_name_is_remembered_with_its_provider(open_lab: Open) -> None:
    """S0-72, S2-05: the form is provider/model."""
    assert put(open_lab(), "b") == told("desk/b")


def test_a_name_that_several_list_is_remembered_as_it_is(start: Start, raw: Raw) -> None:
    providers = [pretend.config(id) for id in ("desk", "lab", "loft")]

    def lists(provider: Any) -> Any:
        return pretend.lists(*(["x"] if provider.config.id != "desk" else ["m"]))()

    module = acme(discover_models=lambda provider: lists(provider))
    client = raw(start(pretend.host(providers, acme=module), store=open_store(":memory:")))
    client.get("/api/models")

    assert put(client, "x")["model"] == "x"


def test_whether_it_can_be_used_is_open_while_its_provider_is_down(start: Start, raw: Raw) -> None:
    module = acme(discover_models=pretend.fails(BackendUnreachableError("down")))
    host = pretend.host([pretend.config()], acme=module)
    client = raw(start(host, store=open_store(":memory:")))

    assert put(client, "desk/m") == told("desk/m", resolvable=None)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"model": "desk/b", "more": 1}', 200),  # S2-04: later versions may send more
        ("{}", 400),
        ("[]", 400),
        ("null", 400),
        ('{"model": 1}', 400),
        ('{"model": ["desk/b"]}', 400),
        ('{"model": "x', 400),
        ('{"model": "\\u0000"}', 400),
        ('{"model": "\\ud800"}', 400),
        ('{"model": "' + "x" * 1001 + '"}', 400),
    ],
)
def test_a_body_of_another_shape_is_refused_and_clears_nothing(
    open_lab: Open, body: str, status: int
) -> None:
    client = open_lab()
    put(client, "desk/b")

    answer = client.put(MODEL, content=body.encode())

    assert answer.status_code == status
    assert client.get(MODEL).json() == told("desk/b")


def test_the_id_of_a_conversation_is_decoded_once(open_lab: Open) -> None:
    client = open_lab()

    ids = {}
    for path in ("a%2Fb", "a/b", "%252F", "caf%C3%A9", "a%20b", "..."):
        answer = client.put(f"/conversations/{path}/model", json={"model": "desk/b"})
        ids[path] = answer.json()["conversationId"]

    assert ids == {
        "a%2Fb": "a/b",
        "a/b": "a/b",
        "%252F": "%2F",
        "caf%C3%A9": "café",
        "a%20b": "a b",
        "...": "...",
    }


def test_an_id_that_cannot_be_one_is_refused(open_lab: Open) -> None:
    client = open_lab()

    for id in ("x" * 201, "%00"):
        assert client.get(f"/conversations/{id}/model").status_code == 400


def test_the_model_stands_in_no_other_answer_about_the_conversation(open_lab: Open) -> None:
    """S2-23."""
    client = open_lab()
    client.post("/conversations", json={"id": "trip"})
    put(client, "desk/b")

    assert "model" not in client.get("/conversations/trip").json()
    assert "model" not in client.get("/conversations").json()["items"][0]


# --- turns ----------------------------------------------------------------------------------------


def test_a_turn_may_name_a_model_or_leave_it_out(open_lab: Open) -> None:
    """S2-14, S2-15, S2-16: what it names goes first and is remembered; else the stored one."""
    client = open_lab()
    assert answered(client) == "desk/a"  # the default: nothing is stored yet
    assert client.get(MODEL).json() == told(None, fallback="desk/a")

    assert answered(client, model="desk/b") == "desk/b"
    assert answered(client) == "desk/b"
    assert client.get(MODEL).json()["model"] == "desk/b"
    assert answered(client, model="desk/a") == "desk/a"
    assert answered(client) == "desk/a"


def test_a_turn_that_shall_leave_no_trace_leaves_none(open_lab: Open) -> None:
    """U12."""
    client = open_lab()
    put(client, "desk/a")

    assert answered(client, model="desk/b", persist=False) == "desk/b"
    assert client.get(MODEL).json() == told("desk/a")


def test_the_body_may_name_the_conversation(open_lab: Open) -> None:
    client = open_lab()
    body = {"messages": [{"role": "user", "content": "hi"}], "conversation_id": "trip"}
    client.post("/v1/chat/completions", json={**body, "model": "desk/b"})

    assert client.get(MODEL).json() == told("desk/b")
    assert client.post("/v1/chat/completions", json=body).headers["x-modelbay-model"] == "desk/b"


# --- the call that surfaces make ------------------------------------------------------------------


def test_a_resolved_turn_is_remembered_with_its_provider(start: Start) -> None:
    served = start(lab_host(Lab()), store=open_store(":memory:"))

    async def turns() -> list[object]:
        bay = served.bay
        assert bay.store is not None
        first = await resolve_turn(bay, "trip", "b")
        stored = await bay.store.conversation_model("trip")
        second = await resolve_turn(bay, "trip", None)
        third = await resolve_turn(bay, "trip", "a", persist=False)
        last = await bay.store.conversation_model("trip")
        none = await resolve_turn(bay, None, None)
        return [
            (first.name, first.model.id),
            stored,
            (second.name, second.model.id),
            (third.name, third.model.id),
            last,
            (none.name, none.model.id),
        ]

    assert served.ask(turns()) == [
        ("b", "desk/b"),
        "desk/b",
        ("desk/b", "desk/b"),
        ("a", "desk/a"),
        "desk/b",
        ("desk/a", "desk/a"),
    ]


def test_a_turn_whose_model_is_gone_says_which_to_take_instead(start: Start) -> None:
    """S2-21, U12: at run time, with another one to take."""
    served = start(lab_host(Lab()), store=open_store(":memory:"))

    async def turn() -> None:
        assert served.bay.store is not None
        await served.bay.store.set_conversation_model("trip", "desk/gone")
        await resolve_turn(served.bay, "trip", None)

    with pytest.raises(UnknownModelError) as caught:
        served.ask(turn())
    assert "the model of conversation 'trip', is not there any more" in caught.value.message
    assert caught.value.hint == 'send "model": "desk/a"'


def test_an_unknown_model_of_the_request_itself_is_its_own_error(start: Start) -> None:
    served = start(lab_host(Lab()), store=open_store(":memory:"))

    async def turn() -> None:
        await resolve_turn(served.bay, "trip", "desk/gone")

    with pytest.raises(UnknownModelError) as caught:
        served.ask(turn())
    assert "conversation" not in caught.value.message


# --- warming up -----------------------------------------------------------------------------------


def test_a_warm_up_takes_the_stored_model_unless_it_names_one(open_lab: Open) -> None:
    """S2-17: and remembers nothing."""
    lab = Lab()
    client = open_lab(lab)
    put(client, "desk/b")

    stored = posted(client, "/conversations/trip/warm", {})
    named = posted(client, "/conversations/trip/warm", {"model": "desk/a"})

    assert lab.done == [Load(model="b"), Load(model="a")]
    assert [each[-1]["type"] for each in (stored, named)] == ["done", "done"]
    assert client.get(MODEL).json() == told("desk/b")


def test_where_nothing_can_be_loaded_a_warm_up_is_done_at_once(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme()), store=open_store(":memory:")))

    assert posted(client, "/conversations/trip/warm", {}) == [
        {"type": "done", "message": "desk/m is ready whenever it is asked", "changed": False}
    ]


def test_a_warm_up_of_a_model_that_is_gone_is_refused(open_lab: Open) -> None:
    client = open_lab()
    put(client, "desk/gone")

    answer = client.post("/conversations/trip/warm", json={})

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_model")


def test_a_bare_name_of_another_provider_is_remembered_as_that_ones(start: Start, raw: Raw) -> None:
    """S0-31, S0-72: also right after the start, before anybody has looked."""

    def lists(provider: Any) -> Any:
        return pretend.lists("m" if provider.config.id == "desk" else "x")()

    providers = [pretend.config(), pretend.config("lab")]
    module = acme(discover_models=lambda provider: lists(provider))
    client = raw(start(pretend.host(providers, acme=module), store=open_store(":memory:")))

    assert put(client, "x") == told("lab/x")
