"""Mirrors modelbay_gateway/openai/encode.py and the encoding halves of its neighbours."""

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelbay.errors import CODES, ProtocolError
from modelbay.models.chat import ChatResult
from modelbay.models.events import (
    Finish,
    FinishReason,
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
from modelbay.models.media import EmbedResult
from modelbay.refs import ModelRef
from modelbay.wire.openai_chat import ChatDecoder, Dialect
from modelbay.wire.sse import SSEDecoder
from modelbay_gateway.openai.completions import CompletionEncoder, whole_completion
from modelbay_gateway.openai.embeddings import encode_embed, packed
from modelbay_gateway.openai.encode import (
    ChatEncoder,
    refusal_headers,
    refuse,
    status_comment,
    whole_chat,
)
from modelbay_gateway.refusal import OWN, Refusal
from modelbay_gateway.style import ReasoningField

REF = ModelRef("desk", "m")


def encoder(
    *, include_usage: bool = False, reasoning_field: ReasoningField = "reasoning_content"
) -> ChatEncoder:
    return ChatEncoder(
        id="chatcmpl-1",
        model="desk/m",
        created=7,
        include_usage=include_usage,
        reasoning_field=reasoning_field,
        new=lambda prefix: f"{prefix}NEW",
    )


def written(*events: StreamEvent, **options: Any) -> bytes:
    made = encoder(**options)
    return made.begin() + b"".join(made.encode(event) for event in events)


def chunks(*events: StreamEvent, **options: Any) -> list[dict[str, Any]]:
    *found, done = written(*events, **options).decode().split("\n\n")[:-1]
    assert done == "data: [DONE]"
    assert all(line.startswith("data: {") for line in found)
    return [json.loads(line[6:]) for line in found]


def deltas(*events: StreamEvent, **options: Any) -> list[dict[str, Any]]:
    """What the chunks between role and finish say."""
    role, *found, _ = chunks(*events, **options)
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    return [chunk["choices"][0]["delta"] for chunk in found]


def test_a_whole_stream_byte_by_byte() -> None:
    head = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"desk/m"'

    def chunk(delta: bytes, finish: bytes = b"null") -> bytes:
        return (
            head
            + b',"choices":[{"index":0,"delta":{'
            + delta
            + b'},"logprobs":null,"finish_reason":'
            + finish
            + b'}],"usage":null}\n\n'
        )

    assert written(
        ReasoningDelta("hm"),
        TextDelta('a"b'),
        Usage(3, 2, cached_tokens=1, reasoning_tokens=1),
        Finish("stop"),
        include_usage=True,
    ) == (
        chunk(b'"role":"assistant","content":""')
        + chunk(b'"reasoning_content":"hm"')
        + chunk(b'"content":"a\\"b"')
        + chunk(b"", b'"stop"')
        + head
        + b',"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,'
        b'"prompt_tokens_details":{"cached_tokens":1},'
        b'"completion_tokens_details":{"reasoning_tokens":1}}}\n\n'
        b"data: [DONE]\n\n"
    )


def test_usage_is_told_only_when_it_is_asked_for() -> None:
    assert ["usage" in chunk for chunk in chunks(Usage(1, 1), Finish("stop"))] == [False, False]


def test_a_call_in_pieces_names_itself_once() -> None:
    assert deltas(
        ToolCallDelta(3, id="call_abc", name="f"),
        ToolCallDelta(3, '{"a"'),
        ToolCallDelta(3, ":1}"),
        ToolCall("call_abc", "f", '{"a":1}', 3),
        Finish("tool_calls"),
    ) == [
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "call_abc",
                    "type": "function",
                    "function": {"name": "f", "arguments": ""},
                }
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
    ]


def test_a_call_whose_name_comes_late_begins_with_it() -> None:
    found = deltas(
        ToolCallDelta(0, '{"a"'),
        ToolCallDelta(0, ":1}", id="x1", name="f"),
        ToolCall("x1", "f", '{"a":1}', 0),
        Finish("tool_calls"),
    )

    assert [call["function"] for each in found for call in each["tool_calls"]] == [
        {"name": "f", "arguments": ""},
        {"arguments": '{"a":1}'},
    ]


def test_calls_that_come_whole_get_places_of_their_own() -> None:
    found = deltas(ToolCall("a1", "f", "{}", 0), ToolCall("b2", "g", '{"x":1}', 1), Finish("stop"))

    assert [(c["index"], c.get("id"), c["function"]) for d in found for c in d["tool_calls"]] == [
        (0, "a1", {"name": "f", "arguments": ""}),
        (0, None, {"arguments": "{}"}),
        (1, "b2", {"name": "g", "arguments": ""}),
        (1, None, {"arguments": '{"x":1}'}),
    ]


@pytest.mark.parametrize("given", ["", "0", "call_0", "call_12"])
def test_an_id_that_is_the_same_in_every_turn_is_replaced(given: str) -> None:
    [start, _] = deltas(ToolCall(given, "f", "{}"), Finish("stop"))

    assert start["tool_calls"][0]["id"] == "call_NEW"


@pytest.mark.parametrize(
    ("reason", "calls", "wanted"),
    [
        ("stop", False, "stop"),
        ("stop", True, "tool_calls"),
        ("other", True, "tool_calls"),
        ("tool_calls", True, "tool_calls"),
        ("length", True, "length"),
        ("length", False, "length"),
        ("content_filter", False, "content_filter"),
        ("other", False, "stop"),
    ],
)
def test_the_finish_reason_is_one_of_theirs(reason: FinishReason, calls: bool, wanted: str) -> None:
    events: list[StreamEvent] = [ToolCall("a1", "f", "{}")] if calls else []
    found = chunks(*events, Finish(reason))

    reasons = [chunk["choices"][0]["finish_reason"] for chunk in found]
    assert reasons == [None] * (len(found) - 1) + [wanted]


def test_a_server_that_finishes_with_an_error_has_failed() -> None:
    text = written(TextDelta("a"), Finish("error")).decode()

    assert '"error":{' in text
    assert text.endswith("data: [DONE]\n\n")


def test_a_refusal_has_a_place_of_its_own() -> None:
    assert deltas(RefusalDelta("I "), RefusalDelta(""), RefusalDelta("won't"), Finish("stop")) == [
        {"refusal": "I "},
        {"refusal": "won't"},
    ]
    assert deltas(
        ReasoningDelta("h"), RefusalDelta("no"), Finish("stop"), reasoning_field="think_tags"
    ) == [{"content": "<think>\nh"}, {"content": "\n</think>\n\n"}, {"refusal": "no"}]


def test_a_refusal_to_continue_a_prompt_is_text() -> None:
    made = CompletionEncoder(id="cmpl-1", model="m", created=7, include_usage=False)
    result = ChatResult(ref=ModelRef("desk", "m"), refusal="no")

    piece = json.loads(made.encode(RefusalDelta("no"))[6:])
    whole = json.loads(whole_completion(result, id="cmpl-1", model="m", created=7))
    assert [each["choices"][0]["text"] for each in (piece, whole)] == ["no", "no"]


def test_thinking_goes_where_it_is_wanted() -> None:
    events = (ReasoningDelta("h"), ReasoningDelta("m"), TextDelta("4"), TextDelta("2"))

    def said(field: ReasoningField) -> list[dict[str, Any]]:
        return deltas(*events, Finish("stop"), reasoning_field=field)

    text = [{"content": "4"}, {"content": "2"}]
    assert said("reasoning_content") == [
        {"reasoning_content": "h"},
        {"reasoning_content": "m"},
        *text,
    ]
    assert said("reasoning") == [{"reasoning": "h"}, {"reasoning": "m"}, *text]
    assert said("both")[0] == {"reasoning_content": "h", "reasoning": "h"}
    assert said("none") == text
    assert said("think_tags") == [
        {"content": "<think>\nh"},
        {"content": "m"},
        {"content": "\n</think>\n\n"},
        *text,
    ]


def test_thoughts_between_tags_are_closed_before_a_call_and_at_the_end() -> None:
    before_call = written(
        ReasoningDelta("h"), ToolCall("a1", "f", "{}"), Finish("stop"), reasoning_field="think_tags"
    )
    at_the_end = written(ReasoningDelta("h"), Finish("length"), reasoning_field="think_tags")

    for text in (before_call.decode(), at_the_end.decode()):
        assert text.count("</think>") == 1
    assert before_call.index(b"</think>") < before_call.index(b"tool_calls")


def test_what_was_noticed_stands_in_the_last_chunk_under_our_own_name() -> None:
    *earlier, last = chunks(
        Notice("dropped_field", "seed was left out"), Timings(total_s=1.5), Finish("stop")
    )

    assert last["modelbay"] == {
        "notices": [{"code": "dropped_field", "message": "seed was left out"}],
        "timings": {"total_s": 1.5},
    }
    assert not [chunk for chunk in earlier if "modelbay" in chunk]


def test_what_a_server_is_doing_is_a_comment_on_one_line() -> None:
    assert status_comment(Status("loading", 0.5, "a\n\nb\r\nc")) == b": loading 50% a b c\n\n"
    assert status_comment(Status("queued")) == b": queued\n\n"


# --- whole answers --------------------------------------------------------------------------------


def whole(reasoning_field: ReasoningField = "reasoning_content", **fields: Any) -> Any:
    return json.loads(
        whole_chat(
            ChatResult(ref=REF, **fields),
            id="chatcmpl-1",
            model="asked",
            created=7,
            reasoning_field=reasoning_field,
            new=lambda prefix: f"{prefix}NEW",
        )
    )


def test_a_whole_answer() -> None:
    assert whole(text="Hi", reasoning="hm", usage=Usage(3, 2)) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 7,
        "model": "asked",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hi",
                    "refusal": None,
                    "reasoning_content": "hm",
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        "system_fingerprint": None,
    }


def test_content_is_null_only_beside_calls() -> None:
    call = ToolCall("call_0", "f", "{}")
    with_calls = whole(tool_calls=[call])["choices"][0]
    without = whole()["choices"][0]

    assert (with_calls["message"]["content"], without["message"]["content"]) == (None, "")
    assert with_calls["finish_reason"] == "tool_calls"
    assert with_calls["message"]["tool_calls"] == [
        {"id": "call_NEW", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ]
    assert "tool_calls" not in without["message"]
    assert "usage" not in whole()  # unknown counts are not zero


def test_thinking_in_a_whole_answer() -> None:
    def message(field: ReasoningField) -> dict[str, Any]:
        found: dict[str, Any] = whole(field, text="42", reasoning="hm")["choices"][0]["message"]
        return {name: found[name] for name in found if name not in ("role", "refusal")}

    assert message("reasoning") == {"content": "42", "reasoning": "hm"}
    assert message("both") == {"content": "42", "reasoning": "hm", "reasoning_content": "hm"}
    assert message("none") == {"content": "42"}
    assert message("think_tags") == {"content": "<think>\nhm\n</think>\n\n42"}


# --- there and back -------------------------------------------------------------------------------

TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
NAMES = st.text("abcdefghijklmnop_", min_size=1, max_size=20)
ARGUMENTS = st.dictionaries(NAMES, TEXT | st.integers(-9, 9), max_size=3).map(json.dumps)
CALLS = st.lists(st.tuples(NAMES, ARGUMENTS, st.integers(1, 7)), max_size=3)


@given(
    said=st.lists(
        st.one_of(*(st.builds(kind, TEXT) for kind in (TextDelta, ReasoningDelta, RefusalDelta))),
        max_size=8,
    ),
    calls=CALLS,
    usage=st.none()
    | st.builds(
        Usage,  # a part is never larger than its whole
        st.integers(99, 10**6),
        st.integers(99, 10**6),
        cached_tokens=st.none() | st.integers(0, 99),
        reasoning_tokens=st.none() | st.integers(0, 99),
    ),
    reason=st.sampled_from(["stop", "length", "content_filter"]),
    whole_calls=st.booleans(),
)
def test_an_answer_survives_the_wire(
    said: list[StreamEvent],
    calls: list[tuple[str, str, int]],
    usage: Usage | None,
    reason: FinishReason,
    whole_calls: bool,
) -> None:
    """Core events to chunks, and by the core's own decoder back to events."""
    events = list(said)
    wanted = []
    for index, (name, arguments, step) in enumerate(calls):
        id = f"id-{index}-{name}"
        if not whole_calls:
            events.append(ToolCallDelta(index, "", id, name))
            events += [
                ToolCallDelta(index, arguments[at : at + step])
                for at in range(0, len(arguments), step)
            ]
        events.append(ToolCall(id, name, arguments, index))
        wanted.append(ToolCall(id, name, arguments, index))
    if usage is not None:
        events.append(usage)

    data = written(*events, Finish(reason), include_usage=True)
    sse, decoder = SSEDecoder(), ChatDecoder(Dialect())
    found = [event for line in sse.feed(data) for event in decoder.decode(line)]
    found += decoder.close()

    def joined(
        kind: type[TextDelta | ReasoningDelta | RefusalDelta], events: list[StreamEvent]
    ) -> str:
        return "".join(event.text for event in events if isinstance(event, kind))

    for kind in (TextDelta, ReasoningDelta, RefusalDelta):
        assert joined(kind, found) == joined(kind, said)
    assert [event for event in found if isinstance(event, ToolCall)] == wanted
    assert [event for event in found if isinstance(event, Usage)] == ([usage] if usage else [])
    last = found[-1]
    assert isinstance(last, Finish)
    assert last.reason == ("tool_calls" if calls and reason == "stop" else reason)


# --- vectors --------------------------------------------------------------------------------------


def test_vectors_are_packed_as_32_bit_floats_the_least_byte_first() -> None:
    body = json.loads(
        encode_embed(EmbedResult(vectors=[[1.0, -0.5]]), model="m", encoding="base64")
    )

    assert body["data"][0]["embedding"] == base64.b64encode(struct.pack("<2f", 1.0, -0.5)).decode()
    assert "usage" not in body


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_is_no_vector(bad: float) -> None:
    with pytest.raises(ProtocolError):
        encode_embed(EmbedResult(vectors=[[1.0, bad]]), model="m", encoding="float")


def test_a_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ProtocolError):
        packed([1e300])


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted({**CODES, **OWN}))
def test_every_code_has_words_of_theirs(code: str) -> None:
    status = OWN.get(code) or CODES[code][0]
    error = json.loads(refuse(Refusal(status=status, code=code, message="what happened")))["error"]

    assert isinstance(error["message"], str)
    assert error["type"] in (
        "invalid_request_error",
        "permission_error",
        "insufficient_quota",
        "rate_limit_error",
        "upstream_error",
        "server_error",
    )
    assert (error["type"] == "server_error") == (status == 500 or code == "backend_busy")


def test_a_request_that_is_too_long_is_told_in_the_words_clients_look_for() -> None:
    error = json.loads(
        refuse(
            Refusal(
                status=400,
                code="context_length_exceeded",
                message="request (9000 tokens) exceeds it",
                context_window=8192,
            )
        )
    )["error"]

    assert error["message"] == (
        "This model's maximum context length is 8192 tokens, and the request does not fit."
        " Please reduce the length of the messages. (request (9000 tokens) exceeds it)"
    )
    assert error["code"] == "context_length_exceeded"


def test_sdks_are_told_whether_and_when_to_try_again() -> None:
    busy = Refusal(status=503, code="backend_busy", message="", retryable=True)
    slow = Refusal(
        status=429, code="rate_limited", message="", retryable=True, retry_after_s=3600.0
    )
    broke = Refusal(status=402, code="quota_exceeded", message="")

    assert refusal_headers(busy) == [
        (b"x-should-retry", b"true"),
        (b"retry-after", b"1"),
        (b"retry-after-ms", b"1000"),
    ]
    assert refusal_headers(slow)[1:] == [(b"retry-after", b"120"), (b"retry-after-ms", b"120000")]
    assert refusal_headers(broke) == [(b"x-should-retry", b"false")]
