"""Mirrors modelbay/wire/openai_chat.py: bodies out, events in; no network, no mocks."""

import json
import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelbay.errors import (
    BackendBusyError,
    BackendError,
    ContextLengthError,
    InvalidRequestError,
    ModelbayError,
    ProtocolError,
    StreamInterruptedError,
    UnsupportedFeatureError,
)
from modelbay.models.chat import (
    AudioPart,
    ChatRequest,
    FilePart,
    ImagePart,
    JsonMode,
    JsonSchema,
    Message,
    NamedTool,
    TextPart,
    Tool,
    user,
)
from modelbay.models.events import (
    Finish,
    Notice,
    ReasoningDelta,
    RefusalDelta,
    Status,
    StreamEvent,
    TextDelta,
    Timings,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from modelbay.models.frozen import JsonObject
from modelbay.wire.errors import ErrorBody
from modelbay.wire.openai_chat import ChatDecoder, Dialect, EncodedChat, encode_chat
from modelbay.wire.sse import SSEDecoder

ADD = Tool(name="add", description="adds", parameters={"type": "object", "properties": {"a": {}}})
NOW = Tool(name="now")
ADD_WIRE: JsonObject = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "adds",
        "parameters": {"type": "object", "properties": {"a": {}}},
    },
}
NOW_WIRE: JsonObject = {
    "type": "function",
    "function": {
        "name": "now",
        "description": "",
        "parameters": {"type": "object", "properties": {}},
    },
}
HI: list[JsonObject] = [{"role": "user", "content": "hi"}]
PNG = "iVBORw0KGgo="


def request(*messages: Message, **fields: object) -> ChatRequest:
    return ChatRequest.model_validate({"messages": messages or [user("hi")], **fields})


def body(
    asked: ChatRequest, dialect: Dialect | None = None, max_tokens: int | None = None
) -> JsonObject:
    encoded = encode_chat(asked, "hf.co/u/m:q4", dialect or Dialect(), max_tokens=max_tokens)
    assert encoded.notices == ()
    return encoded.body


def plain(**more: object) -> dict[str, object]:
    return {
        "model": "hf.co/u/m:q4",
        "messages": HI,
        "stream": True,
        "stream_options": {"include_usage": True},
        **more,
    }


# --- encoding -------------------------------------------------------------------------------------


def test_a_plain_turn_is_the_bare_name_the_messages_and_streaming() -> None:
    assert body(request(model="desk/hf.co/u/m:q4")) == plain()


def test_a_turn_with_everything() -> None:
    asked = request(
        Message(role="system", content="be brief"),
        Message(role="user", content="1+1?", name="ann"),
        Message(
            role="assistant",
            tool_calls=[ToolCall("c1", "add", '{"a":1}')],
        ),
        Message(role="tool", content="2", tool_call_id="c1"),
        tools=[ADD],
        tool_choice="auto",
        temperature=0.0,
        top_p=0.5,
        top_k=40,
        max_tokens=100,
        stop=["END"],
        seed=0,
        reasoning_effort="high",
        extra={"min_p": 0.1, "cache_prompt": True},
    )

    assert body(asked) == {
        "model": "hf.co/u/m:q4",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "1+1?", "name": "ann"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "add", "arguments": '{"a":1}'},
                    }
                ],
            },
            {"role": "tool", "content": "2", "tool_call_id": "c1"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 100,
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 40,
        "seed": 0,
        "stop": ["END"],
        "reasoning_effort": "high",
        "tools": [ADD_WIRE],
        "tool_choice": "auto",
        "min_p": 0.1,
        "cache_prompt": True,
    }


def test_an_unstreamed_turn_asks_for_no_stream_options() -> None:
    assert body(request(stream=False)) == {
        "model": "hf.co/u/m:q4",
        "messages": HI,
        "stream": False,
    }


@pytest.mark.parametrize(
    ("own", "default", "sent"), [(None, None, None), (None, 50, 50), (7, 50, 7), (7, None, 7)]
)
def test_the_requests_limit_wins_over_the_models(
    own: int | None, default: int | None, sent: int | None
) -> None:
    assert body(request(max_tokens=own), max_tokens=default) == plain(
        **({} if sent is None else {"max_tokens": sent})
    )


@pytest.mark.parametrize(
    ("dialect", "asked", "more"),
    [
        (Dialect(max_tokens_field="n_predict"), request(max_tokens=9), {"n_predict": 9}),
        (Dialect(top_k=True), request(top_k=0), {"top_k": 0}),
        (
            Dialect(named_tool_choice="object"),
            request(tools=[ADD, NOW], tool_choice=NamedTool(name="now")),
            {
                "tools": [ADD_WIRE, NOW_WIRE],
                "tool_choice": {"type": "function", "function": {"name": "now"}},
            },
        ),
        (
            Dialect(named_tool_choice="single"),
            request(tools=[ADD, NOW], tool_choice=NamedTool(name="now")),
            {"tools": [NOW_WIRE], "tool_choice": "required"},
        ),
        (
            Dialect(tools_with_format=True),
            request(tools=[NOW], response_format=JsonMode()),
            {"tools": [NOW_WIRE], "response_format": {"type": "json_object"}},
        ),
        (Dialect(renamed={"min_p": "minP"}), request(extra={"min_p": 1}), {"minP": 1}),
        (Dialect(), request(extra={"n": 1}), {"n": 1}),
        (Dialect(), request(tool_choice="required"), {}),  # a choice among no tools is none
        (
            Dialect(),
            request(tools=[Tool(name="now", strict=True)], tool_choice="none"),
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {**dict(NOW_WIRE["function"]), "strict": True},  # type: ignore[arg-type]
                    }
                ],
                "tool_choice": "none",
            },
        ),
        (
            Dialect(),
            request(response_format=JsonSchema(schema={"type": "object"})),
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}},
                }
            },
        ),
        (
            Dialect(),
            request(response_format=JsonSchema(schema={}, name="x", description="d", strict=False)),
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {
                        "name": "x",
                        "schema": {},
                        "description": "d",
                        "strict": False,
                    },
                }
            },
        ),
    ],
)
def test_a_dialect_changes_the_body(
    dialect: Dialect, asked: ChatRequest, more: dict[str, object]
) -> None:
    assert body(asked, dialect) == plain(**more)


def test_a_dialect_without_usage_in_streams_sends_no_stream_options() -> None:
    assert body(request(), Dialect(stream_usage=False)) == {
        "model": "hf.co/u/m:q4",
        "messages": HI,
        "stream": True,
    }


@pytest.mark.parametrize(
    ("dialect", "message", "sent"),
    [
        (
            Dialect(developer_role=True),
            Message(role="developer", content="x"),
            {"role": "developer", "content": "x"},
        ),
        (
            Dialect(),
            Message(role="developer", content="x"),
            {"role": "system", "content": "x"},
        ),
        (
            Dialect(reasoning_history="reasoning_content"),
            Message(role="assistant", content="x", reasoning="why"),
            {"role": "assistant", "content": "x", "reasoning_content": "why"},
        ),
        (
            Dialect(reasoning_history="reasoning_content"),
            Message(role="assistant", content="x"),
            {"role": "assistant", "content": "x"},
        ),
        (
            Dialect(),
            Message(
                role="user",
                content=[
                    TextPart(text="see"),
                    ImagePart(data=PNG, media_type="image/jpeg"),
                    AudioPart(data="AAAA", format="mp3"),
                ],
            ),
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "see"},
                    {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PNG}"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
                ],
            },
        ),
        (  # a tool may show what it found
            Dialect(),
            Message(
                role="tool",
                tool_call_id="c1",
                content=[TextPart(text="a cat"), ImagePart(data=PNG, detail="low")],
            ),
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
        ),
        (
            Dialect(refusals=True),
            Message(role="assistant", content=[TextPart(text="no", refusal=True)]),
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        ),
        (
            Dialect(),
            Message(role="assistant", content=[TextPart(text="no", refusal=True)]),
            {"role": "assistant", "content": "no"},
        ),
        (
            Dialect(),
            Message(
                role="assistant",
                content=[TextPart(text="well"), TextPart(text="no", refusal=True)],
            ),
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "well"}, {"type": "text", "text": "no"}],
            },
        ),
        (
            Dialect(),
            Message(role="user", content=[ImagePart(url="https://example.org/a.png")]),
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
                ],
            },
        ),
        (
            Dialect(image_urls=False),
            Message(role="user", content=[ImagePart(url=f"data:image/png;base64,{PNG}")]),
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
                ],
            },
        ),
    ],
)
def test_a_message_on_the_wire(dialect: Dialect, message: Message, sent: JsonObject) -> None:
    assert body(request(message), dialect) == plain(messages=[sent])


def test_what_only_tunes_the_answer_is_left_out_with_a_notice() -> None:
    dialect = Dialect(top_k=False, reasoning_effort=False, fixed_at_start={"n_ctx": "set by -c"})
    asked = request(top_k=40, reasoning_effort="low", extra={"n_ctx": 5, "min_p": 0.1})

    assert encode_chat(asked, "hf.co/u/m:q4", dialect) == EncodedChat(
        plain(min_p=0.1),  # type: ignore[arg-type]
        (
            Notice("dropped_field", "top_k was left out: this server does not know it"),
            Notice("dropped_field", "reasoning_effort was left out: this server does not know it"),
            Notice("dropped_field", "n_ctx was left out: set by -c"),
        ),
    )


@pytest.mark.parametrize(
    ("dialect", "asked", "message"),
    [
        (Dialect(), request(extra={"n": 2}), "one request gives one answer; n cannot be set"),
        (
            Dialect(tools_with_format=False),
            request(tools=[NOW], response_format=JsonMode()),
            "this server cannot hold an answer to a format and offer tools in one request",
        ),
        (
            Dialect(),
            request(tools=[NOW], tool_choice=NamedTool(name="later")),
            "tool_choice names 'later', which is not among the tools",
        ),
        (
            Dialect(),
            request(Message(role="user", content=[FilePart(data="AAAA")])),
            "this server takes no files in messages",
        ),
        (
            Dialect(image_urls=False),
            request(Message(role="user", content=[ImagePart(url="https://example.org/a.png")])),
            "an image must be sent inline here; an address would make the server fetch it",
        ),
        (
            Dialect(),
            request(Message(role="user", content=[ImagePart(url="file:///etc/passwd")])),
            "an image must be sent inline here; an address would make the server fetch it",
        ),
        (
            Dialect(),
            request(Message(role="user", content=[ImagePart(data="not base64!")])),
            "the image is not base64",
        ),
        (
            Dialect(),
            request(Message(role="user", content=[ImagePart(data="é")])),
            "the image is not base64",
        ),
        (
            Dialect(),
            request(Message(role="user", content=[AudioPart(data="A")])),
            "the audio is not base64",
        ),
    ],
)
def test_what_would_change_the_meaning_is_refused_before_the_wire(
    dialect: Dialect, asked: ChatRequest, message: str
) -> None:
    with pytest.raises(UnsupportedFeatureError) as caught:
        encode_chat(asked, "m", dialect)

    assert (str(caught.value), caught.value.stage) == (message, "encode")
    assert caught.value.hint


# --- decoding -------------------------------------------------------------------------------------

# As recorded: role first with null content, text with separators, an empty-choices usage chunk.
RECORDED = (
    b': waiting\r\n\r\ndata: {"id":"c-1","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}\n\n'
    b'data: {"id":"c-1","model":"m","choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}\n\n'
    b'data: {"id":"c-1","model":"m","choices":[{"index":0,"delta":{"content":"one\xe2\x80\xa8two'
    b'\xc2\x85"}}]}\r\n\r\n'
    b'data: {"id":"c-1","model":"m",\ndata: "choices":[{"index":0,"delta":{"content":"\\n\xf0\x9f'
    b'\x98\x80"}}]}\n\n'
    b'data: {"id":"c-1","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"c-1","model":"m","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,'
    b'"total_tokens":12,"prompt_tokens_details":{"cached_tokens":3},'
    b'"completion_tokens_details":{"reasoning_tokens":1}}}\n\n'
    b"data: [DONE]"
)
EVENTS: list[StreamEvent] = [
    ReasoningDelta("hm"),
    TextDelta("one\u2028two\u0085"),
    TextDelta("\n\U0001f600"),
    Usage(7, 5, cached_tokens=3, reasoning_tokens=1),
    Finish("stop", model="m", response_id="c-1"),
]


def read(data: bytes, places: list[int], dialect: Dialect | None = None) -> list[StreamEvent]:
    sse, decoder = SSEDecoder(), ChatDecoder(dialect or Dialect())
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    blocks = [data[start:end] for start, end in pairwise(edges)]
    chunks = [chunk for block in blocks for chunk in sse.feed(block)] + sse.close()
    return [event for chunk in chunks for event in decoder.decode(chunk)] + decoder.close()


def chunk(**choice: object) -> dict[str, object]:
    return {"choices": [{"index": 0, **choice}]}


def decode(*chunks: object, dialect: Dialect | None = None) -> list[StreamEvent]:
    decoder = ChatDecoder(dialect or Dialect())
    events = [e for c in chunks for e in decoder.decode(json.dumps(c).encode())]
    return events + decoder.close()


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(RECORDED)])
def test_events_do_not_depend_on_the_size_of_chunks(size: int) -> None:
    assert read(RECORDED, list(range(0, len(RECORDED), size))) == EVENTS


@given(st.lists(st.integers(min_value=0), max_size=12))
def test_events_do_not_depend_on_where_chunks_split(places: list[int]) -> None:
    assert read(RECORDED, places) == EVENTS


STOP = chunk(delta={}, finish_reason="stop")


@pytest.mark.parametrize(
    ("chunks", "events"),
    [
        ([chunk(delta={"content": "a"}), STOP], [TextDelta("a"), Finish("stop")]),
        ([chunk(delta={"content": ""}), STOP], [Finish("stop")]),
        ([chunk(delta=None), STOP], [Finish("stop")]),
        (
            [chunk(delta={"reasoning": "r"}), STOP],
            [ReasoningDelta("r"), Finish("stop")],
        ),
        (
            [chunk(delta={"refusal": "I "}), chunk(delta={"refusal": "won't"}), STOP],
            [RefusalDelta("I "), RefusalDelta("won't"), Finish("stop")],
        ),
        (
            [chunk(message={"content": None, "refusal": "no"}, finish_reason="stop")],
            [RefusalDelta("no"), Finish("stop")],
        ),
        (  # what was told in pieces is not told again
            [
                chunk(delta={"refusal": "no"}),
                chunk(delta={}, message={"refusal": "no"}, finish_reason="stop"),
            ],
            [RefusalDelta("no"), Finish("stop")],
        ),
        (  # both in one delta: the thought came first
            [chunk(delta={"content": "a", "reasoning_content": "r"}, finish_reason="stop")],
            [ReasoningDelta("r"), TextDelta("a"), Finish("stop")],
        ),
        (  # answers of n > 1, interleaved: the first one is the answer
            [
                {"choices": [{"index": 1, "delta": {"content": "x"}}]},
                chunk(delta={"content": "a"}),
                {"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]},
                STOP,
            ],
            [TextDelta("a"), Finish("stop")],
        ),
        (  # completions have text and no delta
            [{"choices": [{"index": 0, "text": "a", "finish_reason": None}]}, STOP],
            [TextDelta("a"), Finish("stop")],
        ),
        (
            [STOP, {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}],
            [Usage(1, 2), Finish("stop")],
        ),
        (
            [
                {
                    **STOP,
                    "usage": {
                        "prompt_tokens": 4,
                        "completion_tokens": 0,
                        "prompt_cache_hit_tokens": 3,
                    },
                }
            ],
            [Usage(4, 0, cached_tokens=3), Finish("stop")],
        ),
        (  # the last count is the whole one
            [
                {**STOP, "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
                {"usage": {"prompt_tokens": 1, "completion_tokens": 2}},
            ],
            [Usage(1, 2), Finish("stop")],
        ),
        (  # timings alone give the counts too
            [
                {
                    **STOP,
                    "timings": {
                        "cache_n": 2,
                        "prompt_n": 5,
                        "prompt_ms": 500.0,
                        "prompt_per_second": 10.0,
                        "predicted_n": 4,
                        "predicted_ms": 250.0,
                        "predicted_per_second": 16.0,
                    },
                }
            ],
            [
                Usage(7, 4, cached_tokens=2),
                Timings(
                    total_s=0.75,
                    input_s=0.5,
                    input_tokens_per_s=10.0,
                    output_s=0.25,
                    output_tokens_per_s=16.0,
                ),
                Finish("stop"),
            ],
        ),
        (
            [{**STOP, "timings": {"prompt_ms": 1.0}, "usage": {"prompt_tokens": 1}}],
            [Timings(input_s=0.001), Finish("stop")],
        ),
        (  # counts that cannot be used stand in nobody's way
            [{**STOP, "timings": {"prompt_n": 3, "predicted_n": 2}, "usage": {}}],
            [Usage(3, 2, cached_tokens=0), Timings(), Finish("stop")],
        ),
        (
            [
                {"prompt_progress": {"total": 100, "cache": 20, "processed": 60}},
                {"prompt_progress": {"total": 20, "cache": 20, "processed": 20}},
                STOP,
            ],
            [Status("processing", 0.5), Status("processing", 1.0), Finish("stop")],
        ),
        ([STOP, {"choices": [], "error": None}], [Finish("stop")]),
        ([{**STOP, "model": "x", "id": "i"}], [Finish("stop", model="x", response_id="i")]),
        (  # fields nobody knows are passed over
            [{**STOP, "system_fingerprint": "b1", "x": [{"y": 1}]}],
            [Finish("stop")],
        ),
    ],
)
def test_chunks_and_their_events(chunks: list[object], events: list[StreamEvent]) -> None:
    assert decode(*chunks) == events


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("stop", Finish("stop")),
        ("eos", Finish("stop")),
        ("length", Finish("length")),
        ("tool_calls", Finish("tool_calls")),
        ("function_call", Finish("tool_calls")),
        ("content_filter", Finish("content_filter")),
        ("insufficient_system_resource", Finish("other", "insufficient_system_resource")),
    ],
)
def test_a_reason_to_finish_that_is_the_servers_own_is_kept(word: str, finish: Finish) -> None:
    assert decode(chunk(delta={}, finish_reason=word)) == [finish]


def call(**fields: object) -> dict[str, object]:
    return chunk(delta={"tool_calls": [fields]})


def test_tool_calls_are_put_together_by_index() -> None:
    assert decode(
        call(index=0, id="c0", function={"name": "add", "arguments": ""}),
        call(index=1, id="c1", function={"name": "now", "arguments": "{"}),
        call(index=0, function={"arguments": '{"a":'}),
        call(index=1, function={"arguments": "}"}),
        call(index=0, id="c0", function={"name": "add", "arguments": "1}"}),
        chunk(delta={}, finish_reason="tool_calls"),
    ) == [
        ToolCallDelta(0, "", "c0", "add"),
        ToolCallDelta(1, "{", "c1", "now"),
        ToolCallDelta(0, '{"a":'),
        ToolCallDelta(1, "}"),
        ToolCallDelta(0, "1}"),
        ToolCall("c0", "add", '{"a":1}', 0),
        ToolCall("c1", "now", "{}", 1),
        Finish("tool_calls"),
    ]


def made_up_id(events: list[StreamEvent]) -> str:
    [id] = [event.id for event in events if isinstance(event, ToolCall)]
    assert re.fullmatch("call_[0-9a-f]{24}", id)
    return id


def test_the_older_form_of_a_call_is_a_call() -> None:
    events = decode(
        chunk(delta={"content": None, "function_call": {"name": "add", "arguments": ""}}),
        chunk(delta={"function_call": {"arguments": '{"a":'}}),
        chunk(delta={"function_call": {"arguments": "1}"}}),
        chunk(delta={"function_call": {}}),
        chunk(delta={}, finish_reason="function_call"),
    )

    assert events == [
        ToolCallDelta(0, "", None, "add"),
        ToolCallDelta(0, '{"a":'),
        ToolCallDelta(0, "1}"),
        ToolCall(made_up_id(events), "add", '{"a":1}', 0),
        Finish("tool_calls"),
    ]


@pytest.mark.parametrize("arguments", ['{"a":1}', {"a": 1}])
def test_the_older_form_of_a_call_at_once_is_a_call(arguments: object) -> None:
    called = {"role": "assistant", "function_call": {"name": "add", "arguments": arguments}}
    events = decode(chunk(message=called, finish_reason="function_call"))

    assert events == [
        ToolCallDelta(0, '{"a":1}', None, "add"),
        ToolCall(made_up_id(events), "add", '{"a":1}', 0),
        Finish("tool_calls"),
    ]


def test_a_call_in_both_forms_is_one_call() -> None:
    both = {
        "function_call": {"name": "add", "arguments": "{}"},
        "tool_calls": [{"index": 0, "id": "c0", "function": {"name": "add", "arguments": "{}"}}],
    }

    assert decode(chunk(message=both, finish_reason="tool_calls"))[1:] == [
        ToolCall("c0", "add", "{}", 0),
        Finish("tool_calls"),
    ]


def test_tool_calls_without_index_or_id_or_arguments_are_calls_too() -> None:
    first = {"function": {"name": "add", "arguments": {"a": 1}}}
    second = {"id": "x", "function": {"name": "now"}}
    events = decode(chunk(delta={"tool_calls": [first, second]}, finish_reason="tool_calls"))
    made_up = events[2]

    assert isinstance(made_up, ToolCall)
    assert events == [
        ToolCallDelta(0, '{"a":1}', None, "add"),
        ToolCallDelta(1, "", "x", "now"),
        ToolCall(made_up.id, "add", '{"a":1}', 0),
        ToolCall("x", "now", "{}", 1),
        Finish("tool_calls"),
    ]


def test_an_id_that_is_made_up_is_that_of_no_other_call() -> None:
    """Results are found by it, over all turns of a conversation."""
    unnamed = {"function": {"name": "add", "arguments": "{}"}}
    turn = chunk(delta={"tool_calls": [unnamed, unnamed]}, finish_reason="tool_calls")
    ids = [e.id for _ in range(3) for e in decode(turn) if isinstance(e, ToolCall)]

    assert len(set(ids)) == 6
    assert not [one for one in ids if not re.fullmatch(r"call_[0-9a-f]{24}", one)]


A, B = {"name": "add", "arguments": '{"a":1}'}, {"name": "now", "arguments": '{"b":2}'}


@pytest.mark.parametrize(
    "chunks",
    [
        [call(id="x", function=A), call(id="y", function=B)],  # no number at all
        [call(index=0, id="x", function=A), call(index=0, id="y", function=B)],
        [  # pieces of both in turns, told apart by id alone
            call(index=0, id="x", function={"name": "add", "arguments": '{"a"'}),
            call(index=0, id="y", function={"name": "now", "arguments": '{"b"'}),
            call(index=0, id="x", function={"arguments": ":1}"}),
            call(index=0, id="y", function={"arguments": ":2}"}),
        ],
        [  # both in one chunk, then the rest of the second one without a number
            chunk(
                delta={
                    "tool_calls": [
                        {"id": "x", "function": A},
                        {"id": "y", "function": {"name": "now", "arguments": '{"b"'}},
                    ]
                }
            ),
            call(id="y", function={"arguments": ":2}"}),
        ],
        [  # the name comes again with every piece
            call(index=0, id="x", function=A),
            call(index=0, id="y", function={"name": "now", "arguments": '{"b"'}),
            call(index=0, id="y", function={"name": "now", "arguments": ":2}"}),
        ],
    ],
)
def test_a_new_id_under_a_known_number_opens_a_new_call(chunks: list[object]) -> None:
    events = decode(*chunks, chunk(delta={}, finish_reason="tool_calls"))

    assert [e for e in events if isinstance(e, ToolCall)] == [
        ToolCall("x", "add", '{"a":1}', 0),
        ToolCall("y", "now", '{"b":2}', 1),
    ]


def test_calls_with_neither_number_nor_id_are_told_apart_by_their_whole_arguments() -> None:
    events = decode(call(function=A), call(function=B), chunk(finish_reason="tool_calls"))

    assert [(e.name, e.arguments, e.index) for e in events if isinstance(e, ToolCall)] == [
        ("add", '{"a":1}', 0),
        ("now", '{"b":2}', 1),
    ]


def test_a_number_that_a_new_call_took_is_given_to_no_other() -> None:
    events = decode(
        call(index=0, id="x", function=A),
        call(index=0, id="y", function=B),
        call(index=1, id="z", function={"name": "add", "arguments": "{"}),
        call(index=1, function={"arguments": "}"}),
        chunk(finish_reason="tool_calls"),
    )

    assert [(e.id, e.arguments, e.index) for e in events if isinstance(e, ToolCall)] == [
        ("x", '{"a":1}', 0),
        ("y", '{"b":2}', 1),
        ("z", "{}", 2),
    ]


def test_a_new_id_with_every_piece_of_one_call_is_one_call() -> None:
    """Some servers make one up for each; only the first piece of a call has its name."""
    events = decode(
        call(index=0, id="r1", function={"name": "add", "arguments": "{"}),
        call(index=0, id="r2", function={"arguments": '"a":1'}),
        call(index=0, id="r3", function={"arguments": "}"}),
        chunk(finish_reason="tool_calls"),
    )

    assert [e for e in events if isinstance(e, ToolCall)] == [ToolCall("r1", "add", '{"a":1}', 0)]


def test_a_tool_call_the_output_limit_cut_off_becomes_a_notice() -> None:
    assert decode(
        call(index=0, id="c0", function={"name": "add", "arguments": '{"a":1}'}),
        call(index=1, id="c1", function={"name": "now", "arguments": '{"b'}),
        chunk(delta={}, finish_reason="length"),
    ) == [
        ToolCallDelta(0, '{"a":1}', "c0", "add"),
        ToolCallDelta(1, '{"b', "c1", "now"),
        ToolCall("c0", "add", '{"a":1}', 0),
        Notice("incomplete_tool_call", "the call of 'now' was cut off by the output limit"),
        Finish("length"),
    ]


@pytest.mark.parametrize(
    ("calls_may_stop", "told"),
    [(True, Finish("tool_calls", raw_reason="stop")), (False, Finish("stop"))],
)
def test_a_stop_under_a_call_is_a_call_where_the_server_says_so(
    calls_may_stop: bool, told: Finish
) -> None:
    piece = call(index=0, id="c0", function={"name": "now", "arguments": "{}"})
    dialect = Dialect(calls_may_stop=calls_may_stop)

    assert decode(piece, STOP, dialect=dialect)[-1] == told
    assert decode(chunk(delta={"content": "a"}), STOP, dialect=dialect)[-1] == Finish("stop")


def test_an_unstreamed_answer_gives_the_same_events_at_once() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    message = {"role": "assistant", "content": "ab", "reasoning_content": "r"}
    whole = {"id": "i", "model": "m", "usage": usage}

    assert decode({**chunk(message=message, finish_reason="stop"), **whole}) == [
        ReasoningDelta("r"),
        TextDelta("ab"),
        Usage(1, 2),
        Finish("stop", model="m", response_id="i"),
    ]


def test_reasoning_between_tags_is_taken_out_of_the_text() -> None:
    pieces = ["<th", "ink>\nwhy", "\n</think>", "\n\nbecause"]

    assert decode(
        *(chunk(delta={"content": piece}) for piece in pieces),
        STOP,
        dialect=Dialect(think_tags=True),
    ) == [ReasoningDelta("why"), TextDelta("because"), Finish("stop")]


def test_text_that_was_held_back_comes_before_the_end() -> None:
    assert decode(chunk(delta={"content": "<thi"}), STOP, dialect=Dialect(think_tags=True)) == [
        TextDelta("<thi"),
        Finish("stop"),
    ]


# --- answers that fail ----------------------------------------------------------------------------


def test_a_finish_reason_is_an_end_without_done() -> None:
    assert read(RECORDED.removesuffix(b"data: [DONE]"), []) == EVENTS


@pytest.mark.parametrize(
    ("error", "message", "kind"),
    [
        ({}, "the server ended its answer with an error", BackendError),
        ({"error": None}, "the server ended its answer with an error", BackendError),
        ({"error": {}}, "the server ended its answer with an error", BackendError),
        ({"error": {"message": "too hot", "code": 503}}, "too hot", BackendBusyError),
        ({"error": "too hot"}, "too hot", BackendError),
    ],
)
def test_a_server_that_finishes_with_an_error_has_failed(
    error: dict[str, object], message: str, kind: type[BackendError]
) -> None:
    failed = {"choices": [{"index": 0, "delta": {}, "finish_reason": "error", **error}]}
    with pytest.raises(BackendError) as at_once:
        decode(failed)
    with pytest.raises(StreamInterruptedError) as later:
        decode(chunk(delta={"content": "so f"}), failed)
    with pytest.raises(StreamInterruptedError) as refused:
        decode(chunk(delta={"refusal": "I w"}), failed)

    assert (type(at_once.value), str(at_once.value)) == (kind, message)
    assert (str(later.value), later.value.partial) == (message, "so f")
    assert (str(refused.value), refused.value.partial) == (message, "")


def test_what_came_with_a_finish_reason_of_an_error_is_handed_on() -> None:
    decoder = ChatDecoder(Dialect())
    last = chunk(delta={"content": "x"}, finish_reason="error")

    assert decoder.decode(json.dumps(last).encode()) == [TextDelta("x")]
    with pytest.raises(StreamInterruptedError):
        decoder.close()


def test_done_without_a_finish_reason_is_no_end() -> None:
    decoder = ChatDecoder(Dialect())
    decoder.decode(json.dumps(chunk(delta={"content": "so f"})).encode())
    assert decoder.decode(b"[DONE]") == []

    with pytest.raises(StreamInterruptedError) as caught:
        decoder.close()

    assert (str(caught.value), caught.value.partial) == (
        "the stream ended before the answer was complete",
        "so f",
    )


@pytest.mark.parametrize(
    ("error", "kind", "message", "status"),
    [
        ({"error": {"message": "no", "code": 503}}, BackendBusyError, "no", 503),
        ({"error": {"message": "no", "code": "503"}}, BackendBusyError, "no", 503),
        ({"error": {"message": "no"}}, BackendError, "no", 500),
        ({"error": "no"}, BackendError, "no", 500),
        (
            {"error": {"message": "no", "type": "exceed_context_size_error"}},
            ContextLengthError,
            "no",
            500,
        ),
        ({"error": {"message": "no", "code": True}}, BackendError, "no", 500),
        ({"error": {"message": "no", "code": "²"}}, BackendError, "no", 500),
        ({"error": {"message": "no", "code": 50.3}}, BackendError, "no", 500),
        ({"error": {}, "choices": []}, BackendError, "{}", 500),
    ],
)
def test_an_error_in_an_answer_that_began_well_is_that_error(
    error: object, kind: type[BackendError], message: str, status: int
) -> None:
    decoder = ChatDecoder(Dialect())

    with pytest.raises(BackendError) as caught:
        decoder.decode(json.dumps(error).encode())

    assert (type(caught.value), caught.value.status, caught.value.stage) == (
        kind,
        status,
        "decode",
    )
    assert message in str(caught.value)


def test_an_error_after_text_is_an_interruption_with_the_text() -> None:
    decoder = ChatDecoder(Dialect())
    decoder.decode(json.dumps(chunk(delta={"content": "so f"})).encode())

    with pytest.raises(StreamInterruptedError) as caught:
        decoder.decode(b'{"error":{"message":"out of memory","code":500}}')

    assert (str(caught.value), caught.value.partial, caught.value.status) == (
        "out of memory",
        "so f",
        500,
    )


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": "hm"},
        {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "add", "arguments": "{"}}]},
        {"content": "<think>hm"},
    ],
)
@pytest.mark.parametrize(
    "failure", [b'{"error":{"message":"overloaded","code":503}}', b'{"choices":[{"ind']
)
def test_an_error_after_anything_was_handed_on_is_an_interruption(
    delta: dict[str, object], failure: bytes
) -> None:
    """Whoever asks again would hand it on twice."""
    decoder = ChatDecoder(Dialect(think_tags=True))
    assert decoder.decode(json.dumps(chunk(delta=delta)).encode()) != []

    with pytest.raises(StreamInterruptedError) as caught:
        decoder.decode(failure)

    assert caught.value.partial == ""


@pytest.mark.parametrize("nothing", [{"role": "assistant"}, {"content": ""}, {"content": "<thi"}])
def test_before_anything_was_handed_on_an_error_is_what_it_says(nothing: dict[str, str]) -> None:
    decoder = ChatDecoder(Dialect(think_tags=True))
    assert decoder.decode(json.dumps(chunk(delta=nothing)).encode()) == []

    with pytest.raises(BackendBusyError):
        decoder.decode(b'{"error":{"message":"overloaded","code":503}}')


@pytest.mark.parametrize("empty", ["", {}, [], False, 0, None])
def test_an_error_that_says_nothing_beside_an_answer_is_none(empty: object) -> None:
    answer = {**chunk(delta={"content": "a"}, finish_reason="stop"), "error": empty}

    assert decode(answer) == [TextDelta("a"), Finish("stop")]


@pytest.mark.parametrize("data", [b"", b" ", b"null", b" null\n"])
def test_an_event_without_anything_in_it_changes_nothing(data: bytes) -> None:
    decoder = ChatDecoder(Dialect())
    first, last = chunk(delta={"content": "a"}), chunk(delta={"content": "b"}, finish_reason="stop")
    begin = [] if data.strip() else [data]  # `null` alone is no answer
    pieces = [*begin, json.dumps(first).encode(), data, json.dumps(last).encode(), data]
    events = [event for piece in pieces for event in decoder.decode(piece)] + decoder.close()

    assert events == [TextDelta("a"), TextDelta("b"), Finish("stop")]


def test_a_whole_message_beside_an_empty_delta_is_the_answer_but_not_once_more() -> None:
    whole = chunk(delta={}, message={"content": "hello"}, finish_reason="stop")

    assert decode(whole) == [TextDelta("hello"), Finish("stop")]
    assert decode(chunk(delta={"content": "hello"}), whole) == [TextDelta("hello"), Finish("stop")]


def test_nothing_at_all_is_no_answer() -> None:
    with pytest.raises(ProtocolError, match="expected a chat chunk, got 'null'"):
        ChatDecoder(Dialect()).decode(b"null")


def test_what_is_no_chunk_is_shown_cut_with_a_mark() -> None:
    with pytest.raises(ProtocolError) as caught:
        ChatDecoder(Dialect()).decode(b"y" * 100)

    assert str(caught.value).startswith(f"expected a chat chunk, got '{'y' * 79}…' (")


def test_a_plugin_knows_its_servers_errors_better() -> None:
    def classify(status: int, seen: ErrorBody) -> type[BackendError] | None:
        return BackendBusyError if "loading" in seen.message else None

    with pytest.raises(BackendBusyError):
        ChatDecoder(Dialect(), classify).decode(b'{"error":"still loading"}')


def test_what_is_no_chunk_is_a_protocol_error_and_after_text_an_interruption() -> None:
    decoder = ChatDecoder(Dialect())
    with pytest.raises(ProtocolError, match="expected a chat chunk, got '<html>'") as caught:
        decoder.decode(b"<html>")
    assert caught.value.stage == "decode"

    decoder.decode(json.dumps(chunk(delta={"content": "so f"})).encode())
    with pytest.raises(StreamInterruptedError) as cut:
        decoder.decode(b'{"choices":[{"ind')
    assert cut.value.partial == "so f"


def test_what_came_before_a_chunk_that_fails_is_handed_on_before_the_error() -> None:
    decoder = ChatDecoder(Dialect())
    text = json.dumps(chunk(delta={"content": "so f"})).encode()
    came: list[StreamEvent] = []

    with pytest.raises(StreamInterruptedError) as cut:
        came.extend(decoder.events([text, text, b"<html>", text]))

    assert (came, cut.value.partial) == ([TextDelta("so f"), TextDelta("so f")], "so fso f")


def test_the_partial_text_is_the_answers_alone() -> None:
    decoder = ChatDecoder(Dialect(think_tags=True))
    pieces = ["<think>why</think>", "bec"]
    events = [
        e for p in pieces for e in decoder.decode(json.dumps(chunk(delta={"content": p})).encode())
    ]

    assert events == [ReasoningDelta("why"), TextDelta("bec")]
    assert decoder.partial == "bec"


chunks = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "content",
                    "index",
                    "tool_calls",
                    "function",
                    "arguments",
                    "usage",
                    "timings",
                    "error",
                    "code",
                    "message",
                    "finish_reason",
                    "prompt_progress",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(st.binary() | st.builds(lambda value: json.dumps(value).encode(), chunks))
@example(b'{"x":' + b"[" * 100_000)
@example(b'{"error":{"code":' + b"9" * 5000 + b"}}")
@example(b'{"error":{"code":"' + b"9" * 5000 + b'"}}')
@example(b"\xff")
@example(b"null")
def test_whatever_comes_it_is_events_or_an_error_of_the_tree(data: bytes) -> None:
    decoder = ChatDecoder(Dialect(think_tags=True))

    try:
        decoder.decode(data)
        decoder.close()
    except ModelbayError:
        pass


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"total_tokens": 7},
        {"prompt_tokens": 5},
        {"completion_tokens": 5},
        {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None},
        {"prompt_tokens": 3, "completion_tokens": None},
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": -1},
    ],
)
def test_counts_that_are_not_told_are_not_made_up(usage: dict[str, object]) -> None:
    assert decode({**STOP, "usage": usage}) == [Finish("stop")]


@pytest.mark.parametrize(
    "timings",
    [
        {},
        {"prompt_n": 3},
        {"predicted_n": 3},
        {"prompt_n": None, "predicted_n": 3},
        {"prompt_n": -3, "predicted_n": 3},
        {"prompt_n": 3, "predicted_n": -1},
    ],
)
def test_counts_are_not_made_up_from_timings_either(timings: dict[str, object]) -> None:
    assert decode({**STOP, "timings": timings}) == [Timings(), Finish("stop")]


@pytest.mark.parametrize(
    ("details", "usage"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 9}}, Usage(5, 2)),
        ({"prompt_tokens_details": {"cached_tokens": -1}}, Usage(5, 2)),
        ({"prompt_tokens_details": {"cached_tokens": 5}}, Usage(5, 2, cached_tokens=5)),
        ({"prompt_cache_hit_tokens": 6}, Usage(5, 2)),
        ({"completion_tokens_details": {"reasoning_tokens": 3}}, Usage(5, 2)),
        ({"completion_tokens_details": {"reasoning_tokens": -1}}, Usage(5, 2)),
        ({"completion_tokens_details": {"reasoning_tokens": 2}}, Usage(5, 2, reasoning_tokens=2)),
    ],
)
def test_a_part_that_is_larger_than_its_whole_is_left_out(
    details: dict[str, object], usage: Usage
) -> None:
    counts = {"prompt_tokens": 5, "completion_tokens": 2, **details}

    assert decode({**STOP, "usage": counts}) == [usage, Finish("stop")]


# --- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [b"[DONE]", b" [DONE] "])
def test_after_done_nothing_is_read_any_more(done: bytes) -> None:
    decoder = ChatDecoder(Dialect())
    last = json.dumps(chunk(delta={"content": "x"}, finish_reason="stop")).encode()
    late = json.dumps(chunk(delta={"content": "LATE"}, finish_reason="length")).encode()
    seen = [decoder.done]
    events = []
    for data in (last, done, late, b"<html>", b'{"error":"late"}'):
        events += decoder.decode(data)
        seen.append(decoder.done)

    assert seen == [False, False, True, True, True, True]
    assert events + decoder.close() == [TextDelta("x"), Finish("stop")]
    assert not decoder.failed


@pytest.mark.parametrize("failure", [b"<html>", b'{"error":"out of memory"}'])
def test_an_answer_that_fails_after_its_finish_reason_has_failed(failure: bytes) -> None:
    decoder = ChatDecoder(Dialect())
    decoder.decode(json.dumps(chunk(delta={"content": "x"}, finish_reason="stop")).encode())

    with pytest.raises(StreamInterruptedError):
        decoder.decode(failure)

    assert (decoder.finished, decoder.failed) == (True, True)


# --- errors that nothing names as one -------------------------------------------------------------


@pytest.mark.parametrize(
    ("bare", "kind", "message"),
    [
        ({"message": "e"}, BackendError, "e"),
        ({"msg": "e"}, BackendError, "e"),
        ({"detail": "e"}, BackendError, "e"),
        ({"message": "e", "type": "t", "code": 503}, BackendBusyError, "e"),
        (
            {"object": "error", "message": "e", "type": "t", "param": None, "code": 400},
            InvalidRequestError,
            "e",
        ),
        ([{"error": {"message": "e", "code": 503}}], BackendBusyError, "e"),
    ],
)
def test_an_error_is_known_without_a_word_that_it_is_one(
    bare: object, kind: type[BackendError], message: str
) -> None:
    data = json.dumps(bare).encode()
    with pytest.raises(BackendError) as at_once:
        ChatDecoder(Dialect()).decode(data)
    later = ChatDecoder(Dialect())
    later.decode(json.dumps(chunk(delta={"content": "so f"})).encode())
    with pytest.raises(StreamInterruptedError) as caught:
        later.decode(data)

    assert (type(at_once.value), str(at_once.value)) == (kind, message)
    assert (str(caught.value), caught.value.partial) == (message, "so f")


@pytest.mark.parametrize(
    "harmless",
    [
        {"type": "ping"},
        {"message": ""},
        {"message": {"content": "x"}},
        {"object": "status", "message": "loading"},
        {"status": "loading", "message": "half of it"},
        {"model": "m", "message": "hello"},
        {"choices": [], "message": "hello"},
    ],
)
def test_what_says_something_else_is_no_error(harmless: object) -> None:
    assert decode(harmless, STOP)[-1].type == "finish"


def test_a_key_in_an_error_or_in_what_is_no_chunk_is_not_shown() -> None:
    key = "sk-abcdefghijklmnopqrstuvwxyz123456"
    for data in (b'{"error":"bad key %b"}' % key.encode(), b"bad key %b" % key.encode()):
        with pytest.raises(BackendError) as caught:
            ChatDecoder(Dialect()).decode(data)
        assert "bad key ***" in str(caught.value)
        assert key[:12] not in str(caught.value)


# --- calls nobody can make ------------------------------------------------------------------------


def call_piece(index: int, **function: str) -> dict[str, object]:
    return chunk(delta={"tool_calls": [{"index": index, "id": f"c{index}", "function": function}]})


CALLED = chunk(delta={}, finish_reason="tool_calls")


@pytest.mark.parametrize(
    "pieces",
    [
        [call_piece(0, arguments="{}")],
        [call_piece(0, name="", arguments="{}")],
        [call_piece(0)],
        [call_piece(0, name="add", arguments="{}"), call_piece(1, arguments='{"a":1}')],
    ],
)
def test_a_call_without_a_name_is_an_error_and_not_a_call(pieces: list[object]) -> None:
    with pytest.raises(ProtocolError, match="the server sent a tool call without a name"):
        decode(*pieces, CALLED)


def test_an_empty_piece_beside_a_call_is_no_call() -> None:
    events = decode(call_piece(0, name="add", arguments="{}"), call_piece(1, name=""), CALLED)

    assert [event for event in events if isinstance(event, ToolCall)] == [
        ToolCall("c0", "add", "{}")
    ]


def test_a_call_that_is_cut_off_before_its_name_is_reported() -> None:
    cut = chunk(delta={}, finish_reason="length")

    assert decode(call_piece(0), cut)[1:] == [
        Notice(
            "incomplete_tool_call", "a call was cut off by the output limit before its name came"
        ),
        Finish("length"),
    ]


# --- earlier reasoning ----------------------------------------------------------------------------

THOUGHT = [
    Message(role="assistant", content="2", reasoning="I should add"),
    Message(role="user", content="sure?"),
    Message(role="assistant", content="yes", reasoning="I am"),
    Message(role="user", content="good"),
]


def test_earlier_reasoning_that_is_left_out_is_reported_once() -> None:
    encoded = encode_chat(request(*THOUGHT), "m", Dialect())

    assert encoded.notices == (
        Notice(
            "dropped_field",
            "earlier reasoning was left out: this server is not known to read it",
        ),
    )
    assert "I should add" not in json.dumps(encoded.body)


@pytest.mark.parametrize(
    ("dialect", "messages"),
    [
        (Dialect(reasoning_history="reasoning"), THOUGHT),
        (Dialect(reasoning_wanted=False), THOUGHT),
        (Dialect(), [Message(role="assistant", content="2", reasoning=""), user("hi")]),
    ],
)
def test_nothing_is_reported_where_nothing_is_missed(
    dialect: Dialect, messages: list[Message]
) -> None:
    assert encode_chat(request(*messages), "m", dialect).notices == ()
