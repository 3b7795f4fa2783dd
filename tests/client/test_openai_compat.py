"""Mirrors modelbay/client/openai_compat.py: whole streams over real sockets."""

import asyncio
import json

import anyio
import pytest

from modelbay.client.openai_compat import complete, embed, rerank, stream_chat
from modelbay.closing import closing
from modelbay.context import ProviderContext
from modelbay.errors import (
    BackendBusyError,
    BackendError,
    ModelNotFoundError,
    ProtocolError,
    StreamInterruptedError,
    UnsupportedFeatureError,
)
from modelbay.host.backend import Backend
from modelbay.models.catalog import ModelInfo
from modelbay.models.chat import ChatRequest
from modelbay.models.events import (
    Finish,
    Notice,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from modelbay.models.media import (
    CompleteRequest,
    EmbedRequest,
    EmbedResult,
    RankedDocument,
    RerankRequest,
    RerankResult,
)
from modelbay.testing.simulator import Exchange, Fault, Simulator
from modelbay.wire.errors import ErrorBody
from modelbay.wire.openai_chat import Dialect
from pretend import chat, lent, manager, model, plugin

pytestmark = pytest.mark.anyio

# One answer as it was recorded, with its separators raw, and what it means.
STREAM = (
    b': ping\n\ndata: {"id":"c","model":"m","choices":[{"index":0,"delta":{"role":"assistant",'
    b'"content":null}}]}\n\n'
    b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}\n\n'
    b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"one\xe2\x80\xa8"}}]}'
    b'\r\n\r\ndata: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"two"}}]}\n\n'
    b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"c","model":"m","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}'
    b"\n\ndata: [DONE]\n\n"
)
EVENTS: list[StreamEvent] = [
    ReasoningDelta("hm"),
    TextDelta("one\u2028"),
    TextDelta("two"),
    Usage(7, 2),
    Finish("stop", model="m", response_id="c"),
]
# The answer is whole as soon as its finish reason is there.
WHOLE = STREAM.index(b'"stop"}]}') + len(b'"stop"}]}')
FIRST_TEXT = STREAM.index(b"\n", STREAM.index(b"\xe2\x80\xa8")) + 3  # the event's blank line too
SECOND_TEXT = STREAM.index(b"\n\n", STREAM.index(b"two")) + 2


def serves(
    sim: Simulator,
    body: bytes,
    *,
    content_type: str = "text/event-stream",
    chunked: bool = True,
    path: str = "/v1/chat/completions",
) -> None:
    @sim.route("POST", path)
    async def route(exchange: Exchange) -> None:
        await exchange.start_stream(content_type, chunked)
        await exchange.raw(body)


async def events(
    provider: ProviderContext, dialect: Dialect | None = None, **fields: object
) -> list[StreamEvent]:
    stream = stream_chat(provider, chat(**fields), model("m"), dialect=dialect or Dialect())  # type: ignore[arg-type]
    return [event async for event in stream]


async def outcome(provider: ProviderContext) -> tuple[list[StreamEvent], BackendError | None]:
    """The events that came, and the error they ended with."""
    came: list[StreamEvent] = []
    try:
        async for event in stream_chat(provider, chat(), model("m"), dialect=Dialect()):
            came.append(event)
    except BackendError as exc:
        return came, exc
    return came, None


def text_of(came: list[StreamEvent]) -> str:
    return "".join(event.text for event in came if isinstance(event, TextDelta))


async def test_a_whole_stream(sim: Simulator) -> None:
    serves(sim, STREAM)
    async with lent(sim.base_url) as provider:
        assert await events(provider) == EVENTS

    [request] = sim.requests
    assert request.json() == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 16384,
    }


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_events_do_not_depend_on_how_the_server_cuts_its_bytes(
    sim: Simulator, size: int
) -> None:
    serves(sim, STREAM)
    sim.inject(Fault(rechunk_bytes=size))
    async with lent(sim.base_url) as provider:
        assert await events(provider) == EVENTS


async def test_events_do_not_depend_on_where_a_stream_is_cut_in_two(sim: Simulator) -> None:
    at = 0

    @sim.route("POST", "/v1/chat/completions")
    async def route(exchange: Exchange) -> None:
        await exchange.start_stream("text/event-stream")
        await exchange.raw(STREAM[:at])
        await exchange.sleep(0)
        await exchange.raw(STREAM[at:])

    different = {}
    async with lent(sim.base_url) as provider:
        for at in range(len(STREAM)):
            came = await events(provider)
            if came != EVENTS:
                different[at] = came

    assert different == {}


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_stream_cut_anywhere_is_interrupted_and_keeps_the_text_that_came(
    sim: Simulator, chunked: bool
) -> None:
    serves(sim, STREAM, chunked=chunked)
    wrong = {}
    async with lent(sim.base_url) as provider:
        for cut in range(WHOLE):
            sim.inject(Fault(cut_after_bytes=cut), times=1)
            came, error = await outcome(provider)
            # An unframed body may end without a blank line: then its last line counts.
            slack = 0 if chunked else 2
            possible = {
                "": cut < FIRST_TEXT,
                "one\u2028": FIRST_TEXT - slack - 2 <= cut < SECOND_TEXT,
                "one\u2028two": SECOND_TEXT - slack - 2 <= cut,
            }
            if not (
                type(error) is StreamInterruptedError
                and error.partial == text_of(came)
                and possible.get(error.partial, False)
                and not any(isinstance(event, Finish) for event in came)
                and (error.provider_id, error.model) == ("desk", "desk/m")
            ):
                wrong[cut] = (came, repr(error))

    assert wrong == {}, len(wrong)


@pytest.mark.parametrize("cut", range(WHOLE + 2, len(STREAM), 5))
async def test_an_answer_whose_end_was_seen_is_whole_or_an_error_but_never_half(
    sim: Simulator, cut: int
) -> None:
    serves(sim, STREAM, chunked=False)
    sim.inject(Fault(cut_after_bytes=cut))
    async with lent(sim.base_url) as provider:
        came, error = await outcome(provider)

    assert text_of(came) == "one\u2028two"
    assert (error is None) == (isinstance(came[-1], Finish))


async def test_an_answer_cut_in_the_middle_of_done_is_whole(sim: Simulator) -> None:
    serves(sim, STREAM.removesuffix(b"NE]\n\n"), chunked=False)
    async with lent(sim.base_url) as provider:
        assert await events(provider) == EVENTS


async def test_an_unstreamed_answer_gives_the_same_events(sim: Simulator) -> None:
    whole = {
        "id": "c",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "one\u2028two",
                    "reasoning_content": "hm",
                },
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2},
    }
    serves(sim, json.dumps(whole).encode(), content_type="application/json")
    async with lent(sim.base_url) as provider:
        assert await events(provider, stream=False) == [
            EVENTS[0],
            TextDelta("one\u2028two"),
            *EVENTS[3:],
        ]


async def test_notices_of_what_was_left_out_come_first(sim: Simulator) -> None:
    serves(sim, STREAM)
    async with lent(sim.base_url) as provider:
        first, *rest = await events(provider, Dialect(top_k=False), top_k=5)

    assert first == Notice("dropped_field", "top_k was left out: this server does not know it")
    assert rest == EVENTS


async def test_fields_a_server_wants_are_sent_and_the_requests_own_win(sim: Simulator) -> None:
    serves(sim, STREAM)
    async with lent(sim.base_url) as provider:
        stream = stream_chat(
            provider,
            chat(temperature=0.5),
            model("m", max_output_tokens=9),
            dialect=Dialect(),
            extra={"temperature": 1.0, "cache_prompt": True},
        )
        assert [event async for event in stream] == EVENTS

    assert sim.requests[0].json() == {
        "temperature": 0.5,
        "cache_prompt": True,
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
    }


async def test_what_cannot_be_sent_never_reaches_the_server(sim: Simulator) -> None:
    async with lent(sim.base_url) as provider:
        with pytest.raises(UnsupportedFeatureError):
            await events(provider, extra={"n": 2})

    assert sim.requests == []


async def test_tool_calls_over_the_wire(sim: Simulator) -> None:
    serves(
        sim,
        b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"add",'
        b'"arguments":"{\\"a\\""}}]}}]}\n\ndata: {"choices":[{"delta":{"tool_calls":[{"index":0,'
        b'"function":{"arguments":":1}"}}]},"finish_reason":"tool_calls"}]}\n\n',
    )
    async with lent(sim.base_url) as provider:
        assert await events(provider) == [
            ToolCallDelta(0, '{"a"', "c", "add"),
            ToolCallDelta(0, ":1}"),
            ToolCall("c", "add", '{"a":1}'),
            Finish("tool_calls"),
        ]


async def test_a_plugin_may_explain_an_error_once_it_says_whose_it_is(sim: Simulator) -> None:
    def explain(provider: ProviderContext, exc: BackendError) -> None:
        exc.hint = f"{exc.provider_id} {exc.model} {exc.status}"

    @sim.route("POST", "/v1/chat/completions")
    async def chats(exchange: Exchange) -> None:
        await exchange.json({"error": {"message": "no"}}, status=500)

    @sim.route("POST", "/v1/completions")
    async def completes(exchange: Exchange) -> None:
        await exchange.json({"error": {"message": "no"}}, status=503)

    async with lent(sim.base_url) as provider:
        for answer in (
            stream_chat(provider, chat(), model("m"), dialect=Dialect(), explain=explain),
            complete(provider, CompleteRequest(prompt="a"), model("m"), explain=explain),
        ):
            with pytest.raises(BackendError) as caught:
                await anext(answer)
            told = (caught.value.message, caught.value.status, caught.value.hint)
            assert told == (f"no (HTTP {told[1]})", told[1], f"desk desk/m {told[1]}")


# --- [DONE] is the last -------------------------------------------------------------------------


async def test_an_answer_that_is_done_is_not_held_by_a_body_that_stays_open(sim: Simulator) -> None:
    @sim.route("POST", "/v1/chat/completions")
    async def route(exchange: Exchange) -> None:
        await exchange.start_stream("text/event-stream")
        await exchange.raw(STREAM)
        await exchange.sleep(float("inf"))

    with anyio.fail_after(5):
        async with lent(sim.base_url) as provider:
            assert await events(provider) == EVENTS
    await sim.wait_until_async(lambda: (sim.streams_closed_by_client, sim.open_streams) == (1, 0))


async def test_an_answer_that_is_done_without_a_finish_reason_fails_at_once(sim: Simulator) -> None:
    @sim.route("POST", "/v1/chat/completions")
    async def route(exchange: Exchange) -> None:
        await exchange.start_stream("text/event-stream")
        await exchange.raw(BEGUN + b"data: [DONE]\n\n")
        await exchange.sleep(float("inf"))

    with anyio.fail_after(5):
        async with lent(sim.base_url) as provider:
            _, error = await outcome(provider)

    assert (type(error), getattr(error, "partial", "")) == (StreamInterruptedError, "so f")


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("end", [WHOLE + 2, STREAM.index(b"[DONE]"), len(STREAM)])
async def test_an_answer_is_whole_although_its_connection_breaks_after_its_end(
    sim: Simulator, end: int, reset: bool
) -> None:
    going = asyncio.Event()

    @sim.route("POST", "/v1/chat/completions")
    async def route(exchange: Exchange) -> None:
        await exchange.start_stream("text/event-stream")
        await exchange.raw(STREAM[:end])
        if reset:  # what has arrived must be read before, or it is lost on the way
            await exchange.wait_for(going)
        exchange.abort(reset=reset)

    expected = [event for event in EVENTS if end != WHOLE + 2 or not isinstance(event, Usage)]
    came: list[StreamEvent] = []
    async with lent(sim.base_url) as provider:
        stream = stream_chat(provider, chat(), model("m"), dialect=Dialect())
        async for event in stream:
            came.append(event)
            if event == TextDelta("two"):
                sim.call(going.set)

    assert came == expected


async def test_what_comes_after_done_is_no_part_of_the_answer(sim: Simulator) -> None:
    late = b'data: {"choices":[{"index":0,"delta":{"content":"LATE"}}]}\n\n'
    async with lent(sim.base_url) as provider:
        for chunked in (True, False):
            serves(sim, STREAM + late + b"data: <html>\n\n", chunked=chunked)
            assert await events(provider) == EVENTS


async def test_a_connection_whose_body_ends_a_little_after_done_is_used_again(
    sim: Simulator,
) -> None:
    @sim.route("POST", "/v1/chat/completions")
    async def route(exchange: Exchange) -> None:
        await exchange.start_stream("text/event-stream")
        await exchange.raw(STREAM)
        await exchange.sleep(0)  # the last chunk comes by itself

    made = []
    async with lent(sim.base_url) as provider:
        for _ in range(3):
            assert await events(provider) == EVENTS
            made.append(sim.open_connections)

    assert made == [1, 1, 1]
    assert sim.streams_closed_by_client == 0


async def test_a_failure_after_the_finish_reason_is_a_failure(sim: Simulator) -> None:
    serves(sim, STREAM[: WHOLE + 2] + b'data: {"error":"out of memory"}\n\n')
    async with lent(sim.base_url) as provider:
        _, error = await outcome(provider)

    assert (type(error), str(error)) == (StreamInterruptedError, "out of memory")


# --- answers that fail ----------------------------------------------------------------------------


async def test_an_error_status_is_raised_before_any_event(sim: Simulator) -> None:
    sim.inject(Fault(status=404, body=b'{"error":"no such model"}'))
    async with lent(sim.base_url) as provider:
        came, error = await outcome(provider)

    assert (came, type(error), str(error)) == (
        [],
        ModelNotFoundError,
        "no such model (HTTP 404)",
    )
    assert error is not None
    assert (error.provider_id, error.model) == ("desk", "desk/m")


BEGUN = b'data: {"choices":[{"delta":{"content":"so f"}}]}\n\n'


@pytest.mark.parametrize(
    ("body", "kind", "partial"),
    [
        (b'data: {"error":{"message":"busy","code":503}}\n\n', BackendBusyError, ""),
        (BEGUN + b'data: {"error":{"message":"busy"}}\n\n', StreamInterruptedError, "so f"),
        (BEGUN + b"data: [DONE]\n\n", StreamInterruptedError, "so f"),
        (b'event: error\ndata: {"message":"busy","code":503}\n\n', BackendBusyError, ""),
        (BEGUN + b"data: <html>\n\n", StreamInterruptedError, "so f"),
        (BEGUN + b"upstream connect error\n", StreamInterruptedError, "so f"),
        (b'{"error":"not SSE at all"}\n', StreamInterruptedError, ""),
        (b"data: [DONE]\n\n", StreamInterruptedError, ""),
        (b"", StreamInterruptedError, ""),
        (b"data: <html>\n\n" + BEGUN, ProtocolError, ""),
    ],
)
async def test_an_answer_that_began_well_and_fails(
    sim: Simulator, body: bytes, kind: type[BackendError], partial: str
) -> None:
    serves(sim, body)
    async with lent(sim.base_url) as provider:
        came, error = await outcome(provider)

    assert error is not None
    assert (type(error), getattr(error, "partial", ""), text_of(came)) == (kind, partial, partial)
    assert (error.provider_id, error.model, error.stage) == ("desk", "desk/m", "decode")


async def test_what_stands_beside_the_events_says_why_they_ended(sim: Simulator) -> None:
    serves(sim, BEGUN + b'{"error":"the model crashed"}\n')
    async with lent(sim.base_url) as provider:
        _, error = await outcome(provider)

    assert str(error) == "the model crashed"


@pytest.mark.parametrize(
    "body",
    [
        BEGUN + b'event: error\ndata: {"message":"the model crashed"}\n\n',
        BEGUN + b'error: {"message":"the model crashed","code":500}\n\n',
        b'error: {"message":"the model crashed","code":500}\n\n',
        BEGUN + b'data: [{"error":{"message":"the model crashed"}}]\n\n',
    ],
)
async def test_the_words_of_an_error_are_kept_whatever_shape_it_has(
    sim: Simulator, body: bytes
) -> None:
    serves(sim, body)
    async with lent(sim.base_url) as provider:
        _, error = await outcome(provider)

    assert str(error) == "the model crashed"


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"error":{"message":"bad key sk-abcdefghijklmnopqrstuvwxyz123456"}}\n\n',
        BEGUN + b'data: {"error":"bad key sk-abcdefghijklmnopqrstuvwxyz123456"}\n\n',
        BEGUN + b"data: bad key sk-abcdefghijklmnopqrstuvwxyz123456\n\n",
        b"bad key sk-abcdefghijklmnopqrstuvwxyz123456\n",
    ],
)
async def test_a_key_that_is_not_ours_is_taken_out_of_a_late_error(
    sim: Simulator, body: bytes
) -> None:
    serves(sim, body)
    async with lent(sim.base_url) as provider:
        _, error = await outcome(provider)

    assert "bad key ***" in str(error)
    assert "sk-abc" not in str(error)


@pytest.mark.parametrize("body", [b"<html>login</html>", b"", b"[]", b"null"])
async def test_an_answer_that_is_neither_stream_nor_json_is_a_protocol_error(
    sim: Simulator, body: bytes
) -> None:
    serves(sim, body, content_type="text/html")
    async with lent(sim.base_url) as provider:
        came, error = await outcome(provider)

    assert (came, type(error)) == ([], ProtocolError)


async def test_the_type_of_an_answer_is_read_without_its_case(sim: Simulator) -> None:
    serves(sim, STREAM, content_type="Text/Event-Stream; charset=utf-8")
    async with lent(sim.base_url) as provider:
        assert await events(provider) == EVENTS


@pytest.mark.parametrize(
    "body",
    [
        b'data: {"error":{"message":"bad key sk-very-secret"}}\n\n',
        BEGUN + b'data: {"error":{"message":"bad key sk-very-secret"}}\n\n',
        b'{"error":"bad key sk-very-secret"}\n',
        b"data: sk-very-secret\n\n",
    ],
)
async def test_a_key_in_a_late_error_is_taken_out_by_the_guard(sim: Simulator, body: bytes) -> None:
    def answer(provider: ProviderContext, request: ChatRequest, model: ModelInfo) -> object:
        return stream_chat(provider, request, model, dialect=Dialect())

    serves(sim, body)
    async with lent(sim.base_url, apiKey="sk-very-secret") as provider:
        guarded = Backend("acme", manager(plugin(stream_chat=answer)), provider)
        with pytest.raises(BackendError) as caught:
            [event async for event in guarded.stream_chat(chat(), model("m"))]

    assert "***" in str(caught.value)
    assert "sk-very-secret" not in f"{caught.value} {caught.value.message} {caught.value.hint}"


async def test_leaving_in_the_middle_closes_the_request(sim: Simulator) -> None:
    @sim.route("POST", "/v1/chat/completions")
    async def route(exchange: Exchange) -> None:
        await exchange.start_stream("text/event-stream")
        await exchange.raw(BEGUN)
        await exchange.sleep(float("inf"))

    async with lent(sim.base_url) as provider:
        stream = stream_chat(provider, chat(), model("m"), dialect=Dialect(), pings=True)
        async with closing(stream):
            assert await anext(stream) == TextDelta("so f")
        await sim.wait_until_async(
            lambda: (sim.streams_closed_by_client, sim.open_streams) == (1, 0)
        )


# --- the other endpoints --------------------------------------------------------------------------


async def test_a_raw_completion(sim: Simulator) -> None:
    serves(
        sim,
        b'data: {"choices":[{"index":0,"text":"42","finish_reason":null}]}\n\n'
        b'data: {"choices":[{"index":0,"text":"","finish_reason":"length"}]}\n\n',
        path="/v1/completions",
    )
    async with lent(sim.base_url) as provider:
        stream = complete(provider, CompleteRequest(prompt="6*7=", max_tokens=1), model("m"))
        assert [event async for event in stream] == [TextDelta("42"), Finish("length")]

    assert sim.requests[0].json() == {
        "model": "m",
        "prompt": "6*7=",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 1,
    }


async def test_a_completion_reads_late_errors_with_the_plugins_knowledge(sim: Simulator) -> None:
    serves(sim, b'data: {"error":{"message":"loading"}}\n\n', path="/v1/completions")

    def classify(status: int, body: ErrorBody) -> type[BackendError] | None:
        return BackendBusyError

    async with lent(sim.base_url) as provider:
        stream = complete(provider, CompleteRequest(prompt="a"), model("m"), classify=classify)
        with pytest.raises(BackendBusyError):
            [event async for event in stream]


async def test_embeddings(sim: Simulator) -> None:
    @sim.route("POST", "/v1/embeddings")
    async def route(exchange: Exchange) -> None:
        data = [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}]
        await exchange.json({"data": data, "model": "m", "usage": {"prompt_tokens": 3}})

    async with lent(sim.base_url) as provider:
        result = await embed(provider, EmbedRequest(input=["a", "b"]), model("m"))

    assert result == EmbedResult(vectors=[[1.0], [2.0]], model="m", usage=Usage(3, 0))
    assert sim.requests[0].json() == {"model": "m", "input": ["a", "b"]}


async def test_reranking(sim: Simulator) -> None:
    @sim.route("POST", "/v1/rerank")
    async def route(exchange: Exchange) -> None:
        ranked = [
            {"index": 0, "relevance_score": 0.1},
            {"index": 1, "relevance_score": 0.9},
        ]
        await exchange.json({"results": ranked})

    async with lent(sim.base_url) as provider:
        result = await rerank(provider, RerankRequest(query="q", documents=["a", "b"]), model("m"))

    assert result == RerankResult(
        results=[RankedDocument(index=1, score=0.9), RankedDocument(index=0, score=0.1)]
    )


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, b"404 page not found"),
        (404, b'{"detail":"Not Found"}'),
        (404, b'{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}'),
        (404, b""),
        (405, b'{"detail":"Method Not Allowed"}'),
    ],
)
async def test_a_server_without_reranking_does_not_lack_the_model(
    sim: Simulator, status: int, body: bytes
) -> None:
    sim.inject(Fault(status=status, body=body))
    async with lent(sim.base_url) as provider:
        with pytest.raises(UnsupportedFeatureError) as caught:
            await rerank(provider, RerankRequest(query="q", documents=["a"]), model("m7"))

    error = caught.value
    assert (str(error), error.provider_id, error.model) == (
        f"this server does not rerank (HTTP {status})",
        "desk",
        "desk/m7",
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"The model `m7` does not exist","code":404}}',
        b'{"error":{"message":"nothing here","code":"model_not_found"}}',
        b'{"error":"m7: no such thing"}',
    ],
)
async def test_a_model_that_cannot_rerank_because_it_is_not_there_is_not_found(
    sim: Simulator, body: bytes
) -> None:
    sim.inject(Fault(status=404, body=body))
    async with lent(sim.base_url) as provider:
        with pytest.raises(ModelNotFoundError):
            await rerank(provider, RerankRequest(query="q", documents=["a"]), model("m7"))


async def test_too_few_vectors_are_the_servers_fault(sim: Simulator) -> None:
    @sim.route("POST", "/v1/embeddings")
    async def route(exchange: Exchange) -> None:
        await exchange.json({"data": []})

    async with lent(sim.base_url) as provider:
        with pytest.raises(ProtocolError, match="1 texts were sent and 0 vectors came back"):
            await embed(provider, EmbedRequest(input=["a"]), model("m"))
