"""Whatever comes in: an answer of ours, with a status below 500, and no traceback."""

import json
import logging
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx2 as httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.fuzzing import REQUESTS
from gateway.serving import desk, media, serve
from pretend import Records

pytestmark = pytest.mark.fuzz

PATHS = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/images/generations",
    "/v1/rerank",
]
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
    model messages stream stream_options temperature top_p top_k max_tokens stop seed n tools
    tool_choice response_format reasoning_effort reasoning prompt suffix input encoding_format
    dimensions size query documents top_n logprobs functions modalities conversation_id persist x
"""
NAMES = st.sampled_from(FIELDS.split())
NEARLY: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "hi"}],
    "prompt": "p",
    "input": "i",
    "query": "q",
    "documents": ["d"],
}
MESSAGE = st.dictionaries(
    st.sampled_from(
        ["role", "content", "tool_calls", "tool_call_id", "name", "reasoning", "refusal", "x"]
    ),
    st.sampled_from(["user", "assistant", "tool", "system", "text", "image_url"])
    | JUNK
    | st.lists(
        st.dictionaries(
            st.sampled_from(
                ["type", "text", "image_url", "input_audio", "file", "id", "function", "refusal"]
            ),
            st.sampled_from(["text", "image_url", "input_audio", "file", "function", "refusal"])
            | JUNK,
        ),
        max_size=3,
    ),
)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with serve(desk(media())) as served, httpx.Client(base_url=served.base_url) as client:
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
    assert not [line for line in log if "Traceback" in line or line.startswith("ERROR")]


@FUZZ
@given(path=st.sampled_from(PATHS), fields=st.dictionaries(NAMES, JUNK, max_size=4))
def test_fields_of_any_kind(
    client: httpx.Client, log: list[str], path: str, fields: dict[str, Any]
) -> None:
    body = json.dumps({**NEARLY, **fields})

    check(client.post(path, content=body.encode("utf-8", "surrogatepass")), log)


@FUZZ
@given(messages=st.lists(MESSAGE, max_size=3))
def test_messages_of_any_kind(
    client: httpx.Client, log: list[str], messages: list[dict[str, Any]]
) -> None:
    body = json.dumps({**NEARLY, "messages": messages})

    check(client.post(PATHS[0], content=body.encode("utf-8", "surrogatepass")), log)


@FUZZ
@given(path=st.sampled_from(PATHS), body=st.binary(max_size=200))
def test_bodies_of_any_bytes(client: httpx.Client, log: list[str], path: str, body: bytes) -> None:
    check(client.post(path, content=body), log)


HEADERS = """
    host origin content-length content-encoding authorization x-api-key api-key x-agent-flags
    x-conversation-id expect accept access-control-request-headers transfer-encoding cookie
"""
VALUE = st.binary(max_size=60) | st.sampled_from(
    [b"100-continue", b"gzip", b"localhost", b"http://localhost", b"a,b,,c", b"-1", b"chunked"]
)


@FUZZ
@given(
    method=st.sampled_from([b"GET", b"POST", b"OPTIONS", b"PUT", b"HEAD", b"get"]),
    path=st.sampled_from([*PATHS, "/v1/models", "/v1/models/m", "/", "/health"]),
    headers=st.lists(st.tuples(st.sampled_from(HEADERS.split()), VALUE), max_size=4),
)
def test_headers_of_any_bytes(
    client: httpx.Client,
    log: list[str],
    method: bytes,
    path: str,
    headers: list[tuple[str, bytes]],
) -> None:
    head = b"%b %b HTTP/1.1\r\nConnection: close\r\n" % (method, path.encode())
    head += b"".join(b"%b: %b\r\n" % (name.encode(), value) for name, value in headers)
    address = (client.base_url.host, client.base_url.port)

    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(head + b"\r\n")
        if {name for name, _ in headers} & {"content-length", "transfer-encoding", "expect"}:
            connection.shutdown(socket.SHUT_WR)  # else it waits for a body, and rightly
        answer = _all(connection)

    assert not answer or re.match(rb"HTTP/1\.1 [1234]\d\d ", answer), answer[:300]
    assert not [line for line in log if "Traceback" in line or line.startswith("ERROR")]


def _all(connection: socket.socket) -> bytes:
    answer = b""
    try:
        while part := connection.recv(65536):
            answer += part
    except ConnectionResetError:
        pass  # it was closed before all that we had sent was read
    return answer


@FUZZ
@given(path=st.text(st.characters(codec="utf-8"), max_size=40))
def test_paths_of_any_kind(client: httpx.Client, log: list[str], path: str) -> None:
    check(client.get(f"/v1/models/{quote(path, safe='/:%')}"), log)
