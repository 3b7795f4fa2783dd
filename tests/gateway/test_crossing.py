"""What a server says in unusual ways, by the words of each of the three protocols."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import anthropic
import httpx2 as httpx
import ollama
import openai
import pytest

import modelbay_openai.plugin
import pretend
from gateway.serving import acme, desk, serve
from modelbay.models.chat import ChatRequest, ImagePart
from modelbay.models.events import (
    Finish,
    Notice,
    Status,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)
from modelbay.testing.fault import Fault
from modelbay_openai.simulator import OpenAISimulator, SimulatedModel

Json = dict[str, Any]

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
NATIVE = "/api/chat"
PATHS = (CHAT, MESSAGES, NATIVE)
HI: list[Any] = [{"role": "user", "content": "hi"}]


class Bench:
    """A simulated server, and a client of each protocol before it."""

    def __init__(self, stack: ExitStack) -> None:
        self.lab = stack.enter_context(OpenAISimulator([SimulatedModel("m")], "vllm"))
        config = pretend.config("lab", "openai", baseUrl=self.lab.address)
        served = stack.enter_context(serve(pretend.host([config], openai=modelbay_openai.plugin)))
        url = served.base_url
        self.raw = stack.enter_context(httpx.Client(base_url=url, timeout=30))
        self.openai = stack.enter_context(
            openai.OpenAI(base_url=f"{url}/v1", api_key="sk-no-key", max_retries=0)
        )
        self.anthropic = stack.enter_context(
            anthropic.Anthropic(base_url=url, api_key="sk-no-key", max_retries=0)
        )
        self.ollama = stack.enter_context(ollama.Client(url, timeout=30, trust_env=False))

    def answers(self, *chunks: Json) -> None:
        """The next answer is a stream of these."""
        data = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
        self._inject("text/event-stream", f"{data}data: [DONE]\n\n")

    def answers_whole(self, choice: Json) -> None:
        """The next answer is this one, not streamed."""
        self._inject("application/json", json.dumps({"model": "m", "choices": [choice]}))

    def _inject(self, kind: str, body: str) -> None:
        self.lab.inject(
            Fault(status=200, content_type=kind, body=body.encode()), path=CHAT, times=1
        )

    def openai_stream(self) -> Json:
        """The message that the SDK puts together, and its finish reason."""
        with self.openai.chat.completions.stream(model="m", messages=HI) as stream:
            [choice] = stream.get_final_completion().choices
        return _of_openai(choice)

    def openai_whole(self) -> Json:
        [choice] = self.openai.chat.completions.create(model="m", messages=HI).choices
        return _of_openai(choice)

    def anthropic_stream(self) -> Json:
        with self.anthropic.messages.stream(model="m", messages=HI, max_tokens=9) as stream:
            return _of_anthropic(stream.get_final_message())

    def anthropic_whole(self) -> Json:
        found = self.anthropic.messages.create(model="m", messages=HI, max_tokens=9)
        return _of_anthropic(found)

    def ollama_stream(self) -> Json:
        parts = list(self.ollama.chat(model="m", messages=HI, stream=True))
        return _of_ollama(parts)

    def ollama_whole(self) -> Json:
        return _of_ollama([self.ollama.chat(model="m", messages=HI)])


def _of_openai(choice: Any) -> Json:
    message = choice.message
    calls = [(call.function.name, call.function.arguments) for call in message.tool_calls or ()]
    return {
        "content": message.content or "",
        "refusal": message.refusal,
        "calls": calls,
        "reason": choice.finish_reason,
    }


def _of_anthropic(message: anthropic.types.Message) -> Json:
    content: list[Any] = []
    for block in message.content:
        if block.type == "text":
            content.append(block.text)
        elif block.type == "tool_use":
            content.append((block.name, block.input))
    return {"content": content, "reason": message.stop_reason}


def _of_ollama(parts: Sequence[ollama.ChatResponse]) -> Json:
    calls = [call for part in parts for call in part.message.tool_calls or ()]
    return {
        "content": "".join(part.message.content or "" for part in parts),
        "calls": [(call.function.name, dict(call.function.arguments)) for call in calls],
        "reason": parts[-1].done_reason,
    }


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(stack)


def chunk(finish: str | None = None, **delta: object) -> Json:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}


# --- a refusal ------------------------------------------------------------------------------------

REFUSED = (
    {"content": "", "refusal": "I won't", "calls": [], "reason": "stop"},
    {"content": ["I won't"], "reason": "refusal"},
    {"content": "I won't", "calls": [], "reason": "stop"},
)


def test_a_streamed_refusal_stays_one(bench: Bench) -> None:
    said = []
    for read in (bench.openai_stream, bench.anthropic_stream, bench.ollama_stream):
        bench.answers(chunk(refusal="I "), chunk(refusal="won't"), chunk("stop"))
        said.append(read())

    assert tuple(said) == REFUSED


def test_a_whole_refusal_stays_one(bench: Bench) -> None:
    said = []
    message = {"role": "assistant", "content": None, "refusal": "I won't"}
    for read in (bench.openai_whole, bench.anthropic_whole, bench.ollama_whole):
        bench.answers_whole({"index": 0, "message": message, "finish_reason": "stop"})
        said.append(read())

    assert tuple(said) == REFUSED


def test_a_refusal_goes_back_to_the_server(bench: Bench) -> None:
    """This server has no field for it, so it goes as what the assistant said."""
    refused = {"role": "assistant", "content": None, "refusal": "I won't"}
    asked = {"model": "m", "messages": [*HI, refused, *HI]}

    answer = bench.raw.post(CHAT, json=asked)

    assert answer.status_code == 200, answer.text
    sent = json.loads(bench.lab.requests[-1].body)["messages"]
    assert sent == [*HI, {"role": "assistant", "content": "I won't"}, *HI]


# --- the older form of a call ---------------------------------------------------------------------

CALLED = (
    {
        "content": "",
        "refusal": None,
        "calls": [("weather", '{"city":"Rome"}')],
        "reason": "tool_calls",
    },
    {"content": [("weather", {"city": "Rome"})], "reason": "tool_use"},
    {"content": "", "calls": [("weather", {"city": "Rome"})], "reason": "stop"},
)


def test_a_streamed_call_of_the_older_form_is_a_call(bench: Bench) -> None:
    said = []
    for read in (bench.openai_stream, bench.anthropic_stream, bench.ollama_stream):
        bench.answers(
            chunk(function_call={"name": "weather", "arguments": ""}),
            chunk(function_call={"arguments": '{"city":'}),
            chunk(function_call={"arguments": '"Rome"}'}),
            chunk("function_call"),
        )
        said.append(read())

    assert tuple(said) == CALLED


def test_a_whole_call_of_the_older_form_is_a_call(bench: Bench) -> None:
    said = []
    called = {"name": "weather", "arguments": '{"city":"Rome"}'}
    message = {"role": "assistant", "content": None, "function_call": called}
    for read in (bench.openai_whole, bench.anthropic_whole, bench.ollama_whole):
        bench.answers_whole({"index": 0, "message": message, "finish_reason": "function_call"})
        said.append(read())

    assert tuple(said) == CALLED


# --- a call that the limit cut off ----------------------------------------------------------------

HALF = '{"city":"Ro'


def half(bench: Bench) -> None:
    call = {"index": 0, "id": "c1", "function": {"name": "weather", "arguments": HALF}}
    bench.answers(chunk(content="Let me see."), chunk(tool_calls=[call]), chunk("length"))


def half_whole(bench: Bench) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": HALF}}
    message = {"role": "assistant", "content": "Let me see.", "tool_calls": [call]}
    bench.answers_whole({"index": 0, "message": message, "finish_reason": "length"})


def test_half_a_call_reaches_openais_clients_as_it_came(bench: Bench) -> None:
    half(bench)
    with pytest.raises(openai.LengthFinishReasonError) as caught:
        bench.openai_stream()
    [streamed] = caught.value.completion.choices
    half_whole(bench)

    wanted = {
        "content": "Let me see.",
        "refusal": None,
        "calls": [("weather", HALF)],
        "reason": "length",
    }
    assert _of_openai(streamed) == wanted
    assert bench.openai_whole() == wanted


def test_half_a_call_is_no_whole_one_for_anthropics_clients(bench: Bench) -> None:
    half(bench)
    streamed = bench.anthropic_stream()
    half(bench)
    asked = {"model": "m", "messages": HI, "max_tokens": 9}
    raw = bench.raw.post(MESSAGES, json={**asked, "stream": True}).text
    half_whole(bench)
    whole = bench.raw.post(MESSAGES, json=asked).json()

    # What the SDK makes of the pieces; the stop reason says that it is not to be called.
    assert streamed == {
        "content": ["Let me see.", ("weather", {})],
        "reason": "max_tokens",
    }
    assert json.dumps(HALF) in raw
    assert whole["content"] == [{"type": "text", "text": "Let me see."}]
    assert whole["stop_reason"] == "max_tokens"
    assert [each["code"] for each in whole["modelbay"]["notices"]] == ["incomplete_tool_call"]


def test_half_a_call_is_none_for_ollamas_clients(bench: Bench) -> None:
    said = []
    for read, prepare in ((bench.ollama_stream, half), (bench.ollama_whole, half_whole)):
        prepare(bench)
        said.append(read())

    assert said == [{"content": "Let me see.", "calls": [], "reason": "length"}] * 2


# --- an answer that ends with an error ------------------------------------------------------------

ENDED = "the server ended its answer with an error"


@pytest.mark.parametrize(
    ("error", "message"), [({}, ENDED), ({"error": {"code": 500, "message": "hot"}}, "hot")]
)
def test_a_finish_reason_of_an_error_is_an_error(bench: Bench, error: Json, message: str) -> None:
    for path in PATHS:
        asked = {"model": "m", "messages": HI, "max_tokens": 9}
        failed = chunk("error")
        failed["choices"][0].update(error)
        bench.answers(failed)
        at_once = bench.raw.post(path, json={**asked, "stream": True})
        bench.answers(chunk(content="so f"), failed)
        later = bench.raw.post(path, json={**asked, "stream": True})
        bench.answers_whole({"message": {"content": "x"}, "finish_reason": "error", **error})
        whole = bench.raw.post(path, json={**asked, "stream": False})

        assert (at_once.status_code, whole.status_code) == (502, 502), path
        assert all(message in answer.text for answer in (at_once, later, whole)), path
        assert "so f" in later.text
        assert not any(word in later.text for word in ('"done":true', "message_stop", '"stop"'))


def test_a_plugin_that_finishes_with_an_error_has_failed() -> None:
    events: list[StreamEvent] = [TextDelta("so f"), Finish("error")]
    with serve(desk(acme(events))) as served, httpx.Client(base_url=served.base_url) as client:
        for path in PATHS:
            asked = {"model": "m", "messages": HI, "max_tokens": 9}
            streamed = client.post(path, json={**asked, "stream": True})
            whole = client.post(path, json={**asked, "stream": False})

            assert streamed.status_code == 200
            assert ENDED in streamed.text
            assert not any(word in streamed.text for word in ('"done":true', "message_stop"))
            assert (whole.status_code, ENDED in whole.text) == (502, True)


# --- images that tools give -----------------------------------------------------------------------

PNG = "iVBORw0KGgo="
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
LOOKED: dict[str, list[Any]] = {
    CHAT: [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {
            "role": "tool",
            "tool_call_id": "c1",
            "content": [
                {"type": "text", "text": "a cat"},
                {
                    "type": "image_url",
                    "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"},
                },
            ],
        },
    ],
    MESSAGES: [
        *HI,
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "c1", "name": "look", "input": {}}],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "c1",
                    "content": [
                        {"type": "text", "text": "a cat"},
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                        },
                    ],
                }
            ],
        },
    ],
    NATIVE: [
        *HI,
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "function": {"name": "look", "arguments": {}}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "a cat", "images": [PNG]},
    ],
}


@pytest.mark.parametrize("path", PATHS)
def test_an_image_that_a_tool_gave_reaches_the_provider(path: str) -> None:
    seen: list[ChatRequest] = []
    asked: Json = {"model": "m", "messages": LOOKED[path]}
    if path == MESSAGES:
        asked["max_tokens"] = 9
    with serve(desk(acme(seen=seen))) as served:
        answer = httpx.post(f"{served.base_url}{path}", json={**asked, "stream": False})

    assert answer.status_code == 200, answer.text
    assert "x-modelbay-notices" not in answer.headers
    [request] = seen
    result = request.messages[-1]
    assert (result.role, result.tool_call_id, result.text) == ("tool", "c1", "a cat")
    assert not isinstance(result.content, str)
    detail = "low" if path == CHAT else None
    assert ImagePart(data=PNG, detail=detail) in result.content


@pytest.mark.parametrize("path", PATHS)
def test_an_image_that_a_tool_gave_reaches_the_server(bench: Bench, path: str) -> None:
    asked = {"model": "m", "max_tokens": 9, "messages": LOOKED[path], "stream": False}
    answer = bench.raw.post(path, json=asked)

    assert answer.status_code == 200, answer.text
    sent = json.loads(bench.lab.requests[-1].body)["messages"][-1]
    image: Json = {"url": f"data:image/png;base64,{PNG}"}
    if path == CHAT:
        image["detail"] = "low"
    assert (sent["role"], sent["tool_call_id"]) == ("tool", "c1")
    assert {"type": "image_url", "image_url": image} in sent["content"]


# --- control characters ---------------------------------------------------------------------------

# Ends a header, an event, a line of a comment, and what some clients take for the end of a line.
NASTY = 'x\r\nset-cookie: a=b\r\n\r\n\ndata: {"choices":[]}\n\n\x00\x1b\x7f\x85\u2028é'


async def _nasty(request: ChatRequest) -> Any:
    yield Notice("odd", NASTY)
    yield Status("loading", 0.5, NASTY)
    yield TextDelta(NASTY)
    yield ToolCallDelta(0, '{"a":', NASTY, NASTY)
    yield ToolCall(NASTY, NASTY, '{"a":1}', 0)
    yield Finish("tool_calls", raw_reason=NASTY, model=NASTY, response_id=NASTY, endpoint=NASTY)


def _frames(path: str, text: str) -> list[Json]:
    """Every line but the empty ones is a comment, a name, or one whole JSON object."""
    found = []
    for line in text.split("\n"):
        assert "\r" not in line
        assert not any(mark in line for mark in "\u2028\x85")
        if path == NATIVE and line:
            found.append(json.loads(line))
        elif line.startswith("data: ") and line != "data: [DONE]":
            found.append(json.loads(line[6:]))
        else:
            assert path == NATIVE or not line or line.startswith((": ", "event: ", "data: [DONE]"))
    return found


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [True, False])
def test_control_characters_split_no_header_and_no_frame(path: str, stream: bool) -> None:
    asked = {"model": NASTY, "messages": HI, "max_tokens": 9, "stream": stream}
    with serve(desk(acme(_nasty, models=[NASTY]))) as served:
        answer = httpx.post(f"{served.base_url}{path}", json=asked)

    assert answer.status_code == 200, answer.text
    assert "set-cookie" not in answer.headers
    assert all(" " <= c <= "~" for value in answer.headers.values() for c in value)
    bodies = _frames(path, answer.text) if stream else [answer.json()]
    text = json.dumps(bodies, ensure_ascii=False)
    assert (
        text.count(json.dumps(NASTY, ensure_ascii=False)) >= 3
    )  # the model, the text, the call's name
    if path == CHAT:
        choices = [choice for body in bodies for choice in body["choices"]]
        said = [choice.get("delta") or choice.get("message") or {} for choice in choices]
        called = [call for each in said for call in each.get("tool_calls", ())]
        assert (called[0]["id"], called[0]["function"]["name"]) == (NASTY, NASTY)


@pytest.mark.parametrize("path", PATHS)
def test_an_unknown_model_with_control_characters_is_refused_in_one_piece(path: str) -> None:
    asked = {"model": NASTY, "messages": HI, "max_tokens": 9}
    with serve(desk(acme())) as served:
        answer = httpx.post(f"{served.base_url}{path}", json=asked)

    assert answer.status_code == 404
    assert "set-cookie" not in answer.headers
    assert all(" " <= c <= "~" for value in answer.headers.values() for c in value)
    assert "error" in answer.json()


@pytest.mark.parametrize("path", PATHS)
def test_a_call_with_control_characters_goes_back_to_the_provider_whole(path: str) -> None:
    seen: list[ChatRequest] = []
    messages = json.loads(json.dumps(LOOKED[path]).replace('"c1"', json.dumps(NASTY)))
    with serve(desk(acme(seen=seen))) as served:
        answer = httpx.post(
            f"{served.base_url}{path}",
            json={"model": "m", "messages": messages, "max_tokens": 9, "stream": False},
        )

    assert answer.status_code == 200, answer.text
    [request] = seen
    assert request.messages[-1].tool_call_id == NASTY
    assert request.messages[-2].tool_calls == [ToolCall(NASTY, "look", "{}")]
