"""Whatever comes in: an answer in this protocol's words, with a status below 500."""

import json
import logging
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx2 as httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway import serving
from gateway.fuzzing import REQUESTS
from gateway.serving import acme, desk
from modelbay_gateway.anthropic.surface import SURFACE
from modelbay_gateway.app import SURFACES, Gateway
from pretend import Records

pytestmark = pytest.mark.fuzz

PATHS = ["/v1/messages", "/v1/messages/count_tokens"]
FUZZ = settings(
    max_examples=REQUESTS,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
FIELDS = """
    model max_tokens messages system stream temperature top_p top_k stop_sequences tools
    tool_choice thinking output_config output_format metadata context_management x
"""
NAMES = st.sampled_from(FIELDS.split())
NEARLY: dict[str, Any] = {
    "model": "m",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "hi"}],
}
KINDS = """
    text image document tool_use tool_result thinking redacted_thinking search_result
"""
BLOCK_FIELDS = """
    text source id name input tool_use_id content is_error thinking signature data title
    cache_control
"""
BLOCK = st.builds(
    lambda kind, fields: {"type": kind, **fields},
    st.sampled_from(KINDS.split()) | JUNK,
    st.dictionaries(
        st.sampled_from(BLOCK_FIELDS.split()),
        JUNK
        | st.text(max_size=5)
        | st.just({})
        | st.just({"type": "base64", "data": "AAAA"})
        | st.just({"type": "url", "url": "https://x.test"}),
    ),
)
MESSAGE = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["user", "assistant", "system"]) | JUNK,
    st.lists(BLOCK, max_size=3) | JUNK,
)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    others = [each for each in SURFACES if each.name != SURFACE.name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "Gateway", partial(Gateway, surfaces=(SURFACE, *others)))
        with (
            serving.serve(desk(acme())) as served,
            httpx.Client(base_url=served.base_url) as client,
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
    assert answer.headers["request-id"] == answer.headers["x-request-id"]
    if answer.status_code >= 400:
        body = answer.json()
        assert body["type"] == "error"
        assert body["error"]["type"] in ("invalid_request_error", "not_found_error")
        assert body["error"]["message"]
        assert body["request_id"] == answer.headers["request-id"]
    assert not [line for line in log if "Traceback" in line or line.startswith("ERROR")]


@FUZZ
@given(path=st.sampled_from(PATHS), fields=st.dictionaries(NAMES, JUNK, max_size=4))
def test_fields_of_any_kind(
    client: httpx.Client, log: list[str], path: str, fields: dict[str, Any]
) -> None:
    body = json.dumps({**NEARLY, **fields})

    check(client.post(path, content=body.encode("utf-8", "surrogatepass")), log)


@FUZZ
@given(path=st.sampled_from(PATHS), messages=st.lists(MESSAGE, max_size=3))
def test_messages_of_any_kind(
    client: httpx.Client, log: list[str], path: str, messages: list[dict[str, Any]]
) -> None:
    body = json.dumps({**NEARLY, "messages": messages})

    check(client.post(path, content=body.encode("utf-8", "surrogatepass")), log)


@FUZZ
@given(path=st.sampled_from(PATHS), body=st.binary(max_size=200))
def test_bodies_of_any_bytes(client: httpx.Client, log: list[str], path: str, body: bytes) -> None:
    check(client.post(path, content=body), log)


@FUZZ
@given(
    query=st.dictionaries(
        st.sampled_from(["limit", "after_id", "before_id", "beta"]),
        st.text(st.characters(codec="utf-8"), max_size=8) | st.integers().map(str),
    )
)
def test_queries_of_any_kind(client: httpx.Client, log: list[str], query: dict[str, str]) -> None:
    headers = {"anthropic-version": "2023-06-01"}

    check(client.get("/v1/models", params=query, headers=headers), log)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/messages", 405),
        ("POST", "/v1/messages/batches", 404),
        ("DELETE", "/messages/count_tokens", 405),
    ],
)
def test_what_is_not_there_is_refused_in_these_words(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)

    assert answer.status_code == status
    assert answer.json()["type"] == "error"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_query_and_a_base_of_any_kind_are_passed_over(client: httpx.Client) -> None:
    for path in ("/v1/messages?beta=true", "/messages", "/v1/v1/messages/"):
        assert client.post(path, json=NEARLY).status_code == 200
    assert client.head("/").status_code == 200  # what Claude Code asks first
