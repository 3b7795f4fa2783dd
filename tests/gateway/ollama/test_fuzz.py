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
from gateway.serving import desk, media
from modelbay_gateway.app import SURFACES, Gateway
from modelbay_gateway.ollama.surface import SURFACE
from pretend import Records

pytestmark = pytest.mark.fuzz

PATHS = ["/api/chat", "/api/generate", "/api/embed", "/api/embeddings", "/api/show"]
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
    model name messages stream tools format options keep_alive think truncate shift logprobs
    prompt suffix system template raw context images input dimensions x
"""
OPTIONS = """
    temperature top_p top_k seed stop num_predict num_ctx repeat_penalty min_p x
"""
NEARLY: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "hi"}],
    "prompt": "p",
    "input": "i",
}
MESSAGE = st.dictionaries(
    st.sampled_from(
        ["role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id", "x"]
    ),
    st.sampled_from(["user", "assistant", "tool", "system", "AAAA"])
    | JUNK
    | st.lists(
        st.dictionaries(
            st.sampled_from(["id", "function"]),
            JUNK | st.fixed_dictionaries({"name": st.just("f"), "arguments": JUNK}),
        ),
        max_size=3,
    ),
)


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    others = [each for each in SURFACES if each.name != SURFACE.name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "Gateway", partial(Gateway, surfaces=(SURFACE, *others)))
        with (
            serving.serve(desk(media())) as served,
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
    if answer.status_code >= 400:
        [(name, text)] = answer.json().items()
        assert name == "error"
        assert isinstance(text, str)
        assert text
    assert not [line for line in log if "Traceback" in line or line.startswith("ERROR")]


@FUZZ
@given(path=st.sampled_from(PATHS), fields=st.dictionaries(st.sampled_from(FIELDS.split()), JUNK))
def test_fields_of_any_kind(
    client: httpx.Client, log: list[str], path: str, fields: dict[str, Any]
) -> None:
    body = json.dumps({**NEARLY, **fields})

    check(client.post(path, content=body.encode("utf-8", "surrogatepass")), log)


@FUZZ
@given(
    path=st.sampled_from(PATHS),
    options=st.dictionaries(st.sampled_from(OPTIONS.split()), JUNK, max_size=3),
)
def test_options_of_any_kind(
    client: httpx.Client, log: list[str], path: str, options: dict[str, Any]
) -> None:
    body = json.dumps({**NEARLY, "options": options})

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


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/chat", 405),
        ("POST", "/api/tags", 405),
        ("POST", "/api/chat/nowhere", 404),
        ("POST", "/api/blobs/sha256:00", 400),
        ("POST", "/api/show", 400),
    ],
)
def test_what_is_not_there_is_refused_in_these_words(
    client: httpx.Client, log: list[str], method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)

    assert answer.status_code == status
    check(answer, log)
