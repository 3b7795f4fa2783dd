"""Mirrors modelbay_gateway/security.py, over real sockets."""

import socket
from pathlib import Path

import pytest

from gateway.conftest import Raw, Start
from gateway.serving import acme, desk
from modelbay.errors import ConfigError
from modelbay_gateway.client_keys import LOOK_AGAIN_S, ClientKeys
from modelbay_gateway.limits import Limits
from modelbay_gateway.security import Access, is_loopback, key_for_this_run
from pretend import Clock

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
SECRET = "mb-a-secret-of-this-test"


def keyed(*scopes: str, folder: Path) -> tuple[Access, str]:
    keys = ClientKeys(folder / "gateway-keys.json", clock=Clock())
    secret = keys.add("laptop", scopes, now=0)
    return Access(keys=keys), secret


# --- where it may listen --------------------------------------------------------------------------


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"])
def test_loopback_needs_no_key(bind: str) -> None:
    Access(bind=bind).check()


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.168.1.2", "desk.example.org"])
def test_anywhere_else_it_does_not_start_without_a_key_unless_forced(bind: str) -> None:
    with pytest.raises(ConfigError, match="no client key is set"):
        Access(bind=bind).check()

    Access(bind=bind, is_forced=True).check()
    Access(bind=bind, given_keys=(key_for_this_run(SECRET, 1),)).check()
    assert not is_loopback(bind)


def test_a_short_key_is_no_key() -> None:
    with pytest.raises(ConfigError, match="at least 16 characters"):
        key_for_this_run("1234", 1)


# --- keys -----------------------------------------------------------------------------------------


def test_without_keys_everybody_on_this_machine_may_come_in(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme())))

    for headers in ({}, {"authorization": "Bearer DUMMY"}, {"authorization": "Bearer"}):
        assert client.post("/v1/chat/completions", json=CHAT, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer {}"}, 200),
        ({"authorization": "bearer   {}"}, 200),
        ({"x-api-key": "{}"}, 200),
        ({"api-key": "{}"}, 200),
        ({"authorization": "Bearer wrong", "x-api-key": "{}"}, 200),
        ({"authorization": "Bearer {}x"}, 401),
        ({"authorization": "Basic {}"}, 401),
        ({"authorization": "Bearer"}, 401),
    ],
)
def test_with_keys_every_request_needs_one(
    start: Start, raw: Raw, tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    access, secret = keyed("chat", folder=tmp_path)
    client = raw(start(desk(acme()), access=access))

    answer = client.get(
        "/v1/models", headers={name: text.format(secret) for name, text in headers.items()}
    )

    assert answer.status_code == status
    if status == 401:
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert answer.headers["www-authenticate"] == "Bearer"


def test_the_door_and_options_need_no_key(start: Start, raw: Raw, tmp_path: Path) -> None:
    access, _ = keyed("chat", folder=tmp_path)
    client = raw(start(desk(acme()), access=access))

    asked = [("GET", "/"), ("HEAD", "/"), ("GET", "/health"), ("OPTIONS", "/v1/models")]
    assert [client.request(*each).status_code for each in asked] == [200, 200, 200, 204]


def test_a_damaged_file_of_keys_lets_nobody_in_and_names_no_path(
    start: Start, raw: Raw, tmp_path: Path
) -> None:
    access, secret = keyed("chat", folder=tmp_path)
    assert access.keys is not None
    access.keys.path.write_text("{")
    client = raw(start(desk(acme()), access=access))

    answer = client.get("/v1/models", headers={"authorization": f"Bearer {secret}"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert str(tmp_path) not in answer.text


def test_a_key_is_good_for_its_scopes_alone(start: Start, raw: Raw, tmp_path: Path) -> None:
    access, secret = keyed("manage", folder=tmp_path)
    client = raw(start(desk(acme()), access=access))

    answer = client.get("/v1/models", headers={"authorization": f"Bearer {secret}"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "missing_scope")


@pytest.mark.parametrize("is_forced", [False, True])
def test_removing_the_last_key_opens_no_server_that_runs(
    start: Start, raw: Raw, tmp_path: Path, is_forced: bool
) -> None:
    """A key that leaked is revoked to shut somebody out."""
    clock = Clock()
    keys = ClientKeys(tmp_path / "gateway-keys.json", clock=clock)
    secret = keys.add("laptop", ["chat"], now=0)
    access = Access(keys=keys, is_forced=is_forced)
    access.check()  # as at the start, before anybody asks
    client = raw(start(desk(acme()), access=access))
    keys.remove("laptop")
    clock.now += LOOK_AGAIN_S

    for headers in ({}, {"authorization": f"Bearer {secret}"}):
        answer = client.post("/v1/chat/completions", json=CHAT, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["message"].startswith("all client keys were removed")
        assert "start the server anew" in answer.json()["error"]["hint"]
    new = keys.add("new", ["chat"], now=0)
    clock.now += LOOK_AGAIN_S
    headers = {"authorization": f"Bearer {new}"}
    assert client.post("/v1/chat/completions", json=CHAT, headers=headers).status_code == 200
    keys.remove("new")
    assert Access(keys=ClientKeys(keys.path, clock=Clock())).is_open  # started anew


def test_a_damaged_file_of_keys_is_told_before_it_serves(tmp_path: Path) -> None:
    access, _ = keyed("chat", folder=tmp_path)
    assert access.keys is not None
    access.keys.path.write_text("{")

    with pytest.raises(ConfigError, match="is damaged"):
        access.check()


def test_removing_the_last_key_opens_no_server_that_others_reach() -> None:
    class Gone(ClientKeys):
        def current(self) -> tuple[()]:
            return ()

    from modelbay_gateway.head import Head
    from modelbay_gateway.refusal import Refused
    from modelbay_gateway.security import Guard

    access = Access(bind="0.0.0.0", keys=Gone(Path("none"), clock=Clock()))
    scope = {"client": ("10.0.0.9", 1)}

    with pytest.raises(Refused) as caught:
        Guard(access, Limits()).admit(scope, Head(()), "chat")
    assert caught.value.refusal.status == 401


# --- pages ----------------------------------------------------------------------------------------

ROUTES = [
    ("GET", "/"),
    ("GET", "/health"),
    ("GET", "/v1/models"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/embeddings"),
    ("OPTIONS", "/v1/models"),
    ("GET", "/nowhere"),
]


FOREIGN = ["https://evil.example", "http://localhost:1", "null", "file://"]


def test_a_foreign_page_is_refused_on_every_route(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme())))

    for method, path in ROUTES:
        for origin in FOREIGN:
            answer = client.request(method, path, headers={"origin": origin})

            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_origin")
            assert "access-control-allow-origin" not in answer.headers


def test_its_own_page_is_not_foreign(start: Start, raw: Raw) -> None:
    served = start(desk(acme()))

    answer = raw(served).get("/v1/models", headers={"origin": served.base_url})

    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_an_allowed_page_may_read_answers_and_errors(start: Start, raw: Raw) -> None:
    page = "https://chat.example.org"
    client = raw(start(desk(acme()), access=Access(origins=frozenset({page}))))

    answers = [
        client.get("/v1/models", headers={"origin": page}),
        client.get("/nowhere", headers={"origin": page}),
        client.post("/v1/chat/completions", headers={"origin": page}, content=b"{"),
        client.post(
            "/v1/chat/completions", headers={"origin": page}, json={**CHAT, "stream": True}
        ),
    ]

    assert [answer.status_code for answer in answers] == [200, 404, 400, 200]
    assert {answer.headers["access-control-allow-origin"] for answer in answers} == {page}
    assert {answer.headers["vary"] for answer in answers} == {"Origin"}
    assert "access-control-allow-credentials" not in answers[0].headers


REFUSALS = {
    400: ("POST", "/v1/chat/completions", {}, b"{"),
    401: ("GET", "/v1/models", {"authorization": "Bearer wrong"}, b""),
    403: ("PUT", "/api/settings", {}, b"{}"),
    404: ("POST", "/v1/chat/completions", {}, b'{"model":"none","messages":[{"role":"user"}]}'),
    405: ("DELETE", "/v1/models", {}, b""),
    413: ("POST", "/v1/messages", {}, b" " * 1001),
    415: ("POST", "/api/chat", {"content-encoding": "gzip"}, b"\x1f"),
    431: ("GET", "/health", {"x-large": "x" * 5000}, b""),
}


@pytest.mark.parametrize("origins", [{"https://chat.example.org"}, {"*"}])
@pytest.mark.parametrize("status", REFUSALS)
def test_an_allowed_page_may_read_every_refusal(
    start: Start, raw: Raw, tmp_path: Path, origins: set[str], status: int
) -> None:
    access, secret = keyed("chat", folder=tmp_path)
    access = Access(keys=access.keys, origins=frozenset(origins))
    limits = Limits(body_bytes=1000, head_bytes=4096)
    client = raw(start(desk(acme()), access=access, limits=limits))
    method, path, headers, content = REFUSALS[status]
    page = {"origin": "https://chat.example.org", "authorization": f"Bearer {secret}"}

    answer = client.request(method, path, headers={**page, **headers}, content=content)

    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == "https://chat.example.org"
    assert "x-should-retry" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers


def test_a_foreign_preflight_is_refused(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme()), access=Access(origins=frozenset({"https://app.example"}))))

    answer = client.options(
        "/v1/models",
        headers={"origin": "https://evil.example", "access-control-request-method": "GET"},
    )

    assert answer.status_code == 403
    assert [name for name in answer.headers if name.startswith("access-control")] == []


def test_a_preflight_is_answered_without_a_key(start: Start, raw: Raw, tmp_path: Path) -> None:
    access, _ = keyed("chat", folder=tmp_path)
    page = "https://chat.example.org"
    client = raw(start(desk(acme()), access=Access(keys=access.keys, origins=frozenset({page}))))

    answer = client.options(
        "/v1/chat/completions",
        headers={
            "origin": page,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization, x-stainless-lang",
            "access-control-request-private-network": "true",
        },
    )

    assert answer.status_code == 204
    assert {
        name: value for name, value in answer.headers.items() if name.startswith("access-control")
    } == {
        "access-control-allow-origin": page,
        "access-control-allow-methods": "GET, POST, PUT, DELETE, OPTIONS, HEAD",
        "access-control-allow-headers": "authorization, x-stainless-lang",
        "access-control-max-age": "86400",
        "access-control-allow-private-network": "true",
        "access-control-expose-headers": (
            "x-request-id, request-id, retry-after, retry-after-ms, x-should-retry,"
            " x-modelbay-model, x-modelbay-notices"
        ),
    }


# --- names ----------------------------------------------------------------------------------------


NAMES = {
    "localhost:4747": 200,
    "LOCALHOST": 200,
    "app.localhost": 200,
    "127.0.0.1:1": 200,
    "[::1]:4747": 200,
    "192.168.1.7": 200,
    "desk.lan": 200,
    "evil.example": 403,
    "127.0.0.1.evil.example": 403,
    "localhost.evil.example": 403,
    "user@localhost": 400,
    "a/b": 400,
    "[::1": 400,
    ":80": 400,
}


def test_it_answers_to_its_own_names_alone(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme()), access=Access(hosts=frozenset({"Desk.lan"}))))

    answers = {host: client.get("/v1/models", headers={"host": host}).status_code for host in NAMES}

    assert answers == NAMES


def test_two_hosts_are_none(start: Start) -> None:
    served = start(desk(acme()))
    names = b"Host: localhost\r\nHost: evil.example\r\n"
    request = b"GET /health HTTP/1.1\r\n" + names + b"Connection: close\r\n\r\n"

    assert b" 400 " in exchanged(served.port, request).partition(b"\r\n")[0]


# --- sizes ----------------------------------------------------------------------------------------


def exchanged(port: int, request: bytes) -> bytes:
    """What a server says to these bytes, until it closes or has answered once."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_a_body_at_the_limit_is_read_and_a_larger_one_is_not(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme()), limits=Limits(body_bytes=1000)))
    content = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'

    def post(size: int) -> tuple[int, str | None]:
        answer = client.post("/v1/chat/completions", content=content.ljust(size))
        return answer.status_code, answer.json().get("error", {}).get("code")

    assert [post(1000), post(1001)] == [(200, None), (413, "request_too_large")]


def test_a_body_without_a_length_is_counted_as_it_comes(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme()), limits=Limits(body_bytes=1000)))

    answer = client.post("/v1/chat/completions", content=iter([b" " * 600, b" " * 600]))

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


def test_a_compressed_body_is_not_read(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme())))

    answer = client.post(
        "/v1/chat/completions", content=b"\x1f\x8b", headers={"content-encoding": "gzip"}
    )

    assert (answer.status_code, answer.json()["error"]["code"]) == (415, "unsupported_encoding")


def test_headers_have_a_limit_of_bytes_and_of_number(start: Start, raw: Raw) -> None:
    client = raw(start(desk(acme()), limits=Limits(head_bytes=4096, headers=20)))

    large = client.get("/health", headers={"x-large": "x" * 4100})
    many = client.get("/health", headers={f"x-{n}": "1" for n in range(30)})

    assert [answer.status_code for answer in (large, many)] == [431, 431]
    assert [answer.json()["error"]["code"] for answer in (large, many)] == ["headers_too_large"] * 2


def test_a_head_without_an_end_is_cut_off(start: Start) -> None:
    served = start(desk(acme()), limits=Limits(head_bytes=4096))

    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Endless: ")
        connection.sendall(b"x" * 8192)
        answer = b""
        while part := connection.recv(65536):
            answer += part

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b'"code":"headers_too_large"' in answer


def test_what_is_no_http_is_refused_as_json(start: Start) -> None:
    served = start(desk(acme()))

    answer = exchanged(served.port, b"\x16\x03\x01 hello\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'{"error":{' in answer


# --- pages that send no Origin --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "site", "mode", "status"),
    [
        ("/v1/models", "cross-site", "no-cors", 403),
        ("/api/models", "same-site", "no-cors", 403),
        ("/api/models", "cross-site", "navigate", 403),
        ("/", "cross-site", "no-cors", 403),
        ("/", "cross-site", "navigate", 200),
        ("/v1/models", "same-origin", "cors", 200),
        ("/v1/models", "none", "navigate", 200),
    ],
)
def test_a_foreign_page_gets_nothing_by_a_tag_either(
    start: Start, raw: Raw, path: str, site: str, mode: str, status: int
) -> None:
    client = raw(start(desk(acme())))

    answer = client.get(path, headers={"sec-fetch-site": site, "sec-fetch-mode": mode})

    assert answer.status_code == status
    if status == 403:
        assert answer.json()["error"]["code"] == "foreign_origin"


def test_a_page_that_is_let_in_comes_from_another_site_too(start: Start, raw: Raw) -> None:
    access = Access(origins=frozenset(("https://app.example",)))
    client = raw(start(desk(acme()), access=access))

    headers = {"origin": "https://app.example", "sec-fetch-site": "cross-site"}
    assert client.get("/v1/models", headers=headers).status_code == 200


def test_caches_and_pages_are_told_what_they_need(start: Start, raw: Raw) -> None:
    access = Access(origins=frozenset(("https://app.example",)))
    client = raw(start(desk(acme()), access=access))

    assert client.get("/v1/models").headers["vary"] == "Origin"
    answer = client.get("/v1/models", headers={"origin": "https://app.example"})
    told = answer.headers["access-control-expose-headers"].split(", ")
    assert {"x-modelbay-model", "x-modelbay-notices", "x-request-id"} <= {*told}


def test_a_page_without_an_origin_is_not_told_to_allow_null(start: Start, raw: Raw) -> None:
    answer = raw(start(desk(acme()))).get("/v1/models", headers={"origin": "null"})

    assert (answer.status_code, "null" in answer.json()["error"]["hint"]) == (403, False)
