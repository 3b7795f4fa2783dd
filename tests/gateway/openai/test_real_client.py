"""The OpenAI Python client, as it is, against the gateway."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import openai
import pytest
from openai.types.chat import ChatCompletionToolParam

from gateway.conftest import Start
from gateway.serving import Served, acme, desk, media
from modelbay.errors import (
    AuthenticationError,
    BackendBusyError,
    BackendError,
    BackendTimeoutError,
    BackendUnreachableError,
    ContextLengthError,
    InvalidRequestError,
    ModelbayError,
    ProtocolError,
    QuotaExceededError,
    RateLimitedError,
    StreamInterruptedError,
)
from modelbay.models.chat import ChatRequest, NamedTool
from modelbay.models.events import (
    Finish,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from modelbay_gateway.client_keys import ClientKeys
from modelbay_gateway.limits import Limits
from modelbay_gateway.security import Access
from pretend import Clock

Client = Callable[..., openai.OpenAI]

WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
ANSWER: list[StreamEvent] = [
    ReasoningDelta("hm"),
    TextDelta("Hel"),
    TextDelta("lo"),
    Usage(7, 2, cached_tokens=3),
    Finish("stop"),
]
CALLS: list[StreamEvent] = [
    ToolCallDelta(0, id="x1", name="weather"),
    ToolCallDelta(0, '{"city":'),
    ToolCallDelta(0, '"Rome"}'),
    ToolCall("x1", "weather", '{"city":"Rome"}', 0),
    ToolCall("x2", "weather", '{"city":"Oslo"}', 1),
    Finish("stop"),
]


@pytest.fixture
def client() -> Iterator[Client]:
    with ExitStack() as stack:

        def client(served: Served, base: str = "/v1", **options: object) -> openai.OpenAI:
            values = {"api_key": "sk-no-key", "max_retries": 0, **options}
            made = openai.OpenAI(base_url=served.base_url + base, **values)  # type: ignore[arg-type]
            stack.callback(made.close)
            return made

        yield client


@pytest.mark.parametrize("base", ["/v1", "/v1/", "", "/v1/v1"])
def test_list_and_retrieve_whatever_the_base(start: Start, client: Client, base: str) -> None:
    ai = client(start(desk(acme(models=["a/b:c", "50%"]))), base)

    assert [model.id for model in ai.models.list()] == ["desk/a/b:c", "desk/50%"]
    for id in ("desk/a/b:c", "a/b:c", "50%"):
        assert ai.models.retrieve(id).id == id
    with pytest.raises(openai.NotFoundError) as caught:
        ai.models.retrieve("nobody")
    assert caught.value.code == "model_not_found"
    assert caught.value.request_id


def test_chat(start: Start, client: Client) -> None:
    ai = client(start(desk(acme(ANSWER))))

    answer = ai.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])

    assert answer.model == "m"
    assert answer._request_id
    [choice] = answer.choices
    assert (choice.message.content, choice.finish_reason) == ("Hello", "stop")
    assert choice.message.model_extra == {"reasoning_content": "hm"}
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (7, 9)


def test_a_stream_of_chunks(start: Start, client: Client) -> None:
    ai = client(start(desk(acme(ANSWER))))

    chunks = list(
        ai.chat.completions.create(
            model="desk/m",
            messages=[{"role": "user", "content": "hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
    )

    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices] == [None] * 4 + ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 9


def test_the_stream_helper_and_tools(start: Start, client: Client) -> None:
    seen: list[ChatRequest] = []
    ai = client(start(desk(acme(CALLS, seen=seen))))

    with ai.chat.completions.stream(
        model="m",
        messages=[{"role": "user", "content": "hi"}],
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "weather"}},
    ) as stream:
        whole = stream.get_final_completion()

    [choice] = whole.choices
    calls = choice.message.tool_calls or []
    assert choice.finish_reason == "tool_calls"
    assert [
        (call.id, call.function.name, call.function.arguments)
        for call in calls
        if call.type == "function"
    ] == [("x1", "weather", '{"city":"Rome"}'), ("x2", "weather", '{"city":"Oslo"}')]
    assert seen[0].tool_choice == NamedTool(name="weather")
    assert [tool.name for tool in seen[0].tools] == ["weather"]


def test_a_whole_round_of_tools(start: Start, client: Client) -> None:
    seen: list[ChatRequest] = []

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        if request.messages[-1].role == "tool":
            yield TextDelta(f"It is {request.messages[-1].text}.")
        else:
            yield ToolCall("call_0", "weather", '{"city":"Rome"}')
        yield Finish("stop")

    ai = client(start(desk(acme(reply, seen=seen))))
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [
        {"role": "user", "content": "Rome?"}
    ]
    first = ai.chat.completions.create(model="m", messages=messages, tools=[WEATHER])
    [call] = first.choices[0].message.tool_calls or []
    second = ai.chat.completions.create(
        model="m",
        messages=[
            *messages,
            first.choices[0].message.to_dict(),  # type: ignore[list-item] # what people do
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ],
    )

    assert second.choices[0].message.content == "It is sunny."
    assert call.id.startswith("call_")
    assert len(call.id) == 29
    assert [message.tool_call_id for message in seen[1].messages] == [None, None, call.id]
    assert seen[1].messages[1].tool_calls == [ToolCall(call.id, "weather", '{"city":"Rome"}')]


def test_unknown_fields_and_flags_arrive(start: Start, client: Client) -> None:
    """S0-03: flags in a header, by which a provider with a sidecar decides (S0-40)."""
    seen: list[ChatRequest] = []
    ai = client(start(desk(acme(seen=seen))))

    ai.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "hi"}],
        extra_body={"min_p": 0.05, "grammar": "root ::= x"},
        extra_headers={"x-agent-flags": "fast, quiet", "x-conversation-id": "c1"},
    )

    assert seen[0].extra == {"min_p": 0.05, "grammar": "root ::= x"}
    assert seen[0].routing == {"fast", "quiet"}


def test_completions(start: Start, client: Client) -> None:
    ai = client(start(desk(media())))

    whole = ai.completions.create(model="m", prompt="once", echo=True)
    pieces = list(ai.completions.create(model="m", prompt="once", stream=True))

    assert (whole.object, whole.choices[0].text) == ("text_completion", "onceONCE")
    assert whole.choices[0].finish_reason == "length"
    assert [piece.choices[0].text for piece in pieces] == ["ONCE", ""]
    assert pieces[-1].choices[0].finish_reason == "length"


@pytest.mark.parametrize("form", [{}, {"encoding_format": "float"}, {"encoding_format": "base64"}])
def test_embeddings(start: Start, client: Client, form: dict[str, str]) -> None:
    ai = client(start(desk(media())))

    found = ai.embeddings.create(model="embed", input=["a", "bcd"], **form)  # type: ignore[arg-type]

    if form == {"encoding_format": "base64"}:
        assert all(isinstance(each.embedding, str) for each in found.data)
    else:
        assert [each.embedding for each in found.data] == [[1.0, 0.5, -1.25], [3.0, 0.5, -1.25]]


def test_token_ids_are_no_text(start: Start, client: Client) -> None:
    ai = client(start(desk(media())))

    with pytest.raises(openai.BadRequestError) as caught:
        ai.embeddings.create(model="embed", input=[[1, 2, 3]])
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "input")


def test_images(start: Start, client: Client) -> None:
    ai = client(start(desk(media())))

    found = ai.images.generate(model="m", prompt="a cat", n=2)
    linked = ai.images.generate(model="m", prompt="a cat", response_format="url")

    assert [image.b64_json for image in found.data or ()] == ["iVBORw0KGgo="] * 2
    assert [image.url for image in linked.data or ()] == ["data:image/png;base64,iVBORw0KGgo="]


def test_rerank(start: Start, client: Client) -> None:
    ai = client(start(desk(media())))
    body = {"model": "m", "query": "q", "documents": ["a", "bcd", "ef"], "top_n": 2}

    found = ai.post("/rerank", cast_to=object, body={**body, "return_documents": True})

    assert isinstance(found, dict)
    assert found["results"] == [
        {"index": 1, "relevance_score": 3.0, "document": {"text": "bcd"}},
        {"index": 2, "relevance_score": 2.0, "document": {"text": "ef"}},
    ]


# --- errors ---------------------------------------------------------------------------------------

ERRORS: list[tuple[ModelbayError, type[openai.APIStatusError], int, str]] = [
    (InvalidRequestError("no"), openai.BadRequestError, 400, "invalid_request"),
    (ContextLengthError("no"), openai.BadRequestError, 400, "context_length_exceeded"),
    (AuthenticationError("no"), openai.InternalServerError, 502, "upstream_auth_failed"),
    (QuotaExceededError("no"), openai.APIStatusError, 402, "insufficient_quota"),
    (RateLimitedError("no"), openai.RateLimitError, 429, "rate_limit_exceeded"),
    (BackendBusyError("no"), openai.InternalServerError, 503, "overloaded"),
    (BackendTimeoutError("no"), openai.InternalServerError, 504, "upstream_timeout"),
    (BackendUnreachableError("no"), openai.InternalServerError, 502, "upstream_unreachable"),
    (ProtocolError("no"), openai.InternalServerError, 502, "upstream_bad_response"),
    (BackendError("no"), openai.InternalServerError, 502, "upstream_bad_response"),
    (StreamInterruptedError("no"), openai.InternalServerError, 502, "upstream_stream_closed"),
]


@pytest.mark.parametrize(
    ("error", "kind", "status", "code"), ERRORS, ids=[error.code for error, *_ in ERRORS]
)
def test_errors_are_those_the_client_knows(
    start: Start,
    client: Client,
    error: ModelbayError,
    kind: type[openai.APIStatusError],
    status: int,
    code: str,
) -> None:
    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        raise error
        yield Finish("stop")

    ai = client(start(desk(acme(reply))))

    for stream in (False, True):
        with pytest.raises(kind) as caught:
            ai.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}], stream=stream
            )
        assert (caught.value.status_code, caught.value.code) == (status, code)
        assert caught.value.request_id
        assert isinstance(caught.value.body, dict)
        assert caught.value.body["provider"] == "desk"


def test_a_failure_in_the_middle_raises(start: Start, client: Client) -> None:
    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield TextDelta("Hel")
        raise StreamInterruptedError("the connection broke off")

    ai = client(start(desk(acme(reply))))
    said: list[str | None] = []

    stream = ai.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    with pytest.raises(openai.APIError, match="the connection broke off"):
        said.extend(chunk.choices[0].delta.content for chunk in stream)

    assert said == ["", "Hel"]


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (RateLimitedError("wait", retry_after_s=0.01), 3),
        (BackendBusyError("loading", retry_after_s=0.01), 3),
        (QuotaExceededError("used up"), 1),
        (AuthenticationError("the upstream key is wrong"), 1),
    ],
    ids=lambda value: getattr(value, "code", str(value)),
)
def test_the_client_tries_again_when_it_helps_and_not_otherwise(
    start: Start, client: Client, error: ModelbayError, asked: int
) -> None:
    seen: list[ChatRequest] = []

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        if len(seen) < 3:
            raise error
        yield Finish("stop")

    ai = client(start(desk(acme(reply, seen=seen))), max_retries=2)

    try:
        ai.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    except openai.APIStatusError:
        assert asked == 1
    assert len(seen) == asked


def test_a_wrong_key(start: Start, client: Client, tmp_path: object) -> None:
    from pathlib import Path

    assert isinstance(tmp_path, Path)
    keys = ClientKeys(tmp_path / "keys.json", clock=Clock())
    secret = keys.add("laptop", ["chat"], now=0)
    served = start(desk(acme()), access=Access(keys=keys))

    with pytest.raises(openai.AuthenticationError) as caught:
        client(served, api_key="wrong").models.list()
    assert caught.value.code == "invalid_api_key"
    assert [model.id for model in client(served, api_key=secret).models.list()] == ["desk/m"]


def test_too_large_and_too_many(start: Start, client: Client) -> None:
    gate = threading.Event()

    async def reply(request: ChatRequest) -> AsyncIterator[StreamEvent]:
        yield TextDelta("one")
        await asyncio.to_thread(gate.wait, 30)
        yield Finish("stop")

    limits = Limits(body_bytes=10_000, active=1, waiting=0)
    ai = client(start(desk(acme(reply)), limits=limits))

    with pytest.raises(openai.APIStatusError) as caught:
        ai.chat.completions.create(model="m", messages=[{"role": "user", "content": "x" * 10_000}])
    assert (caught.value.status_code, caught.value.code) == (413, "request_too_large")

    stream = ai.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    next(iter(stream))
    with pytest.raises(openai.InternalServerError) as refused:
        ai.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert (refused.value.status_code, refused.value.response.headers["retry-after"]) == (503, "5")
    gate.set()
    assert [chunk.choices[0].finish_reason for chunk in stream][-1] == "stop"


def test_the_answer_says_under_which_name_it_was_asked(start: Start, client: Client) -> None:
    """S0-55: a ref is never written in another form for those outside."""
    ai = client(start(desk(acme(models=["a/b:c"]))))
    for id in ("desk/a/b:c", "a/b:c"):
        answer = ai.chat.completions.with_raw_response.create(
            model=id, messages=[{"role": "user", "content": "hi"}]
        )
        assert json.loads(answer.text)["model"] == id
        assert answer.headers["x-modelbay-model"] == "desk/a/b:c"


def test_long_lines_odd_line_ends_and_every_character_arrive(start: Start, client: Client) -> None:
    pieces = [
        "x" * (1 << 20),
        "a\u2028b\u2029c\x85d\r\ne\n\nf",
        "\U0001f98a\x00\x7f",
        "data: [DONE]\n\n",
    ]
    events: list[StreamEvent] = [TextDelta(piece) for piece in pieces]
    ai = client(start(desk(acme([*events, Finish("stop")]))))

    stream = ai.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hi"}], stream=True
    )

    said = [chunk.choices[0].delta.content for chunk in stream]
    assert said == ["", *pieces, None]
