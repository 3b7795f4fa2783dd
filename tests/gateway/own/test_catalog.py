"""Mirrors modelbay_gateway/own/catalog.py, over real sockets."""

import json

import pretend
from gateway.conftest import Raw, Start
from gateway.own.conftest import Open
from gateway.own.lab import Lab
from gateway.serving import acme
from modelbay.errors import BackendUnreachableError
from modelbay.models.catalog_json import provider_json
from modelbay_gateway.client_keys import ClientKey, digest
from modelbay_gateway.security import Access


def test_models_stand_grouped_by_provider_under_composite_ids(start: Start, raw: Raw) -> None:
    """S0-35, S0-36, S0-37, S0-53: the same name at two providers is two models (S0-46)."""
    module = acme(models=("qwen3:8b", "hf.co/u/m:q4"))
    others = [pretend.config("lab", label="The lab")]
    client = raw(start(pretend.host([pretend.config(), *others], acme=module)))

    body = client.get("/api/models").json()

    assert list(body) == ["providers"]
    assert [
        (each["id"], each["label"], [model["id"] for model in each["models"]])
        for each in body["providers"]
    ] == [
        ("desk", "desk", ["desk/qwen3:8b", "desk/hf.co/u/m:q4"]),
        ("lab", "The lab", ["lab/qwen3:8b", "lab/hf.co/u/m:q4"]),
    ]


def test_health_and_state_stand_beside_the_fixed_fields(open_lab: Open) -> None:
    entry = open_lab(Lab(a="loaded")).get("/api/models").json()["providers"][0]

    assert (entry["kind"], entry["status"], entry["problem"]) == ("acme", "ok", None)
    assert {model["id"]: model["state"] for model in entry["models"]} == {
        "desk/a": "loaded",
        "desk/b": "unloaded",
    }


def test_it_is_the_json_that_the_command_line_prints(start: Start, raw: Raw) -> None:
    """S0-34: one shape for every place that shows the catalogue."""
    served = start(pretend.host([pretend.config()], acme=acme()))
    body = raw(served).get("/api/models").json()

    written = [provider_json(entry, entry.models) for entry in served.bay.host.catalog.providers]
    for entry in (*body["providers"], *written):
        entry |= {"age_s": 0, "next_look_s": 0}
    assert body["providers"] == json.loads(json.dumps(written))


def test_favourites_are_no_part_of_the_catalogue(open_lab: Open) -> None:
    """S0-38: the client derives them from the settings."""
    client = open_lab()
    before = client.get("/api/models").json()
    client.put("/api/settings", json={"favorite_models": ["desk/b"]})
    after = client.get("/api/models").json()

    assert [each["models"] for each in before["providers"]] == [
        each["models"] for each in after["providers"]
    ]


def test_it_is_read_anew_when_that_is_asked_for(open_lab: Open) -> None:
    lab = Lab()
    client = open_lab(lab)
    client.get("/api/models")
    client.get("/api/models?refresh=0")
    assert lab.looks == 1
    lab.models["c"] = "unloaded"

    body = client.get("/api/models?refresh=1").json()

    assert lab.looks == 2
    assert [model["id"] for model in body["providers"][0]["models"]] == [
        "desk/a",
        "desk/b",
        "desk/c",
    ]


def test_a_refresh_that_is_neither_yes_nor_no_is_refused(open_lab: Open) -> None:
    answer = open_lab().get("/api/models?refresh=soon")

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "refresh"


def test_a_provider_that_is_down_is_listed_with_its_problem(start: Start, raw: Raw) -> None:
    error = BackendUnreachableError("nobody answers", hint="start it")
    module = acme(discover_models=pretend.fails(error))
    client = raw(start(pretend.host([pretend.config()], acme=module)))

    (entry,) = client.get("/api/models").json()["providers"]

    assert (entry["status"], entry["models"]) == ("down", [])
    assert entry["problem"] == {
        "code": "backend_unreachable",
        "message": "nobody answers",
        "hint": "start it",
    }


def test_a_proposal_that_never_answered_is_hidden(start: Start, raw: Raw) -> None:
    module = acme(discover_models=pretend.fails(BackendUnreachableError("nobody")))
    proposed = pretend.config("guess", source="loopback")
    client = raw(start(pretend.host([proposed], acme=module)))

    assert client.get("/api/models").json() == {"providers": []}
    assert client.get("/api/providers").json()["providers"] == []


def test_providers_say_what_they_can_be_asked_to_do(open_lab: Open) -> None:
    assert open_lab().get("/api/providers").json() == {
        "providers": [
            {
                "id": "desk",
                "label": "desk",
                "kind": "acme",
                "status": "ok",
                "problem": None,
                "models": 2,
                "is_default": True,
                "is_local": True,
                "is_implicit": False,
                "actions": ["balance", "copy", "delete", "load", "logs", "unload"],
                "hints": {"pull": "put the file there"},
                "active": 0,
                "waiting": 0,
                "address": None,
                "loading_s": {},
            }
        ],
        "default_provider": "desk",
    }


ADDRESSES = {
    "plain": ("http://127.0.0.1:11434", "127.0.0.1:11434"),
    "secret": ("http://user:pass-word@Desk.example:8080/v1?key=abc#d", "desk.example:8080"),
    "cloud": ("https://api.example.com/v1", "api.example.com:443"),
    "bare": ("http://lab", "lab:80"),
    "six": ("http://[::1]:9000/", "[::1]:9000"),
    "odd": ("http://lab:port", None),
    "none": ("", None),
}


def test_who_may_manage_a_provider_is_told_its_host_and_port(start: Start, raw: Raw) -> None:
    """S4-84: and nothing else of its address, where a password or a key may stand."""
    configs = [pretend.config(id, baseUrl=url) for id, (url, _) in ADDRESSES.items()]
    keys = [
        ClientKey(name, frozenset((name,)), digest(f"a-key-for-{name}-0123456789"), 0)
        for name in ("manage", "chat")
    ]
    client = raw(start(pretend.host(configs, acme=acme()), access=Access(given_keys=tuple(keys))))

    told = {}
    for name in ("manage", "chat"):
        key = {"authorization": f"Bearer a-key-for-{name}-0123456789"}
        found = client.get("/api/providers", headers=key).json()["providers"]
        told[name] = {each["id"]: each["address"] for each in found}

    assert told["manage"] == {id: address for id, (_, address) in ADDRESSES.items()}
    assert told["chat"] == dict.fromkeys(ADDRESSES)
