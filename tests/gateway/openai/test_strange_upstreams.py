"""What servers send in strange shapes, as the OpenAI client sees it through the gateway."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx2 as httpx
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

import modelbay_openai.plugin
import pretend
from gateway.serving import serve
from modelbay.testing.fault import Fault
from modelbay_openai.simulator import Knobs, OpenAISimulator, SimulatedModel

SECRET = "sk-planted-upstream-secret-0123456789"
TOLD = f"no such thing at http://sam:{SECRET}@desk/ for {SECRET}"
SHOWN = "no such thing at http://sam:***@desk/ for ***"
PATH = "/v1/chat/completions"
CHAT = {"model": "lab/m", "messages": [{"role": "user", "content": "hi"}]}
LONG = "x" * (1 << 20)
ODD = "a\u2028b\u2029c\x85d\U0001f98a\u00e9 e"

JSON = "application/json"
SSE = "text/event-stream"


class Desk:
    """A simulated server, and clients of the gateway before it."""

    def __init__(self, stack: ExitStack) -> None:
        self.lab = stack.enter_context(
            OpenAISimulator(
                [
                    SimulatedModel("m", answer="one two three four"),
                    SimulatedModel("odd", answer=ODD),
                ],
                "vllm",
                key=SECRET,
            )
        )
        config = pretend.config("lab", "openai", baseUrl=self.lab.address, apiKey=SECRET)
        served = stack.enter_context(serve(pretend.host([config], openai=modelbay_openai.plugin)))
        self.raw = stack.enter_context(httpx.Client(base_url=served.base_url, timeout=30))
        self.ai = stack.enter_context(
            openai.OpenAI(base_url=f"{served.base_url}/v1", api_key="sk-no-key", max_retries=0)
        )

    def said(self, model: str) -> str:
        chunks = self.ai.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "hi"}], stream=True
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(stack)


# --- errors ---------------------------------------------------------------------------------------

REFUSED = (400, "invalid_request_error", "invalid_request", False)
BAD = (502, "upstream_error", "upstream_bad_response", False)
CLOSED = (502, "upstream_error", "upstream_stream_closed", True)
SHAPES: dict[str, tuple[int, str, str, tuple[int, str, str, bool]]] = {
    "object": (400, JSON, json.dumps({"error": {"message": TOLD, "code": 17}}), REFUSED),
    "text in an object": (500, JSON, json.dumps({"error": TOLD}), BAD),
    "page of a proxy": (502, "text/html", f"<html><body><h1>{TOLD}</h1></body></html>", BAD),
    "plain text": (500, "text/plain", TOLD, BAD),
    "detail": (400, JSON, json.dumps({"detail": TOLD}), REFUSED),
    "details": (
        *(422, JSON, json.dumps({"detail": [{"loc": ["body"], "msg": TOLD}]})),
        (422, *REFUSED[1:]),
    ),
    "Anthropic's": (
        *(529, JSON, json.dumps({"type": "error", "error": {"type": "x", "message": TOLD}})),
        (503, "server_error", "overloaded", True),
    ),
    "message": (400, JSON, json.dumps({"message": TOLD}), REFUSED),
    "list": (400, JSON, json.dumps([{"error": {"message": TOLD}}]), REFUSED),
    "event": (200, SSE, f"data: {json.dumps({'error': {'message': TOLD}})}\n\n", BAD),
    "named event": (200, SSE, f"event: error\ndata: {json.dumps({'error': TOLD})}\n\n", BAD),
    "field of an event": (200, SSE, f"error: {json.dumps({'message': TOLD})}\n\n", CLOSED),
    "answer": (200, JSON, json.dumps({"error": {"message": TOLD}}), BAD),
    "wrong key": (
        *(401, JSON, json.dumps({"error": {"message": TOLD}})),
        (502, "upstream_error", "upstream_auth_failed", False),
    ),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_an_error_of_any_shape_is_one_of_ours_and_shows_no_secret(
    desk: Desk, shape: str, stream: bool
) -> None:
    status, kind, body, (shown, type, code, is_retryable) = SHAPES[shape]
    desk.lab.inject(Fault(status=status, body=body.encode(), content_type=kind), path=PATH, times=1)

    answer = desk.raw.post(PATH, json={**CHAT, "stream": stream})
    error = answer.json()["error"]

    assert SHOWN in error.pop("message")
    error.pop("hint", None)
    assert (answer.status_code, error) == (
        shown,
        {
            "type": type,
            "param": None,
            "code": code,
            "provider": "lab",
            "model": "lab/m",
            "retryable": is_retryable,
            "request_id": answer.headers["x-request-id"],
        },
    )
    assert answer.headers["x-should-retry"] == str(is_retryable).lower()
    assert "planted" not in f"{answer.text} {answer.headers}"


@pytest.mark.parametrize(
    "knobs", [{"fail_after": 2}, {"cut_after": 2}, {"silent_end": True}], ids=str
)
def test_a_stream_that_ends_badly_raises_after_what_came(desk: Desk, knobs: dict[str, Any]) -> None:
    desk.lab.knobs = Knobs(**knobs)
    said: list[str] = []
    try:
        stream = desk.ai.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        with pytest.raises(openai.APIError) as caught:
            said.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    finally:
        desk.lab.knobs = Knobs()

    whole = "one two three four"
    text = "".join(said)
    assert caught.value.code == "upstream_stream_closed"
    assert text
    assert (text == whole) if "silent_end" in knobs else whole.startswith(text) and text != whole


# --- what must arrive as it is --------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_characters_survive_wherever_the_server_cuts_its_bytes(desk: Desk, size: int) -> None:
    desk.lab.inject(Fault(rechunk_bytes=size), path=PATH, times=1)

    assert desk.said("odd") == ODD


def test_a_line_of_a_megabyte_arrives_in_pieces_of_any_size(desk: Desk) -> None:
    delta = {"index": 0, "delta": {"content": LONG}, "finish_reason": "stop"}
    chunk = {"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [delta]}
    body = f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()
    for size in (4093, 65_521):
        fault = Fault(status=200, content_type=SSE, body=body, rechunk_bytes=size)
        desk.lab.inject(fault, path=PATH, times=1)

        assert desk.said("m") == LONG


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=60)
@given(fields=st.dictionaries(st.from_regex(r"x_[a-z]{1,6}", fullmatch=True), values, max_size=4))
def test_every_unknown_field_reaches_the_server_unchanged(
    desk: Desk, fields: dict[str, Any]
) -> None:
    answer = desk.raw.post(PATH, json={**CHAT, **fields})

    assert answer.status_code == 200, answer.text
    sent = json.loads(desk.lab.requests[-1].body)
    given = {name: value for name, value in fields.items() if value is not None}  # null is absent
    assert json.dumps({name: sent.get(name) for name in given}) == json.dumps(given)


def test_an_answer_in_a_shape_is_parsed_by_the_client(desk: Desk) -> None:
    class Forecast(BaseModel):
        city: str
        degrees: int

    answer = desk.ai.chat.completions.parse(
        model="m", messages=[{"role": "user", "content": "hi"}], response_format=Forecast
    )

    assert answer.choices[0].message.parsed == Forecast(city="", degrees=0)
    form = json.loads(desk.lab.requests[-1].body)["response_format"]["json_schema"]
    assert (form["name"], form["strict"]) == ("Forecast", True)
    assert form["schema"]["required"] == ["city", "degrees"]
