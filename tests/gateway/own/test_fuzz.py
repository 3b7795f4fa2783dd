"""Whatever comes in: an answer of ours, with a status below 500, and no traceback."""

import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx2 as httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.fuzzing import REQUESTS
from gateway.own.lab import Lab, lab_host
from gateway.serving import serve
from modelbay.state import open_store
from pretend import Records

pytestmark = pytest.mark.fuzz

FUZZ = settings(
    max_examples=REQUESTS,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
BODIES = [
    ("PUT", "/api/settings"),
    ("POST", "/api/providers/desk/manage"),
    ("POST", "/conversations"),
    ("PUT", "/conversations/c"),
    ("PUT", "/conversations/c/model"),
    ("POST", "/conversations/c/warm"),
    ("POST", "/conversations/c/messages"),
]
GETS = ["/api/models", "/conversations", "/conversations/c/messages", "/metrics", "/api/providers"]
FIELDS = """
    favorite_models theme action model to options force follow confirm id title settings
    messages message role content ref usage tool_calls opaque reasoning x
"""
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
NEARLY = JUNK | st.sampled_from(
    [
        "load",
        "delete",
        "unload",
        "copy",
        "logs",
        "user",
        "desk/a",
        "a",
        ["desk/a"],
        True,
        [{"message": {"role": "user", "content": "hi"}}],
        [{"message": {"role": "user", "content": [{"type": "text", "text": "hi"}]}, "usage": {}}],
    ]
)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with (
        serve(lab_host(Lab()), store=open_store(":memory:")) as served,
        httpx.Client(base_url=served.base_url, timeout=30) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def log() -> Iterator[list[str]]:
    records = Records()
    logging.getLogger().addHandler(records)
    yield records.lines
    logging.getLogger().removeHandler(records)


def check(answer: httpx.Response, log: list[str]) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        error = answer.json()["error"]
        assert isinstance(error["message"], str)
        assert error["message"]
        assert error["code"]
        assert error["request_id"] == answer.headers["x-request-id"]
    assert not [line for line in log if "Traceback" in line or line.startswith("ERROR")]


@FUZZ
@given(
    target=st.sampled_from(BODIES),
    fields=st.dictionaries(st.sampled_from(FIELDS.split()), NEARLY, max_size=4),
)
def test_fields_of_any_kind(
    client: httpx.Client, log: list[str], target: tuple[str, str], fields: dict[str, Any]
) -> None:
    body = json.dumps(fields).encode("utf-8", "surrogatepass")

    check(client.request(*target, content=body), log)


@FUZZ
@given(target=st.sampled_from(BODIES), body=st.binary(max_size=200) | st.text().map(str.encode))
def test_bodies_of_any_bytes(
    client: httpx.Client, log: list[str], target: tuple[str, str], body: bytes
) -> None:
    check(client.request(*target, content=body), log)


@pytest.mark.parametrize("target", BODIES)
def test_a_body_that_is_nested_too_deep_is_refused(
    client: httpx.Client, log: list[str], target: tuple[str, str]
) -> None:
    for body in (b"[" * 100_000, b'{"options":' * 100_000, b'{"x":' * 300 + b"1" + b"}" * 300):
        check(client.request(*target, content=body), log)


@FUZZ
@given(
    path=st.sampled_from(GETS),
    query=st.lists(
        st.tuples(
            st.sampled_from(["refresh", "limit", "cursor", "after", "x"]),
            st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(["1", "0", "-1"]),
        ),
        max_size=3,
    ),
    raw=st.binary(max_size=6),
)
def test_queries_of_any_kind(
    client: httpx.Client, log: list[str], path: str, query: list[tuple[str, str]], raw: bytes
) -> None:
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query)

    check(client.get(f"{path}?{text}&{quote(raw, safe='')}"), log)


@FUZZ
@given(
    id=st.text(st.characters(codec="utf-8"), max_size=30),
    rest=st.sampled_from(["", "/model", "/messages", "/warm", "/nothing"]),
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"]),
)
def test_ids_of_any_kind(
    client: httpx.Client, log: list[str], id: str, rest: str, method: str
) -> None:
    answer = client.request(method, f"/conversations/{quote(id, safe='')}{rest}")

    if method == "HEAD":
        assert answer.status_code < 500
    else:
        check(answer, log)
