"""Mirrors modelbay_gateway/openai/decode.py and the decoding halves of its neighbours."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
)
from modelbay.models.events import Notice, ToolCall
from modelbay_gateway.openai import decode
from modelbay_gateway.openai.chat_call import ChatCall
from modelbay_gateway.openai.completions import decode_completion
from modelbay_gateway.openai.decode import decode_chat
from modelbay_gateway.openai.embeddings import decode_embed
from modelbay_gateway.openai.images import decode_image
from modelbay_gateway.openai.plain import decode_plain
from modelbay_gateway.openai.rerank import decode_rerank
from modelbay_gateway.refusal import Refusal, Refused

HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def read(**fields: Any) -> ChatCall:
    return decode_chat(json.dumps({"model": "m", "messages": HI, **fields}).encode())


def refusal(text: bytes | str) -> tuple[int, str, str | None]:
    with pytest.raises(Refused) as caught:
        decode_chat(text if isinstance(text, bytes) else text.encode())
    found = caught.value.refusal
    return found.status, found.code, found.field


def refused(**fields: Any) -> tuple[str, str | None]:
    _, code, field = refusal(json.dumps({"model": "m", "messages": HI, **fields}))
    return code, field


def test_every_field_has_its_place() -> None:
    asked = decode_chat(
        json.dumps(
            {
                "model": "desk/m",
                "messages": HI,
                "stream": True,
                "stream_options": {"include_usage": True, "include_obfuscation": False},
                "temperature": 1,
                "top_p": 0.5,
                "top_k": 40,
                "max_completion_tokens": 7,
                "max_tokens": 9,
                "stop": "END",
                "seed": 3,
                "reasoning_effort": "low",
                "tools": [TOOL],
                "tool_choice": {"type": "function", "function": {"name": "f"}},
                "parallel_tool_calls": False,
                "response_format": {"type": "json_object"},
                "user": "sam",
                "min_p": 0.05,
                "n": 1,
                "logprobs": False,
                "conversation_id": "c1",
                "persist": False,
            }
        ).encode(),
        routing=frozenset({"a"}),
    )

    assert asked == ChatCall(
        request=ChatRequest(
            model="desk/m",
            messages=[Message(role="user", content="hi")],
            stream=True,
            temperature=1.0,
            top_p=0.5,
            top_k=40,
            max_tokens=7,
            stop=["END"],
            seed=3,
            reasoning_effort="low",
            tools=[Tool(name="f", parameters={"type": "object"})],
            tool_choice=NamedTool(name="f"),
            response_format=JsonMode(),
            routing=frozenset({"a"}),
            extra={"parallel_tool_calls": False, "user": "sam", "min_p": 0.05},
        ).model_copy(update={"model": "desk/m"}),  # as it was asked for
        model="desk/m",
        include_usage=True,
        conversation_id="c1",
        persist=False,
    )


def test_unknown_fields_keep_value_and_type() -> None:
    extra = {
        "one": 1,
        "float": 1.0,
        "big": 12345678901234567890123,
        "deep": {"a": [1, None, {"b": "\u2028"}]},
        "empty": "",
        "no": False,
        "zero": 0,
    }

    found = read(**extra, nothing=None).request.extra

    assert json.dumps(found, sort_keys=True) == json.dumps(extra, sort_keys=True)


def test_an_answer_is_streamed_only_if_it_is_asked_for() -> None:
    assert [read().request.stream, read(stream=None).request.stream] == [False, False]


def test_parts_keep_their_order() -> None:
    parts = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "data:image/webp;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://e.org/a.png", "detail": "auto"}},
        {"type": "image_url", "image_url": "data:image/svg+xml,<svg/>"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        {"type": "file", "file": {"file_data": "data:text/plain;base64,QQ==", "filename": "a"}},
        {"type": "text", "text": "b"},
    ]

    [message] = read(messages=[{"role": "user", "content": parts}]).request.messages

    assert message.content == [
        TextPart(text="a"),
        ImagePart(data="AAAA", media_type="image/webp"),
        ImagePart(url="https://e.org/a.png", detail="auto"),
        ImagePart(url="data:image/svg+xml,<svg/>"),
        AudioPart(data="AAAA", format="mp3"),
        FilePart(data="QQ==", media_type="text/plain", name="a"),
        TextPart(text="b"),
    ]


@pytest.mark.parametrize("content", [{}, {"content": None}, {"content": ""}])
def test_calls_may_come_without_content(content: dict[str, Any]) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}

    found = read(
        messages=[
            *HI,
            {"role": "assistant", "tool_calls": [call], **content},
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "2"}]},
        ]
    )

    assert found.request.messages[1:] == [
        Message(role="assistant", tool_calls=[ToolCall("c1", "f", '{"a":1}')]),
        Message(role="tool", tool_call_id="c1", content=[TextPart(text="2")]),
    ]
    assert found.notices == ()


NO = TextPart(text="no", refusal=True)


@pytest.mark.parametrize(
    ("said", "content"),
    [
        ({"refusal": "no"}, [NO]),
        ({"content": None, "refusal": "no"}, [NO]),
        ({"content": [{"type": "refusal", "refusal": "no"}]}, [NO]),
        ({"content": "well", "refusal": "no"}, [TextPart(text="well"), NO]),
        ({"content": [{"type": "text", "text": "a"}], "refusal": "no"}, [TextPart(text="a"), NO]),
        ({"content": "a", "refusal": None}, "a"),
    ],
)
def test_an_earlier_refusal_is_one(said: dict[str, Any], content: object) -> None:
    found = read(messages=[*HI, {"role": "assistant", **said}])

    assert found.request.messages[1] == Message.model_validate(
        {"role": "assistant", "content": content}
    )
    assert found.notices == ()


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_earlier_thinking_is_read_by_both_names_also_when_empty(name: str) -> None:
    found = read(messages=[*HI, {"role": "assistant", "content": "a", name: ""}])

    assert found.request.messages[1] == Message(role="assistant", content="a", reasoning="")


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_earlier_thinking_that_is_no_text_is_told(name: str) -> None:
    found = read(messages=[*HI, {"role": "assistant", "content": "a", name: {"text": "hm"}}])

    told = f"messages[1].{name} was left out: the gateway does not know it"
    assert found.notices == (Notice("dropped_field", told),)
    assert found.request.messages[1] == Message(role="assistant", content="a")


@pytest.mark.parametrize("seed", [-(2**63), 2**63, 2**64 - 1])
def test_a_seed_may_have_all_of_64_bits(seed: int) -> None:
    assert read(seed=seed).request.seed == seed


def test_a_field_inside_a_message_that_nobody_will_see_is_told() -> None:
    found = read(
        messages=[
            {
                "role": "user",
                "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
                "weight": 1,
            }
        ]
    )

    assert [notice.message.split(" was")[0] for notice in found.notices] == [
        "messages[0].content[0].cache_control",
        "messages[0].weight",
    ]
    assert {type(notice) for notice in found.notices} == {Notice}
    assert {notice.code for notice in found.notices} == {"dropped_field"}


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, JsonMode()),
        (
            {"type": "json_object", "schema": {"type": "array"}},
            JsonSchema(schema={"type": "array"}),
        ),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {}, "strict": True}},
            JsonSchema(schema={}, name="x", strict=True),
        ),
        (
            {"type": "json_schema", "json_schema": {"schema": {}, "description": "d"}},
            JsonSchema(schema={}, description="d"),
        ),
    ],
)
def test_formats(given: object, wanted: object) -> None:
    assert read(response_format=given).request.response_format == wanted


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (None, (["f", "g"], None)),
        ("required", (["f", "g"], "required")),
        ({"type": "function", "name": "g"}, (["f", "g"], NamedTool(name="g"))),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"name": "g"}]},
            (["g"], "required"),
        ),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"tools": [{"type": "function", "function": {"name": "f"}}]},
            },
            (["f"], "auto"),
        ),
    ],
)
def test_choices_of_tools(choice: object, wanted: object) -> None:
    other = {"type": "function", "function": {"name": "g"}}

    found = read(tools=[TOOL, other], tool_choice=choice).request

    assert ([tool.name for tool in found.tools], found.tool_choice) == wanted


def test_a_choice_between_no_tools_is_none() -> None:
    found = read(tools=[], tool_choice="required").request

    assert (found.tools, found.tool_choice) == ([], None)


NAMED = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"stream_options": {"every": 2}}, "stream_options.every"),
        ({"response_format": {"type": "text", "a": 1}}, "response_format.a"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {}, "a": 1},
                }
            },
            "response_format.json_schema.a",
        ),
        (
            {"tools": [TOOL], "tool_choice": {**NAMED, "a": 1}},
            "tool_choice.a",
        ),
        (
            {
                "tools": [TOOL],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "auto", "tools": [NAMED], "a": 1},
                },
            },
            "tool_choice.allowed_tools.a",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
    ],
)
def test_what_stands_inside_and_nobody_will_see_is_told(fields: dict[str, Any], path: str) -> None:
    told = f"{path} was left out: the gateway does not know it"

    assert read(**fields).notices == (Notice("dropped_field", told),)


def test_the_empty_schema_stays_what_it_is() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}

    assert read(response_format=form).request.response_format == JsonSchema(schema={}, name="n")


def test_minus_one_is_no_limit() -> None:
    assert read(max_tokens=-1).request.max_tokens is None


def test_effort_is_read_in_both_forms() -> None:
    found = read(reasoning={"effort": "high", "summary": "auto"})

    assert found.request.reasoning_effort == "high"
    assert found.request.extra == {}
    assert [notice.message.split(" ")[0] for notice in found.notices] == ["reasoning.summary"]


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"messages": []}, ("missing_field", "messages")),
        ({"messages": "hi"}, ("invalid_field", "messages")),
        ({"messages": ["hi"]}, ("invalid_field", "messages[0]")),
        ({"messages": [{}]}, ("missing_field", "messages[0].role")),
        ({"messages": [{"role": "x"}]}, ("invalid_field", "messages[0].role")),
        ({"messages": [{"role": "function"}]}, ("missing_field", "messages[0].name")),
        ({"messages": [{"role": "user", "content": 1}]}, ("invalid_field", "messages[0].content")),
        (
            {"messages": [{"role": "user", "content": [{"type": "x"}]}]},
            ("invalid_field", "messages[0].content[0].type"),
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            ("missing_field", "messages[0].content[0].image_url"),
        ),
        ({"messages": [{"role": "tool"}]}, ("missing_field", "messages[0].tool_call_id")),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]},
            ("missing_field", "messages[0].tool_calls[0].function"),
        ),
        ({"model": 1}, ("invalid_field", "model")),
        ({"stream": "yes"}, ("invalid_field", "stream")),
        ({"temperature": "hot"}, ("invalid_field", "temperature")),
        ({"temperature": True}, ("invalid_field", "temperature")),
        ({"max_tokens": 0}, ("invalid_field", "max_tokens")),
        ({"max_tokens": 1.5}, ("invalid_field", "max_tokens")),
        ({"max_tokens": 2**70}, ("invalid_field", "max_tokens")),
        ({"stop": [1]}, ("invalid_field", "stop[0]")),
        ({"n": 2}, ("unsupported_field", "n")),
        ({"logprobs": True}, ("unsupported_field", "logprobs")),
        ({"functions": [{}]}, ("missing_field", "functions[0].name")),
        ({"functions": [TOOL["function"]], "tools": [TOOL]}, ("unsupported_field", "functions")),
        (
            {"functions": [TOOL["function"]], "function_call": "f"},
            ("invalid_field", "function_call"),
        ),
        (
            {"functions": [TOOL["function"]], "function_call": {}},
            ("missing_field", "function_call.name"),
        ),
        ({"seed": 2**64}, ("invalid_field", "seed")),
        ({"modalities": ["audio"]}, ("unsupported_field", "modalities")),
        ({"tools": [{"type": "custom"}]}, ("unsupported_field", "tools[0].type")),
        ({"tools": [{"type": "function"}]}, ("missing_field", "tools[0].function")),
        ({"tools": [TOOL], "tool_choice": "f"}, ("invalid_field", "tool_choice")),
        ({"response_format": {"type": "xml"}}, ("invalid_field", "response_format.type")),
        ({"response_format": {}}, ("missing_field", "response_format.type")),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], wanted: tuple[str, str]) -> None:
    assert refused(**fields) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '"a"', "null", "NaN", '{"a": 1e999}', '{"a": "\\ud800"}', "[" * 100_000],
)
def test_what_is_no_object_is_refused(text: str) -> None:
    status, code, _ = refusal(text)

    assert (status, code) in ((400, "invalid_body"), (400, "invalid_field"))


def test_what_is_no_text_is_refused() -> None:
    assert refusal(b'{"model": "\xff"}') == (400, "invalid_body", None)


# --- the other requests ---------------------------------------------------------------------------


def test_a_completion_request() -> None:
    asked = decode_completion(
        b'{"model":"m","prompt":["once"],"suffix":"end","max_tokens":5,"stop":["x"],"echo":true,'
        b'"best_of":1,"min_p":0.1}'
    )

    assert (asked.model, asked.echo, asked.include_usage) == ("m", True, False)
    assert asked.request.model_dump(exclude_defaults=True) == {
        "model": "m",
        "prompt": "once",
        "suffix": "end",
        "max_tokens": 5,
        "stop": ["x"],
        "stream": False,
        "extra": {"min_p": 0.1},
    }


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"{}", ("missing_field", "prompt")),
        (b'{"prompt":[1,2]}', ("unsupported_field", "prompt")),
        (b'{"prompt":[[1],[2]]}', ("unsupported_field", "prompt")),
        (b'{"prompt":["a","b"]}', ("unsupported_field", "prompt")),
        (b'{"prompt":{}}', ("invalid_field", "prompt")),
        (b'{"prompt":"a","best_of":2}', ("unsupported_field", "best_of")),
        (b'{"prompt":"a","logprobs":3}', ("unsupported_field", "logprobs")),
    ],
)
def test_a_completion_that_cannot_be(body: bytes, wanted: tuple[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        decode_completion(body)
    assert (caught.value.refusal.code, caught.value.refusal.field) == wanted


def test_an_embeddings_request() -> None:
    asked = decode_embed(b'{"model":"m","input":"a","dimensions":8,"user":"sam"}')

    assert (asked.request.input, asked.request.dimensions, asked.encoding) == (["a"], 8, "float")
    assert asked.request.extra == {"user": "sam"}
    assert decode_embed(b'{"input":["a"],"encoding_format":"base64"}').encoding == "base64"


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"{}", ("missing_field", "input")),
        (b'{"input":[]}', ("invalid_field", "input")),
        (b'{"input":""}', ("invalid_field", "input[0]")),
        (b'{"input":[1,2]}', ("unsupported_field", "input")),
        (b'{"input":[[1],[2]]}', ("unsupported_field", "input")),
        (b'{"input":["a",true]}', ("invalid_field", "input[1]")),
        (b'{"input":"a","encoding_format":"int8"}', ("invalid_field", "encoding_format")),
        (b'{"input":"a","dimensions":0}', ("invalid_field", "dimensions")),
    ],
)
def test_embeddings_that_cannot_be(body: bytes, wanted: tuple[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        decode_embed(body)
    assert (caught.value.refusal.code, caught.value.refusal.field) == wanted
    if body == b'{"input":[1,2]}':
        assert "check_embedding_ctx_length=False" in str(caught.value.refusal.hint)


def test_an_image_request() -> None:
    asked = decode_image(b'{"prompt":"a cat","n":2,"size":"auto","quality":"hd","seed":1}')

    assert (asked.request.prompt, asked.request.n, asked.request.size) == ("a cat", 2, None)
    assert (asked.request.extra, asked.as_url) == ({"quality": "hd"}, False)
    assert decode_image(b'{"prompt":"a","response_format":"url"}').as_url


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"{}", ("missing_field", "prompt")),
        (b'{"prompt":"a","n":17}', ("invalid_field", "n")),
        (b'{"prompt":"a","n":0}', ("invalid_field", "n")),
        (b'{"prompt":"a","size":"big"}', ("invalid_field", "size")),
        (b'{"prompt":"a","stream":true}', ("unsupported_field", "stream")),
        (b'{"prompt":"a","response_format":"png"}', ("invalid_field", "response_format")),
    ],
)
def test_images_that_cannot_be(body: bytes, wanted: tuple[str, str]) -> None:
    with pytest.raises(Refused) as caught:
        decode_image(body)
    assert (caught.value.refusal.code, caught.value.refusal.field) == wanted


def test_a_rerank_request() -> None:
    asked = decode_rerank(
        b'{"query":"q","documents":["a",{"text":"b"}],"top_n":1,"return_documents":true}'
    )

    assert (asked.request.documents, asked.request.top_n) == (["a", "b"], 1)
    assert asked.with_documents
    for body in (b'{"query":"q"}', b'{"documents":["a"]}', b'{"query":"q","documents":[{}]}'):
        with pytest.raises(Refused):
            decode_rerank(body)


@pytest.mark.parametrize("depth", [300, 700, 985, 100_000])
def test_a_field_nobody_knows_may_not_be_nested_without_end(depth: int) -> None:
    body = json.dumps({"messages": HI})[:-1] + f', "zz": {"[" * depth}{"]" * depth}}}'

    with pytest.raises(Refused) as caught:
        decode_chat(body.encode())
    assert caught.value.refusal.status == 400


# --- plain requests, which are read in one go -----------------------------------------------------

_odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.lists(st.text(max_size=3), max_size=3),
    st.fixed_dictionaries({}, optional={"include_usage": st.none() | st.booleans() | st.text()}),
)
_roles = st.sampled_from(["user"] * 8 + ["system", "assistant", "tool", "developer", "boss"])
_message = st.fixed_dictionaries({"role": _roles, "content": st.text(max_size=5)})
_messages = st.lists(_message, min_size=1, max_size=3)
_wholes = st.integers(-1, 9) | st.floats(-1, 9).map(round).map(float)
_usual: dict[str, st.SearchStrategy[Any]] = {
    "model": st.text(max_size=3),
    "stream": st.booleans(),
    "stream_options": st.fixed_dictionaries({"include_usage": st.booleans()}),
    "temperature": st.floats(0, 2) | st.integers(0, 2),
    "top_p": st.floats(0, 1),
    "top_k": _wholes,
    "max_tokens": _wholes,
    "max_completion_tokens": _wholes,
    "seed": st.integers(-(1 << 63), 1 << 64),
    "stop": st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=3),
}
_requests = st.builds(
    lambda usual, odd: {**usual, **odd},
    st.fixed_dictionaries({"messages": _messages}, optional=_usual),
    st.just({}) | st.dictionaries(st.sampled_from([*_usual, "messages", "more"]), _odd, max_size=1),
)


@given(_requests)
def test_a_plain_request_says_what_it_says_field_by_field(request: dict[str, Any]) -> None:
    body = json.dumps(request).encode()

    def outcome(read: Callable[[], ChatCall]) -> ChatCall | Refusal:
        try:
            return read()
        except Refused as exc:
            return exc.refusal

    at_once = outcome(lambda: decode_chat(body))
    by_field = outcome(lambda: decode._decode_any(body, frozenset()))

    assert at_once == by_field
    if isinstance(at_once, ChatCall) and isinstance(by_field, ChatCall):
        assert repr(at_once) == repr(by_field)  # 1 and 1.0 are equal


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"temperature": 1, "top_p": 0.5, "top_k": 3, "max_tokens": 9, "seed": -1, "stop": "x"},
        {"max_completion_tokens": 5, "max_tokens": 9, "stop": ["x", "y"], "stream": None},
    ],
)
def test_most_requests_are_plain(fields: dict[str, Any]) -> None:
    body = json.dumps({"model": "m", "messages": HI, **fields}).encode()
    assert decode_plain(body, frozenset()) == decode._decode_any(body, frozenset())
