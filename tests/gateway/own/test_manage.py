"""Mirrors modelbay_gateway/own/manage.py, over real sockets."""

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Timer
from typing import Any

import httpx2 as httpx
import pytest

import modelbay_llamacpp.plugin
import pretend
from gateway.conftest import Raw, Start
from gateway.own.conftest import Open
from gateway.own.lab import Lab, events, lab_host, posted
from modelbay.errors import BackendBusyError, BackendUnreachableError
from modelbay.models.manage import Action, Copy, Delete, Load, Unload
from modelbay.state import open_store
from modelbay_gateway.client_keys import ClientKeys
from modelbay_gateway.limits import Limits
from modelbay_gateway.security import Access
from modelbay_llamacpp.simulator import LlamaCppSimulator, SimulatedModel
from pretend import Clock

MANAGE = "/api/providers/desk/manage"
DONE = {"type": "done", "message": "", "changed": True}


def wait_until(condition: Callable[[], bool]) -> None:
    """Look again and again, for at most half a minute."""
    tick = Timer(30, lambda: None)
    tick.start()
    try:
        while not condition():
            assert tick.is_alive()
            tick.join(0.005)
    finally:
        tick.cancel()


def test_an_action_answers_with_its_events_and_ends_with_its_outcome(open_lab: Open) -> None:
    """S0-78: what controls a fleet from a page is built on this."""
    lab = Lab()

    found = posted(open_lab(lab), MANAGE, {"action": "load", "model": "a"})

    assert found == [
        {
            "type": "progress",
            "status": "loading",
            "fraction": 0.5,
            "done_bytes": None,
            "total_bytes": None,
        },
        DONE,
    ]
    assert lab.done == [Load(model="a")]


def test_when_it_says_done_the_catalogue_knows(open_lab: Open) -> None:
    client = open_lab()
    client.get("/api/models")
    posted(client, MANAGE, {"action": "load", "model": "a"})

    (provider,) = client.get("/api/models").json()["providers"]

    assert [model["state"] for model in provider["models"]] == ["loaded", "unloaded"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a", "a"),
        ("desk/a", "a"),
        ("desk/new", "new"),
        ("lab/a", "lab/a"),
        ("hf.co/u/m", "hf.co/u/m"),
    ],
)
def test_a_model_is_named_by_its_ref_or_as_its_server_does(
    open_lab: Open, written: str, meant: str
) -> None:
    lab = Lab()
    lab.models |= {"new": "unloaded", "lab/a": "unloaded", "hf.co/u/m": "unloaded"}
    client = open_lab(lab)

    posted(client, MANAGE, {"action": "load", "model": written})

    assert lab.done == [Load(model=meant)]


def test_null_is_the_same_as_a_field_that_is_not_there(open_lab: Open) -> None:
    lab = Lab()

    posted(open_lab(lab), MANAGE, {"action": "unload", "model": None, "confirm": None})

    assert lab.done == [Unload()]


# --- what destroys --------------------------------------------------------------------------------

DESTROYING: list[tuple[dict[str, object], Action]] = [
    ({"action": "delete", "model": "a"}, Delete(model="a")),
    ({"action": "unload", "model": "a", "force": True}, Unload(model="a", force=True)),
    ({"action": "copy", "model": "a", "to": "b"}, Copy(model="a", to="b")),
]


@pytest.mark.parametrize(("body", "action"), DESTROYING)
def test_what_destroys_something_is_done_when_it_is_confirmed_and_not_before(
    open_lab: Open, body: dict[str, object], action: Action
) -> None:
    lab = Lab()
    client = open_lab(lab)
    client.get("/api/models")

    for confirm in ({}, {"confirm": False}, {"confirm": None}):
        answer = client.post(MANAGE, json={**body, **confirm})
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["code"], error["param"]) == ("missing_field", "confirm")
        assert error["hint"] == 'send "confirm": true'
    assert client.post(MANAGE, json={**body, "confirm": "yes"}).status_code == 400
    assert lab.done == []

    assert posted(client, MANAGE, {**body, "confirm": True}) == [DONE]
    assert lab.done == [action]


@pytest.mark.parametrize("target", ["B", "new", "desk/new"])
def test_a_copy_is_confirmed_also_where_nothing_of_that_name_is_known(
    open_lab: Open, target: str
) -> None:
    """A server may not tell capitals apart, and know models that came after the last look."""
    lab = Lab()
    client = open_lab(lab)
    copy = {"action": "copy", "model": "a", "to": target}

    assert client.post(MANAGE, json=copy).json()["error"]["param"] == "confirm"
    create = {"action": "create", "model": target, "options": {"from": "a"}}
    assert client.post(MANAGE, json=create).json()["error"]["param"] == "confirm"
    assert lab.done == []
    assert posted(client, MANAGE, {**copy, "confirm": True}) == [DONE]


# --- who may --------------------------------------------------------------------------------------


def keyed(folder: Path, *scopes: str) -> tuple[Access, dict[str, str]]:
    keys = ClientKeys(folder / "gateway-keys.json", clock=Clock())
    secret = keys.add("laptop", scopes, now=0)
    return Access(keys=keys), {"authorization": f"Bearer {secret}"}


def test_a_key_for_chats_alone_manages_nothing(open_lab: Open, tmp_path: Path) -> None:
    lab = Lab()
    access, headers = keyed(tmp_path, "chat")
    client = open_lab(lab, access=access)

    for action in ("load", "delete", "unload"):
        body = {"action": action, "model": "a", "confirm": True}
        answer = client.post(MANAGE, json=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "missing_scope")
    assert client.post(MANAGE, json={"action": "load", "model": "a"}).status_code == 401
    assert lab.done == []


def test_a_key_that_may_manage_may_delete_but_not_read_logs(open_lab: Open, tmp_path: Path) -> None:
    access, headers = keyed(tmp_path, "manage")
    client = open_lab(access=access)

    def status(**body: object) -> int:
        return client.post(MANAGE, json=body, headers=headers).status_code

    assert status(action="delete", model="a", confirm=True) == 200
    assert [status(action="logs"), status(action="balance")] == [403, 403]


def test_logs_and_the_balance_need_a_key_of_an_administrator(
    open_lab: Open, tmp_path: Path
) -> None:
    access, headers = keyed(tmp_path, "manage", "admin")
    client = open_lab(access=access)

    logs = client.post(MANAGE, json={"action": "logs"}, headers=headers)

    assert list(events(logs)) == [{"type": "log", "text": "one\u2028line"}, DONE]
    assert b"\\u2028" in logs.content  # some clients end a line there
    balance = client.post(MANAGE, json={"action": "balance"}, headers=headers)
    assert [event["type"] for event in events(balance)] == ["balance"]


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("PUT", "/api/settings", "admin"),
        ("GET", "/conversations", "admin"),
        ("POST", "/conversations", "admin"),
        ("GET", "/conversations/c", "admin"),
        ("HEAD", "/conversations/c", "admin"),
        ("GET", "/conversations/c/messages", "admin"),
        ("POST", "/conversations/c/messages", "admin"),
        ("DELETE", "/conversations/c/messages", "admin"),
        ("PUT", "/conversations/c", "admin"),
        ("DELETE", "/conversations/c", "admin"),
        ("GET", "/conversations/c/model", "chat"),
        ("PUT", "/conversations/c/model", "chat"),
        ("POST", "/conversations/c/warm", "chat"),
        ("POST", MANAGE, "manage"),
    ],
)
def test_every_route_needs_its_scope(
    open_lab: Open, tmp_path: Path, method: str, path: str, scope: str
) -> None:
    others = [each for each in ("chat", "manage", "admin") if each != scope]
    access, headers = keyed(tmp_path, *others)
    client = open_lab(access=access)

    assert client.request(method, path).status_code == 401
    assert client.request(method, path, headers=headers).status_code == 403
    assert access.keys is not None
    right = access.keys.add("right", (scope,), now=0)
    fresh = open_lab(access=Access(keys=ClientKeys(access.keys.path, clock=Clock())))
    answer = fresh.request(method, path, headers={"x-api-key": right})
    assert answer.status_code not in (401, 403)


@pytest.mark.parametrize(
    "path",
    [
        "/api/models",
        "/api/providers",
        "/api/settings",
        "/api/key",
        "/metrics",
        "/openapi.json",
    ],
)
def test_what_there_is_may_be_read_with_any_key(open_lab: Open, tmp_path: Path, path: str) -> None:
    for scope in ("chat", "manage", "admin"):
        access, headers = keyed(tmp_path / scope, scope)
        client = open_lab(access=access)
        assert client.get(path).status_code == 401
        assert client.get(path, headers=headers).status_code == 200


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_field", "action"),
        ({"action": "explode"}, "invalid_field", ""),
        ({"action": "load"}, "missing_field", "load.model"),
        ({"action": "load", "model": 1}, "invalid_field", "load.model"),
        ({"action": "load", "model": "a", "colour": "red"}, "invalid_field", "load.colour"),
        ({"action": "unload", "force": "yes"}, "invalid_field", "unload.force"),
        ({"action": "pull", "model": "a"}, "unsupported_action", None),
    ],
)
def test_what_is_no_action_is_refused_by_name(
    open_lab: Open, body: dict[str, object], code: str, param: str | None
) -> None:
    answer = open_lab().post(MANAGE, json=body)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, code, param)


def test_an_action_its_kind_does_not_have_says_what_to_do_instead(open_lab: Open) -> None:
    answer = open_lab().post(MANAGE, json={"action": "pull", "model": "x"})

    assert answer.json()["error"]["hint"] == "put the file there"


def test_a_provider_there_is_not_is_not_found(open_lab: Open) -> None:
    answer = open_lab().post("/api/providers/none/manage", json={"action": "running"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_provider")


def test_what_fails_before_it_begins_has_its_status(open_lab: Open) -> None:
    lab = Lab()
    client = open_lab(lab)
    lab.error = BackendUnreachableError("nobody answers")

    answer = client.post(MANAGE, json={"action": "load", "model": "a"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "backend_unreachable")


def test_what_fails_after_it_has_begun_ends_with_an_error_event(start: Start, raw: Raw) -> None:
    lab = Lab()
    client = raw(start(lab_host(lab), limits=Limits(heartbeat_s=0.05)))
    served_load = {"action": "load", "model": "a"}
    lab.gate.clear()

    async def fail() -> None:
        raise BackendBusyError("it went away", hint="try again")

    lab.gate.wait = fail  # type: ignore[method-assign,assignment]

    found = posted(client, MANAGE, served_load)

    assert [event["type"] for event in found] == ["progress", "error"]
    assert found[-1]["error"] == {
        "message": "it went away",
        "type": "server_error",
        "param": None,
        "code": "backend_busy",
        "hint": "try again",
        "provider": "desk",
        "model": "a",
        "retryable": True,
    }


def test_while_nothing_happens_there_are_heartbeats(start: Start, raw: Raw) -> None:
    lab = Lab()
    lab.gate.clear()
    served = start(lab_host(lab), limits=Limits(heartbeat_s=0.02))
    beats = 0

    with raw(served).stream("POST", MANAGE, json={"action": "load", "model": "a"}) as answer:
        for line in answer.iter_lines():
            beats += line == ": keep-alive"
            if beats == 3:
                served.loop.call_soon_threadsafe(lab.gate.set)
            if '"done"' in line:
                break

    assert beats >= 3


def test_a_client_that_goes_away_ends_the_action(start: Start, raw: Raw) -> None:
    lab = Lab()
    lab.gate.clear()
    client = raw(start(lab_host(lab)))

    with client.stream("POST", MANAGE, json={"action": "load", "model": "a"}) as answer:
        assert next(events(answer))["type"] == "progress"

    wait_until(lambda: lab.cancelled == 1)


# --- too many -------------------------------------------------------------------------------------


def begin(stack: ExitStack, client: httpx.Client, path: str, body: object, **more: Any) -> None:
    """Begin an action and leave it at work until the stack is closed."""
    answer = stack.enter_context(client.stream("POST", path, json=body, **more))
    coming = events(answer)  # to drop it would close the answer
    stack.callback(coming.close)
    assert next(coming)["type"] == "progress"


def refusals(client: httpx.Client, number: int, path: str, body: object) -> "Counter[int]":
    """The statuses of so many requests at the same time, without those that are still at work."""
    found: Counter[int] = Counter()
    for _ in range(number):
        answer = client.post(path, json=body)
        found[answer.status_code] += 1
        assert answer.headers["retry-after"] == "5"
        assert answer.json()["error"]["provider"] == "desk"
    return found


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (MANAGE, {"action": "load", "model": "a"}),
        ("/conversations/c/warm", {"model": "desk/a"}),
    ],
)
def test_500_actions_do_not_pile_up_and_chats_go_on(
    start: Start, raw: Raw, path: str, body: object
) -> None:
    lab = Lab()
    lab.gate.clear()
    limits = Limits(active=1, managing_per_client=2)
    served = start(lab_host(lab), limits=limits, store=open_store(":memory:"))
    client = raw(served)

    with ExitStack() as stack:
        for _ in range(2):
            begin(stack, client, path, body)
        assert refusals(client, 498, path, body) == {429: 498}
        assert len(lab.done) == 2
        question = {"model": "desk/a", "messages": [{"role": "user", "content": "hi"}]}
        assert client.post("/v1/chat/completions", json=question).status_code == 200
        served.loop.call_soon_threadsafe(lab.gate.set)

    wait_until(lambda: served.bay.admission.managing("desk") == 0)
    assert posted(client, path, body)[-1]["type"] == "done"


def test_one_client_with_too_many_actions_leaves_room_for_another(
    start: Start, raw: Raw, tmp_path: Path
) -> None:
    lab = Lab()
    lab.gate.clear()
    keys = ClientKeys(tmp_path / "gateway-keys.json", clock=Clock())
    one, other = ({"x-api-key": keys.add(name, ("manage",), now=0)} for name in ("one", "other"))
    limits = Limits(managing=3, managing_per_client=2)
    served = start(lab_host(lab), limits=limits, access=Access(keys=keys))
    client = raw(served)
    load = {"action": "load", "model": "a"}

    with ExitStack() as stack:
        for headers in (one, one, other):
            begin(stack, client, MANAGE, load, headers=headers)
        answers = [client.post(MANAGE, json=load, headers=each) for each in (one, other)]
        assert [each.status_code for each in answers] == [429, 503]
        assert [each.json()["error"]["code"] for each in answers] == [
            "rate_limited",
            "backend_busy",
        ]
        assert {each.headers["retry-after"] for each in answers} == {"5"}
        served.loop.call_soon_threadsafe(lab.gate.set)


# --- a real plugin --------------------------------------------------------------------------------


def router(start: Start, raw: Raw, simulator: LlamaCppSimulator) -> httpx.Client:
    config = pretend.config(kind="llamacpp", baseUrl=simulator.base_url)
    return raw(start(pretend.host([config], llamacpp=modelbay_llamacpp.plugin)))


def test_a_model_of_a_simulated_router_is_loaded_and_unloaded(start: Start, raw: Raw) -> None:
    models = [SimulatedModel("one"), SimulatedModel("two")]
    with LlamaCppSimulator(models, "router") as simulator:
        client = router(start, raw, simulator)

        def states() -> dict[str, str]:
            (provider,) = client.get("/api/models?refresh=1").json()["providers"]
            return {model["id"]: model["state"] for model in provider["models"]}

        assert states() == {"desk/one": "unloaded", "desk/two": "unloaded"}
        assert posted(client, MANAGE, {"action": "load", "model": "desk/one"})[-1]["type"] == "done"
        assert states() == {"desk/one": "loaded", "desk/two": "unloaded"}
        running = posted(client, MANAGE, {"action": "running"})[-1]
        assert [each["wire_id"] for each in running["models"]] == ["one"]
        assert posted(client, MANAGE, {"action": "unload", "model": "one"})[-1]["changed"] is True
        assert states() == {"desk/one": "unloaded", "desk/two": "unloaded"}
