"""Mirrors modelbay_gateway/own/access.py, over real sockets."""

from gateway.own.conftest import Open
from modelbay_gateway.client_keys import ClientKey, digest
from modelbay_gateway.security import Access

SECRET = "mb-a-secret-of-this-test"


def test_without_keys_everybody_may_do_everything(open_lab: Open) -> None:
    assert open_lab().get("/api/key").json() == {
        "name": None,
        "scopes": ["chat", "manage", "admin"],
    }


def test_a_key_is_told_its_name_and_what_it_is_good_for_but_not_itself(open_lab: Open) -> None:
    key = ClientKey("phone", frozenset(("admin", "chat")), digest(SECRET), 0)
    client = open_lab(access=Access(given_keys=(key,)))

    answer = client.get("/api/key", headers={"authorization": f"Bearer {SECRET}"})

    assert answer.json() == {"name": "phone", "scopes": ["chat", "admin"]}
    assert client.get("/api/key", headers={"x-api-key": "wrong"}).status_code == 401
